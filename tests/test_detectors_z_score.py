"""z_score: nominal false alarms on plain speckle, and history restricted to a date's anniversaries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.decide.calibration import calibrate
from sarcast.detectors.anniversary import YEAR, Past, day_of_year
from sarcast.detectors.z_score import ZScore, ZScorer
from sarcast.evaluate.false_alarms import share_below
from sarcast.steps.score import Score
from sarcast.values import Split

HOW = Score.model_fields["calibration"].default
PLAIN = {"neighbours": 0, "today": 0, "pooled": 0.0, "scales": (), "folds": 4}


def split_at(dates, history):
    fit = np.arange(dates) < history
    return Split(fit=fit, judge=~fit)


def test_keeps_its_nominal_false_alarms_on_speckle(make_features):
    """Stationary gamma speckle, three places, calibrated as `sarcast score` does."""
    dates, history, side, p_values, valid = 36, 16, 24, [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        features = make_features(rng, dates=dates, cells=(side, side), dim=2, patch=16)
        speckle = rng.gamma(4.5, 1 / 4.5, features.values.shape)
        level = rng.normal(0, 5, (side, side, 2)) + 10 * np.log10(speckle)
        features = replace(features, values=level.astype(np.float32))
        scorer = ZScore().fit(features, split_at(dates, history), rng=rng)
        null = calibrate(scorer.score(features, list(range(history))), how=HOW, local=False)
        found = null.read(scorer.score(features, list(range(history, dates))))
        p_values.append(found.p_value)
        valid.append(found.valid)
    for level in (1e-2, 1e-3):
        share = share_below(p_values, valid, below=level, seed=0, draws=200)
        assert 0.5 * level < share.value < 2 * level, share
        assert share.low < 2 * level and share.high > 0.5 * level


def seasons(make_features, rng, *, years=4, each=16):
    """Cells that each go through the year in their own way; even dates."""
    dates = years * each
    days = np.arange(dates) * YEAR / each
    features = make_features(rng, dates=dates, cells=(9, 11), dim=2, days=days)
    phase = rng.uniform(0, 2 * np.pi, (9, 11, 2))
    noise = rng.normal(0, 0.5, features.values.shape)
    values = 5 * np.sin(2 * np.pi * days[:, None, None, None] / YEAR + phase) + noise
    return replace(features, values=values.astype(np.float32))


def slow(features, history, t, *, within, at_least):
    """Root mean square of z of every cell from the dates near the day of the year; how many there were."""
    day = day_of_year(features.times.time)
    fold = np.arange(history) * 4 // history
    allowed = [s for s in range(history) if t >= history or fold[s] != fold[t]]
    near = []
    for s in allowed:
        apart = abs(day[s] - day[t])
        if min(apart, YEAR - apart) <= within:
            near.append(s)
    dates = near if len(near) >= at_least else allowed
    flat = features.values.reshape(len(day), -1, 2).astype(float)
    past, n = flat[dates], len(dates)
    z = (flat[t] - past.mean(0)) / np.sqrt(past.var(0, ddof=1) * (n + 1) / n)
    return np.sqrt((z**2).mean(1)), len(near)


@pytest.mark.parametrize("at_least", [6, 30])
def test_anniversaries_equal_a_slow_one(make_features, rng, at_least):
    features = seasons(make_features, rng)
    detector = ZScore(anniversary_days=50, at_least=at_least, **PLAIN)
    scores = detector.fit(features, split_at(64, 48), rng=rng).score(features)
    found = []
    for t in (0, 1, 15, 20, 47, 48, 55, 63):
        expected, near = slow(features, 48, t, within=50, at_least=at_least)
        np.testing.assert_allclose(scores.values[t].ravel(), expected, rtol=1e-4)
        found.append(near >= at_least)
    assert all(found) if at_least == 6 else not any(found)


def test_a_season_is_no_surprise(make_features, rng):
    """What is usual for March is no event in March; a change against the season is."""
    features = seasons(make_features, rng)
    values = features.values.copy()
    values[56, 3:6, 3:6] -= 4
    features = replace(features, values=values)
    told = {"neighbours": 0, "scales": ()}
    found = {
        days: ZScore(anniversary_days=days, **told).fit(features, split_at(64, 48), rng=rng).score(features)
        for days in (None, 40)
    }
    lead = {}
    for days, scores in found.items():
        at = scores.values[56].copy()
        inside = at[3:6, 3:6].mean()
        at[3:6, 3:6] = 0
        lead[days] = inside / at.max()
    assert lead[40] > 1.2 and lead[40] > 2 * lead[None]


def test_with_anniversaries_it_keeps_its_promises(make_features, rng, tmp_path):
    features = seasons(make_features, rng, each=10)
    features = replace(features, valid=rng.random(features.valid.shape) > 0.1)
    scorer = ZScore(anniversary_days=60, neighbours=15, scales=()).fit(features, split_at(40, 30), rng=rng)
    whole = scorer.score(features)
    for t in (0, 29, 39):
        np.testing.assert_array_equal(scorer.score(features, [t]).values[0], whole.values[t])
    scorer.save(tmp_path)
    loaded = ZScorer.from_pretrained(tmp_path).score(features)
    np.testing.assert_array_equal(loaded.values, whole.values)
    np.testing.assert_array_equal(loaded.valid, whole.valid)
    other = features.values.copy()
    other[30:] += 50
    blind = ZScore(anniversary_days=60, neighbours=15, scales=())
    a, b = (
        blind.fit(f, split_at(40, 30), rng=np.random.default_rng(0)).score(features)
        for f in (features, replace(features, values=other))
    )
    np.testing.assert_array_equal(a.values, b.values)
    plain = ZScore(neighbours=15, scales=()).fit(features, split_at(40, 30), rng=rng)
    assert plain.past is None


def test_the_turn_of_the_year():
    time = np.array(["2024-01-03", "2024-12-30", "2023-07-01T12:00"], "datetime64[ns]")
    day = day_of_year(time)
    np.testing.assert_allclose(day, [2, 364, 181.5])
    past = Past(values=np.zeros((3, 1, 1)), valid=np.ones((3, 1), bool), day=day)
    every = np.ones(3, bool)
    assert past.near(1.0, within=5, at_least=2, allowed=every).tolist() == [True, True, False]
    assert past.near(1.0, within=5, at_least=3, allowed=every).tolist() == [True] * 3
    assert past.near(1.0, within=5, at_least=2, allowed=day > 3).tolist() == [False, True, True]
