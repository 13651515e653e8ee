"""Segmentation of five real Sentinel-1 chips, from the command line to figures: whole chips are held out."""

from __future__ import annotations

import json

import pytest
from benchmarks import land_cover_chips

from sarcast.cli import main

pytestmark = pytest.mark.shared


def test_probe_segments_real_chips(shared, tmp_path, capsys):
    examples = shared / land_cover_chips.EXAMPLES
    words = ["--task", "segmentation", "--labels", str(examples / "LULC"), "--unit", "db", "--side", "32"]
    classes = [word for number, name in land_cover_chips.CLASSES.items() for word in (str(number), name)]
    words += ["--weights", "sarcast-tiny", "--test-share", "0.4", "--fractions", "1", "--draws", "2"]
    told = main(["probe", str(examples / "S1RTC"), *words, "--classes", *classes, "--out", str(tmp_path)])
    assert told == 0 and "sarcast-tiny, random weights" in capsys.readouterr().out
    found = json.loads((tmp_path / "estimates.json").read_text())
    assert found["chips"] == {"train": 3, "test": 2, "test_groups": 2} and 0.3 < found["ceiling"] <= 1
    assert {(row["features"], row["probe"]) for row in found["rows"]} == {
        (features, probe)
        for features in ("pixels", "statistics", "sarcast-tiny", "sarcast-tiny, random weights")
        for probe in ("knn", "linear")
    }
    for row in found["rows"]:
        assert row["count"] == 3 and 0 <= row["figures"]["miou"]["mean"] <= found["ceiling"]


def test_tables_have_a_row_for_everything_and_a_value_a_split(shared):
    examples, weights = shared / land_cover_chips.EXAMPLES, (land_cover_chips.Path("sarcast-tiny"),)
    text = land_cover_chips.tables(examples, weights, [0, 1], side=32)
    rows = [line for line in text.splitlines() if line.startswith(("| sarcast-tiny |", "| pixels |"))]
    assert len(rows) == 2 * 2 + 2 and all(row.count(" / ") == 2 for row in rows)
