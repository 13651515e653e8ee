"""Sweeps and curves: the plain figures, agreement with the bootstrap, and rates per area and month."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from sarcast.errors import SettingsError
from sarcast.evaluate.bootstrap import event_bootstrap, paired_difference
from sarcast.evaluate.curves import average_precision, recall_at_false_alarms, roc_auc
from sarcast.evaluate.onset import JudgedCells
from sarcast.evaluate.resampled import Resampled, differences, figures
from sarcast.evaluate.sweep import cells_per_km2_month, precision_band, roc_band, sweep


@pytest.fixture
def judged(rng):
    labels = np.arange(2000) < 60
    scores = rng.normal(size=2000) + 2 * labels
    cells = JudgedCells(
        index=np.arange(2000),
        labels=labels,
        event_ids=np.where(labels, np.arange(2000) // 6, -1),
        block_ids=np.arange(2000) // 40,
        missed=(),
    )
    return scores, cells


def test_rows_are_the_plain_figures_and_recall_and_alarms_fall(judged):
    scores, cells = judged
    rows = sweep(
        scores,
        Resampled.of(cells, draws=200, seed=1),
        {"a": 0.0, "b": 1.0, "c": 2.5},
        cells_per_km2_month=100.0,
    )
    for row in rows:
        over = scores >= row.threshold
        assert row.recall.value == pytest.approx(over[cells.labels].mean())
        assert row.false_alarms.value == pytest.approx(over[~cells.labels].mean())
        assert row.precision.value == pytest.approx(cells.labels[over].mean())
        assert row.per_km2_month.value == pytest.approx(100 * row.false_alarms.value)
        for name in ("recall", "false_alarms", "precision", "per_km2_month"):
            told = getattr(row, name)
            assert told.low <= told.value <= told.high and told.name == name
    for name in ("recall", "false_alarms"):
        values = [getattr(row, name).value for row in rows]
        assert values == sorted(values, reverse=True)


def test_intervals_are_those_of_the_event_bootstrap(judged):
    scores, cells = judged
    (row,) = sweep(scores, Resampled.of(cells, draws=150, seed=4), {"a": 1.5})

    def recall(scores, labels, *, weights=None):
        weights = np.ones(len(scores)) if weights is None else weights
        return (weights * (scores >= 1.5))[..., labels].sum(-1) / weights[..., labels].sum(-1)

    slow = event_bootstrap(
        scores, cells.labels, cells.event_ids, statistics={"recall": recall}, block_ids=cells.block_ids,
        draws=150, seed=4,
    )["recall"]  # fmt: skip
    assert (row.recall.low, row.recall.high) == pytest.approx((slow.low, slow.high))
    assert row.per_km2_month is None


STATISTICS = {"roc_auc": roc_auc, "average_precision": average_precision, "recall": recall_at_false_alarms}


def test_figures_and_differences_are_those_of_the_event_bootstrap(judged, rng):
    scores, cells = judged
    other = np.round(scores + rng.normal(size=len(scores)), 1)
    resampled = Resampled.of(cells, draws=120, seed=2)
    told = {"statistics": STATISTICS, "block_ids": cells.block_ids, "draws": 120, "seed": 2}
    slow = event_bootstrap(other, cells.labels, cells.event_ids, **told)
    (one, first), (two, second) = (figures(values, resampled) for values in (scores, other))
    less = differences(scores, other, (first, second), resampled)
    pairs = paired_difference(scores, other, cells.labels, cells.event_ids, **told)
    for name in STATISTICS:
        for got, wanted in ((two[name], slow[name]), (less[name], pairs[name])):
            assert (got.value, got.low, got.high) == pytest.approx((wanted.value, wanted.low, wanted.high))
            assert (got.n, got.resampled, got.seed) == (wanted.n, wanted.resampled, wanted.seed)
        assert less[name].value == pytest.approx(one[name].value - two[name].value)


def test_a_thinned_curve_keeps_the_figure_and_nearly_its_interval(judged, monkeypatch):
    scores, cells = judged
    cells = replace(cells, labels=np.arange(2000) < 900, event_ids=np.arange(2000) // 30)
    resampled = Resampled.of(cells, draws=200, seed=2)
    whole = figures(scores, resampled)[0]
    monkeypatch.setattr("sarcast.evaluate.resampled._COUNTS", 1)
    thinned, curve = figures(scores, resampled)
    assert len(curve.hits) == 100
    for name in STATISTICS:
        assert thinned[name].value == whole[name].value
        assert (thinned[name].low, thinned[name].high) == pytest.approx(
            (whole[name].low, whole[name].high), abs=0.03
        )


def test_no_false_alarm_still_has_an_upper_bound(judged):
    scores, cells = judged
    (row,) = sweep(scores, Resampled.of(cells, draws=50, seed=0), {"never": 99.0})
    assert row.false_alarms.value == 0 < row.false_alarms.high < 0.01
    assert row.recall.value == 0 < row.recall.high and row.precision.value == 0


def test_the_curves_go_through_the_known_figures(judged):
    scores, cells = judged
    resampled = Resampled.of(cells, draws=100, seed=0)
    curve = resampled.curve(scores)
    roc = roc_band(curve, resampled)
    at = int(np.flatnonzero(np.isclose(roc.at, 1e-2))[0])
    assert roc.value[at] == recall_at_false_alarms(scores, cells.labels, rate=roc.at[at])
    slow = event_bootstrap(
        scores, cells.labels, cells.event_ids,
        statistics={"r": partial(recall_at_false_alarms, rate=roc.at[at])}, block_ids=cells.block_ids,
        draws=100, seed=0,
    )["r"]  # fmt: skip
    assert (roc.low[at], roc.high[at]) == pytest.approx((slow.low, slow.high))
    assert (np.diff(roc.value) >= 0).all() and roc.value[-1] == 1
    assert np.trapezoid(roc.value, roc.at) == pytest.approx(roc_auc(scores, cells.labels), abs=0.02)
    pr = precision_band(curve, resampled)
    assert pr.value.mean() == pytest.approx(average_precision(scores, cells.labels), abs=0.03)
    assert (pr.low <= pr.value + 0.05).all() and (pr.value <= pr.high + 0.05).all()
    assert pr.value[-1] == pytest.approx(cells.labels[scores >= scores[cells.labels].min()].mean())


def test_cells_in_a_square_kilometre_and_a_month():
    weekly = np.datetime64("2024-01-01") + np.arange(5) * np.timedelta64(7, "D")
    assert cells_per_km2_month(weekly, 400.0) == pytest.approx(2500 * 30.4375 / 7)
    assert cells_per_km2_month(weekly[:1], 400.0) is None
    with pytest.raises(SettingsError, match="positive area"):
        cells_per_km2_month(weekly, 0.0)
