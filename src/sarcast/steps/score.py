"""sarcast score: how anomalous every date and cell is, with a p-value; dates already scored are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from sarcast.decide.nulls import How
from sarcast.detectors import DETECTORS
from sarcast.errors import SettingsError
from sarcast.runtime.artefact import (
    content_hash,
    finished,
    locked,
    recover,
    require,
    run_entry,
    up_to_date,
    writing,
)
from sarcast.runtime.settings import Settings
from sarcast.steps.dates import date_hashes
from sarcast.steps.learn import learn, load, split_of

if TYPE_CHECKING:
    from sarcast.decide.calibration import Calibration
    from sarcast.values import Features, Scores

NAME = "scores.zarr"
_MODEL = "detector"


class Score(Settings):
    """Score every date and cell of a stack's features."""

    features: Path
    """features.zarr to read; quality.json and stack.zarr beside it are used where they are."""
    out: Path | None = None
    """Where to write; scores.zarr beside the features when not given."""
    detector: str = "z_score"
    """Name of a detector (docs/concepts.md lists them), fitted now unless it was; or the folder of one."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the detector to fit, e.g. --options.neighbours 40."""
    calibration: How = "cell"
    """From scores to p-values. cell: each cell's scores made comparable by its own history, then as tail;
    tail: all cells together, with a fitted tail; pooled and conformal: shares of history's scores, of all
    cells and of those about as noisy."""
    local: bool | None = None
    """Take off each score what its whole frame did (the frame's own score is written beside). When not given,
    done where the detector does not centre on alike cells."""
    seed: int = 0
    """Of the random generator."""


def score(settings: Score) -> Path:
    """Write the scores, p-values and level changes; only new dates are scored while the detector stays.

    Raises:
        ArtefactError: The features or the detector are missing or unfinished.
        DataError: Too little history.
        SettingsError: The detector or an option is unknown.
    """
    from sarcast.stack.cells import read_features, write_scores

    require(settings.features)
    target = settings.out or settings.features.parent / NAME
    features = read_features(settings.features)
    model = _model(settings, target.parent)
    told = {"detector": settings.detector}
    hashes = date_hashes(settings.features, features.times.scene_id, ("feature", "valid"))
    inputs = {_MODEL: content_hash(model), **hashes}
    if up_to_date(target, settings=told, inputs=inputs):
        return target
    with locked(target.parent):
        recover(target)
        scorer, calibration = load(model)
        kept = _kept(target, told, features, inputs)
        scores = _scored(scorer, calibration, features, kept)
        scores = replace(scores, change_db=_change_db(features, settings.features.parent))
        with writing(target, settings=told, inputs=inputs, seed=settings.seed) as partial:
            write_scores(partial, scores)
    return target


def _model(settings: Score, folder: Path) -> Path:
    """The folder of the fitted detector, fitted now where a name is given."""
    if settings.detector not in DETECTORS:
        path = Path(settings.detector)
        if not path.is_dir():
            raise SettingsError(
                f"expected a detector in {', '.join(DETECTORS)} or the folder of a fitted one, "
                f"found {settings.detector!r}"
            )
        if settings.options:
            raise SettingsError("expected no options with a fitted detector, found some: it keeps its own")
        return path
    return learn(
        settings.features,
        folder / _MODEL,
        detector=settings.detector,
        options=settings.options,
        seed=settings.seed,
        calibration=settings.calibration,
        local=settings.local,
    )


def _kept(target: Path, told: dict[str, Any], features: Features, inputs: dict[str, str]) -> Scores | None:
    """Earlier scores by the same detector, up to the first date that is new or changed."""
    from sarcast import __version__
    from sarcast.stack.cells import read_scores

    entry = run_entry(target)
    before = entry.get("inputs", {})
    same_model = before.get(_MODEL) == inputs[_MODEL] and entry.get("settings") == told
    if not finished(target) or not same_model or entry.get("version") != __version__:
        return None
    earlier = read_scores(target)
    same = 0
    for old, new in zip(earlier.times.scene_id, features.times.scene_id, strict=False):
        if old != new or before.get(old) != inputs[new]:
            break
        same += 1
    if not same or earlier.geobox != features.geobox or earlier.p_value is None:
        return None
    first = np.arange(same)
    kept: dict[str, Any] = {name: None if a is None else a[first] for name, a in _arrays(earlier).items()}
    return replace(earlier, times=earlier.times.take(first), change_db=None, **kept)


def _scored(scorer: Any, calibration: Calibration, features: Features, kept: Scores | None) -> Scores:
    start = 0 if kept is None else len(kept.times)
    fresh = calibration.read(scorer.score(features, list(range(start, len(features.times)))))
    if kept is None:
        return fresh
    before, now = _arrays(kept), _arrays(fresh)
    whole: dict[str, Any] = {n: None if a is None else np.concatenate([before[n], a]) for n, a in now.items()}
    return replace(fresh, times=features.times, **whole)


def _arrays(scores: Scores) -> dict[str, Any]:
    """What scores hold for every date, but for the change of level."""
    names = ("values", "valid", "p_value", "frame_score", "frame_p_value")
    return {name: getattr(scores, name) for name in names}


def _change_db(features: Features, folder: Path) -> np.ndarray | None:
    """Level of every cell less its mean over history and the frame's median; mean of the bands, dB."""
    from sarcast.encoders.statistics import Statistics
    from sarcast.stack.store import read_stack

    level = [i for i, name in enumerate(features.names) if name.endswith("_mean")]
    if not level:
        if not (folder / "stack.zarr").exists():
            return None
        grid = features.grid
        means = Statistics(patch=grid.patch, stride=grid.stride, groups=("mean",))
        features = means.encode(read_stack(require(folder / "stack.zarr")))
        level = list(range(len(features.names)))
    values, valid = features.values[..., level].mean(-1), features.valid
    split, _ = split_of(features.times, folder)
    weight = valid & split.fit[:, None, None]
    usual = (values * weight).sum(0) / np.maximum(weight.sum(0), 1)
    change = np.where(valid & weight.any(0), values - usual, np.nan)
    for t in range(len(change)):
        seen = np.isfinite(change[t])
        if seen.any():
            change[t] -= np.median(change[t][seen])
    return np.nan_to_num(change, nan=0.0).astype(np.float32)
