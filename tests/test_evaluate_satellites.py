"""Satellites are found again from two correlations, where that can be; AUC by chance in a few frames."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from sarcast.errors import DataError
from sarcast.evaluate.concentration import auc_by_concentration
from sarcast.evaluate.curves import roc_auc
from sarcast.evaluate.satellites import recover_satellites, transition_flags

LABELS = ("B",) * 4 + ("A",) * 9 + ("B",) * 2 + ("C",) * 25


def published(scores, labels):
    """The two figures as released: every cell of a frame counted."""
    index = np.array([sorted(set(labels)).index(name) for name in labels])
    flags, cells = transition_flags(labels), len(scores)
    return {
        "spearman": float(spearmanr(scores.ravel(), np.tile(index, cells)).statistic),
        "pearson_r": float(pearsonr(scores.ravel(), np.tile(flags, cells)).statistic),
        "transitions": int(flags.sum()),
    }


def test_satellites_are_found_again(rng):
    scores = rng.gamma(2, 0.3, (16, len(LABELS)))
    found = recover_satellites(scores, ["A", "B", "C"], **published(scores, LABELS))
    assert found.unique and found.solutions == (LABELS,)
    assert transition_flags(LABELS).sum() == 3


def test_many_transitions_cannot_be_told(rng):
    scores = rng.gamma(2, 0.3, (16, 85))
    labels = tuple(rng.choice(["A", "B", "C"], 85))
    found = recover_satellites(scores, ["A", "B", "C"], **published(scores, labels))
    assert not found.unique and not found.solutions and found.chance > 1 and found.sets_log10 > 20


def test_figures_of_other_scores_are_refused(rng):
    figures = published(rng.gamma(2, 0.3, (16, len(LABELS))), LABELS)
    with pytest.raises(DataError, match="found none"):
        recover_satellites(rng.gamma(2, 0.3, (16, len(LABELS))), ["A", "B", "C"], **figures)


def test_chance_of_an_auc_by_frames(rng):
    """One number a frame: with all cells of one frame positive, AUC is the frame's rank, uniform."""
    frames = np.repeat(rng.normal(size=(60, 1)), 10, axis=1)
    few, many = auc_by_concentration(
        frames, observed=0.8, positives=10, judged=21, frames=(1, 10), draws=2000, rng=rng
    )
    assert few.at_least == pytest.approx(5 / 21, abs=0.03)  # ranks 16 to 20 of 0 to 20
    assert few.std == pytest.approx(0.303, abs=0.02)  # of a uniform rank
    assert many.at_least < 0.01 and many.std < 0.12 and few.mean == pytest.approx(0.5, abs=0.03)


def test_it_is_the_roc_auc(rng):
    scores = rng.normal(size=(2, 5))
    found = auc_by_concentration(scores, observed=1, positives=5, judged=2, frames=(1,), draws=400, rng=rng)
    both = [float(roc_auc(scores.ravel(), np.arange(10) // 5 == k)) for k in (0, 1)]
    assert found[0].mean == pytest.approx(0.5, abs=4 * abs(both[0] - 0.5) / 20 + 1e-12)
    assert found[0].std == pytest.approx(abs(both[0] - 0.5), abs=0.02)


def test_concentration_refuses_what_cannot_be(rng):
    with pytest.raises(DataError, match="19 frames"):
        auc_by_concentration(
            rng.normal(size=(5, 4)), observed=0.7, positives=3, judged=19, frames=(1,), rng=rng
        )
    kept = auc_by_concentration(
        rng.normal(size=(9, 4)), observed=0.7, positives=6, judged=5, frames=(1, 2, 9), draws=10, rng=rng
    )
    assert [one.frames for one in kept] == [2]
