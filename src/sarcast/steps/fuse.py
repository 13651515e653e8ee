"""sarcast fuse: several scores of one stack become one, on the finest cells, calibrated on history again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from sarcast.decide.fuse import Combination
from sarcast.decide.nulls import How
from sarcast.errors import SettingsError
from sarcast.runtime.artefact import (
    content_hash,
    locked,
    recover,
    require,
    up_to_date,
    writing,
)
from sarcast.runtime.settings import Settings, as_json
from sarcast.steps.dates import date_hashes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sarcast.decide.fuse import Fusion
    from sarcast.values import PatchGrid, Scores

_MODEL, _QUALITY = "detector", "quality.json"


class Fusing(Settings):
    """How several scores become one."""

    how: Combination = "stouffer"
    """What p-values become: stouffer (mean of their normal variates), mean (of -log10 p), max (the smallest,
    corrected for having looked often) or cauchy."""
    weights: tuple[float, ...] | None = None
    """One for each of the scores; all alike when not given. max knows none."""
    cell_px: int | None = Field(None, ge=1)
    """Side of a cell of the result, pixels; 1 is a map at full resolution. The finest's when not given."""


class Fuse(Fusing):
    """Fuse scores of one stack."""

    scores: tuple[Path, ...]
    """Stores to fuse (scores.zarr), of the same dates; two or more."""
    out: Path
    """scores.zarr to write; the fitted fusion comes beside it (detector/), and quality.json if none is."""
    calibration: How = "cell"
    """From fused scores to p-values, as in `sarcast score`."""


def fuse(settings: Fuse) -> Path:
    """Write the fused scores; a later date learns nothing anew and moves no earlier score.

    Raises:
        ArtefactError: Scores are missing or unfinished.
        DataError: Too little history.
        SettingsError: Fewer than two stores, or weights that do not fit.
        ShapeError: Scores of other dates, stacks or cells.
    """
    from sarcast.stack.cells import read_scores, write_scores
    from sarcast.steps.calibrated import read_calibration

    stores = [require(path) for path in settings.scores]
    _check(settings)
    target = settings.out
    parts = [read_scores(path) for path in stores]
    with locked(target.parent):
        _copy_quality(stores[0].parent, target.parent)
        model = _learn(settings, stores, parts)
        told = {"detector": "fused", **as_json(_fusing(settings))}
        inputs = {_MODEL: content_hash(model), **_hashes(stores, parts, ("score", "change_db"))}
        if up_to_date(target, settings=told, inputs=inputs):
            return target
        recover(target)
        fused = read_calibration(model).read(_load(model).fuse(parts))
        with writing(target, settings=told, inputs=inputs) as partial:
            write_scores(partial, fused)
    return target


def _check(settings: Fuse) -> None:
    if len(settings.scores) < 2:
        raise SettingsError(f"expected two or more scores to fuse, found {len(settings.scores)}")
    if settings.weights is None:
        return
    if len(settings.weights) != len(settings.scores) or not all(w > 0 for w in settings.weights):
        raise SettingsError(
            f"expected {len(settings.scores)} weights over 0, found {list(settings.weights)}, in fuse"
        )


def _fusing(settings: Fuse) -> Fusing:
    return Fusing(how=settings.how, weights=settings.weights, cell_px=settings.cell_px)


def _learn(settings: Fuse, stores: Sequence[Path], parts: Sequence[Scores]) -> Path:
    """The folder of the fitted fusion, fitted now unless history is as it was."""
    import numpy as np

    from sarcast.decide.calibration import calibrate
    from sarcast.decide.fuse import learn_fusion
    from sarcast.runtime.model import save_model
    from sarcast.steps.calibrated import write_calibration
    from sarcast.steps.learn import split_of

    target = settings.out.parent / _MODEL
    split, _ = split_of(parts[0].times, target.parent)
    past = np.flatnonzero(split.fit)
    names = {parts[0].times.scene_id[t] for t in past}
    hashes = _hashes(stores, parts, ())
    inputs = {name: value for name, value in hashes.items() if name.split(" ", 1)[1] in names}
    told = {
        **as_json(_fusing(settings)),
        "calibration": settings.calibration,
        "parts": [f"{part.detector} on {part.encoder}" for part in parts],
    }
    if up_to_date(target, settings=told, inputs=inputs):
        return target
    recover(target)
    before = [_take(part, past) for part in parts]
    fusion = learn_fusion(
        before,
        how=settings.how,
        weights=settings.weights,
        grid=_grid(settings, parts[0]),
    )
    calibration = calibrate(fusion.fuse(before), how=settings.calibration, local=False)
    with writing(target, settings=told, inputs=inputs) as partial:
        grid = fusion.grid
        config: dict[str, Any] = {
            "detector": "fused",
            **told,
            "grid": {"image": list(grid.image), "patch": grid.patch, "stride": grid.stride},
            "history_ids": list(calibration.history_ids),
        }
        arrays = {"weights": fusion.weights, "correlation": fusion.correlation}
        save_model(partial, config=config, arrays=arrays)
        write_calibration(partial, calibration)
    return target


def _load(folder: Path) -> Fusion:
    from sarcast.decide.fuse import Fusion
    from sarcast.runtime.model import load_model
    from sarcast.values import PatchGrid

    config, arrays = load_model(folder)
    grid = config["grid"]
    return Fusion(
        how=config["how"],
        weights=arrays["weights"],
        grid=PatchGrid(image=tuple(grid["image"]), patch=grid["patch"], stride=grid["stride"]),
        correlation=arrays["correlation"],
    )


def _grid(settings: Fuse, like: Scores) -> PatchGrid | None:
    from sarcast.values import PatchGrid

    side = settings.cell_px
    return None if side is None else PatchGrid(image=like.grid.image, patch=side, stride=side)


def _take(scores: Scores, index: Any) -> Scores:
    """The same for some of the times."""
    from dataclasses import replace

    names = ("values", "valid", "p_value", "change_db", "frame_score", "frame_p_value")
    some = {name: getattr(scores, name) for name in names}
    kept: dict[str, Any] = {name: None if a is None else a[index] for name, a in some.items()}
    return replace(scores, times=scores.times.take(index), **kept)


def _hashes(stores: Sequence[Path], parts: Sequence[Scores], arrays: tuple[str, ...]) -> dict[str, str]:
    """One hash for every part and date: "0 SCENE"."""
    arrays = ("valid", "p_value", *arrays)
    return {
        f"{k} {scene}": found
        for k, (store, part) in enumerate(zip(stores, parts, strict=True))
        for scene, found in date_hashes(store, part.times.scene_id, arrays).items()
    }


def _copy_quality(source: Path, folder: Path) -> None:
    """The end of history, beside scores that are written elsewhere."""
    path = source / _QUALITY
    if not (folder / _QUALITY).exists() and path.exists():
        (folder / _QUALITY).write_bytes(path.read_bytes())
