"""RX equals a covariance inverted for every cell, finds a change, and stays blind to what it may not see."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from sarcast.detectors.rx import RX, global_rx, local_rx
from sarcast.errors import SarcastError
from sarcast.runtime.settings import build
from sarcast.values import Split

SHAPE = (9, 10)
FIT = np.arange(18) < 12


def plain(cell, others, shrinkage):
    """One cell against its background, the covariance inverted."""
    dim = len(cell)
    mean = others.mean(0)
    away = others - mean
    if shrinkage == "ledoit_wolf":
        covariance = ledoit_wolf(away, assume_centered=True)[0]
    else:
        sample = away.T @ away / len(away)
        covariance = (1 - shrinkage) * sample + shrinkage * np.trace(sample) / dim * np.eye(dim)
    return np.sqrt((cell - mean) @ np.linalg.inv(covariance) @ (cell - mean) / dim)


def vectors(rng, dim):
    """Correlated vectors, some of them not seen and absurd."""
    z = rng.normal(size=(SHAPE[0] * SHAPE[1], dim)) @ rng.normal(size=(dim, dim)) + rng.normal(size=dim)
    seen = rng.random(len(z)) > 0.15
    return np.where(seen[:, None], z, 1e6), seen


@pytest.mark.parametrize("shrinkage", ["ledoit_wolf", 0.05, 0.5])
@pytest.mark.parametrize("dim", [2, 6, 40, 130])
def test_global_equals_the_inverse(rng, dim, shrinkage):
    z, seen = vectors(rng, dim)
    found = global_rx(z, seen, shrinkage=shrinkage)
    expected = [plain(cell, z[seen], shrinkage) for cell in z[seen]]
    np.testing.assert_allclose(found[seen], expected, rtol=1e-6)
    assert (found[~seen] == 0).all()


@pytest.mark.parametrize("shrinkage", ["ledoit_wolf", 0.05, 0.5])
@pytest.mark.parametrize("dim", [2, 6, 40, 130])
@pytest.mark.parametrize(("window", "guard"), [(7, 3), (5, 1)])
def test_local_equals_the_inverse(rng, dim, shrinkage, window, guard):
    """Both sides: rings of fewer cells than features (Woodbury) and of more."""
    z, seen = vectors(rng, dim)
    found, scored = local_rx(z, seen, SHAPE, window=window, guard=guard, shrinkage=shrinkage)
    row, col = np.divmod(np.arange(len(z)), SHAPE[1])
    for c in np.flatnonzero(seen):
        apart = np.maximum(abs(row - row[c]), abs(col - col[c]))
        ring = seen & (apart <= window // 2) & (apart > guard // 2)
        assert scored[c]
        np.testing.assert_allclose(found[c], plain(z[c], z[ring], shrinkage), rtol=1e-6)
    assert not scored[~seen].any() and (found[~seen] == 0).all()


def test_a_cell_alone_in_its_ring_is_not_scored(rng):
    z, seen = vectors(rng, 3)
    seen[:] = False
    seen[[0, 1, 2, 45]] = True
    found, scored = local_rx(z, seen, SHAPE, window=3, guard=1, shrinkage=0.1)
    assert not scored.any() and (found == 0).all()


def test_global_does_not_depend_on_the_units_when_nothing_is_shrunk(rng):
    z, seen = vectors(rng, 5)
    mixed = np.where(seen[:, None], z @ rng.normal(size=(5, 5)) + 3, 0)
    found = global_rx(z, seen, shrinkage=0)
    np.testing.assert_allclose(global_rx(mixed, seen, shrinkage=0), found, rtol=1e-2)


@pytest.mark.parametrize("background", ["global", "local"])
@pytest.mark.parametrize("shrinkage", ["ledoit_wolf", 0.1])
def test_finds_a_change_in_time(make_features, rng, background, shrinkage):
    """A cell that always differs is no event; one that differs from its own history is."""
    features = make_features(rng, dates=18)
    values = features.values.copy()
    values[:, 9, 9, 0] += 12
    values[14, 4:6, 5:7, 0] += 10
    valid = features.valid.copy()
    valid[:, 0, :3] = False
    planted = replace(features, values=values, valid=valid)
    detector = RX(neighbours=20, background=background, window=7, guard=3, shrinkage=shrinkage)
    scorer = detector.fit(planted, Split(fit=FIT, judge=~FIT), rng=np.random.default_rng(7))
    scores = scorer.score(planted)
    at = scores.values[14].copy()
    inside = at[4:6, 5:7].min()
    at[3:7, 4:8] = 0
    assert inside > at.max() and at[9, 9] < inside
    assert inside > np.quantile(scores.values[:12][scores.valid[:12]], 0.999)
    assert not scores.valid[:, 0, :3].any() and scores.valid[12:, 1:].all()


@pytest.mark.parametrize(
    "told", [{"window": 4}, {"guard": 2}, {"window": 3, "guard": 3}, {"shrinkage": 1.5}, {"background": "x"}]
)
def test_wrong_settings_are_one_line(told):
    with pytest.raises(SarcastError) as error:
        build(RX, told, where="the test")
    assert "\n" not in str(error.value)
