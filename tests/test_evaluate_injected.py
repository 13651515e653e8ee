"""Figures of chips under resamples of ellipses and blocks, against weights per pixel written out here."""

from __future__ import annotations

import numpy as np
import pytest

from sarcast.errors import DataError
from sarcast.evaluate.curves import average_precision, roc_auc
from sarcast.evaluate.grouped import GroupedCurve
from sarcast.evaluate.injected import FIGURES, Chips, figures
from sarcast.evaluate.pixel_baselines import PixelHistory


def test_counting_per_group_equals_weights_per_cell(rng):
    n, events, blocks = 2500, 6, 25
    scores = np.round(rng.normal(size=n), 1)
    labels = rng.random(n) < 0.06
    event, block = rng.integers(0, events, n), rng.integers(0, blocks, n)
    often = rng.multinomial(events, np.full(events, 1 / events), size=30)
    kept = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=30)
    curve = GroupedCurve.of(scores, labels, event, block, groups=(events, blocks))
    auc, ap = curve.figures(often, kept)
    weights = np.where(labels, often[:, event], kept[:, block])
    np.testing.assert_allclose(auc, roc_auc(scores, labels, weights=weights), atol=1e-12)
    np.testing.assert_allclose(ap, average_precision(scores, labels, weights=weights), atol=1e-12)


def test_nothing_to_judge_is_said():
    ones = np.zeros(4, int)
    with pytest.raises(DataError, match="0 positive of 4"):
        GroupedCurve.of(np.arange(4.0), np.zeros(4, bool), ones, ones, groups=(1, 1))


def chips_of(rng, *, places=2, draws=2, side=40, per=4):
    chip, event, block, place = [], [], [], []
    for p in range(places):
        blocks = (np.arange(side * side) // side // 8 * 5 + np.arange(side * side) % side // 8) + 25 * p
        for _ in range(draws):
            own = np.where(rng.random(side * side) < 0.05, rng.integers(0, per, side * side), -1)
            event.append(np.where(own >= 0, own + per * len(chip), -1))
            chip.append(np.full(side * side, len(chip)))
            block.append(blocks)
            place.append(p)
    return Chips(
        chip=np.concatenate(chip),
        event=np.concatenate(event),
        block=np.concatenate(block),
        place=np.array(place),
    )


def test_means_over_chips_and_pooled_figures_are_those_of_the_curves(rng):
    chips = chips_of(rng)
    labels = chips.event >= 0
    scores = rng.normal(size=len(labels)) + 1.2 * labels
    surprise = scores + 0.5 * chips.chip
    found = figures(chips, {"a": (scores, surprise)}, draws=20, seed=0)["a"]
    each = [
        (roc_auc(scores[i], labels[i]), average_precision(scores[i], labels[i]))
        for i in (chips.chip == c for c in range(4))
    ]
    expected = [*np.mean(each, axis=0), roc_auc(surprise, labels), average_precision(surprise, labels)]
    np.testing.assert_allclose(found.value, expected, atol=1e-12)
    estimates = found.estimates(seed=0)
    assert tuple(estimates) == FIGURES
    assert all(e.low <= e.value <= e.high for e in estimates.values())


def test_a_row_differs_from_itself_by_nothing_and_a_better_one_by_more(rng):
    chips = chips_of(rng)
    labels = chips.event >= 0
    noise = rng.normal(size=len(labels))
    rows = {name: (noise + gain * labels,) * 2 for name, gain in {"weak": 1.0, "strong": 2.0}.items()}
    found = figures(chips, rows, draws=100, seed=0)
    np.testing.assert_array_equal(found["weak"].less(found["weak"]).draws, 0)
    assert (found["strong"].less(found["weak"]).draws > 0).all()


def test_left_out_z_scores_are_what_the_other_dates_give(rng):
    level = rng.normal(size=(12, 2, 16, 16))
    valid = np.ones((12, 16, 16), bool)
    valid[4, 3, 3] = False
    known = PixelHistory(level=level, valid=valid, pooled=0, window=9)
    z, seen = known.z_score(level[5], valid[5], without=5)
    others = np.delete(level, 5, 0)
    expected = (np.abs(level[5] - others.mean(0)) / others.std(0, ddof=1)).max(0)
    assert seen.all()
    sure = np.ones((16, 16), bool)
    sure[3, 3] = False
    np.testing.assert_allclose(z[sure], expected[sure], rtol=1e-9)
    fewer = np.delete(level, (4, 5), 0)[:, :, 3, 3]
    single = (np.abs(level[5, :, 3, 3] - fewer.mean(0)) / fewer.std(0, ddof=1)).max()
    np.testing.assert_allclose(z[3, 3], single, rtol=1e-9)


def test_what_the_whole_frame_did_leaves_no_trace_when_it_is_taken_out(rng):
    level = rng.normal(size=(12, 2, 32, 32)) * 0.5
    valid = np.ones((12, 32, 32), bool)
    shifted = level + rng.normal(0, 4, (12, 2, 1, 1))
    plain, freed = (
        PixelHistory(level=one, valid=valid, pooled=0.5, window=9, frame=True) for one in (level, shifted)
    )
    now = rng.normal(size=(2, 32, 32)) * 0.5
    first, _ = plain.z_score(now, valid[0])
    second, _ = freed.z_score(now + 6, valid[0])
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.99
