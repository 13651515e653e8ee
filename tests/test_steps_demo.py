"""demo: everything on a simulated place, judged against the truth; again, nothing is done twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sarcast.cli import main
from sarcast.runtime.artefact import finished
from sarcast.sar.simulate import SimulateScene
from sarcast.steps.demo import DEFAULT, PAIRS, Demo, as_text, demo

SCENE = SimulateScene(shape=(160, 160), dates=16, events=4, kinds=("lava", "clearing"), strength_db=(6, 12))


@pytest.mark.slow
def test_the_table_covers_every_pair_with_intervals_and_a_strong_change_is_found(tmp_path):
    out = tmp_path / "demo"
    found = demo(Demo(out=out, scene=SCENE))
    assert [(row["encoder"], row["detector"]) for row in found["table"]] == list(PAIRS)
    for row in found["table"]:
        for name in ("roc_auc", "average_precision", "recall"):
            told = row[name]
            assert 0 <= told["low"] <= told["value"] <= told["high"] <= 1 and told["level"] == 0.95
            assert told["resampled"] and told["n"] > 0
    default = next(row for row in found["table"] if (row["encoder"], row["detector"]) == DEFAULT)
    assert default["roc_auc"]["value"] > 0.9
    assert 0 < found["judged_events"] <= found["planted"] == 4 and found["cells"] > 50
    assert Path(found["report"]).exists()
    for name in ("products", "truth.parquet", "estimates.json", "detections.parquet", "site"):
        assert finished(out / name), name
    text = as_text(found)
    assert text.count("(default)") == 1 and str(found["report"]) in text

    content = (out / "estimates.json").read_bytes()
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name not in _ALWAYS}
    again = demo(Demo(out=out, scene=SCENE))
    assert again == found and (out / "estimates.json").read_bytes() == content
    after = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name not in _ALWAYS}
    assert [p.relative_to(out).as_posix() for p in after if after[p] != before.get(p)] == []


_ALWAYS = (".lock", "run.json", "quality.json")


@pytest.mark.slow
def test_a_place_without_events_is_one_line(tmp_path, capsys):
    scene = ["--scene.shape", "96", "96", "--scene.dates", "12", "--scene.events", "0"]
    assert main(["demo", "--out", str(tmp_path / "d"), *scene]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "events" in said[0]


def test_the_truth_is_no_input_of_the_run(small_run):
    """Nothing that was planted is read by the main job."""
    for path in (small_run / "run").rglob("run.json"):
        assert "truth" not in json.dumps(json.loads(path.read_text()))
