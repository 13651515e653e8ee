"""Across dates: the other date is what is predicted, so that ground is learned and speckle is not."""

import numpy as np
import pytest
import torch

from sarcast.nn.card import Card
from sarcast.nn.vit import Size, ViT
from sarcast.objectives.across_dates import AcrossDates
from sarcast.train.augment import Augment
from sarcast.train.chips import Chips, as_input, batch, cut
from sarcast.train.diagnostics import health
from sarcast.train.places import Area


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def predictor(**options):
    vit = ViT(Size(dim=24, depth=2, heads=2), patch=4, rng=seeded())
    return AcrossDates(radii=(2, 4), **options).module(vit, rng=seeded(1))


@pytest.fixture
def looks(rng):
    """Two looks at 16 places: one ground, two draws of speckle."""
    ground = 10 ** rng.normal(-1, 0.3, (16, 1, 4, 4)).repeat(8, 2).repeat(8, 3)
    power = (ground * rng.gamma(2, 0.5, (16, 2, 32, 32))).astype(np.float32)
    return as_input(power, np.ones(power.shape, bool), Card())


def test_a_second_date_is_the_target(looks):
    module = predictor(hidden=0.0)
    with torch.no_grad():
        crossed = module(*looks, rng=seeded())
        value, counts = module.targets(*looks[2:])
        predicted = module._predicted(module.encoder.tokens(looks[0]), (8, 8))
        assert float(crossed) == pytest.approx(float((predicted - value)[counts].square().mean()), rel=1e-5)
        swapped = module(*looks[2:], *looks[:2], rng=seeded())
        alone = module(*looks[:2], rng=seeded())
        assert len({float(crossed), float(swapped), float(alone)}) == 3


def test_blind_to_invalid_pixels_of_both_dates(looks):
    a, _, b, _ = looks
    here, there = (torch.rand(a[:, 0].shape, generator=seeded(s)) > 0.3 for s in (1, 2))
    here[3] = False
    with torch.no_grad():
        clean = predictor()(a, here, b, there, rng=seeded())
        spoiled = [torch.where(ok[:, None], x, torch.nan) for x, ok in ((a, here), (b, there))]
        assert torch.equal(clean, predictor()(spoiled[0], here, spoiled[1], there, rng=seeded()))
        assert clean != predictor()(*looks, rng=seeded())


def test_chips_of_several_dates_are_drawn_in_pairs(make_stack, rng):
    stack = make_stack(rng, dates=5)
    side, dates = 8, np.array([0, 2, 3])
    where = Area.whole(tuple(stack.geobox.shape))
    chips = cut(stack, dates, where, count=5, side=side, together=3, rng=rng, min_valid=0.01)
    assert chips.power.shape == (5, 3, side, side)
    power = np.where(stack.valid[:, None], np.asarray(stack.amplitude) ** 2, 0)
    rows, cols = np.lib.stride_tricks.sliding_window_view(power, (side, side), axis=(2, 3)).shape[2:4]
    for chip in chips.power:
        found = [
            {
                (band, y, x)
                for band in range(power.shape[1])
                for y in range(rows)
                for x in range(cols)
                if np.allclose(power[t, band, y : y + side, x : x + side], look)
            }
            for look in chip
            for t in dates
        ]
        each = [set.union(*found[3 * i : 3 * i + 3]) for i in range(3)]
        assert set.intersection(*each), "three dates of one band and place"
    flat = Augment(flips="none", gain_db=0)
    pair = batch(chips, Card(), flat, size=6, crop=side, rng=rng)
    assert [tuple(x.shape) for x in pair] == [(6, 1, side, side), (6, side, side)] * 2
    assert not any(torch.equal(a, b) for a, b in zip(pair[0], pair[2], strict=True))
    single = Chips(power=chips.power[:, 0], valid=chips.valid[:, 0])
    assert len(batch(single, Card(), flat, size=2, crop=side, rng=rng)) == 2


def test_diagnostics_judge_the_forecast_of_the_other_date(looks):
    module = predictor(hidden=0.0)
    found = health(module, *looks, seed=0)
    with torch.no_grad():
        assert found.loss == pytest.approx(float(module(*looks, rng=seeded())), rel=1e-5)
