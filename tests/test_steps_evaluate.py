"""sarcast evaluate: one thing is judged, its estimates appear whole, and are only read the second time."""

from __future__ import annotations

import json

import pytest

from sarcast.cli import main
from sarcast.errors import ArtefactError, SettingsError
from sarcast.steps.evaluate import Evaluate, as_text, evaluate


def test_exactly_one_thing_is_judged(tmp_path):
    with pytest.raises(SettingsError, match="exactly one thing to judge"):
        evaluate(Evaluate(out=tmp_path))


def test_an_empty_folder_is_one_line(tmp_path, capsys):
    assert main(["evaluate", "--published", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "estimates.json").exists()


@pytest.mark.parametrize("text", ["[]", "nope", "{}", '{"a_0_0": {"scores": [1], "dates": []}}'])
def test_a_spoiled_file_is_named(tmp_path, text):
    (tmp_path / "results_complete.json").write_text("{}")
    (tmp_path / "scores_a.json").write_text(text)
    with pytest.raises(ArtefactError, match=r"scores_a\.json"):
        evaluate(Evaluate(published=tmp_path, out=tmp_path / "out"))


def test_a_missing_figure_is_named(tmp_path):
    (tmp_path / "results_complete.json").write_text("{}")
    (tmp_path / "scores_a.json").write_text('{"a_0_0": {"scores": [1.5], "dates": ["20240101"]}}')
    with pytest.raises(ArtefactError, match="cross_aoi/a"):
        evaluate(Evaluate(published=tmp_path, out=tmp_path / "out"))


def test_published_statistics_are_recomputed(shared, tmp_path):
    found = evaluate(Evaluate(published=shared / "published", out=tmp_path))
    assert found["largest_difference"] <= 1e-9
    assert json.loads((tmp_path / "estimates.json").read_text())["rows"] == found["rows"]
    assert "largest difference" in as_text(found)
