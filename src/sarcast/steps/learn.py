"""Fit a detector to a stack's history and calibrate it on what history itself scores when left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.decide.calibration import Calibration, calibrate
from sarcast.decide.nulls import How
from sarcast.detectors import DETECTORS, SCORERS
from sarcast.errors import ArtefactError
from sarcast.runtime.artefact import locked, recover, require, up_to_date, writing
from sarcast.runtime.model import CONFIG
from sarcast.runtime.settings import as_json, build
from sarcast.steps.calibrated import read_calibration, write_calibration
from sarcast.steps.dates import date_hashes

if TYPE_CHECKING:
    from sarcast.values import Split, Times


def learn(
    features_path: Path,
    target: Path,
    *,
    detector: str,
    options: dict[str, Any],
    seed: int,
    calibration: How = "cell",
    local: bool | None = None,
) -> Path:
    """Write the fitted detector and its calibration; nothing is done when history is as it was.

    Args:
        features_path: features.zarr.
        target: Folder to write.
        detector: Its name.
        options: Its settings.
        seed: Of the random generator.
        calibration: How p-values come about.
        local: Take off what the whole frame did; None asks the detector whether it centres on alike cells.

    Raises:
        ArtefactError: The features are missing or unfinished.
        DataError: Too little history.
    """
    from sarcast.stack.cells import read_features

    require(features_path)
    features = read_features(features_path)
    split, _ = split_of(features.times, features_path.parent)
    chosen = build(DETECTORS[detector], options, where=f"detector {detector}")
    beside = not centres(chosen) if local is None else local
    told = {
        "detector": detector,
        "options": as_json(chosen),
        "seed": seed,
        "calibration": calibration,
        "local": beside,
    }
    hashes = date_hashes(features_path, features.times.scene_id, ("feature", "valid"))
    inputs = {
        scene: hashes[scene] if fit else f"{hashes[scene]} not learned from"
        for scene, fit, judge in zip(features.times.scene_id, split.fit, split.judge, strict=True)
        if not judge
    }
    if up_to_date(target, settings=told, inputs=inputs):
        return target
    with locked(target.parent):
        recover(target)
        scorer = chosen.fit(features, split, rng=np.random.default_rng(seed))
        history = scorer.score(features, [int(t) for t in np.flatnonzero(split.fit)])
        found = calibrate(history, how=calibration, local=beside)
        with writing(target, settings=told, inputs=inputs, seed=seed) as partial:
            scorer.save(partial)
            write_calibration(partial, found)
    return target


def load(folder: Path) -> tuple[Any, Calibration]:
    """A fitted detector and its calibration.

    Raises:
        ArtefactError: The folder is no fitted detector.
    """
    require(folder)
    try:
        name = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["detector"]
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise ArtefactError(
            f"expected a fitted detector, found a bad or missing {error}, in {folder}"
        ) from None
    return SCORERS[name].from_pretrained(folder), read_calibration(folder)


def centres(detector: Any) -> bool:
    """Whether a detector, or every member of an ensemble, takes off what alike cells did together."""
    members = getattr(detector, "members", ())
    if members:
        each = (build(DETECTORS[m.detector], m.options, where=f"detector {m.detector}") for m in members)
        return all(centres(one) for one in each)
    return any(getattr(detector, name, 0) for name in ("neighbours", "clusters"))


def split_of(times: Times, folder: Path) -> tuple[Split, np.ndarray]:
    """History and judged dates, and bool (time,) which dates passed the quality checks.

    The end of history, and the gap after it, are those stored in quality.json in `folder`; without that file
    history is the first half of the dates, all of them usable, and there is no gap.
    """
    from sarcast.stack.split import split_history
    from sarcast.stack.update import from_iso

    path = folder / "quality.json"
    usable = np.ones(len(times), bool)
    cutoff, gap_days = None, 0
    if path.exists():
        quality = json.loads(path.read_text(encoding="utf-8"))
        cutoff, gap_days = from_iso(quality["cutoff"]), int(quality.get("gap_days", 0))
        told = {one["scene_id"]: bool(one["usable"]) for one in quality["dates"]}
        usable = np.array([told.get(scene, True) for scene in times.scene_id])
    return split_history(times.time, usable, cutoff=cutoff, gap_days=gap_days), usable
