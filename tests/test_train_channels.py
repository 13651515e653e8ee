"""Several channels at once: bands of a stack, seasons of a tile, and ratios made after augmentation."""

import math

import numpy as np
import pytest
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.special import polygamma

from sarcast.errors import DataError, SettingsError, ShapeError, StackError
from sarcast.nn.card import Card, scaled_db
from sarcast.nn.cards import measured_card
from sarcast.nn.vit import Size, ViT
from sarcast.objectives import OBJECTIVES
from sarcast.sar.channels import bands_of
from sarcast.sar.seasons import CHANNELS, SEASONS, in_channels
from sarcast.sar.simulate.seasonal import SimulateSeasons, simulate_seasons
from sarcast.train.augment import Augment
from sarcast.train.chips import Chips, as_input, batch, cut, of_seasons
from sarcast.train.diagnostics import health
from sarcast.train.places import Area

THREE = Card(
    name="db_channels",
    channels=("VV-VH", "VH", "VV"),
    zero_db=(-20.0, -30.0, -30.0),
    one_db=(30.0, 20.0, 20.0),
)
STILL = Augment(flips="none", gain_db=0)


@pytest.fixture
def tile(rng):
    """A place whose spring is missing, and whose corner was never seen in VH."""
    power = rng.gamma(4, 0.02, (2, 4, 24, 32)).astype(np.float32)
    valid = np.ones(power.shape, bool)
    valid[:, SEASONS.index("MAM")], valid[1, :, :6, :6] = False, False
    geobox = GeoBox((24, 32), Affine(10, 0, 0, 0, -10, 0), "EPSG:32632")
    return in_channels(power, valid, geobox=geobox, name="a", statistic="mean", radiometry="sigma0")


@pytest.fixture(scope="module")
def simulated():
    rng = np.random.default_rng(0)
    return [one.image for one in simulate_seasons(SimulateSeasons(tiles=(2, 3), side=32), rng=rng)]


def test_bands_that_channels_need():
    assert bands_of(("VV-VH", "VH", "VV")) == ("VV", "VH") and bands_of(()) == ()
    eight = bands_of(CHANNELS)
    assert len(eight) == 8 and set(eight) == {f"{b} {s}" for b in ("VV", "VH") for s in SEASONS}


def test_a_tile_unchanged_is_the_tile(tile):
    card = Card(name="db_channels", channels=CHANNELS, zero_db=(-30.0,) * 12, one_db=(10.0,) * 12)
    chips = of_seasons([tile])
    assert chips.power.shape == (1, 8, 24, 24) and not chips.dated
    pixels, valid = batch(chips, card, STILL, size=2, crop=24, rng=np.random.default_rng(0))
    assert pixels.shape == valid.shape == (2, 12, 24, 24)
    np.testing.assert_array_equal(valid[0], tile.valid[:, :, :24])
    expected = scaled_db(tile.db, card, tile.valid)[:, :, :24]
    np.testing.assert_allclose(pixels[1], expected, atol=1e-5)


def test_tiles_are_cut_into_chips_that_fit(tile):
    chips = of_seasons([tile, tile], side=12)
    assert chips.power.shape == (8, 8, 12, 12)
    power = np.where(tile.valid[4], 10 ** (tile.db[4] / 10), 0)
    vv = chips.bands.index("VV DJF")
    np.testing.assert_allclose(chips.power[3, vv], power[12:24, 12:24], rtol=1e-5)
    with pytest.raises(DataError, match=r"seasonal tiles with room for a chip .* found none"):
        of_seasons([tile], side=25)
    with pytest.raises(ShapeError, match="of the same bands and size"):
        Chips.of([of_seasons([tile]), of_seasons([tile], side=12)])


def test_a_gain_moves_bands_not_ratios_and_speckle_is_that_of_both(rng):
    power = np.ones((20, 2, 64, 64), np.float32)
    chips = Chips(power=power, valid=power > 0, bands=("VV", "VH"))
    draw = {"size": 20, "crop": 64, "rng": rng}
    ratio, vh, vv = batch(chips, THREE, Augment(gain_db=3), **draw)[0].unbind(1)
    assert float(vv[:, 0, 0].std()) > 0.01 and float(vh[:, 0, 0].std()) > 0.01
    torch.testing.assert_close(ratio, torch.full_like(ratio, 20 / 50))
    found = batch(chips, THREE, Augment(gain_db=0, looks=9), **draw)[0]
    zero, one = (torch.tensor(limits)[:, None, None] for limits in (THREE.zero_db, THREE.one_db))
    ratio, vh, vv = (zero + found * (one - zero)).unbind(1)
    torch.testing.assert_close(ratio, vv - vh, atol=1e-3, rtol=1e-3)
    assert float(vv.std()) == pytest.approx(10 / math.log(10) / 3, rel=0.1)


@pytest.mark.parametrize("looks", [1, 4.4])
def test_speckle_of_a_ratio_has_the_variances_of_both_bands(rng, looks):
    """ln of power of L looks has variance trigamma(L); each band has its own draw, and both have one gain."""
    power = np.ones((8, 2, 96, 96), np.float32)
    chips = Chips(power=power, valid=power > 0, bands=("VV", "VH"))
    card = THREE.model_copy(update={"clipped": False})
    found = batch(chips, card, Augment(looks=looks, gain_db=2), size=8, crop=96, rng=rng)[0]
    zero, one = (torch.tensor(limits)[:, None, None] for limits in (THREE.zero_db, THREE.one_db))
    ratio, vh, vv = (zero + found * (one - zero)).double().unbind(1)
    theory = (10 / math.log(10)) ** 2 * float(polygamma(1, looks))
    for band in (vv, vh):
        assert float(band.var((1, 2)).mean()) == pytest.approx(theory, rel=0.05)
    assert float(ratio.var((1, 2)).mean()) == pytest.approx(2 * theory, rel=0.05)
    assert float(ratio.var()) == pytest.approx(2 * theory, rel=0.05), "no gain"
    alike = np.corrcoef(vv.flatten().numpy(), vh.flatten().numpy())[0, 1]
    gains = np.corrcoef(vv.mean((1, 2)).numpy(), vh.mean((1, 2)).numpy())[0, 1]
    assert abs(alike) < 0.3 and gains > 0.95


@pytest.mark.parametrize("together", [None, 2])
def test_chips_of_a_stack_have_all_bands_of_one_date_and_place(make_stack, rng, together):
    stack = make_stack(rng, (40, 48), dates=5)
    where = Area.whole((40, 48))
    drawn = {"count": 6, "side": 16, "together": together, "rng": rng}
    chips = cut(stack, np.arange(5), where, bands=("VH", "VV"), **drawn)
    assert chips.power.shape == ((6, 2, 16, 16) if together is None else (6, 2, 2, 16, 16))
    assert chips.dated == (together is not None)
    for one in chips.power.reshape(-1, 2, 16, 16):
        at = np.argwhere(np.isclose(stack.amplitude**2, one[0, 0, 0], rtol=1e-6))
        t, _, row, col = next(a for a in at if stack.bands[a[1]] == "VH")
        for number, name in enumerate(("VH", "VV")):
            whole = stack.amplitude[t, stack.bands.index(name), row : row + 16, col : col + 16]
            np.testing.assert_allclose(one[number], whole**2, rtol=1e-5)
    found = batch(chips, THREE, STILL, size=3, crop=8, rng=rng)
    assert [tuple(x.shape) for x in found] == [(3, 3, 8, 8)] * (2 if together is None else 4)
    with pytest.raises(StackError, match="expected bands HH, found"):
        cut(stack, np.arange(5), where, bands=("HH",), **drawn)


def test_a_card_and_chips_go_together(tile):
    chips = of_seasons([tile])
    with pytest.raises(SettingsError, match="expected a card with channels for VV DJF"):
        as_input(chips.power, chips.valid, Card(), bands=chips.bands)
    with pytest.raises(SettingsError, match="expected bands VV, VH for the channels of the card"):
        as_input(chips.power, chips.valid, THREE, bands=chips.bands)
    with pytest.raises(ShapeError, match="expected 2 bands before y"):
        Chips(power=chips.power, valid=chips.valid, bands=("VV", "VH"))


OPTIONS = {
    "mae": {"predictor_dim": 16, "predictor_heads": 2},
    "dino": {"locals": 2, "head_dim": 16, "prototypes": 16},
    "gradient_jepa": {"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2},
}


@pytest.mark.parametrize("objective", OPTIONS)
def test_twelve_channels_feed_objectives(simulated, objective):
    card = measured_card(simulated, constants="test/1")
    chips = of_seasons(simulated)
    pixels, valid = batch(chips, card, Augment(looks=20), size=4, crop=24, rng=np.random.default_rng(1))
    vit = ViT(Size(dim=24, depth=2, heads=2), patch=4, channels=12, rng=torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(1)
    module = OBJECTIVES[objective](**OPTIONS[objective]).module(vit, rng=rng)
    valid[0, 1::4] = False
    loss = module(pixels, valid, rng=torch.Generator().manual_seed(2))
    loss.backward()
    assert loss.isfinite() and vit.patch_embed.proj.weight.grad.abs().amax((0, 2, 3)).min() > 0
    found = health(module, pixels, valid, seed=0)
    assert found.rank > 1 and math.isfinite(found.normalised_error)
