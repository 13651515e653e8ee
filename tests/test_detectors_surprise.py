"""Surprise: scores of any unit as powers of ten of how seldom history scored as high."""

from __future__ import annotations

import numpy as np
import pytest

from sarcast.detectors.surprise import Surprise


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e4])
def test_it_is_the_power_of_ten_of_the_share_that_is_as_high(rng, scale):
    learned = Surprise.learn(scale * rng.exponential(size=200_000))
    for p in (0.5, 0.1, 0.01, 1e-3, 1e-4):
        assert learned.of(np.array(-scale * np.log(p))) == pytest.approx(-np.log10(p), rel=0.05)


def test_higher_is_always_more_surprising_above_the_bulk(rng):
    learned = Surprise.learn(rng.normal(size=1000))
    found = learned.of(np.linspace(-5, 50, 400))
    assert (np.diff(found) >= 0).all() and (np.diff(found[found > 2]) > 0).all() and found[0] == 0


@pytest.mark.parametrize("scores", [np.zeros(0), np.zeros(50), np.array([1.0])])
def test_with_nothing_to_learn_from_it_stays_finite(scores):
    assert np.isfinite(Surprise.learn(scores).of(np.array([-1.0, 0.0, 1.0, 1e6]))).all()
