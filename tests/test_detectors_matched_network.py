"""The network taught by planted changes: what is planted, that it learns, and that no date judges itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sarcast.detectors.matched_network import MatchedNetwork
from sarcast.detectors.planted import History, apply, planted, soften, train
from sarcast.evaluate.curves import roc_auc
from sarcast.nn.change_net import ChangeNet
from sarcast.values import Split


def test_nothing_changes_outside_the_planted_patch_and_something_inside(rng):
    z = rng.normal(size=(40, 30, 3)).astype(np.float32)
    unit = rng.uniform(0.5, 2, z.shape).astype(np.float32)
    shares, empty = [], 0
    for _ in range(200):
        found, mask = planted(z, unit, rng=rng)
        np.testing.assert_array_equal(found[~mask], z[~mask])
        empty += not mask.any()
        if mask.any():
            assert (found[mask] != z[mask]).any()
            shares.append(mask.mean())
    assert min(shares) > 0.005 and max(shares) < 0.17 and 5 < empty < 40


@pytest.mark.parametrize("shape", [(1, 40), (3, 3), (2, 5), (33, 16)])
def test_maps_of_any_size(shape):
    model = ChangeNet(2, width=4, seed=0)
    assert model(torch.zeros(1, 2, *shape), torch.ones(1, *shape, dtype=torch.bool)).shape == (1, *shape)


def test_the_same_generator_gives_the_same_network(rng):
    past = History(
        deviations=rng.normal(size=(4, 16, 16, 2)).astype(np.float32),
        seen=np.ones((4, 16, 16), bool),
        unit=np.ones((16, 16, 2), np.float32),
    )
    settings = MatchedNetwork(steps=4, batch=2, crop=12, width=4)
    a, b, c = (
        train(past, settings, rng=np.random.default_rng(s), device=torch.device("cpu")).state_dict()
        for s in (1, 1, 2)
    )
    assert all(torch.equal(a[k], b[k]) for k in a) and not all(torch.equal(a[k], c[k]) for k in a)


def test_it_learns_to_find_what_is_planted(rng):
    """Patches 1.5 standard deviations up, on noise it has not seen."""

    def noise(dates):
        return rng.normal(size=(dates, 32, 32, 2)).astype(np.float32)

    past = History(
        deviations=noise(12), seen=np.ones((12, 32, 32), bool), unit=np.ones((32, 32, 2), np.float32)
    )
    settings = MatchedNetwork(steps=150, batch=8, crop=16, width=8, learning_rate=1e-2)
    model = train(past, settings, rng=rng, device=torch.device("cpu"))
    y, x = np.indices((32, 32))
    truth = (y - 15) ** 2 + (x - 20) ** 2 < 25
    z = soften(noise(1)[0] + 1.5 * truth[..., None], settings.soft)
    assert roc_auc(apply(model, z, np.ones((32, 32), bool)).ravel(), truth.ravel()) > 0.85


def test_history_is_read_by_the_network_that_was_not_taught_on_it(make_features, rng):
    features = make_features(rng, dates=14)
    split = Split(fit=np.arange(14) < 12, judge=np.arange(14) >= 12)
    settings = MatchedNetwork(steps=2, batch=2, crop=8, width=4, device="cpu")
    scorer = settings.fit(features, split, rng=np.random.default_rng(0))
    first = replace(scorer, networks=(scorer.networks[0],) * 2)
    fold = scorer.deviations.history_fold
    same = [
        np.array_equal(a, b)
        for a, b in zip(scorer.score(features).values, first.score(features).values, strict=True)
    ]
    assert same[:12] == [bool(f % 2) for f in fold] and not any(same[12:])
