"""What a frame did and what a cell did: its step is its own, a change of few cells is theirs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.decide.calibration import calibrate
from sarcast.decide.frame import learn_frame
from sarcast.detectors.z_score import ZScore
from sarcast.errors import DataError, ShapeError
from sarcast.values import Split

HISTORY, CELLS = 16, (20, 20)


def scores(rng, dates=32):
    """Cells of differing level and noise, each date's own common part."""
    level, noise = rng.uniform(1, 3, CELLS), rng.uniform(0.5, 1.5, CELLS)
    return level + noise * (rng.normal(size=(dates, *CELLS)) + 0.2 * rng.normal(size=(dates, 1, 1)))


def read(values, valid=None):
    """The frame of history, and frame score, p and local score of every date."""
    ok = np.ones(values.shape, bool) if valid is None else valid
    frame = learn_frame(values[:HISTORY], ok[:HISTORY])
    held = np.arange(len(values)) < HISTORY
    found = [frame.score(v, k, held=bool(h)) for v, k, h in zip(values, ok, held, strict=True)]
    p = [frame.p_value(f, held=bool(h)) for f, h in zip(found, held, strict=True)]
    local = [frame.local(v, k, held=bool(h)) for v, k, h in zip(values, ok, held, strict=True)]
    return np.array(found), np.array(p, float), np.array(local)


def test_frames_where_nothing_happens_have_uniform_p():
    later, past = [], []
    for seed in range(60):
        _, p, _ = read(scores(np.random.default_rng(seed)))
        past += p[:HISTORY].tolist()
        later += p[HISTORY:].tolist()
    for p in (past, later):
        assert np.abs(np.sort(p) - np.arange(1, len(p) + 1) / len(p)).max() < 0.06
        assert (np.array(p) < 0.01).mean() < 0.025


def test_a_step_of_the_frame_is_the_frames(rng):
    quiet = scores(rng)
    raised = quiet.copy()
    raised[25] += 3
    before, _, was = read(quiet)
    frame, p, local = read(raised)
    assert frame[25] > before[25] + 1.5 and frame[25] == frame.max() and p[25] < 1e-4
    np.testing.assert_array_equal(np.delete(frame, 25), np.delete(before, 25))
    assert np.abs(local[25] - was[25]).mean() < 0.5


def test_a_change_of_few_cells_is_theirs(rng):
    values = scores(rng)
    changed = values.copy()
    changed[25, 4:7, 4:7] += 8
    before, _, was = read(values)
    frame, _, local = read(changed)
    assert abs(frame[25] - before[25]) < 0.1
    assert (local[25, 4:7, 4:7] - was[25, 4:7, 4:7] > 7).all()


def test_a_quiet_frame_makes_no_cell_more_anomalous(rng):
    values = scores(rng)
    values[25] -= 2
    _, p, local = read(values)
    assert p[25] > 0.9
    assert (local[25] <= values[25] + 1e-5).all()


def test_half_a_frame_is_judged_against_its_own_cells(rng):
    """The seen half is the loud one: cells are standardised by themselves, so nothing is unusual."""
    values = scores(rng)
    values[:, :, :10] += 10
    valid = np.ones(values.shape, bool)
    valid[25, :, 10:] = False
    frame, p, local = read(values, valid)
    assert abs(frame[25]) < 1 and p[25] > 0.001
    assert (local[~valid] == 0).all()


def test_blind_to_what_is_not_valid_and_to_other_dates(rng):
    values = scores(rng)
    valid = rng.random(values.shape) < 0.7
    first = read(np.where(valid, values, 0), valid)
    second = read(np.where(valid, values, 1e6), valid)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    values[30] += 50
    for a, b in zip(first, read(values, valid), strict=True):
        np.testing.assert_array_equal(a[:30], b[:30])


def test_little_to_go_by():
    values = scores(np.random.default_rng(0))
    frame = learn_frame(values[:6], np.ones((6, *CELLS), bool))
    assert frame.p_value(3.0, held=False) is None
    few = np.zeros(CELLS, bool)
    few[0, :5] = True
    assert frame.score(values[9], few, held=False) == 0
    np.testing.assert_allclose(frame.local(values[9], few, held=False)[few], values[9][few], rtol=1e-5)
    with pytest.raises(DataError):
        learn_frame(values[:6], np.zeros((6, *CELLS), bool))


def test_a_detector_without_centring_and_a_step_of_the_frame(make_features, rng):
    """The frame score finds the date; local scores stay quiet on it and still find a changed cell."""
    features = make_features(rng, dates=40, cells=CELLS, patch=16)
    values = rng.normal(0, 1, features.values.shape).astype(np.float32)
    values[32] += 2.5
    values[33, 5, 5] += 8
    features = replace(features, values=values)
    split = Split(fit=np.arange(40) < 20, judge=np.arange(40) >= 20)
    raw = ZScore(neighbours=0).fit(features, split, rng=np.random.default_rng(0)).score(features)
    history = replace(raw, values=raw.values[:20], valid=raw.valid[:20], times=raw.times.take(np.arange(20)))
    local, whole = (calibrate(history, how="tail", local=one).read(raw) for one in (True, False))
    assert local.frame_p_value.argmin() == 32 and local.frame_p_value[32] < 1e-6
    np.testing.assert_array_equal(local.frame_score, whole.frame_score)
    others = np.setdiff1d(np.arange(20, 40), [32])
    assert (whole.p_value[32] < 1e-3).mean() > 0.2
    assert (local.p_value[32] < 1e-3).mean() < 0.02
    assert (local.p_value[others] < 1e-3).mean() < 3e-3
    assert local.p_value[33, 5, 5] < 1e-4
    with pytest.raises(ShapeError):
        calibrate(history, how="tail", local=True).read(
            replace(
                raw,
                **{n: getattr(raw, n)[:, :5] for n in ("values", "valid")},
                grid=replace(raw.grid, image=(80, 320)),
            )
        )
