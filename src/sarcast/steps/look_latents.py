"""Latents of sarcast look in two dimensions, by t-SNE or UMAP, with what is known of each point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import DataError, SettingsError
from sarcast.publish.looking import draw_points
from sarcast.steps.look_tokens import Seen, pooled, sample

if TYPE_CHECKING:
    from sarcast.steps.look import Look

ENOUGH = 30
"""With fewer images, tokens are shown when nobody says."""
LEAST = 8
_NEIGHBOURS = 15
_REDUCED = 50
"""Principal directions that distances are taken in."""
_PLACES, _EMBED = 2, 3


def require_method(method: str) -> None:
    """That the method is installed.

    Raises:
        SettingsError: UMAP is asked for and umap-learn is not there.
    """
    if method == "umap":
        try:
            import umap  # noqa: F401
        except ImportError:
            raise SettingsError(
                "expected umap-learn for --latents umap, found it not installed (pip install umap-learn)"
            ) from None


def draw_latents(
    folder: Path,
    settings: Look,
    seen: Sequence[Seen],
    classes: Sequence[np.ndarray] | None,
    names: Sequence[str],
) -> dict[str, Any]:
    """Write latents.parquet and latents.png; gives what was shown, in words and numbers.

    Args:
        folder: To write into.
        settings: Method, points, seed.
        seen: All images.
        classes: For each image the commonest class of each token, int (row, col), under 0 where there is
            none; None without labels.
        names: Of classes 0, 1, ...

    Raises:
        DataError: Fewer than eight points.
    """
    what = settings.points or ("images" if len(seen) >= ENOUGH else "tokens")
    vectors, places = _vectors(settings, seen, what)
    if len(vectors) < LEAST:
        raise DataError(
            f"expected {LEAST} points or more for a picture of latents, found {len(vectors)} {what}"
        )
    start = int(np.random.SeedSequence([settings.seed, _EMBED]).generate_state(1)[0])
    points = embedded(vectors, settings.latents, perplexity=settings.perplexity, seed=start)
    table = _known(seen, places, classes, names)
    table.insert(0, "x", points[:, 0])
    table.insert(1, "y", points[:, 1])
    table.to_parquet(folder / "latents.parquet", index=False)
    facts = _facts(table)
    shown = "mean vectors of images" if what == "images" else "vectors of tokens"
    method = {"tsne": "t-SNE", "umap": "UMAP"}[settings.latents]
    draw_points(folder / "latents.png", points, facts, title=f"{method} of {len(points)} {shown}")
    return {"method": settings.latents, "points": what, "count": len(points), "coloured_by": list(facts)}


def _vectors(settings: Look, seen: Sequence[Seen], what: str) -> tuple[np.ndarray, np.ndarray]:
    """(vectors (n, dim), int (n, 3) image, row, col; -1 where a point is an image)."""
    if what == "tokens":
        rng = np.random.default_rng([settings.seed, _PLACES])
        return sample(seen, settings.most_points, rng=rng)
    return pooled(seen), np.column_stack([np.arange(len(seen)), np.full((len(seen), 2), -1)])


def embedded(vectors: np.ndarray, method: str, *, perplexity: float, seed: int) -> np.ndarray:
    """Points (n, 2) of vectors (n, dim): neighbours stay neighbours; distances between groups mean little."""
    from sklearn.decomposition import PCA

    some = min(_REDUCED, *vectors.shape)
    reduced = PCA(some, random_state=seed).fit_transform(vectors.astype(np.float64))
    if method == "umap":
        from umap import UMAP

        near = min(_NEIGHBOURS, len(vectors) - 1)
        return np.asarray(UMAP(n_neighbors=near, random_state=seed).fit_transform(reduced), np.float32)
    from sklearn.manifold import TSNE

    few = min(perplexity, (len(vectors) - 1) / 3)
    return np.asarray(TSNE(perplexity=few, init="pca", random_state=seed).fit_transform(reduced), np.float32)


def _known(
    seen: Sequence[Seen], places: np.ndarray, classes: Sequence[np.ndarray] | None, names: Sequence[str]
) -> Any:
    """A table of what is known of each point: place, time, class, platform, orbit."""
    import pandas

    of = [seen[number].image for number in places[:, 0]]
    table: dict[str, Any] = {"place": [one.place for one in of], "image": [one.name for one in of]}
    table["time"] = np.array([one.time for one in of], "datetime64[ns]")
    for name in ("platform", "orbit", "class"):
        table[name] = [one.facts.get(name, "unknown") for one in of]
    if classes is not None and (places[:, 1] >= 0).all():
        found = [int(classes[number][row, col]) for number, row, col in places]
        table["class"] = [names[i] if i >= 0 else "unknown" for i in found]
    table["row"], table["col"] = places[:, 1], places[:, 2]
    return pandas.DataFrame(table)


def _facts(table: Any) -> dict[str, Any]:
    """What colours the points: what is known of some and differs; the place where nothing else does."""
    found: dict[str, Any] = {}
    times = table["time"].to_numpy()
    if len(np.unique(times[~np.isnat(times)])) > 1:
        found["time"] = times
    for name in ("class", "platform", "orbit", "place"):
        if table[name].nunique() > 1:
            found[name] = table[name].to_numpy(dtype=str)
    return found or {"place": table["place"].to_numpy(dtype=str)}
