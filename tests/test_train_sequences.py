"""Sequences: dates in a row at one place, changed alike; and learning rates by share."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sarcast.errors import DataError, ShapeError
from sarcast.nn.card import Card
from sarcast.nn.vit import Size, ViT
from sarcast.train.augment import Augment
from sarcast.train.places import Area
from sarcast.train.schedule import groups
from sarcast.train.sequences import Sequences, cut_sequences, draw_places


def cut(stack, dates, rng, **more):
    given = {"count": 30, "length": 3, "side": 16, "channels": 1}
    area = Area.whole(tuple(stack.geobox.shape))
    return cut_sequences(stack, np.asarray(dates), area, **{**given, **more}, rng=rng)


def test_dates_in_a_row_of_one_place_and_band(make_stack, make_times, rng):
    stack = make_stack(rng, (40, 48), dates=6)
    told = 10 * np.arange(6)[:, None, None, None] + np.arange(2)[None, :, None, None]
    place = np.arange(40 * 48).reshape(40, 48) / 1e4
    stack = replace(
        stack,
        amplitude=(1 + told + place).astype(np.float32),
        times=make_times(6, days=[0, 1, 3, 7, 20, 60]),
    )
    found = cut(stack, [0, 2, 3, 5], rng)
    assert found.power.shape == (30, 3, 1, 16, 16) and len(found) == 30
    amplitude = np.sqrt(found.power[:, :, 0])
    whole = np.floor(amplitude[:, :, 0, 0]).astype(int) - 1
    dates, bands = whole // 10, whole % 10
    assert {tuple(some) for some in dates} == {(0, 2, 3), (2, 3, 5)}
    assert (bands == bands[:, :1]).all() and set(bands[:, 0]) == {0, 1}
    inside = amplitude - 1 - whole[..., None, None]
    np.testing.assert_allclose(inside, np.broadcast_to(inside[:, :1], inside.shape), atol=1e-5)
    days = {tuple(some) for some in found.days}
    assert days == {(0, 3, 7), (0, 4, 57)}
    assert cut(stack, range(6), rng, channels=2).power.shape == (30, 3, 2, 16, 16)


def test_too_little_is_refused(make_stack, rng):
    stack = make_stack(rng, (32, 32), dates=4)
    with pytest.raises(DataError, match="at least 5 dates, found 4, in stack simulated"):
        cut(stack, range(4), rng, length=5)
    with pytest.raises(DataError, match="expected 3 bands, as the network sees, found 2"):
        cut(stack, range(4), rng, channels=3)
    nothing = replace(stack, valid=np.zeros_like(stack.valid))
    with pytest.raises(DataError, match="50% valid pixels, found none"):
        cut(nothing, range(4), rng)
    with pytest.raises(ShapeError, match="alike in power, valid and days"):
        Sequences(power=np.ones((2, 3, 1, 4, 4)), valid=np.ones((2, 3, 4, 4), bool), days=np.zeros((2, 4)))


def test_all_dates_of_a_place_are_changed_alike_but_for_speckle(rng):
    """Cut, flip and gain are one for a place; speckle is every image's own."""
    shape = (6, 4, 2, 12, 12)
    place = rng.gamma(50, 1 / 50, (6, 1, 2, 12, 12)).astype(np.float32)
    valid = np.broadcast_to(rng.random((6, 1, 12, 12)) > 0.2, (6, 4, 12, 12))
    same = Sequences(
        power=0.1 * np.broadcast_to(place, shape), valid=valid, days=np.tile(np.arange(4.0), (6, 1))
    )
    for looks, alike in ((None, True), (3.0, False)):
        told = Augment(flips="both", gain_db=3, looks=looks)
        pixels, ok, days = draw_places(same, Card(), told, size=5, crop=8, rng=np.random.default_rng(0))
        assert pixels.shape == (5, 4, 2, 8, 8) and ok.shape == (5, 4, 8, 8) and days.shape == (5, 4)
        assert torch.equal(ok, ok[:, :1].expand_as(ok)) and not ok.all()
        assert (pixels[~ok[:, :, None].expand_as(pixels)] == 0).all()
        assert torch.equal(pixels, pixels[:, :1].expand_as(pixels)) == alike
    levels = pixels.sum((1, 2, 3, 4)) / ok.sum((1, 2, 3))
    assert levels.std() > 0.01


def test_shares_of_the_learning_rate_make_groups_of_their_own():
    vit = ViT(Size(dim=24, depth=2, heads=2), patch=4, rng=torch.Generator())
    module = torch.nn.ModuleDict({"encoder": vit, "head": torch.nn.Linear(24, 3)})
    vit.patch_embed.requires_grad_(False)
    found = groups(module, weight_decay=0.1, shares={"encoder.": 0.2})
    names = {id(p): name for name, p in module.named_parameters()}
    told = {names[id(p)]: (group["share"], group["weight_decay"]) for group in found for p in group["params"]}
    assert set(told) == {name for name, p in module.named_parameters() if p.requires_grad}
    assert told["encoder.blocks.0.attn.qkv.weight"] == (0.2, 0.1) and told["encoder.norm.bias"] == (0.2, 0.0)
    assert told["head.weight"] == (1.0, 0.1) and told["head.bias"] == (1.0, 0.0)
