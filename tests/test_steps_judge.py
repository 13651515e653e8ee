"""sarcast evaluate RUN: pairs on the same cells, truth of the user's own, several runs, no truth at all."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import geopandas
import numpy as np
import pytest

from sarcast.cli import main
from sarcast.errors import ArtefactError, DataError, SettingsError
from sarcast.runtime.artefact import writing
from sarcast.stack.cells import read_scores, write_scores
from sarcast.steps.evaluate import Evaluate, as_text, evaluate
from sarcast.steps.truth import read_truth
from sarcast.values import Scores


@pytest.fixture(scope="module")
def judged(small_run, tmp_path_factory):
    """A run with two comparisons: scores half noise, and scores of fewer dates."""
    run = tmp_path_factory.mktemp("judged") / "run"
    shutil.copytree(small_run / "run", run)
    shutil.copy(small_run / "truth.parquet", run)
    (store,) = run.glob("stacks/*/scores.zarr")
    own, rng = read_scores(store), np.random.default_rng(0)
    noisy = replace(own, values=own.values + own.valid * rng.normal(0, 30, own.valid.shape), detector="noisy")
    few = Scores(
        values=own.values[:5],
        valid=own.valid[:5],
        times=own.times.take(np.arange(5)),
        grid=own.grid,
        geobox=own.geobox,
        detector="few",
    )
    for name, scores in (("statistics-noisy", noisy), ("statistics-few", few)):
        folder = store.parent / "compare" / name
        folder.mkdir(parents=True)
        with writing(folder / "scores.zarr", settings={}, inputs={}) as partial:
            write_scores(partial, scores)
    return run


@pytest.fixture(scope="module")
def found(judged, tmp_path_factory):
    return evaluate(Evaluate(run=judged, out=tmp_path_factory.mktemp("out")))


def test_pairs_are_judged_on_common_cells_with_paired_differences(found):
    own, noisy = found["table"]
    assert (own["encoder"], own["detector"], own["less_first"]) == ("statistics", "z_score", None)
    assert noisy["name"] == "statistics-noisy" and noisy["detector"] == "noisy"
    for name in ("roc_auc", "average_precision", "recall"):
        less = noisy["less_first"][name]["value"]
        assert less == pytest.approx(noisy[name]["value"] - own[name]["value"])
    assert own["roc_auc"]["value"] > max(0.9, noisy["roc_auc"]["value"])
    assert found["left_out"] == ["statistics-few: other dates (5)"]
    assert found["planted"] == found["judged_events"] == 1 and found["cells"] > 100
    for row in own["sweep"]:
        assert 0 <= row["recall"]["value"] <= 1 and row["threshold"] is not None
        rate = row["false_alarms"]["value"]
        assert row["per_km2_month"]["value"] == pytest.approx(
            rate * own["sweep"][0]["per_km2_month"]["value"] / own["sweep"][0]["false_alarms"]["value"]
        )
    assert {row["name"] for row in own["sweep"]} >= {"p <= 0.001", "P80"}


def test_the_event_is_found_as_an_event(found):
    events = found["events"]
    assert events["true"] == events["found"] == 1 and events["recall"]["value"] == 1
    (outcome,) = events["outcomes"]
    assert outcome["found_by"] and outcome["delay_days"] >= 0 and outcome["onset"].endswith("Z")


def test_the_text_names_what_was_judged(found):
    text = as_text(found)
    for word in (
        "z_score",
        "noisy",
        "p <= 0.001",
        "1 of 1 found",
        "not judged: statistics-few",
        "too few events",
    ):
        assert word in text
    assert str(found["estimates"]) in text


def test_truth_of_the_users_own_in_degrees_gives_the_same_cells(judged, found, tmp_path):
    table = geopandas.read_parquet(judged / "truth.parquet").to_crs("EPSG:4326")
    mine = table[["onset", "geometry"]].assign(onset=table["onset"].astype(str))
    mine.to_file(tmp_path / "mine.geojson", driver="GeoJSON")
    again = evaluate(Evaluate(run=judged, truth=tmp_path / "mine.geojson", out=tmp_path))
    assert again["table"][0]["roc_auc"] == found["table"][0]["roc_auc"]
    assert again["events"]["outcomes"][0]["kind"] == "event"


def test_two_runs_are_two_places_and_share_the_events_of_one_file(judged, found, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(judged, other)
    truth = judged / "truth.parquet"
    both = evaluate(Evaluate(run=judged, more=(other,), truth=truth, out=tmp_path / "both"))
    assert both["cells"] == 2 * found["cells"] and both["planted"] == 1 and both["judged_on"] == "-log10 p"
    own = evaluate(Evaluate(run=judged, more=(other,), out=tmp_path / "own"))
    assert own["planted"] == own["judged_events"] == 2
    for told, events in ((both, 1), (own, 2)):
        assert (
            told["table"][0]["roc_auc"]["n"]
            == told["events"]["recall"]["n"] - told["events"]["false"]
            == events
        )
        rows = told["places"]["rows"]
        assert rows[0]["scores"] == rows[1]["scores"] and rows[0]["scores"]["n"] > 100
        assert told["places"]["mean"]["roc_auc"]["value"] == pytest.approx(rows[0]["roc_auc"]["value"])
    assert "mean over places" in as_text(own) and "other/" in as_text(own)


def test_only_pairs_that_scored_every_place_are_compared(judged, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(judged, other)
    shutil.rmtree(next(other.glob("stacks/*/compare/statistics-noisy")))
    found = evaluate(Evaluate(run=judged, more=(other,), out=tmp_path / "out"))
    assert [row["name"] for row in found["table"]] == ["statistics-z_score"]
    assert "statistics-noisy: not at every place" in found["left_out"]


def test_without_truth_it_says_what_it_can(small_run, tmp_path):
    found = evaluate(Evaluate(run=small_run / "run", out=tmp_path))
    assert found["table"] == [] and found["events"] is None
    (row,) = found["without_truth"]
    assert 0 <= row["share_below"]["cells"]["low"] <= row["share_below"]["cells"]["value"] < 0.2
    shares = row["structure"]["shares"]
    assert sum(shares[name]["value"] for name in ("date", "place", "rest")) == pytest.approx(1)
    (latent,) = found["latent"]
    assert (
        latent["encoder"] == "statistics"
        and 1 < latent["figures"]["effective_rank"] <= latent["figures"]["dim"]
    )
    assert "no truth" in as_text(found)
    with pytest.raises(DataError, match="without truth"):
        evaluate(Evaluate(run=small_run / "run", out=tmp_path, figures=tmp_path / "figures"))


def test_judged_once_and_figures_are_the_same_bytes(judged, tmp_path):
    settings = Evaluate(run=judged, out=tmp_path, figures=tmp_path / "a")
    first = evaluate(settings)
    before = (tmp_path / "estimates.json").stat().st_mtime_ns
    assert evaluate(settings.model_copy(update={"figures": tmp_path / "b"})) == first
    assert (tmp_path / "estimates.json").stat().st_mtime_ns == before
    for name in ("roc.png", "precision_recall.png", "delay.png"):
        content = (tmp_path / "a" / name).read_bytes()
        assert content[:4] == b"\x89PNG" and content == (tmp_path / "b" / name).read_bytes()


def test_the_command_prints_the_table(judged, tmp_path, capsys):
    assert main(["evaluate", str(judged), "--out", str(tmp_path)]) == 0
    assert "ROC-AUC" in capsys.readouterr().out
    assert main(["evaluate", str(judged), "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "run"


def test_what_is_no_run_and_what_cannot_be_drawn_is_one_line(tmp_path, shared):
    with pytest.raises(ArtefactError, match="expected the folder of a run"):
        evaluate(Evaluate(run=tmp_path, out=tmp_path))
    with pytest.raises(SettingsError, match="figures"):
        evaluate(Evaluate(published=shared / "published", out=tmp_path, figures=tmp_path))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"when": ["2024-01-01"]}, "onset"),
        ({"onset": ["soon"]}, "ISO 8601"),
        ({"onset": [None]}, "row 0"),
        ({"onset": ["2024-01-03"], "end": ["2024-01-02"]}, "end after onset"),
    ],
)
def test_spoiled_truth_is_named(tmp_path, columns, said):
    from shapely import box

    path = tmp_path / "truth.geojson"
    geopandas.GeoDataFrame(columns, geometry=[box(0, 0, 1, 1)], crs="EPSG:4326").to_file(
        path, driver="GeoJSON"
    )
    with pytest.raises(ArtefactError, match=said) as told:
        read_truth(path)
    assert "truth.geojson" in str(told.value)


def test_truth_that_is_no_file_or_no_table(tmp_path):
    with pytest.raises(ArtefactError, match="no file"):
        read_truth(tmp_path / "none.geojson")
    for name in ("bad.geojson", "bad.parquet"):
        (tmp_path / name).write_text("nope")
        with pytest.raises(ArtefactError, match="table of events"):
            read_truth(tmp_path / name)


def test_times_with_and_without_zone_are_utc(tmp_path):
    from shapely import Point

    frame = geopandas.GeoDataFrame(
        {"onset": ["2024-01-01", "2024-01-01T12:00:00+02:00"]}, geometry=[Point(0, 0)] * 2, crs="EPSG:4326"
    )
    frame.to_parquet(tmp_path / "truth.parquet")
    onset = [label.onset for label in read_truth(tmp_path / "truth.parquet").labels]
    assert onset == [np.datetime64("2024-01-01"), np.datetime64("2024-01-01T10:00")]


def test_the_interval_over_places_is_students():
    from scipy.stats import ttest_1samp

    from sarcast.evaluate.places import over_places

    values = [0.8, 0.9, 0.95, 0.7]
    found = over_places("auc", values)
    slow = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.value, found.high) == pytest.approx((slow.low, np.mean(values), slow.high))
    assert np.isnan(over_places("auc", [0.8]).low) and found.n == 4


def test_truth_that_never_meets_a_judged_date_is_said(judged, tmp_path):
    table = geopandas.read_parquet(judged / "truth.parquet")
    table.assign(onset=np.datetime64("2000-01-01", "ns")).to_parquet(tmp_path / "old.parquet")
    with pytest.raises(DataError, match="none at a judged date"):
        evaluate(Evaluate(run=judged, truth=tmp_path / "old.parquet", out=tmp_path))
