"""p-values mean what they say: uniform on fresh draws, right in the tail, and inverted by score_at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcast.decide.calibrate import Null, learn_null
from sarcast.errors import DataError, ShapeError

DRAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "t5 maxima": lambda rng, n: np.abs(rng.standard_t(5, size=(n, 8))).max(1),
    "uniform": lambda rng, n: rng.random(n),
    "chi": lambda rng, n: np.sqrt(rng.chisquare(9, n)),
    "lognormal": lambda rng, n: rng.lognormal(0, 0.5, n),
}


@pytest.fixture(params=DRAWS, ids=str)
def draw(request):
    return DRAWS[request.param]


@pytest.mark.parametrize("n", [500, 20_000])
def test_uniform_on_fresh_draws(draw, n):
    rng = np.random.default_rng(5)
    p = learn_null(draw(rng, n)).p_value(draw(rng, 50_000))
    assert p.shape == (50_000,) and (p > 0).all() and (p <= 1).all()
    distance = np.abs(np.sort(p) - np.arange(1, 50_001) / 50_000).max()
    assert distance < 1.95 * np.sqrt(1 / n + 1 / 50_000)


@pytest.mark.parametrize("name", sorted(set(DRAWS) - {"uniform"}))
def test_the_tail_at_one_in_a_thousand(name):
    draw = DRAWS[name]
    rng = np.random.default_rng(6)
    shares = []
    for _ in range(10):
        null = learn_null(draw(rng, 6000))
        shares.append((null.p_value(draw(rng, 100_000)) < 1e-3).mean())
    assert 0.5e-3 < np.mean(shares) < 2e-3
    assert min(shares) > 0.25e-3 and max(shares) < 4e-3


def test_a_bounded_tail_errs_on_the_quiet_side():
    rng = np.random.default_rng(6)
    assert (learn_null(rng.random(6000)).p_value(rng.random(100_000)) < 1e-3).mean() < 2e-3


@pytest.mark.parametrize("n", [100, 101, 102, 150, 999, 5000])
def test_score_at_inverts_p_value(draw, n):
    null = learn_null(draw(np.random.default_rng(n), n))
    for p in (0.9, 0.5, 0.2, 0.06, 0.049, 0.01, 1e-3, 1e-4, 1e-6):
        assert null.p_value(np.array(null.score_at(p))) == pytest.approx(p, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(100, 400), seed=st.integers(0, 1000), name=st.sampled_from(sorted(DRAWS)))
def test_a_higher_score_never_has_a_higher_p_value(n, seed, name):
    rng = np.random.default_rng(seed)
    null = learn_null(DRAWS[name](rng, n))
    scores = np.sort(np.concatenate([DRAWS[name](rng, 500), null.quantiles, [null.threshold + 1e-9, 1e3]]))
    assert (np.diff(null.p_value(scores)) <= 1e-12).all()
    assert null.score_at(1e-4) >= null.score_at(1e-3) >= null.score_at(1e-2)


def test_any_shape_and_extreme_scores():
    null = learn_null(np.random.default_rng(0).normal(size=(10, 20, 5)))
    p = null.p_value(np.array([[-1e9, 1e9], [0.0, 1e300]]))
    assert p.shape == (2, 2) and p[0, 0] == 1 and 0 < p[0, 1] < 1e-6 and (p > 0).all()
    assert p.dtype == np.float64


def test_order_does_not_matter():
    seen = np.random.default_rng(0).normal(size=1000)
    a, b = learn_null(seen), learn_null(seen[::-1])
    assert a.threshold == b.threshold and a.scale == b.scale and a.shape == b.shape


def test_too_few_or_all_alike():
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="at least 100"):
        learn_null(rng.normal(size=99))
    with pytest.raises(DataError, match="differ"):
        learn_null(np.full(1000, 2.0))


@pytest.mark.parametrize("levels", [2, 3, 10, 50])
def test_scores_of_few_values(levels):
    """Ties: no crash, no warning, and p is never smaller than the share that scored as high."""
    seen = np.random.default_rng(0).integers(0, levels, 1000).astype(float)
    try:
        null = learn_null(seen)
    except DataError:
        return
    for value in np.unique(seen):
        share = (seen >= value).mean()
        assert null.p_value(np.array(value)) >= 0.5 * share


def test_a_null_is_true_from_birth():
    told = {
        "quantiles": np.array([0.0, 1.0]), "levels": np.array([0.0, 0.95]), "threshold": 1.0, "shape": 0.0,
        "count": 100,
    }  # fmt: skip
    Null(scale=1.0, tail=0.05, **told)
    for wrong in ({"scale": 0.0, "tail": 0.05}, {"scale": 1.0, "tail": 0.0}, {"scale": 1.0, "tail": 1.0}):
        with pytest.raises(ShapeError):
            Null(**wrong, **told)
