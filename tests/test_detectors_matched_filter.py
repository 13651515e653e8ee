"""The matched filter: small weak changes and changes of texture that no single pixel shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.detectors.clusters import Clusters, clusters
from sarcast.detectors.fields import averaged, roughness
from sarcast.detectors.matched_filter import MatchedFilter
from sarcast.detectors.z_score import ZScore
from sarcast.encoders.pixels import Pixels
from sarcast.evaluate.curves import roc_auc
from sarcast.values import Split

DATES, HISTORY, SIDE = 14, 13, 64
SPLIT = Split(fit=np.arange(DATES) < HISTORY, judge=np.arange(DATES) >= HISTORY)


@pytest.fixture
def inside():
    y, x = np.indices((SIDE, SIDE))
    return (y - 20) ** 2 + (x - 40) ** 2 < 8**2


@pytest.fixture
def judged(make_stack, rng):
    """AUC of a detector on raw pixels of speckle, for what is done to the last date's power."""
    stack = make_stack(rng, (SIDE, SIDE), dates=DATES)

    def auc(detector, change, truth) -> float:
        amplitude = stack.amplitude.copy()
        amplitude[-1] = np.sqrt(change(amplitude[-1] ** 2))
        features = Pixels(despeckle="none").encode(replace(stack, amplitude=amplitude))
        scores = detector.fit(features, SPLIT, rng=np.random.default_rng(0)).score(features, [DATES - 1])
        return float(roc_auc(scores.values[0].ravel(), truth.ravel()))

    return auc


def test_a_weak_patch_is_found_that_no_pixel_shows(judged, inside):
    def weaker(power):
        return np.where(inside, power * 10**-0.15, power)

    assert judged(MatchedFilter(), weaker, inside) > 0.9
    assert judged(ZScore(scales=()), weaker, inside) < 0.75


def test_a_change_of_texture_is_found_that_leaves_the_level(judged, inside, rng):
    logs = 0.5 * rng.normal(size=inside.shape)
    texture = np.exp(logs - logs[inside].mean())

    def rougher(power):
        return np.where(inside, power * texture, power)

    assert judged(MatchedFilter(), rougher, inside) > 0.85
    assert judged(MatchedFilter(texture=()), rougher, inside) < judged(MatchedFilter(), rougher, inside) - 0.1


def test_a_bright_pixel_does_not_hide_the_weak_patch(judged, inside):
    def both(power):
        power = np.where(inside, power * 10**-0.15, power)
        power[:, 50, 10] *= 1000
        return power

    assert judged(MatchedFilter(), both, inside) > 0.9


def test_of_independent_unit_values_the_average_has_unit_variance_also_beside_gaps(rng):
    shape = (400, 300)
    seen = np.ones(shape, bool)
    seen[100:140, 50:220] = False
    seen = (seen & (rng.random(shape) > 0.1)).ravel()
    field = averaged(rng.normal(size=(seen.size, 1)), seen, shape, sigma=2.0)[..., 0]
    inside = seen.reshape(shape)
    beside = np.zeros(shape, bool)
    beside[98:100, 60:210] = beside[140:142, 60:210] = beside[:2] = beside[:, -2:] = True
    for where in (inside, inside & beside):
        assert field[where].std() == pytest.approx(1, abs=0.06)
    assert (field[~inside] == 0).all()


def test_the_average_is_the_weighted_sum_over_seen_cells(rng):
    shape, sigma = (15, 17), 1.5
    values = rng.normal(size=(255, 2))
    seen = rng.random(255) > 0.3
    y, x = np.indices(shape)
    mean = averaged(values, seen, shape, sigma=sigma, unit=False)
    unit = averaged(values, seen, shape, sigma=sigma)
    for cell in np.flatnonzero(seen)[::7]:
        r, c = divmod(int(cell), shape[1])
        weight = np.exp(-((y - r) ** 2 + (x - c) ** 2) / (2 * sigma**2)).ravel() * seen
        np.testing.assert_allclose(mean[r, c], weight @ values / weight.sum(), atol=0.02)
        np.testing.assert_allclose(unit[r, c], weight @ values / np.sqrt((weight**2).sum()), atol=0.06)


def test_roughness_rises_with_the_spread_and_not_with_the_level(rng):
    shape, seen = (40, 40), np.ones(1600, bool)
    z = rng.normal(size=(1600, 1))
    plain = roughness(z, seen, shape, sigma=3).mean()
    assert roughness(z + 5, seen, shape, sigma=3)[700:900].mean() == pytest.approx(plain, abs=0.2)
    assert roughness(2 * z, seen, shape, sigma=3).mean() > plain + 0.8


def test_cells_that_move_together_share_a_cluster(rng):
    kind = np.repeat([0, 1, 2], 100)
    together = rng.normal(size=(10, 3))[:, kind]
    values = (together + 0.1 * rng.normal(size=(10, 300)))[..., None]
    found = clusters(values, np.ones((10, 300), bool), count=3, components=3, rng=rng)
    assert all(len(set(found[kind == k])) == 1 for k in range(3)) and len(set(found)) == 3
    left = Clusters(found).centred(values[0], np.ones(300, bool))
    assert left.std() < 0.2 < values[0].std()


def test_clusters_are_medians_of_seen_cells_only():
    groups = Clusters(np.array([0, 0, 0, 1, 1, -1], np.int32))
    seen = np.array([True, True, False, True, True, True])
    values = np.array([[1.0], [3.0], [99.0], [5.0], [7.0], [4.0]])
    np.testing.assert_allclose(groups.centred(values, seen).ravel(), [-1, 1, 0, -1, 1, 4])
    np.testing.assert_allclose(groups.mean(values, seen).ravel(), [2, 2, 4, 6, 6, 4])
