"""Every way to p-values: uniform where dates are exchangeable, never 0, fair where cells differ."""

from __future__ import annotations

import numpy as np
import pytest

from sarcast.decide.nulls import Conformal, Tail, learn
from sarcast.errors import DataError

WAYS = ("tail", "pooled", "cell", "conformal")
CELLS = (30, 30)


def p_values(rng, how, *, noise, dates=12, later=12, valid=None):
    """p-values (time, row, col) of history and of later dates, nothing ever happening."""
    scores = noise * np.sqrt(rng.chisquare(4, (dates + later, *CELLS)) / 4)
    ok = np.ones(scores.shape, bool) if valid is None else valid
    held = np.arange(dates + later) < dates
    null = learn(scores[held], ok[held], how=how)
    return null.p_values(scores, ok, held), held


@pytest.mark.parametrize("how", WAYS)
def test_uniform_where_all_is_exchangeable(how, rng):
    p, held = p_values(rng, how, noise=1.0)
    for part in (p[held], p[~held]):
        assert (part > 0).all() and (part <= 1).all()
        distance = np.abs(np.sort(part.ravel()) - np.arange(1, part.size + 1) / part.size).max()
        assert distance < 0.02
        for level in (0.1, 0.01, 0.003):
            assert 0.6 * level < (part <= level).mean() < 1.5 * level


@pytest.mark.parametrize("how", ["pooled", "conformal"])
def test_shares_of_history_never_promise_too_much(how):
    """P(p <= a) <= a on average over histories, down to the smallest p there is."""
    found = []
    for seed in range(40):
        p, held = p_values(np.random.default_rng(seed), how, noise=1.0, dates=8, later=4)
        found.append([(p[~held] <= a).mean() for a in (0.5, 0.1, 0.01, 0.001)])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    assert (mean <= np.array([0.5, 0.1, 0.01, 0.001]) + 3 * error).all()


@pytest.mark.parametrize("how", WAYS)
def test_cells_of_differing_noise(how, rng):
    """Half of the cells are twice as noisy: who is fair to each half?"""
    noise = np.where(rng.random(CELLS) < 0.5, 1.0, 2.0)
    p, held = p_values(rng, how, noise=noise, later=60)
    shares = [(p[~held][:, noise == n] <= 0.01).mean() for n in (1.0, 2.0)]
    if how in ("cell", "conformal"):
        assert max(shares) < 0.03 and min(shares) > 0.002
    else:
        assert min(shares) < 0.001 and max(shares) > 0.01


def test_a_change_in_a_quiet_cell_counts_by_that_cells_noise(rng):
    noise = np.where(rng.random(CELLS) < 0.5, 1.0, 3.0)
    scores = noise * np.sqrt(rng.chisquare(4, (24, *CELLS)) / 4)
    scores[20] += np.where(noise == 1, 4.0, 0)
    held, ok = np.arange(24) < 12, np.ones(scores.shape, bool)
    own, pooled = (learn(scores[held], ok[held], how=h).p_values(scores, ok, held) for h in ("cell", "tail"))
    assert np.median(own[20][noise == 1]) < 0.1 * np.median(pooled[20][noise == 1])


@pytest.mark.parametrize("how", WAYS)
def test_what_is_not_valid_plays_no_part(how, rng):
    valid = rng.random((24, *CELLS)) < 0.8
    valid[:, 3, 4], valid[:12, 5, 6] = False, False
    clean, _ = p_values(np.random.default_rng(1), how, noise=1.0, valid=valid)
    noise = np.where(valid, 1.0, 50.0)
    spoiled, _ = p_values(np.random.default_rng(1), how, noise=noise, valid=valid)
    np.testing.assert_array_equal(clean, spoiled)
    assert (clean[~valid] == 1).all() and np.isfinite(clean).all()


@pytest.mark.parametrize("how", WAYS)
def test_a_date_by_itself(how, rng):
    scores, ok = rng.exponential(size=(20, *CELLS)), np.ones((20, *CELLS), bool)
    held = np.arange(20) < 10
    null = learn(scores[held], ok[held], how=how)
    whole = null.p_values(scores, ok, held)
    alone = np.concatenate(
        [null.p_values(scores[t : t + 1], ok[t : t + 1], held[t : t + 1]) for t in range(20)]
    )
    np.testing.assert_array_equal(whole, alone)


def test_pooled_is_the_share_of_history_as_high(rng):
    """Against counting, with ties; thinned only from above."""
    seen = np.round(rng.exponential(size=(40, *CELLS)), 2)
    ok = np.ones(seen.shape, bool)
    null = learn(seen, ok, how="pooled")
    assert isinstance(null, Conformal) and len(null.knots) == 1 and len(null.knots[0]) < seen.size
    new = np.round(rng.exponential(size=(1, *CELLS)), 2)
    p = null.p_values(new, ok[:1], np.zeros(1, bool))
    exact = (1 + (seen.ravel()[:, None] >= new.ravel()).sum(0)) / (1 + seen.size)
    assert (p.ravel() >= exact - 1e-12).all()
    np.testing.assert_allclose(p.ravel(), exact, rtol=0.03)
    rare = exact < 0.1
    np.testing.assert_allclose(p.ravel()[rare], exact[rare], rtol=1e-12)
    assert null.p_values(new + 100, ok[:1], np.zeros(1, bool)).max() == 1 / (1 + seen.size)


def test_too_little_history():
    few = np.arange(90.0).reshape(1, 9, 10)
    for how in WAYS:
        with pytest.raises(DataError):
            learn(few, np.ones(few.shape, bool), how=how)
    assert isinstance(
        learn(np.arange(900.0).reshape(9, 10, 10), np.ones((9, 10, 10), bool), how="tail"), Tail
    )
