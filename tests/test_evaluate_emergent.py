"""Emergent segmentation: thresholds against slow references; what is judged on chooses nothing."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcast.evaluate.emergent import (
    Cells,
    Masks,
    Parts,
    best_cut,
    in_halves,
    jaccard,
    on_others,
    optimistic,
    otsu,
    overlaps,
    sides,
)

SOME = settings(max_examples=30, deadline=None)
WHOLE = st.lists(st.integers(-20, 20), min_size=2, max_size=30)


def spread_between(values, limit):
    high, low = values[values > limit], values[values <= limit]
    return 0.0 if not len(high) else len(high) * len(low) * (high.mean() - low.mean()) ** 2


@SOME
@given(WHOLE)
def test_otsu_is_the_best_of_all_thresholds(numbers):
    values = np.array(numbers, float)
    best = max(spread_between(values, limit) for limit in np.unique(values))
    assert spread_between(values, otsu(values)) == pytest.approx(best)


def labelled(rng, cells=25, classes=3):
    hits = rng.integers(0, 5, (cells, classes))
    return Cells(hits=hits, counts=hits.sum(1), totals=hits.sum(0))


@SOME
@given(st.integers(0, 999), st.booleans())
def test_the_best_cut_is_the_best_of_all_cuts(seed, high):
    rng = np.random.default_rng(seed)
    cells, values = labelled(rng), rng.integers(0, 9, 25).astype(float)
    known = rng.random(25) < 0.8
    found = best_cut(values, known, cells, high=high)
    cuts = [np.zeros(25, bool)]
    cuts += [known & (values >= one if high else values <= one) for one in np.unique(values[known])]
    every = np.array([jaccard(*overlaps(one, cells)) for one in cuts])
    np.testing.assert_allclose(jaccard(*found), every.max(0))


def test_both_sides_of_a_threshold_share_the_known_cells(rng):
    cells, values = labelled(rng), rng.normal(size=25)
    known = np.arange(25) != 7
    hit, union = sides(values, known, cells, limit=0.0)
    assert (hit.sum(0) == cells.totals - cells.hits[7]).all()
    slow = [cells.hits[known & some].sum(0) for some in (values > 0, values <= 0)]
    np.testing.assert_array_equal(hit, slow)
    assert (union >= cells.totals).all()


def parts_of(rng, chips=6, clusters=5):
    counts = rng.integers(5, 40, (chips, clusters))
    hits = rng.integers(0, counts + 1)
    return Parts(name="clusters", hits=hits, counts=counts, totals=hits.sum(1) + rng.integers(0, 9, chips))


@SOME
@given(st.integers(0, 999))
def test_the_clusters_that_are_kept_are_the_best_of_all_sets(seed):
    way = parts_of(np.random.default_rng(seed))
    ones = np.ones(6)
    best = 0.0
    for size in range(1, 6):
        for some in combinations(range(5), size):
            hit = way.hits[:, some].sum()
            best = max(best, hit / (way.counts[:, some].sum() + way.totals.sum() - hit))
    assert on_others(way, ones, ones) == pytest.approx(best) == optimistic(way)[1]


def planted(chips=8):
    """On even chips the first map is right and the second wrong; on odd ones the other way round."""
    even = np.arange(chips) % 2 == 0
    overlap = np.where(np.column_stack([even, ~even]), 100, 0)
    return Masks(name="own", ways=("first", "second"), overlap=overlap, union=np.full((chips, 2), 100)), even


def test_what_is_judged_on_chooses_nothing():
    way, even = planted()
    assert on_others(way, even.astype(float), (~even).astype(float)) == 0
    assert on_others(way, even.astype(float), even.astype(float)) == 1
    found = in_halves([way], np.ones(8, bool), splits=200, resamples=50, seed=1)
    assert optimistic(way)[1] == 0.5 and found[0]["value"] < 0.4


def test_intervals_hold_the_figure_and_ways_are_compared_on_the_same_chips(rng):
    overlap = rng.integers(20, 60, (20, 1))
    better = Masks(name="better", ways=("a",), overlap=overlap + 20, union=np.full((20, 1), 100))
    worse = Masks(name="worse", ways=("a",), overlap=overlap, union=np.full((20, 1), 100))
    first, second = in_halves([better, worse], np.ones(20, bool), splits=50, resamples=200, seed=0)
    assert first["low"] < first["value"] < first["high"] and first["ahead"] == 0
    for name in ("ahead", "ahead_low", "ahead_high"):
        assert second[name] == pytest.approx(0.2)
    assert second["high"] - second["low"] > 0.02


def test_a_class_on_one_chip_alone_cannot_be_judged_on_others():
    way, _ = planted(4)
    assert in_halves([way], np.arange(4) == 2, splits=5, resamples=20, seed=0) is None


def test_a_constant_map_finds_nothing():
    cells = Cells(hits=np.ones((4, 1), int), counts=np.ones(4, int), totals=np.array([4]))
    values = np.full(4, 2.0)
    hit, _ = sides(values, np.ones(4, bool), cells, limit=otsu(values))
    assert hit[0, 0] == 0 and hit[1, 0] == 4
