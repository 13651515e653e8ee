"""Thresholds: false discoveries, and false alarms by area and month, are as few as was asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from sarcast.decide.calibration import calibrate
from sarcast.decide.rules import Rules
from sarcast.decide.threshold import MONTH_DAYS, Threshold, rate_of, set_threshold
from sarcast.detectors.z_score import ZScore
from sarcast.encoders.statistics import Statistics
from sarcast.errors import DataError, ShapeError
from sarcast.sar.simulate import SimulateScene, simulate
from sarcast.stack.split import split_history
from sarcast.values import PatchGrid, Scores


def calibrated(stack, *, how="cell"):
    """Scores of the default pair as a run makes them, their calibration and the split."""
    split = split_history(stack.times.time, np.ones(len(stack.times), bool))
    features = Statistics().encode(stack)
    raw = ZScore().fit(features, split, rng=np.random.default_rng(0)).score(features)
    past = np.flatnonzero(split.fit)
    history = replace(raw, values=raw.values[past], valid=raw.valid[past], times=raw.times.take(past))
    calibration = calibrate(history, how=how, local=False)
    return calibration.read(raw), calibration, split


@pytest.fixture(scope="module")
def still():
    """Three places where nothing happens."""
    scene = SimulateScene(kind="opera", shape=(96, 96), dates=24, stationary=True)
    return [calibrated(simulate(scene, rng=np.random.default_rng(s)).stack) for s in range(3)]


@pytest.mark.parametrize("wanted", [0.5, 2.0])
def test_false_alarms_by_area_and_month_on_still_places(still, wanted):
    alarms, km2_months = 0, 0.0
    for scores, calibration, split in still:
        rate = rate_of(wanted, scores=scores, history=split.fit)
        rules = Rules(false_alarms=rate.false_alarms)
        low, _ = set_threshold(rules, calibration.null, scores).alarms(scores)
        alarms += int(low[split.judge].sum())
        days = np.diff(scores.times.days).mean() * split.judge.sum()
        side = abs(scores.geobox.resolution.x) * scores.grid.stride / 1e3
        km2_months += (
            scores.valid[split.judge].mean()
            * scores.grid.shape[0]
            * scores.grid.shape[1]
            * (side**2 * days / MONTH_DAYS)
        )
    assert 0.5 * wanted < alarms / km2_months < 2 * wanted


def test_what_a_rate_comes_to(make_times):
    """Cells of 100 m seen every six days: one alarm a square kilometre and month is one in 507 cells."""
    times = make_times(20)
    told = {
        "values": np.zeros((20, 5, 5), np.float32), "valid": np.ones((20, 5, 5), bool), "times": times,
        "grid": PatchGrid(image=(50, 50), patch=10, stride=10), "detector": "x",
    }  # fmt: skip
    flat = Scores(geobox=GeoBox((50, 50), Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32611"), **told)
    first = np.arange(20) < 10
    rate = rate_of(1.0, scores=flat, history=first)
    assert rate.cell_km2 == pytest.approx(0.01)
    assert rate.acquisitions_per_month == pytest.approx(MONTH_DAYS / 6)
    assert rate.false_alarms == pytest.approx(0.01 * 6 / MONTH_DAYS)
    side = 100 / 111_195
    round_ = Scores(geobox=GeoBox((50, 50), Affine(side / 10, 0, 0, 0, -side / 10, 0), "EPSG:4326"), **told)
    assert rate_of(1.0, scores=round_, history=first).cell_km2 == pytest.approx(0.01, rel=0.01)
    with pytest.raises(DataError, match="under"):
        rate_of(1e6, scores=flat, history=first)
    with pytest.raises(DataError, match="two dates"):
        rate_of(1.0, scores=flat, history=np.arange(20) < 1)


def test_few_discoveries_are_false_by_date(still):
    """Lasting changes planted into real p-values of still places: the share of false alarms is as asked."""
    false, found = [], []
    for scores, calibration, split in still:
        truth = np.zeros(scores.valid.shape, bool)
        truth[split.judge, 5:11, 5:11] = True
        p = np.where(truth, scores.p_value * 1e-4, scores.p_value).astype(np.float32)
        planted = replace(scores, p_value=p)
        threshold = set_threshold(Rules(rule="discoveries", fdr=0.2), calibration.null, planted)
        low, high = threshold.alarms(planted)
        assert not (high & ~low).any()
        for t in np.flatnonzero(split.judge):
            false.append((low[t] & ~truth[t]).sum() / max(1, low[t].sum()))
            found.append(low[t][truth[t]].mean())
    assert np.mean(false) < 0.25 and np.mean(found) > 0.9


def test_a_date_without_change_has_few_discoveries(still):
    """Where nothing is true, any discovery is false: a share of dates of about fdr has one."""
    dates = []
    for scores, calibration, split in still:
        low, _ = set_threshold(Rules(rule="discoveries", fdr=0.1), calibration.null, scores).alarms(scores)
        dates += low[split.judge].any((1, 2)).tolist()
    assert np.mean(dates) < 0.35


def test_a_later_date_moves_no_earlier_threshold(still):
    scores, calibration, _ = still[0]
    rules = Rules(rule="discoveries")
    some = np.arange(len(scores.times) - 1)
    fewer = replace(
        scores, times=scores.times.take(some), frame_score=None, frame_p_value=None,
        **{name: getattr(scores, name)[some] for name in ("values", "valid", "p_value")},
    )  # fmt: skip
    whole = set_threshold(rules, calibration.null, scores).by_date
    assert set_threshold(rules, calibration.null, fewer).by_date == whole[:-1]


def test_one_score_for_all_cells_or_p_values(still):
    scores, calibration, _ = still[0]
    assert set_threshold(Rules(), calibration.null, scores).low is None
    with pytest.raises(ShapeError):
        Threshold(low=None, high=3.0, p_low=0.1, p_high=0.01)
    bare = replace(scores, p_value=None)
    for rules in (Rules(), Rules(rule="discoveries")):
        with pytest.raises(ShapeError, match="p_value"):
            set_threshold(rules, calibration.null, bare).alarms(bare)
