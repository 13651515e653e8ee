"""Schedule, augmentation, chips and diagnostics: what a training is made of."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.nn.card import Card
from sarcast.nn.rank import effective_rank
from sarcast.nn.vit import Size, ViT
from sarcast.objectives.gradient_jepa import GradientJepa
from sarcast.objectives.local_masked_gradient import LocalMaskedGradient
from sarcast.train.augment import Augment, augment
from sarcast.train.chips import Chips, as_input, batch, cut
from sarcast.train.diagnostics import Health, collapse, health, spread
from sarcast.train.places import Area
from sarcast.train.schedule import groups, rate

PLAIN = Augment(flips="none", gain_db=0)


def test_the_rate_rises_straight_then_falls_as_a_cosine():
    rates = [rate(step, 100, peak=2.0, warm_up=0.1) for step in range(100)]
    np.testing.assert_allclose(rates[:10], 2.0 * np.arange(1, 11) / 10)
    assert rates[10] == pytest.approx(2.0) and rates[-1] == pytest.approx(0.02)
    assert all(np.diff(rates[10:]) < 0)
    assert rates[10 + 45] == pytest.approx((2.0 + 0.02) / 2, rel=0.03)
    assert rate(0, 1, peak=1.0, warm_up=0.0) == 1.0


def test_only_matrices_are_decayed():
    vit = ViT(Size(dim=24, depth=1, heads=2), patch=4, rng=torch.Generator())
    model = GradientJepa(predictor_dim=16, predictor_depth=1, predictor_heads=2).module(
        vit, rng=torch.Generator()
    )
    decayed, kept = groups(model, weight_decay=0.1)
    names = {id(p): name for name, p in model.named_parameters()}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    for p in decayed["params"]:
        assert names[id(p)].endswith(".weight") and p.dim() >= 2
    ends = {names[id(p)].rpartition(".")[2] for p in kept["params"]}
    assert ends == {"bias", "weight", "lookup_table_weight", "cls_token", "mask_token"}
    assert all(p.dim() == 1 for p in kept["params"] if names[id(p)].endswith(".weight"))
    every = [p for p in model.parameters() if p.requires_grad]
    assert len(decayed["params"]) + len(kept["params"]) == len(every)


def test_a_crop_is_a_window_of_its_own_image(rng):
    power = np.arange(4 * 12 * 15, dtype=np.float32).reshape(4, 12, 15)
    found, valid = augment(power, power % 7 > 0, PLAIN, crop=6, rng=rng)
    assert found.shape == (4, 6, 6) and found.dtype == np.float32 and valid.dtype == bool
    np.testing.assert_array_equal(valid, found % 7 > 0)
    for one, whole in zip(found, power, strict=True):
        top, left = np.argwhere(whole == one[0, 0])[0]
        np.testing.assert_array_equal(one, whole[top : top + 6, left : left + 6])


@pytest.mark.parametrize(
    ("flips", "allowed"), [("none", {(1, 1)}), ("azimuth", {(1, 1), (-1, 1)}), ("both", None)]
)
def test_flips_only_as_allowed(rng, flips, allowed):
    power = np.broadcast_to(np.arange(64, dtype=np.float32).reshape(8, 8), (40, 8, 8))
    found, valid = augment(power, power > 20, Augment(flips=flips, gain_db=0), crop=8, rng=rng)
    np.testing.assert_array_equal(valid, found > 20)
    seen = {(int(np.sign(a[1, 0] - a[0, 0])), int(np.sign(a[0, 1] - a[0, 0]))) for a in found}
    assert seen == (allowed or {(1, 1), (-1, 1), (1, -1), (-1, -1)})


def test_speckle_has_its_looks_and_gain_its_range(rng):
    flat = np.ones((20, 64, 64), np.float32)
    found, _ = augment(flat, flat > 0, Augment(looks=4, gain_db=0), crop=64, rng=rng)
    assert found.mean() == pytest.approx(1, abs=0.01)
    assert 1 / found.var() == pytest.approx(4, abs=0.1)
    found, _ = augment(flat, flat > 0, Augment(gain_db=2), crop=64, rng=rng)
    gains = 10 * np.log10(found.mean((1, 2)))
    assert (found == found[:, :1, :1]).all() and np.abs(gains).max() <= 2 and np.ptp(gains) > 1


def test_draws_come_from_the_generator(rng):
    power = rng.gamma(4, 0.05, (5, 20, 20)).astype(np.float32)
    chips = Chips(power=power, valid=power > 0)
    a, b, c = (
        batch(chips, Card(), Augment(looks=4), size=3, crop=8, rng=np.random.default_rng(seed))[0]
        for seed in (0, 0, 1)
    )
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.shape == (3, 1, 8, 8) and a.min() >= 0 and a.max() <= 1


def test_an_image_smaller_than_the_crop_is_refused(rng):
    with pytest.raises(ShapeError, match="at least 9 px a side, found 8 x 12"):
        augment(np.ones((2, 8, 12)), np.ones((2, 8, 12), bool), PLAIN, crop=9, rng=rng)


def test_chips_are_power_of_the_asked_dates_and_places(make_stack, rng):
    stack = make_stack(rng, (40, 64), dates=4)
    amplitude = np.arange(4)[:, None, None, None] + np.arange(64) / 100
    amplitude = np.broadcast_to(amplitude, stack.amplitude.shape).astype(np.float32)
    stack = replace(stack, amplitude=amplitude)
    blocks = np.array([[0, 40], [16, 40]])
    learn, other = (Area(shape=(40, 64), blocks=blocks, block=24, within=one) for one in (False, True))
    for where, low, high in ((learn, 0, 0.39), (other, 0.40, 0.63)):
        chips = cut(stack, np.array([1, 3]), where, count=50, side=16, rng=rng)
        assert chips.power.shape == (50, 16, 16) and chips.valid.all()
        found = np.sqrt(chips.power)
        dates = np.floor(found[:, 0, 0])
        assert set(dates) == {1, 3}
        inside = found - dates[:, None, None]
        assert inside.min() >= low - 1e-5 and inside.max() <= high + 1e-5


def test_chips_with_little_valid_are_left_out(make_stack, rng):
    stack = make_stack(rng, (32, 64), dates=2)
    valid = stack.valid.copy()
    valid[:, :, :40] = False
    stack = replace(stack, valid=valid, amplitude=np.where(valid[:, None], stack.amplitude, np.nan))
    whole = Area.whole((32, 64))
    chips = cut(stack, np.arange(2), whole, count=30, side=16, rng=rng)
    assert 0 < len(chips) <= 30 and (chips.valid.mean((1, 2)) >= 0.5).all()
    assert (chips.power[~chips.valid] == 0).all() and np.isfinite(chips.power).all()
    hidden = Area(shape=(32, 64), blocks=np.array([[0, 0]]), block=32, within=True)
    with pytest.raises(DataError, match="places with 50% valid pixels, found none"):
        cut(stack, np.arange(2), hidden, count=5, side=16, rng=rng)
    with pytest.raises(DataError, match="expected 1 dates or more"):
        cut(stack, np.arange(0), whole, count=5, side=16, rng=rng)


def test_effective_rank_counts_directions(rng):
    basis = np.linalg.qr(rng.normal(size=(32, 32)))[0]
    for rank in (1, 5, 32):
        vectors = rng.normal(size=(20_000, rank)) @ basis[:rank]
        assert effective_rank(vectors) == pytest.approx(rank, rel=0.01)
        assert effective_rank(vectors + 100 * basis[0]) == pytest.approx(rank, rel=0.01)
    assert effective_rank(np.ones((10, 4))) == 1
    assert spread(3 * rng.normal(size=(20_000, 8)) + 7) == pytest.approx(3, rel=0.02)


def test_collapse_is_named():
    start = Health(loss=1, spread=1.0, rank=30, normalised_error=1)
    assert collapse(replace(start, spread=0.5, rank=10), start) is None
    assert "spread of the tokens fell from 1 to 0.1" in (collapse(replace(start, spread=0.1), start) or "")
    assert "effective rank 1.20" in (collapse(replace(start, rank=1.2), start) or "")
    assert "rank fell from 30.0 to 5.0" in (collapse(replace(start, rank=5), start) or "")


def test_an_encoder_that_says_one_thing_is_reported(rng):
    power = rng.gamma(4, 0.05, (8, 32, 32)).astype(np.float32)
    pixels, valid = as_input(power, power > 0.01, Card())
    vit = ViT(Size(dim=24, depth=2, heads=2), patch=4, rng=torch.Generator().manual_seed(0))
    settings = GradientJepa(predictor_dim=16, predictor_depth=1, predictor_heads=2)
    module = settings.module(vit, rng=torch.Generator())
    start = health(module, pixels, valid, seed=0)
    assert start == health(module, pixels, valid, seed=0)
    assert 0 < start.spread < 2 and 2 < start.rank <= 24 and start.normalised_error > 0
    with torch.no_grad():
        vit.norm.weight.fill_(1e-3)
    assert "spread" in (collapse(health(module, pixels, valid, seed=0), start) or "")


def test_a_card_of_channels_is_not_for_single_bands(rng):
    power = rng.gamma(4, 0.05, (2, 16, 16)).astype(np.float32)
    card = Card(name="db_channels", channels=("VV", "VH"), zero_db=(-20.0, -25.0), one_db=(0.0, -5.0))
    with pytest.raises(SettingsError, match="expected a card without channels for bands seen one at a time"):
        as_input(power, np.ones(power.shape, bool), card)


@pytest.mark.parametrize("masked", [False, True])
def test_normalised_error_of_the_best_constant_is_one(rng, masked):
    """A predictor that always says the mean of the targets scores 1."""
    power = rng.gamma(4, 0.05, (150, 16, 16)).astype(np.float32)
    valid = rng.random(power.shape) > 0.1 if masked else np.ones(power.shape, bool)
    pixels, ok = as_input(power, valid, Card())
    vit = ViT(Size(dim=8, depth=1, heads=2), patch=4, rng=torch.Generator().manual_seed(0))
    settings = LocalMaskedGradient(
        window=(4, 4), windows=1, radii=(2,), predictor_dim=8, predictor_depth=1, predictor_heads=2
    )
    module = settings.module(vit, rng=torch.Generator())
    value, counts = module.targets(pixels, ok)
    mean = torch.where(counts, value, 0.0).sum((0, 1)) / counts.sum((0, 1))
    with torch.no_grad():
        module.decoder_pred.weight.zero_()
        module.decoder_pred.bias.copy_(mean)
    found = health(module, pixels, ok, seed=3)
    assert found.normalised_error == pytest.approx(1, abs=0.05)


def test_zoom_keeps_level_and_shape_and_finds_the_place(rng):
    """A ramp resampled is a ramp again: less steep by the share of the side that was cut out."""
    ramp = np.broadcast_to(np.arange(1.0, 41.0, dtype=np.float32), (6, 40, 40))
    settings = Augment(flips="none", gain_db=0, zoom=(0.25, 0.25))
    found, ok = augment(ramp, np.ones(ramp.shape, bool), settings, crop=20, rng=rng)
    assert found.shape == (6, 20, 20) and ok.all()
    inner = np.diff(found, axis=2)[:, :, 1:-1]
    np.testing.assert_allclose(inner, 1.0, atol=1e-4)
    assert np.ptp(found[:, 0, 0]) > 1
    whole = Augment(flips="none", gain_db=0, zoom=(1, 1))
    same, _ = augment(ramp, np.ones(ramp.shape, bool), whole, crop=40, rng=rng)
    np.testing.assert_allclose(same, ramp, rtol=1e-6)


def test_zoom_never_mixes_in_what_is_not_valid(rng):
    power = rng.gamma(4, 0.1, (8, 2, 32, 32)).astype(np.float32)
    valid = np.ones((8, 1, 32, 32), bool)
    valid[..., 10:14, :] = False
    hidden = np.where(valid, power, 1e6).astype(np.float32)
    told = Augment(zoom=(0.2, 1), contrast=0.5, gain_db=2)
    one, ok = augment(np.where(valid, power, 0), valid, told, crop=16, rng=np.random.default_rng(1))
    other, _ = augment(hidden, valid, told, crop=16, rng=np.random.default_rng(1))
    seen = np.broadcast_to(ok, one.shape)
    np.testing.assert_array_equal(one[seen], other[seen])
    assert 0 < ok.mean() < 1


def test_contrast_keeps_the_mean_amplitude_and_the_order(rng):
    power = rng.uniform(0.2, 1, (32, 16, 16)).astype(np.float32)
    told = Augment(flips="none", gain_db=0, contrast=0.3)
    found, _ = augment(power, np.ones(power.shape, bool), told, crop=16, rng=rng)
    before, after = np.sqrt(power), np.sqrt(found)
    np.testing.assert_allclose(after.mean((1, 2)), before.mean((1, 2)), rtol=1e-4)
    ratio = after.std((1, 2)) / before.std((1, 2))
    assert ratio.min() > 0.7 - 1e-4 and ratio.max() < 1.3 + 1e-4 and np.ptp(ratio) > 0.3


def test_a_share_of_an_area_is_checked():
    with pytest.raises(ValueError, match="zoom"):
        Augment(zoom=(0.5, 0.2))
