"""Emergent segmentation: do attention maps outline land cover better than Otsu on the radar image itself?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import DataError, ProductError, SettingsError
from sarcast.evaluate.emergent import (
    SIDES,
    Cells,
    Masks,
    Parts,
    Way,
    best_cut,
    in_halves,
    jaccard,
    optimistic,
    otsu,
    overlaps,
    sides,
)
from sarcast.publish.figures import mean_power
from sarcast.readers.chip_files import ChipFile, Images
from sarcast.sar.decibel import to_db
from sarcast.steps.look_maps import Clusters, fitted
from sarcast.steps.look_sources import Image
from sarcast.steps.look_tokens import Seen

if TYPE_CHECKING:
    from sarcast.steps.look import Look

OWN, RANDOM = "attention", "attention, random weights"
LEVEL, PIXELS = "backscatter of tokens", "backscatter of pixels"
THRESHOLDS = ("", ", one threshold for all")
"""Otsu's, of each chip by itself or of all chips."""
_CELLS = 4096
"""Of each chip, behind one threshold for all."""
CLUSTERED = ("clusters of tokens", "clusters of tokens, random weights", "clusters of backscatter")
_COUNTS = dict[str, list[np.ndarray]]
"""Group or map -> for each chip (2, way, class): overlap and union."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """Labels of every chip."""

    names: tuple[str, ...]
    """Of classes 0, 1, ..."""
    images: tuple[np.ndarray, ...]
    """int (y, x) of each chip; -1 where there is none."""

    def cells(self, number: int, index: np.ndarray) -> Cells:
        """Counts of one chip's labels by cell; `index` (y, x) says which cell a pixel is in."""
        image, kinds = self.images[number], len(self.names)
        cells = int(index.max()) + 1
        at = (index * (kinds + 1) + image + 1).ravel()
        found = np.bincount(at, minlength=cells * (kinds + 1)).reshape(cells, kinds + 1)[:, 1:]
        return Cells(hits=found, counts=found.sum(1), totals=found.sum(0))

    def commonest(self, number: int, one: Seen) -> np.ndarray:
        """Class of most labelled pixels of each token, int (row, col); -1 where there are none."""
        hits = self.cells(number, token_index(one)).hits
        return np.where(hits.any(1), hits.argmax(1), -1).reshape(one.shape)


def read_labels(settings: Look, images: Sequence[Image], classes: dict[int, str]) -> Labels:
    """Label images of every chip.

    Raises:
        ProductError: One cannot be read, has another size or grid, or a number that is no class.
        SettingsError: A class to judge is not among them.
        DataError: None of the classes to judge is on any chip.
    """
    unknown = [name for name in settings.judge if name not in classes.values()]
    if unknown:
        raise SettingsError(f"expected --judge among {', '.join(classes.values())}, found {unknown[0]!r}")
    codes, found = np.array(list(classes)), []
    with Images() as files:
        for one in images:
            assert one.labels is not None
            image, chip = files.read(ChipFile(path=one.labels)), one.load()[0].geobox
            same_grid = image.grid is None or (
                str(chip.crs) == image.grid[0] and np.allclose(image.grid[1:], chip.transform[:6])
            )
            if image.valid.shape != tuple(chip.shape) or not same_grid:
                raise ProductError(
                    f"expected the size and grid of the chip {one.name}, found another, in {one.labels}"
                )
            valid = image.valid & ~np.isin(image.values[0], settings.ignored)
            other = np.setdiff1d(image.values[0][valid], codes)
            if other.size:
                raise ProductError(
                    f"expected labels among {', '.join(map(str, codes))}, found {other[0]}, in {one.labels}"
                )
            index = (image.values[0][..., None] == codes).argmax(-1)
            found.append(np.where(valid, index, -1))
    labels = Labels(names=tuple(classes.values()), images=tuple(found))
    if not any(
        (image == labels.names.index(name)).any() for image in found for name in _wanted(settings, labels)
    ):
        raise DataError(f"expected labels of {', '.join(_wanted(settings, labels))}, found none on any chip")
    return labels


def token_index(one: Seen) -> np.ndarray:
    """Which token, counted row by row, a pixel is in, int (y, x)."""
    rows, cols = (
        np.minimum(np.arange(side) // one.grid.patch, count - 1)
        for side, count in zip(one.grid.image, one.shape, strict=True)
    )
    return np.asarray(rows[:, None] * one.shape[1] + cols)


def emergent(
    settings: Look, seen: Sequence[Seen], control: Sequence[Seen], labels: Labels, clusters: Clusters
) -> dict[str, Any]:
    """How well maps outline each class, beside Otsu on the image, clusters and random weights."""
    cells = [labels.cells(i, token_index(one)) for i, one in enumerate(seen)]
    totals = np.stack([one.totals for one in cells])
    masks, cuts, names = _masks(seen, control, labels)
    parts = _parts(settings, seen, control, cells, clusters)
    judged = [
        i for i, name in enumerate(labels.names) if totals[:, i].any() and name in _wanted(settings, labels)
    ]
    return {
        "chips": len(seen),
        "splits": settings.splits,
        "resamples": settings.resamples,
        "classes": {
            labels.names[i]: _of_class(settings, i, masks, cuts, names, parts, totals) for i in judged
        },
    }


def _wanted(settings: Look, labels: Labels) -> tuple[str, ...]:
    return settings.judge or labels.names


def _of_class(
    settings: Look,
    kind: int,
    masks: _COUNTS,
    cuts: _COUNTS,
    names: dict[str, tuple[str, ...]],
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]],
    totals: np.ndarray,
) -> dict[str, Any]:
    """Figures of one class: rows by way to find it, and every single map."""
    ways: list[Way] = []
    for group, counts in masks.items():
        every = np.stack(counts)[..., kind]
        ways.append(Masks(name=group, ways=names[group], overlap=every[:, 0], union=every[:, 1]))
    for group, both in parts.items():
        held, size = np.stack([hits[:, kind] for hits, _ in both]), np.stack([count for _, count in both])
        ways.append(Parts(name=group, hits=held, counts=size, totals=totals[:, kind]))
    present = totals[:, kind] > 0
    figures = in_halves(
        ways, present, splits=settings.splits, resamples=settings.resamples, seed=settings.seed
    )
    rows = []
    for number, way in enumerate(ways):
        which, best = optimistic(way)
        told = dict.fromkeys(("value", "low", "high")) if figures is None else figures[number]
        rows.append({"way": way.name, **told, "optimistic": best, "optimistic_which": which})
    return {
        "pixels": int(totals[:, kind].sum()),
        "chips": int(present.sum()),
        "rows": rows,
        "maps": [one for way in ways if isinstance(way, Masks) for one in _single(way, cuts, kind, present)],
    }


def _single(way: Masks, cuts: _COUNTS, kind: int, present: np.ndarray) -> list[dict[str, Any]]:
    """Every map of a group by Otsu, on all chips; and, mean over chips with the class, at the best threshold.

    The best threshold of each chip is chosen on the labels it is judged by: a bound.
    """
    every = jaccard(way.overlap.sum(0), way.union.sum(0))
    where = jaccard(way.overlap, way.union)[present].mean(0)
    found: list[dict[str, Any]] = []
    for i, name in enumerate(way.ways):
        one = {"way": way.name, "map": name, "otsu": float(every[i]), "otsu_where_present": float(where[i])}
        if way.name in cuts:
            best = np.stack(cuts[way.name])[present][..., i // len(THRESHOLDS), kind]
            one["best_thresholds_chosen_on_labels"] = float(jaccard(best[:, 0], best[:, 1]).mean())
        found.append(one)
    return found


def _masks(
    seen: Sequence[Seen], control: Sequence[Seen], labels: Labels
) -> tuple[_COUNTS, _COUNTS, dict[str, tuple[str, ...]]]:
    """(overlaps by Otsu, at the best thresholds, names of the ways) of every group of maps."""
    masks: _COUNTS = {}
    cuts: _COUNTS = {}
    names: dict[str, tuple[str, ...]] = {}
    shared = _shared_limits(seen, control)
    for number, pair in enumerate(zip(seen, control, strict=True)):
        for group in _groups(*pair):
            cells = labels.cells(number, group.index)
            counts, best = [], []
            for one, limit in zip(group.values.T, shared[group.name], strict=True):
                own = otsu(one[group.known]) if group.known.any() else limit
                own_sides, all_sides = (
                    np.stack(sides(one, group.known, cells, limit=t), 1) for t in (own, limit)
                )
                for at, side in enumerate(SIDES):
                    counts += [own_sides[at], all_sides[at]]
                    best.append(best_cut(one, group.known, cells, high=side == "high"))
            masks.setdefault(group.name, []).append(np.stack(counts, 1))
            cuts.setdefault(group.name, []).append(np.stack(best, 1))
            names[group.name] = tuple(
                f"{name} {side}{how}" for name in group.maps for side in SIDES for how in THRESHOLDS
            )
        every = labels.cells(number, token_index(pair[0]))
        whole = overlaps(np.ones(len(every.counts), bool), every)
        masks.setdefault("everything", []).append(np.stack(whole)[:, None])
        names["everything"] = ("everything",)
    return masks, cuts, names


@dataclass(frozen=True, kw_only=True, eq=False)
class _Group:
    """Maps of one kind over one chip."""

    name: str
    maps: tuple[str, ...]
    values: np.ndarray
    """(cell, map)."""
    known: np.ndarray
    """bool (cell,)."""
    index: np.ndarray
    """int (y, x): which cell a pixel is in."""


def _groups(own: Seen, other: Seen) -> list[_Group]:
    """Maps that may outline a class: attention, that of random weights, backscatter of tokens, of pixels."""
    tokens, index = own.tokens(), token_index(own)
    level = _with_mean(tokens.level_db, own.bands)
    bands = (*own.bands, "mean of bands")
    some = ((OWN, tokens.looks, own.maps), (RANDOM, other.tokens().looks, own.maps), (LEVEL, level, bands))
    found = [
        _Group(
            name=name,
            maps=maps,
            values=values.reshape(-1, values.shape[-1]),
            known=tokens.valid.ravel(),
            index=index,
        )
        for name, values, maps in some
    ]
    pixels, valid = _pixels(own)
    single = np.arange(valid.size).reshape(valid.shape)
    return [*found, _Group(name=PIXELS, maps=bands, values=pixels, known=valid.ravel(), index=single)]


def _shared_limits(seen: Sequence[Seen], control: Sequence[Seen]) -> dict[str, list[float]]:
    """Otsu's threshold of every map over all chips together, from some cells of each."""
    some: dict[str, list[np.ndarray]] = {}
    for pair in zip(seen, control, strict=True):
        for group in _groups(*pair):
            known = group.values[group.known]
            few = np.linspace(0, len(known) - 1, min(_CELLS, len(known))).astype(int)
            some.setdefault(group.name, []).append(known[few])
    return {name: [otsu(one) for one in np.concatenate(values).T] for name, values in some.items()}


def _pixels(one: Seen) -> tuple[np.ndarray, np.ndarray]:
    """(dB (pixel, band) of every band and their mean, valid (y, x))."""
    stack, time = one.image.load()
    rows, cols = one.grid.image
    box = ((0, rows), (0, cols))
    found = [mean_power(stack, [time], i, box, max_side=max(rows, cols)) for i in range(len(one.bands))]
    db = np.stack([to_db(power) for power, _ in found], -1)
    return _with_mean(db, one.bands).reshape(rows * cols, -1), found[0][1]


def _with_mean(db: np.ndarray, bands: Sequence[str]) -> np.ndarray:
    """Levels (..., band), dB, and after them the mean of those bands that are no ratios of others."""
    level = [i for i, band in enumerate(bands) if "-" not in band] or list(range(len(bands)))
    return np.concatenate([db, db[..., level].mean(-1, keepdims=True)], -1)


def _parts(
    settings: Look, seen: Sequence[Seen], control: Sequence[Seen], cells: Sequence[Cells], clusters: Clusters
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Of clusters of the encoder's tokens, of random ones, and of levels: counts of each chip.

    They are (cluster, class) and (cluster,). Clusters are found over all chips, without labels.
    """
    k, seed = settings.clusters, settings.seed
    _, of_random = fitted(control, k=k, seed=seed)
    every = [one.tokens() for one in seen]
    levels = np.concatenate([one.level_db[one.valid] for one in every])
    of_levels = Clusters.of(levels, _with_mean(levels, seen[0].bands)[:, -1], k=k, seed=seed)
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in CLUSTERED}
    for own, other, under in zip(every, control, cells, strict=True):
        named = (
            clusters.of_tokens(own.vectors),
            of_random.of_tokens(other.tokens().vectors),
            of_levels.of_tokens(own.level_db),
        )
        for name, which in zip(CLUSTERED, named, strict=True):
            one_hot = (which[..., None] == np.arange(k)) & own.valid[..., None]
            weight = one_hot.reshape(-1, k).T.astype(np.int64)
            found[name].append((weight @ under.hits, weight @ under.counts))
    return found
