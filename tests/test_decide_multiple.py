"""Discoveries: the definition itself, and few of them false on planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr

from sarcast.decide.multiple import benjamini_hochberg, benjamini_yekutieli
from sarcast.errors import ShapeError


def slow(p, fdr: float) -> float:
    """The largest p-value with at most fdr * (how many are as small) / n."""
    some = [x for x in p if x <= fdr * sum(y <= x for y in p) / len(p)]
    return max(some, default=0.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=30), st.floats(0.01, 0.9))
def test_it_is_the_definition(p, fdr):
    assert benjamini_hochberg(np.array(p), fdr=fdr) == slow(p, fdr)
    assert benjamini_yekutieli(np.array(p), fdr=fdr) <= slow(p, fdr)


def test_nothing_to_look_at_and_nonsense():
    assert benjamini_hochberg(np.zeros(0), fdr=0.1) == 0
    assert benjamini_yekutieli(np.zeros(0), fdr=0.1) == 0
    with pytest.raises(ShapeError):
        benjamini_hochberg(np.ones(3), fdr=1.0)


@pytest.mark.parametrize("neighbours", [False, True])
@pytest.mark.parametrize("step", [benjamini_hochberg, benjamini_yekutieli])
def test_few_discoveries_are_false(step, neighbours, rng):
    """64 x 64 cells, 100 of them changed; neighbouring cells alike or not."""
    false, found = [], []
    for _ in range(150):
        noise = rng.normal(size=(64, 64))
        if neighbours:
            noise = gaussian_filter(noise, 1.5, mode="wrap") * 2 * np.sqrt(np.pi) * 1.5
        truth = np.zeros((64, 64), bool)
        truth[20:30, 20:30] = True
        p = ndtr(-(noise + 4 * truth))
        over = p <= step(p, fdr=0.2)
        false.append((over & ~truth).sum() / max(1, over.sum()))
        found.append((over & truth).mean() / truth.mean())
    assert np.mean(false) < 0.2 + 3 * np.std(false) / np.sqrt(len(false))
    assert np.mean(found) > (0.8 if step is benjamini_hochberg else 0.5)
    if step is benjamini_hochberg and not neighbours:
        assert np.mean(false) > 0.1
