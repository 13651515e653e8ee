"""Two-way decomposition: shares add up, follow what was planted, and carry intervals over dates."""

from __future__ import annotations

import numpy as np
import pytest

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.evaluate.bootstrap import moving_blocks
from sarcast.evaluate.two_way import always_valid, residual, share_intervals, spread, table, variance_shares

SHAPE = (40, 6, 7)


def planted(rng, date=0.0, place=0.0, rest=0.0):
    return (
        date * rng.normal(size=(SHAPE[0], 1, 1))
        + place * rng.normal(size=SHAPE[1:])
        + rest * rng.normal(size=SHAPE)
    )


def test_shares_add_up_to_one_and_are_those_of_the_regression(rng):
    scores = planted(rng, 1, 2, 3)
    shares = variance_shares(scores)
    assert shares.date + shares.place + shares.rest == pytest.approx(1, abs=1e-12)
    dates, cells = np.repeat(np.arange(40), 42), np.tile(np.arange(42), 40)
    design = np.column_stack([dates[:, None] == np.arange(40), cells[:, None] == np.arange(42)]).astype(float)
    fitted = design @ np.linalg.lstsq(design, scores.ravel(), rcond=None)[0]
    left = np.square(scores.ravel() - fitted).sum() / np.square(scores - scores.mean()).sum()
    assert shares.rest == pytest.approx(left, rel=1e-9)


@pytest.mark.parametrize("name", ["date", "place"])
def test_what_is_planted_is_found(rng, name):
    scores = planted(rng, **{"rest": 0.01, name: 1.0})
    assert getattr(variance_shares(scores), name) > 0.99
    estimates = share_intervals(scores, seed=1)
    assert estimates[name].value == getattr(variance_shares(scores), name)
    assert 0.98 < estimates[name].low <= estimates[name].high <= 1


def test_noise_has_the_shares_of_its_degrees_of_freedom(rng):
    shares = variance_shares(planted(rng, rest=1.0))
    assert shares.date == pytest.approx(39 / 1679, rel=0.5)
    assert shares.place == pytest.approx(41 / 1679, rel=0.5)


def test_intervals_hold_the_truth_and_are_repeatable(rng):
    inside = 0
    for trial in range(40):
        scores = planted(rng, 1.0, 0.5, 1.0)
        estimate = share_intervals(scores, block=1, draws=200, seed=trial)["date"]
        inside += estimate.low <= 1 / 2.25 <= estimate.high
    assert inside >= 33
    assert share_intervals(scores, seed=3) == share_intervals(scores, seed=3)


def test_spread_and_correlation(rng):
    frames = spread(planted(rng, date=2.0, rest=0.02))
    assert frames.ratio == pytest.approx(0.01, rel=0.3)
    assert frames.correlation_mean > 0.999 and frames.correlation_median > 0.999
    apart = spread(planted(rng, rest=1.0))
    assert abs(apart.correlation_mean) < 0.05 and apart.within == pytest.approx(1, rel=0.1)


def test_cells_left_out_are_not_read(rng):
    scores, valid = planted(rng, 1, 1, 1), np.ones(SHAPE, bool)
    valid[3, 2, 2] = valid[:, 0] = False
    cells = always_valid(valid)
    assert cells.sum() == 34
    spoiled = np.where(valid, scores, np.nan)
    assert variance_shares(spoiled, cells) == variance_shares(scores, cells)
    assert table(scores, cells).shape == (40, 34)
    np.testing.assert_allclose(residual(table(scores, cells)).mean(axis=0), 0, atol=1e-12)
    with pytest.raises(ShapeError, match="finite"):
        table(spoiled)
    with pytest.raises(ShapeError, match="mask"):
        table(scores, cells[:-1])


def test_refusals(rng):
    with pytest.raises(DataError, match="at least 2 dates and 2 cells"):
        always_valid(np.zeros(SHAPE, bool))
    with pytest.raises(DataError, match="one value"):
        variance_shares(np.ones(SHAPE))
    with pytest.raises(SettingsError, match="block"):
        moving_blocks(5, block=6, draws=2, rng=rng)


def test_moving_blocks_are_runs_of_dates(rng):
    rows = moving_blocks(10, block=4, draws=50, rng=rng)
    assert rows.shape == (50, 10) and rows.min() == 0 and rows.max() == 9
    steps = np.diff(rows, axis=1)
    assert (np.delete(steps, [3, 7], axis=1) == 1).all()
    assert moving_blocks(1, draws=2, rng=rng).tolist() == [[0], [0]]
