"""The verb bench: a table of the rows asked for, printed, written and as JSON; errors in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sarcast.cli import main
from sarcast.stack.store import write_stack
from sarcast.steps.bench_simulated import SimulatedPlaces, scenes
from sarcast.steps.bench_table import Report, Table, as_markdown, as_plain, as_values
from sarcast.values import Estimate


@pytest.fixture(scope="module")
def source(make_stack, tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "stacks" / "one" / "stack.zarr"
    write_stack(path, make_stack(np.random.default_rng(5), (64, 64), dates=12, side_m=30.0))
    return path


def test_injected_prints_and_writes_one_report_of_the_rows_asked_for(source, tmp_path, capsys):
    out = tmp_path / "new" / "injected.md"
    words = ["bench", "injected", "--source", str(source), "--quick", "--rows", "z-score, 3 x 3 mean"]
    words += ["--injected.references", "10", "--injected.gap-days", "0", "--injected.levels-db", "-6"]
    here = [*words, "--jobs", "0"]
    assert main([*words, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    text = out.read_text()
    for shown in (said, text):
        assert "z-score, 3 x 3 mean" in shown and "z-score, total variation, 20 dates" in shown
        assert "injected.references = 10" in shown and "injected.draws" not in shown
        assert "seeds [0]" in shown and "history the 10 dates" in shown
        assert "statistics, padim" not in shown
    assert text.startswith("# Changes injected into real stacks") and "| row |" in text
    assert main([*here, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    change = next(table for table in found["tables"] if table["title"] == "-6 dB")
    by_name = {row["row"]: row for row in change["rows"]}
    figure = by_name["z-score, 3 x 3 mean"]["mean AUC"]
    assert 0.7 < figure["low"] <= figure["value"] <= figure["high"] <= 1
    assert by_name["z-score, total variation, 20 dates"]["AUC less the baseline's"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["injected"], "expected --source with the data of bench injected, found none"),
        (["injected", "--source", "x", "--rows", "magic"], "expected rows among"),
        (["injected", "--source", "nowhere"], "expected a folder of products or a run folder, found none"),
        (["everything"], "everything"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(words, said, capsys):
    assert main(["bench", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_table_is_the_same_in_every_form():
    estimate = Estimate(name="a", value=0.5, low=0.25, high=0.75, n=3, resampled="event", seed=0)
    few = Estimate(name="a", value=0.5, low=np.nan, high=np.nan, n=1, resampled="event", seed=0)
    table = Table(
        title="T",
        columns=("row", "figure", "gain", "MB"),
        rows=(("first", estimate, estimate, 12.3), ("second", few, None, 3)),
        signed=frozenset({"gain"}),
    )
    report = Report(title="R", about=("how",), tables=(table,))
    markdown, plain, values = as_markdown(report), as_plain(report), as_values(report)
    assert "| first | 0.500 [0.250, 0.750] | +0.500 [+0.250, +0.750] | 12 |" in markdown
    assert "| second | 0.500 [too few] | – | 3 |" in markdown
    assert "second  0.500 [too few]       –" in plain
    assert values["tables"][0]["rows"][1]["figure"]["low"] is None
    json.dumps(values, allow_nan=False)


def test_simulated_prints_events_and_false_alarms_of_every_pair(capsys):
    words = ["bench", "simulated", "--seeds", "3", "--jobs", "0", "--simulated.events", "all"]
    words += ["--simulated.capella-px", "224", "--simulated.dates", "16", "--json"]
    assert main([*words, "--rows", "statistics, z_score", "statistics, matched_filter"]) == 0
    found = json.loads(capsys.readouterr().out)
    everything = {row["row"]: row for row in found["tables"][0]["rows"]}
    assert list(everything) == ["statistics, z_score", "statistics, matched_filter"]
    for row in everything.values():
        assert row["ROC-AUC"]["value"] > 0.8 and row["p < 0.01"]["value"] < 0.05
        assert row["MB"] > 50 and row["detect, s"] > 0
    assert "capella 224 px, right, ascending, 37 degrees" in found["about"][1]
    assert found["tables"][-1]["title"].startswith("By kind")


@pytest.mark.parametrize("jobs", ["0", "1"])
def test_a_row_that_cannot_be_is_named(jobs, capsys):
    words = ["bench", "simulated", "--seeds", "3", "--simulated.capella-px", "96", "--jobs", jobs]
    assert main([*words, "--rows", "gradients, log_ratio"]) == 2
    error = capsys.readouterr().err
    assert "expected levels in dB" in error and "in row 'gradients, log_ratio'" in error


def test_a_pixel_map_is_no_row_of_the_simulated_bench(capsys):
    assert main(["bench", "simulated", "--rows", "z-score, raw"]) == 2
    assert (
        "expected rows of an encoder on cells and a detector, found 'z-score, raw'" in capsys.readouterr().err
    )


def test_the_places_have_geometries_of_their_own_and_a_quiet_twin_each():
    found = scenes(SimulatedPlaces(), range(5))
    assert len({one.seed for one in found}) == 10
    geometries = [
        (s.kind, s.look_side, s.orbit_direction, s.incidence_deg) for s in (f.settings for f in found)
    ]
    assert len(set(geometries)) == 5 and geometries[:5] == geometries[5:]
    assert [one.settings.stationary for one in found] == [False] * 5 + [True] * 5
    assert {one.settings.look_side for one in found} == {"left", "right"}
