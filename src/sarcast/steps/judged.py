"""What is judged of a run: its places, the scores of every encoder-detector pair, and their common cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import ArtefactError
from sarcast.runtime.artefact import require
from sarcast.stack.cells import read_scores
from sarcast.steps.learn import split_of

if TYPE_CHECKING:
    from sarcast.evaluate.onset import JudgedCells
    from sarcast.values import Labels, Scores

SCORES = "scores.zarr"
COMPARE = "compare"


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """One stack of a run, and the pairs that scored the same dates and cells of it."""

    name: str
    run: Path
    own: Scores
    """The run's own scores, valid only where every pair has a score."""
    pairs: dict[str, Path]
    """ENCODER-DETECTOR -> scores.zarr; the run's own first, then the comparisons by name."""
    words: dict[str, tuple[str, str]]
    """ENCODER-DETECTOR -> (encoder, detector)."""
    left_out: tuple[str, ...]
    """Comparisons that cannot be judged on the same cells, and why."""
    judged: np.ndarray
    """bool (time,)."""
    usable: np.ndarray
    """bool (time,)."""
    history: np.ndarray
    """bool (time,)."""

    @property
    def folder(self) -> Path:
        """Of the stack."""
        return self.pairs[next(iter(self.pairs))].parent

    def flat(self, pair: str, index: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Scores and, where calibrated, -log10 p of some cells (flat indices of (time, row, col))."""
        scores = read_scores(self.pairs[pair])
        p = None if scores.p_value is None else -np.log10(scores.p_value.ravel()[index].astype(np.float64))
        return scores.values.ravel()[index], p


def places_of(run: Path) -> list[Place]:
    """Every scored stack of a run.

    Raises:
        ArtefactError: There is none, or one is unfinished.
    """
    stores = sorted((run / "stacks").glob(f"*/{SCORES}"))
    if not stores:
        raise ArtefactError(f"expected the folder of a run, found no scores, in {run}")
    return [_place(run, require(store)) for store in stores]


def judged_cells(scores: Scores, labels: Labels, *, judged: np.ndarray, usable: np.ndarray) -> JudgedCells:
    """Positives and negatives of one stack: cells an event covers at its onset, cells nothing touched.

    Args:
        scores: With what is valid.
        labels: In the CRS of the scores.
        judged: bool (time,).
        usable: bool (time,).
    """
    from rasterio.features import geometry_mask

    from sarcast.evaluate.onset import cell_cover, onset_cells, onset_index

    shape, transform = tuple(scores.geobox.shape), scores.geobox.transform
    cover = np.zeros((len(labels.labels), *scores.grid.shape))
    for i, label in enumerate(labels.labels):
        mask = geometry_mask([label.geometry], out_shape=shape, transform=transform, invert=True)
        cover[i] = cell_cover(mask, scores.grid)
    onset = np.array([onset_index(scores.times.time, label.onset) for label in labels.labels], np.int64)
    return onset_cells(cover, onset, valid=scores.valid, judged=judged & usable)


def cell_area_m2(scores: Scores) -> float:
    """Area a cell stands for, square metres: a stride by a stride of pixels, at the centre of the scene."""
    from pyproj import Geod
    from shapely import affinity, box

    rows, cols = scores.geobox.shape
    side, a = scores.grid.stride, scores.geobox.transform
    square = box(cols / 2, rows / 2, cols / 2 + side, rows / 2 + side)
    shape = affinity.affine_transform(square, [a.a, a.b, a.d, a.e, a.c, a.f])
    crs = scores.geobox.crs
    if crs is not None and not crs.projected:
        return abs(float(Geod(ellps="WGS84").geometry_area_perimeter(shape)[0]))
    return float(shape.area)


def _place(run: Path, store: Path) -> Place:
    own = read_scores(store)
    name = _pair(own)
    pairs, words, left_out = {name: store}, {name: (own.encoder, own.detector)}, []
    valid = [own.valid]
    for other in sorted((store.parent / COMPARE).glob(f"*/{SCORES}")):
        scores = read_scores(require(other))
        why = _why_not(own, scores) or ("the run's own pair" if other.parent.name in pairs else None)
        if why is not None:
            left_out.append(f"{other.parent.name}: {why}")
            continue
        pairs[other.parent.name] = other
        words[other.parent.name] = (scores.encoder, scores.detector)
        valid.append(scores.valid)
    split, usable = split_of(own.times, store.parent)
    return Place(
        name=store.parent.name,
        run=run,
        own=replace(own, valid=reduce(np.logical_and, valid)),
        pairs=pairs,
        words=words,
        left_out=tuple(left_out),
        judged=split.judge,
        usable=usable,
        history=split.fit,
    )


def _pair(scores: Scores) -> str:
    return f"{scores.encoder}-{scores.detector}"


def _why_not(own: Scores, other: Scores) -> str | None:
    """Why a comparison is not on the same cells; None when it is."""
    if own.grid != other.grid or own.geobox != other.geobox:
        return f"other cells ({other.grid.patch} px, stride {other.grid.stride})"
    if own.times.scene_id != other.times.scene_id:
        return f"other dates ({len(other.times)})"
    return None


def plain(value: Any) -> Any:
    """What JSON can hold: values as dictionaries, arrays as lists, None for what is not finite."""
    from dataclasses import asdict, is_dataclass

    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, np.datetime64):
        return f"{np.datetime_as_string(value, unit='ns')}Z"
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    return None if isinstance(value, float) and not np.isfinite(value) else value
