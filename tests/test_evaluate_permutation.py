"""Permutation tests: the published one to the last bit, closed forms, and uniform p where nothing is."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.stats import kstest

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.evaluate.permutation import (
    expected_in_time,
    expected_recurrence,
    expected_within_dates,
    joins,
    moran,
    neighbour_share,
    permutation_test,
    published_test,
    recurrence,
    rotated_in_time,
    toroidal,
    within_dates,
)

SHAPE = (9, 6, 5)
MASK = np.ones(SHAPE[1:], bool)
MASK[0, :3] = MASK[4, 4] = False


def speckle(rng, shape=SHAPE):
    return rng.gamma(4, 0.25, shape)


def flagged(scores, percentile=75):
    return scores >= np.percentile(scores, percentile)


def slow_share(flags):
    """The published statistic, cell by cell."""
    times, rows, cols = flags.shape
    hits = total = 0
    for t in range(times):
        for y in range(rows):
            for x in range(cols):
                if not flags[t, y, x]:
                    continue
                total += 1
                near = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
                hits += any(0 <= a < rows and 0 <= b < cols and flags[t, a, b] for a, b in near)
    return hits / max(total, 1)


def slow_published(flags, permutations, seed, order):
    """The published loop: one stream, every place shuffled in turn, from the original each time."""
    times, rows, cols = flags.shape
    rng, null = np.random.RandomState(seed), []
    by_cell = flags.reshape(times, -1).T.astype(int)
    for _ in range(permutations):
        shuffled = by_cell.copy()
        for cell in order:
            rng.shuffle(shuffled[cell])
        null.append(slow_share(shuffled.T.reshape(times, rows, cols)))
    return np.array(null)


@pytest.mark.parametrize("columns_first", [False, True])
def test_the_published_test_is_the_published_loop(rng, columns_first):
    scores = speckle(rng)
    flags = np.stack([flagged(scores, p) for p in (60, 75, 90)])
    cells = np.arange(30)
    order = cells.reshape(6, 5).T.ravel() if columns_first else cells
    found = published_test(flags, permutations=20, seed=42, order=order if columns_first else None)
    for case, test in zip(flags, found, strict=True):
        np.testing.assert_array_equal(test.null, slow_published(case, 20, 42, order))
        assert test.observed == slow_share(case)
        assert test.share_at_least == np.mean(test.null >= test.observed)
        assert test.p_value == (1 + (test.null >= test.observed).sum()) / 21


def test_many_permutations_are_made_in_batches(rng, monkeypatch):
    flags = flagged(speckle(rng))[None]
    whole = published_test(flags, permutations=25)[0].null
    monkeypatch.setattr("sarcast.evaluate.permutation._CHUNK", 2 * flags.size)
    np.testing.assert_array_equal(published_test(flags, permutations=25)[0].null, whole)
    test = permutation_test(flags[0], statistic=joins, shuffle=within_dates, draws=25, rng=rng)
    assert test.null.shape == (25,)


def test_no_flags_or_all():
    none = np.zeros((1, *SHAPE), bool)
    assert published_test(none, permutations=5)[0].p_value == 1
    assert published_test(~none, permutations=5)[0].null_mean == 1
    assert expected_in_time(none[0]) == expected_within_dates(none[0]) == expected_recurrence(none[0]) == 0
    assert expected_in_time(~none[0]) == expected_within_dates(~none[0]) == expected_recurrence(~none[0]) == 1


def by_definition(flags):
    down, across = flags[:, 1:] & flags[:, :-1], flags[..., 1:] & flags[..., :-1]
    again = flags[1:] & flags[:-1]
    return down.sum() + across.sum(), again.sum() / flags[:-1].sum()


def test_statistics_of_one_are_those_of_many(rng):
    scores = speckle(rng, (3, *SHAPE))
    flags = flagged(scores)
    for statistic, values in ((neighbour_share, flags), (joins, flags), (recurrence, flags), (moran, scores)):
        np.testing.assert_allclose(statistic(values), [statistic(one) for one in values], rtol=1e-12)
    for one in flags:
        assert neighbour_share(one) == slow_share(one)
        assert (joins(one), recurrence(one)) == by_definition(one)


def test_moran_by_definition_blind_to_dates_and_places(rng):
    scores = speckle(rng)
    shifted = scores + rng.normal(0, 9, (SHAPE[0], 1, 1)) + rng.normal(0, 9, SHAPE[1:])
    rest = scores - scores.mean((1, 2), keepdims=True)
    rest = rest - rest.mean(0)
    per_date = []
    for r in rest:
        pairs = [r[y, x] * r[y + 1, x] for y in range(5) for x in range(5)]
        pairs += [r[y, x] * r[y, x + 1] for y in range(6) for x in range(4)]
        per_date.append(np.mean(pairs) / np.mean(r**2))
    assert moran(scores) == pytest.approx(np.mean(per_date), rel=1e-12)
    assert moran(shifted) == pytest.approx(moran(scores), rel=1e-9)
    with pytest.raises(DataError, match="neighbouring"):
        moran(np.broadcast_to(rng.normal(size=(SHAPE[0], 1, 1)), SHAPE))


def test_moran_looks_at_its_cells_only(rng):
    scores = speckle(rng)
    spoiled = np.where(MASK, scores, np.nan)
    assert moran(spoiled, MASK) == moran(scores, MASK)
    with pytest.raises(ShapeError, match="finite"):
        moran(spoiled)


def test_shuffles_keep_what_they_promise(rng):
    scores = speckle(rng)
    for shuffled in (
        within_dates(scores, 4, rng),
        within_dates(scores, 4, rng, cells=MASK),
        toroidal(scores, 4, rng),
    ):
        assert shuffled.shape == (4, *SHAPE) and (shuffled != scores).any()
        np.testing.assert_array_equal(
            np.sort(shuffled.reshape(4, SHAPE[0], -1)),
            np.broadcast_to(np.sort(scores.reshape(9, -1)), (4, 9, 30)),
        )
    kept = within_dates(scores, 4, rng, cells=MASK)
    np.testing.assert_array_equal(
        kept[..., ~MASK], np.broadcast_to(scores[..., ~MASK], kept[..., ~MASK].shape)
    )
    one = toroidal(scores, 1, rng)[0]
    for now, before in zip(one, scores, strict=True):
        rolls = [np.roll(before, (dy, dx), (0, 1)) for dy in range(6) for dx in range(5)]
        assert sum(np.array_equal(now, roll) for roll in rolls) == 1
    turned = rotated_in_time(scores, 1, rng)[0]
    for y in range(6):
        for x in range(5):
            rolls = [np.roll(scores[:, y, x], by) for by in range(9)]
            assert sum(np.array_equal(turned[:, y, x], roll) for roll in rolls) == 1


def test_closed_forms_are_the_means_of_the_draws(rng):
    flags = flagged(speckle(rng) + rng.gamma(2, 0.4, (SHAPE[0], 1, 1)))
    masked = flags & MASK
    cases = (
        (flags, neighbour_share, within_dates, expected_within_dates(flags)),
        (masked, neighbour_share, partial(within_dates, cells=MASK), expected_within_dates(masked, MASK)),
        (flags, neighbour_share, rotated_in_time, expected_in_time(flags)),
        (flags, recurrence, toroidal, expected_recurrence(flags)),
        (flags, recurrence, within_dates, expected_recurrence(flags)),
    )
    for values, statistic, shuffle, expected in cases:
        test = permutation_test(
            values, statistic=statistic, shuffle=shuffle, draws=4000, rng=rng, expected=expected
        )
        assert abs(test.null_mean - test.expected) < 4 * test.null_std / 4000**0.5
    test = published_test(flags[None], permutations=4000)[0]
    assert abs(test.null_mean - test.expected) < 4 * test.null_std / 4000**0.5
    scores = speckle(rng)
    for chosen in (None, MASK):
        cells = 30 if chosen is None else int(MASK.sum())
        test = permutation_test(
            scores, statistic=partial(moran, cells=chosen), shuffle=partial(within_dates, cells=chosen),
            draws=4000, rng=rng,
        )  # fmt: skip
        assert abs(test.null_mean + 1 / (cells - 1)) < 4 * test.null_std / 4000**0.5


OURS = {
    "neighbours within dates": (neighbour_share, within_dates, True),
    "joins within dates": (joins, within_dates, True),
    "moran within dates": (moran, within_dates, False),
    "recurrence, toroidal": (recurrence, toroidal, True),
}


def uniform_p(test, rng):
    """p with ties broken at random: exactly uniform when the data are as their shuffles."""
    above, ties = (test.null > test.observed).sum(), (test.null == test.observed).sum()
    return (above + rng.uniform() * (1 + ties)) / (1 + len(test.null))


@pytest.mark.parametrize("frame_effect", [0.0, 1.5])
def test_pure_speckle_gives_uniform_p_and_a_frame_effect_fools_only_the_published_test(rng, frame_effect):
    found = {name: [] for name in OURS}
    published = []
    for _ in range(200):
        scores = speckle(rng) + frame_effect * rng.gamma(1, 1, (SHAPE[0], 1, 1))
        flags = flagged(scores)
        published.append(uniform_p(published_test(flags[None], permutations=39)[0], rng))
        for name, (statistic, shuffle, of_flags) in OURS.items():
            values = flags if of_flags else scores
            test = permutation_test(values, statistic=statistic, shuffle=shuffle, draws=39, rng=rng)
            assert test.p_value >= 1 / 40
            found[name].append(uniform_p(test, rng))
    for name, p_values in found.items():
        assert kstest(p_values, "uniform").pvalue > 0.01, name
    if frame_effect:
        assert np.mean(np.array(published) <= 1 / 40) > 0.9
    else:
        assert kstest(published, "uniform").pvalue > 0.01


def test_real_structure_is_found(rng):
    scores = speckle(rng, (12, 8, 8))
    for t in range(12):
        y, x = rng.integers(0, 6, 2)
        scores[t, y : y + 3, x : x + 3] += 2
    flags = flagged(scores, 90)
    test = partial(permutation_test, draws=199, rng=rng)
    assert test(flags, statistic=neighbour_share, shuffle=within_dates).p_value == 1 / 200
    assert test(scores, statistic=moran, shuffle=within_dates).p_value == 1 / 200
    lasting = speckle(rng, (12, 8, 8))
    lasting[:, 2:4, 5:7] += 2
    assert test(flagged(lasting, 90), statistic=recurrence, shuffle=toroidal).p_value == 1 / 200


def test_texture_that_moves_about_does_not_recur(rng):
    p_values = []
    for _ in range(100):
        scores = speckle(rng, (8, 6, 6))
        for t in range(8):
            scores[t] = np.roll(
                scores[t] + 3 * (np.arange(6) < 3) * (np.arange(6) < 2)[:, None],
                rng.integers(6, size=2),
                (0, 1),
            )
        test = permutation_test(flagged(scores), statistic=recurrence, shuffle=toroidal, draws=39, rng=rng)
        p_values.append(uniform_p(test, rng))
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_repeatable_and_refusals(rng):
    flags = flagged(speckle(rng))
    runs = [
        permutation_test(flags, statistic=neighbour_share, shuffle=within_dates, rng=np.random.default_rng(7))
        for _ in range(2)
    ]
    np.testing.assert_array_equal(runs[0].null, runs[1].null)
    with pytest.raises(SettingsError, match="at least 1 draw"):
        permutation_test(flags, statistic=joins, shuffle=toroidal, draws=0, rng=rng)
    for bad in (flags, flags[None].astype(int), np.zeros((9, *SHAPE), bool)):
        with pytest.raises(ShapeError, match="8 cases"):
            published_test(bad)
