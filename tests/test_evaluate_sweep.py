"""Sweeps and curves: the plain figures, agreement with the bootstrap, and rates per area and month."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from sarcast.errors import SettingsError
from sarcast.evaluate.bootstrap import event_bootstrap
from sarcast.evaluate.curves import average_precision, recall_at_false_alarms, roc_auc
from sarcast.evaluate.onset import JudgedCells
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
    rows = sweep(scores, cells, {"a": 0.0, "b": 1.0, "c": 2.5}, cells_per_km2_month=100.0, draws=200, seed=1)
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
    (row,) = sweep(scores, cells, {"a": 1.5}, draws=150, seed=4)

    def recall(scores, labels, *, weights=None):
        weights = np.ones(len(scores)) if weights is None else weights
        return (weights * (scores >= 1.5))[..., labels].sum(-1) / weights[..., labels].sum(-1)

    slow = event_bootstrap(
        scores, cells.labels, cells.event_ids, statistics={"recall": recall}, block_ids=cells.block_ids,
        draws=150, seed=4,
    )["recall"]  # fmt: skip
    assert (row.recall.low, row.recall.high) == pytest.approx((slow.low, slow.high))
    assert row.per_km2_month is None


def test_no_false_alarm_still_has_an_upper_bound(judged):
    scores, cells = judged
    (row,) = sweep(scores, cells, {"never": 99.0}, draws=50, seed=0)
    assert row.false_alarms.value == 0 < row.false_alarms.high < 0.01
    assert row.recall.value == 0 < row.recall.high and row.precision.value == 0


def test_the_curves_go_through_the_known_figures(judged):
    scores, cells = judged
    roc = roc_band(scores, cells, draws=100, seed=0)
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
    pr = precision_band(scores, cells, draws=100, seed=0)
    assert pr.value.mean() == pytest.approx(average_precision(scores, cells.labels), abs=0.03)
    assert (pr.low <= pr.value + 0.05).all() and (pr.value <= pr.high + 0.05).all()
    assert pr.value[-1] == pytest.approx(cells.labels[scores >= scores[cells.labels].min()].mean())


def test_cells_in_a_square_kilometre_and_a_month():
    weekly = np.datetime64("2024-01-01") + np.arange(5) * np.timedelta64(7, "D")
    assert cells_per_km2_month(weekly, 400.0) == pytest.approx(2500 * 30.4375 / 7)
    assert cells_per_km2_month(weekly[:1], 400.0) is None
    with pytest.raises(SettingsError, match="positive area"):
        cells_per_km2_month(weekly, 0.0)
