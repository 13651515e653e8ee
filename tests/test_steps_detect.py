"""detect: one table of events for all stacks, the threshold that was used beside each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import geopandas as gpd
import pytest

from sarcast.errors import ArtefactError, SarcastError
from sarcast.runtime.artefact import digest, verify
from sarcast.steps.detect import Detect, detect
from sarcast.steps.score import Score, score


@pytest.fixture
def out(small_run, tmp_path) -> Path:
    shutil.copytree(small_run / "run", tmp_path / "run")
    return tmp_path / "run"


def folder(out: Path) -> Path:
    (found,) = (out / "stacks").iterdir()
    return found


def test_again_does_nothing(out):
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.name != ".lock"}
    assert detect(Detect(scores=out)) == out / "detections.parquet"
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.name != ".lock"} == before


def test_looser_thresholds_find_more_and_coming_back_gives_the_same_bytes(out):
    path = out / "detections.parquet"
    first, strict = digest(path), len(gpd.read_parquet(path))
    detect(Detect(scores=out, false_alarms=0.05))
    verify(path)
    assert len(gpd.read_parquet(path)) > strict
    limit = json.loads((folder(out) / "threshold.json").read_text())
    assert limit["p_value"] == limit["false_alarms"] == 0.05
    detect(Detect(scores=out))
    assert digest(path) == first


def test_both_tables_say_the_same(out):
    detect(Detect(scores=out, false_alarms=0.05))
    parquet, geojson = gpd.read_parquet(out / "detections.parquet"), gpd.read_file(out / "detections.geojson")
    assert list(parquet.event_id) == list(geojson.event_id) and parquet.event_id.is_unique
    assert (parquet["stack"] == folder(out).name).all()
    assert set(parquet.direction) <= {"brighter", "darker", "texture"}
    assert (parquet.p_value <= 0.05).all()


def test_one_store_alone(out, tmp_path):
    path = detect(Detect(scores=folder(out) / "scores.zarr", out=tmp_path / "elsewhere"))
    assert path == tmp_path / "elsewhere" / "detections.parquet"
    assert list(gpd.read_parquet(path).event_id) == list(
        gpd.read_parquet(out / "detections.parquet").event_id
    )


def test_trying_other_thresholds_elsewhere_does_not_spoil_the_run(out, tmp_path):
    """The run's own threshold is what its table was made with, after the next detect at the latest."""
    detect(Detect(scores=folder(out) / "scores.zarr", out=tmp_path / "elsewhere", false_alarms=0.05))
    detect(Detect(scores=out))
    assert json.loads((folder(out) / "threshold.json").read_text())["p_value"] == 1e-3


def test_scores_of_another_detector_than_the_one_beside_them(out, tmp_path):
    """p-values by one model, threshold by another: refused, or the right one is used."""
    stack = folder(out)
    model = tmp_path / "model"
    shutil.copytree(stack, model)
    score(Score(features=model / "features.zarr", options={"pooled": 1.0, "neighbours": 5}))
    target = stack / "scores.zarr"
    score(Score(features=stack / "features.zarr", detector=str(model / "detector"), out=target))
    with pytest.raises(SarcastError, match="detector"):
        detect(Detect(scores=out))


def test_what_is_missing_is_said(out, tmp_path):
    with pytest.raises(ArtefactError):
        detect(Detect(scores=tmp_path))
    with pytest.raises(ArtefactError):
        detect(Detect(scores=tmp_path / "none.zarr"))
    shutil.rmtree(folder(out) / "detector")
    with pytest.raises(ArtefactError, match="detector"):
        detect(Detect(scores=out, false_alarms=0.01))


def test_no_events_are_a_table_too(out):
    path = detect(Detect(scores=out, false_alarms=1e-12, min_cells=500))
    table = gpd.read_parquet(path)
    assert len(table) == 0 and "event_id" in table.columns
    assert len(gpd.read_file(out / "detections.geojson")) == 0


def test_nothing_is_left_in_the_way(out):
    detect(Detect(scores=out, false_alarms=0.03))
    assert [p.name for p in out.glob(".*")] == [".lock"]


def recalibrated(out: Path, **told) -> None:
    score(Score(features=folder(out) / "features.zarr", **told))


@pytest.mark.parametrize("how", ["tail", "pooled", "cell", "conformal"])
def test_every_way_to_p_values_goes_through_to_the_report(out, how):
    import numpy as np

    from sarcast.stack.cells import read_scores
    from sarcast.steps.learn import load
    from sarcast.steps.publish import Publish, publish, read_run

    recalibrated(out, calibration=how)
    scores = read_scores(folder(out) / "scores.zarr")
    _, calibration = load(folder(out) / "detector")
    held = np.isin(scores.times.scene_id, calibration.history_ids)
    again = calibration.null.p_values(scores.values, scores.valid, held)
    np.testing.assert_array_equal(again.astype(np.float32), scores.p_value)
    detect(Detect(scores=out, false_alarms=0.01))
    limit = json.loads((folder(out) / "threshold.json").read_text())
    assert (limit["score"] is None) == (how != "tail")
    (material,) = read_run(out)
    low, _ = material.threshold.alarms(scores)
    expected = scores.valid & (scores.p_value <= 0.01)
    assert (low == expected).mean() > 0.999
    assert (material.status[material.judged] > 0).any() == low[material.judged].any()
    assert (publish(Publish(run=out)) / "report.html").is_file()


def test_discoveries_and_a_rate_by_area_say_what_was_used(out):
    from sarcast.steps.publish import Publish, publish, read_run

    detect(Detect(scores=out, rule="discoveries", fdr=0.3))
    limit = json.loads((folder(out) / "threshold.json").read_text())
    assert limit["fdr"] == 0.3 and limit["score"] is None and len(limit["by_date"]) == 14
    (material,) = read_run(out)
    low, _ = material.threshold.alarms(material.scores)
    assert set(gpd.read_parquet(out / "detections.parquet").first_seen.dt.tz_localize(None)) <= set(
        material.scores.times.time[low.any((1, 2))]
    )
    assert "expected to be there by chance" in (publish(Publish(run=out)) / "report.html").read_text()
    detect(Detect(scores=out, false_alarms_per_km2_month=0.5))
    limit = json.loads((folder(out) / "threshold.json").read_text())
    share = 0.5 * limit["cell_km2"] / limit["acquisitions_per_month"]
    assert limit["false_alarms"] == limit["p_value"] == pytest.approx(share)
    assert "0.5 alarmed cells a square kilometre" in (publish(Publish(run=out)) / "report.html").read_text()
