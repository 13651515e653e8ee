"""sarcast detect: scores become events in one table, with the threshold that was used beside each stack."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.decide.rules import Rules
from sarcast.errors import ArtefactError
from sarcast.runtime.artefact import (
    content_hash,
    file_hash,
    locked,
    recover,
    require,
    run_entry,
    up_to_date,
    write_json,
    writing,
)
from sarcast.runtime.settings import as_json

if TYPE_CHECKING:
    from sarcast.values import Detections, Scores

PARQUET, GEOJSON, THRESHOLD = "detections.parquet", "detections.geojson", "threshold.json"
_SCRATCH = ".detections-"


class Detect(Rules):
    """Turn scores into events."""

    scores: Path
    """Folder of a run (all its stacks), or one scores.zarr."""
    out: Path | None = None
    """Folder for detections.parquet and detections.geojson; that of the run or the scores when not given."""


def detect(settings: Detect) -> Path:
    """Write detections.parquet, detections.geojson, and threshold.json beside each stack's scores.

    Raises:
        ArtefactError: No scores, or scores without p-values.
    """
    stores = _stores(settings.scores)
    target = (
        settings.out or (settings.scores if settings.scores.suffix != ".zarr" else stores[0].parent)
    ) / PARQUET
    told = {name: value for name, value in as_json(settings).items() if name in Rules.model_fields}
    inputs = {f"{path.parent.name}/{path.name}": content_hash(path) for path in stores}
    inputs |= {
        f"{path.parent.name}/quality.json": file_hash(path.parent / "quality.json")
        for path in stores
        if (path.parent / "quality.json").exists()
    }
    geojson = target.with_name(GEOJSON)
    beside = [(path.with_name(THRESHOLD), {"scores": content_hash(path)}) for path in stores]
    made = [(target, inputs), (geojson, inputs), *beside]
    if all(up_to_date(path, settings=told, inputs=what) for path, what in made):
        return target
    found = [_one(path, settings, told) for path in stores]
    with locked(target.parent):
        recover(target)
        _write(target, geojson, found, told, inputs)
    return target


def _stores(source: Path) -> list[Path]:
    if source.suffix == ".zarr":
        return [require(source)]
    stores = sorted((source / "stacks").glob("*/scores.zarr"))
    if not stores:
        raise ArtefactError(f"expected the folder of a run or a scores.zarr, found no scores, in {source}")
    return [require(store) for store in stores]


def _one(path: Path, settings: Detect, told: dict[str, Any]) -> Detections:
    from sarcast.decide.events import find_events
    from sarcast.decide.threshold import set_threshold
    from sarcast.stack.cells import read_scores
    from sarcast.steps.calibrated import read_calibration
    from sarcast.steps.learn import split_of

    scores = read_scores(path)
    model = path.parent / "detector"
    if scores.p_value is None or not model.exists():
        raise ArtefactError(
            f"expected calibrated scores with their detector/ beside them, found none, in {path.parent}"
        )
    if run_entry(path).get("inputs", {}).get(model.name, content_hash(model)) != content_hash(model):
        raise ArtefactError(
            f"expected scores by the detector/ beside them, found scores by another one, in {path.parent}"
        )
    split, usable = split_of(scores.times, path.parent)
    rules, rate = _rules(settings, scores, split.fit)
    threshold = set_threshold(rules, read_calibration(model).null, scores)
    first = scores.times.time[split.judge][0]
    record = {
        "p_value": threshold.p_low,
        "p_value_high": threshold.p_high,
        "score": threshold.low,
        "score_high": threshold.high,
        "false_alarms": rules.false_alarms,
        "judged_from": f"{np.datetime_as_string(first, unit='ns')}Z",
        "rule": settings.rule,
        "confirm": settings.confirm,
        "patience": settings.patience,
        **rate,
    }
    if threshold.by_date is not None:
        record |= {"fdr": settings.fdr, "dependence": settings.dependence}
        record["by_date"] = dict(zip(scores.times.scene_id, threshold.by_date, strict=True))
    with writing(path.parent / THRESHOLD, settings=told, inputs={"scores": content_hash(path)}) as partial:
        write_json(partial, record)
    return find_events(scores, threshold, judged=split.judge, usable=usable, settings=settings)


def _rules(settings: Rules, scores: Scores, history: np.ndarray) -> tuple[Rules, dict[str, Any]]:
    """The rules with a rate by area and month as a share of cells, and what to record of it."""
    from sarcast.decide.threshold import rate_of

    wanted = settings.false_alarms_per_km2_month
    if wanted is None or settings.rule != "false_alarms":
        return settings, {}
    rate = rate_of(wanted, scores=scores, history=history)
    rules = settings.model_copy(update={"false_alarms": rate.false_alarms})
    told = {"cell_km2": rate.cell_km2, "acquisitions_per_month": rate.acquisitions_per_month}
    return rules, {"false_alarms_per_km2_month": wanted, **told}


def _write(
    target: Path, geojson: Path, found: list[Detections], told: dict[str, Any], inputs: dict[str, str]
) -> None:
    from sarcast.publish.vector import write_detections

    for left in target.parent.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left)
    with (
        writing(target, settings=told, inputs=inputs) as parquet,
        writing(geojson, settings=told, inputs=inputs) as features,
        tempfile.TemporaryDirectory(dir=target.parent, prefix=_SCRATCH) as scratch,
    ):
        made = Path(scratch) / PARQUET, Path(scratch) / GEOJSON
        write_detections(*made, found)
        for source, partial in zip(made, (parquet, features), strict=True):
            shutil.copyfile(source, partial)
