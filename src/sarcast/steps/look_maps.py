"""Maps of sarcast look: attention by head, principal components as colours, clusters; GeoTIFF and PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sarcast.errors import DataError
from sarcast.publish.cog import Painted, cells_geobox, write_cog
from sarcast.publish.figures import mean_power
from sarcast.publish.looking import Panel, draw_panels
from sarcast.sar.decibel import to_db
from sarcast.steps.look_tokens import Seen, Tokens, sample

COLOURS = 3
FIT_TOKENS = 20_000
"""Tokens behind the components and the clusters, as many of each image."""
SHOWN = 2
"""Bands of an image that are drawn."""
_SIDE = 512
_ENDS = (1.0, 99.0)
"""Percentiles of a component that become 0 and 1."""
_PCA, _KMEANS = range(2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Palette:
    """Principal components of tokens of all images together, and how they become red, green and blue."""

    mean: np.ndarray
    axes: np.ndarray
    """(3, dim)."""
    low: np.ndarray
    high: np.ndarray
    explained: np.ndarray
    """(3,) share of the variance."""

    @classmethod
    def of(cls, vectors: np.ndarray) -> Palette:
        """From tokens (n, dim); each component's largest weight is positive."""
        mean = vectors.mean(0, dtype=np.float64)
        centred = vectors - mean
        values, axes = np.linalg.eigh(centred.T @ centred / len(vectors))
        axes = axes[:, ::-1][:, :COLOURS].T
        axes = axes * np.sign(axes[np.arange(COLOURS), np.abs(axes).argmax(1)])[:, None]
        low, high = np.percentile(centred @ axes.T, _ENDS, axis=0)
        explained = values[::-1][:COLOURS] / max(float(values.sum()), 1e-12)
        return cls(mean=mean, axes=axes, low=low, high=np.maximum(high, low + 1e-9), explained=explained)

    def colours(self, vectors: np.ndarray) -> np.ndarray:
        """(..., 3): about 0 to 1; what lies outside is shown as the end."""
        return np.asarray(((vectors - self.mean) @ self.axes.T - self.low) / (self.high - self.low))


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """Centres of k-means over tokens of all images together, in the order of their mean level."""

    centres: np.ndarray
    """(k, dim)."""

    @classmethod
    def of(cls, vectors: np.ndarray, level: np.ndarray, *, k: int, seed: int) -> Clusters:
        """From tokens (n, dim) and their level (n,), by which clusters are numbered, the darkest first.

        Raises:
            DataError: There are fewer tokens than clusters.
        """
        from sklearn.cluster import KMeans

        if len(vectors) < k:
            raise DataError(f"expected {k} tokens or more for as many clusters, found {len(vectors)}")
        found = KMeans(k, n_init=4, random_state=seed).fit(vectors)
        members = [found.labels_ == i for i in range(k)]
        order = np.argsort([level[one].mean() if one.any() else np.inf for one in members], kind="stable")
        return cls(centres=found.cluster_centers_[order])

    def of_tokens(self, vectors: np.ndarray) -> np.ndarray:
        """The nearest centre of each, int (...)."""
        flat = vectors.reshape(-1, vectors.shape[-1])
        distance = (self.centres**2).sum(1) - 2 * flat @ self.centres.T
        return np.asarray(distance.argmin(1).reshape(vectors.shape[:-1]))


def fitted(seen: Sequence[Seen], *, k: int, seed: int) -> tuple[Palette, Clusters]:
    """Components and clusters of the tokens of all images, so that both mean the same in each."""
    vectors, places = sample(seen, FIT_TOKENS, rng=np.random.default_rng([seed, _PCA]))
    if len(vectors) < k:
        raise DataError(f"expected {k} valid tokens or more for as many clusters, found {len(vectors)}")
    level = np.zeros(len(vectors))
    for number, one in enumerate(seen):
        mine = places[:, 0] == number
        level[mine] = one.tokens().level_db[places[mine, 1], places[mine, 2]].mean(-1)
    start = int(np.random.SeedSequence([seed, _KMEANS]).generate_state(1)[0])
    return Palette.of(vectors), Clusters.of(vectors, level, k=k, seed=start)


def draw_maps(
    folder: Path,
    seen: Sequence[Seen],
    palette: Palette,
    clusters: Clusters,
    told: dict[str, str],
) -> None:
    """Write attention_, pca_ and clusters_ of each image as GeoTIFF and PNG into `folder`."""
    for one in seen:
        tokens = one.tokens()
        when = {} if np.isnat(one.image.time) else {"time": f"{one.image.time.astype('datetime64[s]')}Z"}
        tags = {**told, **one.image.facts, **when, "image": one.image.name}
        shown = pictures(one)
        title = " · ".join([one.image.place, *(when.values()), *one.image.facts.values()])
        _attention(folder, one, tokens, tags, shown, title)
        _components(folder, one, tokens, tags, shown, title, palette)
        _clusters(folder, one, tokens, tags, shown, title, clusters)


def pictures(one: Seen) -> list[Panel]:
    """The image itself: of each polarisation the first band, ratios last."""
    stack, time = one.image.load()
    rows, cols = one.grid.image
    kinds = [name.split()[0] for name in one.bands]
    bands = sorted({kinds.index(kind) for kind in kinds}, key=lambda i: "-" in kinds[i])[:SHOWN]
    found = []
    for band in bands:
        power, valid = mean_power(stack, [time], band, ((0, rows), (0, cols)), max_side=_SIDE)
        grey = one.image.picture
        found.append(
            Panel(
                title=one.bands[band] if grey else f"{one.bands[band]}, dB",
                values=np.where(valid, to_db(power), np.nan),
                kind="grey" if grey else "db",
            )
        )
    return found


def _attention(
    folder: Path, one: Seen, tokens: Tokens, tags: dict[str, str], shown: list[Panel], title: str
) -> None:
    maps = np.where(tokens.valid[..., None], tokens.looks, np.nan)
    _tif(folder / f"attention_{one.image.name}.tif", one, maps, tags, one.maps)
    alone = len({name.split("_")[0] for name in one.maps}) == 1
    panels = [
        Panel(title=name.partition("_")[2].replace("_", " ") if alone else name.replace("_", " "),
              values=maps[..., i], kind="looks")
        for i, name in enumerate(one.maps)
    ]  # fmt: skip
    last = int(tags["depth"]) - 1
    note = f"block {tags['block']} of 0 to {last}; 1: an even look; each panel has a scale of its own"
    draw_panels(
        folder / f"attention_{one.image.name}.png", [*shown, *panels], title=f"Attention · {title}", note=note
    )


def _components(
    folder: Path,
    one: Seen,
    tokens: Tokens,
    tags: dict[str, str],
    shown: list[Panel],
    title: str,
    palette: Palette,
) -> None:
    rgb = np.where(tokens.valid[..., None], palette.colours(tokens.vectors), np.nan)
    shares = " ".join(f"{share:.4f}" for share in palette.explained)
    names = tuple(f"component {i + 1}" for i in range(COLOURS))
    _tif(folder / f"pca_{one.image.name}.tif", one, rgb, {**tags, "explained_variance": shares}, names)
    told = ", ".join(f"{share:.0%}" for share in palette.explained)
    draw_panels(
        folder / f"pca_{one.image.name}.png",
        [*shown, Panel(title="components 1, 2, 3 as RGB", values=rgb, kind="rgb")],
        title=f"Principal components of tokens · {title}",
        note=f"explained variance {told}; one fit and one stretch for all images",
    )


def _clusters(
    folder: Path,
    one: Seen,
    tokens: Tokens,
    tags: dict[str, str],
    shown: list[Panel],
    title: str,
    clusters: Clusters,
) -> None:
    k = len(clusters.centres)
    found = np.where(tokens.valid, clusters.of_tokens(tokens.vectors), np.nan)
    path = folder / f"clusters_{one.image.name}.tif"
    _tif(path, one, found[..., None], {**tags, "clusters": str(k)}, ("cluster",), categorical=True)
    draw_panels(
        path.with_suffix(".png"),
        [*shown, Panel(title=f"{k} clusters", values=found, kind="classes", names=tuple(map(str, range(k))))],
        title=f"k-means of tokens · {title}",
        note="one fit for all images; 0 is the darkest on average",
    )


def _tif(path: Path, one: Seen, maps: np.ndarray, tags: dict[str, str], names: Any, **how: bool) -> None:
    """Maps (row, col, map) as a Cloud-Optimised GeoTIFF."""
    cells = maps.transpose(2, 0, 1).astype(np.float32)
    write_cog(
        path, Painted(cells, one.grid), cells_geobox(one.grid, one.geobox), tags=tags, bands=names, **how
    )
