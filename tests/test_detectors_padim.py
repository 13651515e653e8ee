"""PaDiM: equal to the plain inverse of every cell's covariance, without inverting any."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.detectors.padim import PaDiM, low_rank, squared_distance
from sarcast.values import Split

DATES, HISTORY = 16, 12
FIT = np.arange(DATES) < HISTORY
SPLIT = Split(fit=FIT, judge=~FIT)


def plain(history, valid, new, *, pooled, ridge):
    """Distance of `new` (cell, dim) by the inverse of each cell's covariance, float64; nothing centred."""
    cells, dim = new.shape
    own, mean = np.zeros((cells, dim, dim)), np.zeros((cells, dim))
    for c in range(cells):
        some = history[valid[:, c], c].astype(np.float64)
        mean[c] = some.mean(0)
        own[c] = np.cov(some.T).reshape(dim, dim) * (len(some) + 1) / len(some)
    all_cells = own.mean(0)
    ridge = ridge * np.trace(all_cells) / dim * np.eye(dim)
    away = new.astype(np.float64) - mean
    inverse = [np.linalg.inv((1 - pooled) * one + pooled * all_cells + ridge) for one in own]
    return np.sqrt(np.einsum("ci,cij,cj->c", away, np.array(inverse), away))


@pytest.mark.parametrize(("dates", "dim"), [(12, 5), (5, 12), (7, 768), (3, 1)])
@pytest.mark.parametrize("eps", [1e-3, 1.0])
def test_low_rank_equals_the_plain_inverse(rng, dates, dim, eps):
    cells = 4
    factor = rng.normal(size=(cells, dates, dim)) @ np.diag(np.geomspace(1, 30, dim)) / np.sqrt(dates)
    factor[0] -= factor[0].mean(0)
    factor[1, dates // 2 :] = 0
    factor[2] = 0
    diagonal = eps * rng.uniform(0.5, 2, (cells, dim))
    new = 3 * rng.normal(size=(cells, dim))
    new[3] = factor[3, 0]
    covariance = factor.swapaxes(1, 2) @ factor + diagonal[..., None] * np.eye(dim)
    expected = np.einsum("ci,cij,cj->c", new, np.linalg.inv(covariance), new)
    span, spread = low_rank(factor, diagonal)
    np.testing.assert_allclose(squared_distance(new, diagonal, span, spread), expected, rtol=1e-6)


def test_without_pooling_it_is_the_published_form(rng):
    """z^2 / (w + e) in the span of history, rest^2 / e outside of it."""
    factor, new, e = rng.normal(size=(1, 6, 40)), rng.normal(size=(1, 40)), 0.01
    w, vectors = np.linalg.eigh(factor[0].T @ factor[0])
    vectors, w = vectors[:, -6:], w[-6:]
    z = new[0] @ vectors
    expected = (z**2 / (w + e)).sum() + ((new[0] - vectors @ z) ** 2).sum() / e
    diagonal = np.full((1, 40), e)
    found = squared_distance(new, diagonal, *low_rank(factor, diagonal))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("pooled", [0.0, 0.5, 1.0])
def test_scores_equal_the_plain_inverse(make_features, rng, pooled):
    features = make_features(rng, dates=DATES)
    valid = rng.random(features.valid.shape) > 0.1
    valid[[2, 14]] = True
    scorer = PaDiM(neighbours=0, pooled=pooled, ridge=0.05, folds=4).fit(
        replace(features, valid=valid), SPLIT, rng=np.random.default_rng(0)
    )
    found = scorer.score(features, [2, 14]).values
    flat = features.values.reshape(DATES, -1, features.values.shape[-1])
    seen = valid.reshape(DATES, -1)
    told = {"pooled": pooled, "ridge": 0.05}
    np.testing.assert_allclose(found[1].ravel(), plain(flat[FIT], seen[FIT], flat[14], **told), rtol=2e-5)
    others = FIT & (np.arange(DATES) >= 3)
    np.testing.assert_allclose(
        found[0].ravel(), plain(flat[others], seen[others], flat[2], **told), rtol=2e-5,
        err_msg="a date of history is scored by the dates outside of its fold",
    )  # fmt: skip


@pytest.mark.parametrize("pooled", [0.0, 0.5])
def test_768_features(make_features, rng, pooled):
    features = make_features(rng, dates=DATES, cells=(2, 3), dim=768)
    scorer = PaDiM(neighbours=0, directions=0, pooled=pooled).fit(
        features, SPLIT, rng=np.random.default_rng(0)
    )
    assert scorer.models[0].span.shape == (6, HISTORY, 768), "as many directions as dates, not as features"
    found = scorer.score(features, [13]).values.ravel()
    flat = features.values.reshape(DATES, 6, 768)
    expected = plain(flat[FIT], np.ones((HISTORY, 6), bool), flat[13], pooled=pooled, ridge=0.01)
    np.testing.assert_allclose(found, expected, rtol=2e-5)


def test_sees_a_change_against_the_correlation(make_features, rng):
    """Two features that always move together: moving apart is odd at a size that is usual for each."""
    features = make_features(rng, dates=DATES, dim=2)
    shared = rng.normal(size=(*features.valid.shape, 1))
    values = (shared + 0.1 * rng.normal(size=features.values.shape)).astype(np.float32)
    values[14, 3, 3], values[14, 5, 5] = (1, -1), (1, 1)
    scorer = PaDiM(neighbours=0).fit(replace(features, values=values), SPLIT, rng=np.random.default_rng(0))
    at = scorer.score(replace(features, values=values), [14]).values[0]
    assert at[3, 3] == at.max() and at[3, 3] > 4 * at[5, 5]


def test_a_noisy_place_needs_a_larger_change(make_features, rng):
    features = make_features(rng, dates=DATES)
    values = rng.normal(size=features.values.shape).astype(np.float32)
    values[:, :, :4] *= 8
    values[14, 2, 2], values[14, 2, 9] = 6, 6
    scorer = PaDiM(neighbours=20).fit(replace(features, values=values), SPLIT, rng=np.random.default_rng(0))
    at = scorer.score(replace(features, values=values), [14]).values[0]
    assert at[2, 9] > 3 * at[2, 2]
