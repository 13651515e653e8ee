"""sarcast look: what an encoder sees: attention, components, clusters, latents; judged by labels."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from sarcast.errors import SettingsError
from sarcast.runtime.artefact import file_hash, locked, up_to_date, write_json, writing
from sarcast.runtime.settings import Settings, as_json
from sarcast.sar.world_cover import WORLD_COVER

if TYPE_CHECKING:
    from sarcast.nn.pretrained import Pretrained
    from sarcast.steps.look_sources import Image

NAME, ESTIMATES = "look", "estimates.json"
_PLACES = ("source", "labels", "weights", "out")
"""Settings that name places: what lies there decides."""


class Look(Settings):
    """Draw what an encoder sees in images, and judge it by labels where there are any."""

    source: Path
    """Run folder, stack.zarr, or folder of chips: PNG, JPEG, GeoTIFF, seasonal tiles."""
    weights: Path = Path("sarcast-tiny")
    """Encoder: a folder, or the name of one that comes with sarcast."""
    out: Path = Path("sarcast-look")
    """Folder for look/."""
    labels: Path | None = None
    """Folder of label images with the names and grids of the chips."""
    classes: dict[int, str] | None = None
    """Number in the label images -> class, such as 1 water 2 trees; those of WorldCover when not given."""
    ignored: tuple[int, ...] = ()
    """Numbers in label images that stand for no label."""
    judge: tuple[str, ...] = ()
    """Classes to judge maps by, such as water; all when not given."""
    unit: Literal["picture", "db", "power", "amplitude"] | None = None
    """Of the chips' numbers; PNG and JPEG are pictures, TIFF must be told."""
    channels: tuple[str, ...] = ()
    """Names of the chips' channels; VV VH where there are two."""
    block: int = -1
    """Transformer block whose heads are shown; -1 is the last."""
    window: int | None = Field(None, ge=1)
    """Tokens a side of a window; as in training when not given. Attention is shared out within a window."""
    halo: int | None = Field(None, ge=0)
    """Tokens at the border of a window that only serve as surroundings; a quarter of it when not given."""
    maps: int = Field(24, ge=1)
    """At most so many images get maps, spread evenly; fits, latents and judgement use all."""
    clusters: int = Field(6, ge=2, le=24)
    """Of k-means."""
    latents: Literal["tsne", "umap"] = "tsne"
    """How latents become points; umap needs umap-learn."""
    points: Literal["images", "tokens"] | None = None
    """What a point is; images where there are 30 or more, when not given."""
    most_points: int = Field(1500, ge=8)
    """Tokens shown, as many of each image."""
    perplexity: float = Field(30.0, gt=0)
    """Of t-SNE: about how many neighbours count; less where points are few."""
    splits: int = Field(50, ge=1)
    """Halvings of the chips into those chosen on and those judged on."""
    resamples: int = Field(500, ge=20)
    """Of the chips, behind every interval."""
    seed: int = 0
    """Of everything drawn, the random control too."""


def look(settings: Look) -> dict[str, Any]:
    """Write look/ and give its estimates; with the same settings and data it is only read.

    It holds attention_, pca_ and clusters_ of each image as Cloud-Optimised GeoTIFF and PNG, latents.parquet,
    latents.png and estimates.json.

    Raises:
        SettingsError: Settings do not go together or with the weights, or umap-learn is missing.
        DataError: Too few tokens, or the network sees another number of channels.
        SarcastError: Source, labels or weights cannot be read.
    """
    from sarcast.nn.pretrained import load_encoder, weight_files
    from sarcast.steps.look_latents import require_method
    from sarcast.steps.look_sources import as_seen, images_of, unit_of

    require_method(settings.latents)
    _check(settings)
    network = as_seen(load_encoder(settings.weights), unit_of(settings))
    images = images_of(settings, network)
    said = {key: value for key, value in as_json(settings).items() if key not in _PLACES}
    inputs = {f"weights {path.name}": file_hash(path) for path in weight_files(settings.weights)}
    inputs |= {f"image {one.name}": one.content for one in images}
    inputs |= {f"labels {one.name}": file_hash(one.labels) for one in images if one.labels}
    target = settings.out / NAME
    if not up_to_date(target, settings=said, inputs=inputs):
        with (
            locked(settings.out),
            writing(target, settings=said, inputs=inputs, seed=settings.seed) as partial,
        ):
            partial.mkdir()
            write_json(partial / ESTIMATES, _make(settings, network, images, partial))
    found = json.loads((target / ESTIMATES).read_text(encoding="utf-8"))
    return {**found, "look": str(target)}


def as_text(found: dict[str, Any]) -> str:
    """Where the pictures are and, with labels, a table for each class."""
    shares = ", ".join(f"{share:.0%}" for share in found["pca"]["explained_variance"])
    lines = [f"{found['images']} images, components explain {shares} of the tokens' variance"]
    judged = found["emergent"]
    for name, one in (judged or {"classes": {}})["classes"].items():
        table = [[name, "Jaccard on other chips", "best on all chips (optimistic)"]]
        for row in one["rows"]:
            told = (
                "-" if row["value"] is None else f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
            )
            table.append([row["way"], told, f"{row['optimistic']:.3f} {row['optimistic_which']}"])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines += [
            "",
            *("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in table),
        ]
    return "\n".join([*lines, "", f"maps and figures: {found['look']}"])


def _check(settings: Look) -> None:
    given = [name for name in ("classes", "judge", "ignored") if getattr(settings, name)]
    if given and settings.labels is None:
        raise SettingsError(f"expected --labels with --{given[0]}, found none")


def _make(settings: Look, network: Pretrained, images: list[Image], folder: Path) -> dict[str, Any]:
    """Everything but estimates.json, which is given."""
    from sarcast.encoders.chips import untrained
    from sarcast.steps.look_latents import draw_latents
    from sarcast.steps.look_maps import draw_maps, fitted
    from sarcast.steps.look_scores import emergent, read_labels
    from sarcast.steps.look_tokens import see

    judged, labels = None, None
    if settings.labels:
        labels = read_labels(settings, images, settings.classes or WORLD_COVER)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tokens-") as work:
        seen = see(settings, network, images, Path(work) / "own")
        palette, clusters = fitted(seen, k=settings.clusters, seed=settings.seed)
        some = np.unique(np.linspace(0, len(seen) - 1, min(settings.maps, len(seen))).round().astype(int))
        draw_maps(folder, [seen[i] for i in some], palette, clusters, _told(settings, network))
        if labels:
            control = see(settings, untrained(network, seed=settings.seed), images, Path(work) / "random")
            judged = emergent(settings, seen, control, labels, clusters)
        classes = [labels.commonest(i, one) for i, one in enumerate(seen)] if labels else None
        latents = draw_latents(folder, settings, seen, classes, labels.names if labels else ())
    return {
        "weights": _name(settings.weights),
        "images": len(seen),
        "maps": [seen[i].image.name for i in some],
        "token": network.vit.patch,
        "window": settings.window or network.window,
        "block": settings.block,
        "pca": {"explained_variance": [float(share) for share in palette.explained]},
        "clusters": settings.clusters,
        "latents": latents,
        "emergent": judged,
    }


def _told(settings: Look, network: Pretrained) -> dict[str, str]:
    """Tags of every map."""
    depth = len(network.vit.blocks)
    return {
        "weights": _name(settings.weights),
        "block": str(settings.block % depth),
        "depth": str(depth),
        "window": str(settings.window or network.window),
        "token": str(network.vit.patch),
        "seed": str(settings.seed),
    }


def _name(weights: Path) -> str:
    """Of an encoder: its folder's, or that of the training it lies in."""
    return weights.parent.name if weights.name == "encoder" else weights.name
