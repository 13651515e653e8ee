"""The transformer as encoder: windows, cells and weights; what every encoder promises is tested elsewhere."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sarcast.encoders.vit import Vit
from sarcast.errors import ArtefactError, DataError, SettingsError
from sarcast.nn.card import Card, scaled
from sarcast.nn.cards import named_card
from sarcast.nn.pretrained import Pretrained, save_encoder
from sarcast.nn.vit import Size, ViT
from sarcast.sar.seasons import CHANNELS


@pytest.fixture
def weights(tmp_path):
    def make(channels=1, card=None, window=4):
        vit = ViT(
            Size(dim=24, depth=2, heads=2),
            patch=4,
            channels=channels,
            rng=torch.Generator().manual_seed(3),
        )
        made = Pretrained(vit=vit, card=card or Card(), window=window)
        save_encoder(tmp_path / "encoder", made)
        return tmp_path / "encoder", made

    return make


@pytest.mark.parametrize("name", ["db_clip", "minmax_patch"])
def test_a_cell_of_a_whole_window_is_the_mean_of_its_tokens(weights, make_stack, rng, name):
    """As in the paper: each 16 px patch through the network by itself, mean-pooled."""
    path, made = weights(card=Card(name=name))
    stack = make_stack(rng, (32, 48), dates=2)
    features = Vit(weights=path, patch=16, halo=0, pool="mean").encode(stack)
    assert features.values.shape == (2, 2, 3, 2 * 24) and features.encoder == "vit"
    for t, row, col, band in np.ndindex(2, 2, 3, 2):
        cut = stack.amplitude[t, band, 16 * row : 16 * row + 16, 16 * col : 16 * col + 16] ** 2
        with torch.no_grad():
            expected = made.vit.pooled(torch.from_numpy(scaled(cut, made.card))[None, None])[0]
        np.testing.assert_allclose(
            features.values[t, row, col, 24 * band : 24 * band + 24], expected, atol=1e-5
        )


def test_tokens_as_cells_and_their_mean_and_spread(weights, make_stack, rng):
    path, made = weights()
    stack = make_stack(rng, (32, 48), dates=1, bands=("VV",))
    fine = Vit(weights=path, patch=4, window=6, halo=1).encode(stack).values[0]
    coarse = Vit(weights=path, patch=8, window=6, halo=1).encode(stack)
    assert fine.shape == (8, 12, 24)
    grouped = fine.reshape(4, 2, 6, 2, 24)
    np.testing.assert_allclose(coarse.values[0, ..., :24], grouped.mean((1, 3)), atol=1e-5)
    np.testing.assert_allclose(coarse.values[0, ..., 24:], grouped.std((1, 3)), atol=1e-4)
    assert coarse.names[0] == "vv_mean_0" and coarse.names[-1] == "vv_spread_23"
    power = stack.amplitude[0, 0, :24, :24] ** 2
    with torch.no_grad():
        corner = made.vit(torch.from_numpy(scaled(power, made.card))[None, None])[0]
    np.testing.assert_allclose(fine[:4, :4], corner[:4, :4], atol=1e-5)


def test_a_scene_in_parts_equals_the_whole_where_windows_are_aligned(weights, make_stack, rng):
    """Step 2 tokens of 4 px: from a cut at a multiple of 8 px on, tokens away from the cut agree."""
    path, _ = weights()
    stack = make_stack(rng, (48, 64), dates=1, bands=("VV",))
    encoder = Vit(weights=path, patch=4, window=4, halo=1)
    whole = encoder.encode(stack).values[0]
    cut = replace(
        stack,
        amplitude=stack.amplitude[..., 16:, 24:],
        valid=stack.valid[:, 16:, 24:],
        geobox=make_stack(rng, (32, 40)).geobox,
    )
    part = encoder.encode(cut).values[0]
    np.testing.assert_allclose(part[2:, 2:], whole[6:, 8:], atol=1e-5)
    assert np.abs(part[0] - whole[4, 6:]).max() > 1e-3


def test_batches_change_nothing(weights, make_stack, rng):
    path, _ = weights()
    stack = make_stack(rng, (40, 44), dates=1)
    one, many = (Vit(weights=path, patch=8, halo=1, batch=n).encode(stack).values for n in (1, 64))
    np.testing.assert_allclose(one, many, atol=1e-5)


def test_bfloat16_is_close(weights, make_stack, rng):
    path, _ = weights()
    stack = make_stack(rng, (32, 32), dates=1)
    exact, fast = (Vit(weights=path, patch=8, precision=p).encode(stack).values for p in ("32", "bf16"))
    assert 0 < np.abs(exact - fast).max() < 0.1


def test_a_lost_token_does_not_reach_its_cell(weights, make_stack, rng):
    """A cell with one of four tokens lost is the mean of the other three."""
    path, _ = weights()
    stack = make_stack(rng, (16, 16), dates=1, bands=("VV",))
    valid = stack.valid.copy()
    valid[0, :4, :4] = False
    stack = replace(stack, valid=valid)
    fine = Vit(weights=path, patch=4, halo=1).encode(stack)
    cell = Vit(weights=path, patch=8, halo=1, min_valid=0.7, pool="mean").encode(stack).values[0, 0, 0]
    assert not fine.valid[0, 0, 0] and fine.valid[0, 0, 1]
    three = (fine.values[0, 0, 1] + fine.values[0, 1, 0] + fine.values[0, 1, 1]) / 3
    np.testing.assert_allclose(cell, three, atol=1e-5)


def test_channels_are_bands_when_the_network_says_so(weights, make_stack, rng):
    path, _ = weights(channels=2)
    stack = make_stack(rng, (16, 16), dates=1)
    features = Vit(weights=path, patch=4, halo=1).encode(stack)
    assert features.values.shape[-1] == 24 and features.names[0] == "bands_mean_0"
    with pytest.raises(DataError, match="expected 2 bands, as the network sees, found 1"):
        Vit(weights=path, patch=4, halo=1).encode(make_stack(rng, (16, 16), bands=("VV",)))


def test_bands_come_in_the_order_of_the_cards_channels(weights, make_stack, rng):
    """A network of (VV, VH) on a stack of (VH, VV): as one of (VH, VV) whose weights are swapped."""
    card = named_card("terramind-s1grd/1")
    path, _ = weights(channels=2, card=card)
    stack = make_stack(rng, (16, 16), dates=1)
    assert stack.bands == ("VH", "VV")
    swapped = replace(stack, bands=("VV", "VH"), amplitude=stack.amplitude[:, ::-1])
    one, other = (Vit(weights=path, patch=4, halo=1).encode(each).values for each in (stack, swapped))
    np.testing.assert_array_equal(one, other)
    mislabelled = replace(stack, bands=("VV", "VH"))
    assert np.abs(Vit(weights=path, patch=4, halo=1).encode(mislabelled).values - one).max() > 0.01
    with pytest.raises(
        SettingsError, match="expected channels VV, VH as the card has, found HH, HV, in stack"
    ):
        Vit(weights=path, patch=4, halo=1).encode(replace(stack, bands=("HH", "HV")))
    single = Card(name="db_channels", channels=("VV",), zero_db=(-20.0,), one_db=(0.0,))
    with pytest.raises(SettingsError, match="expected channels VV as the card has, found VH, in stack"):
        Vit(weights=weights(card=single)[0], patch=4, halo=1).encode(stack)


RATIO = Card(
    name="db_channels",
    channels=("VV-VH", "VH", "VV"),
    zero_db=(-20.0, -25.0, -18.0),
    one_db=(20.0, -2.0, 3.0),
    clipped=False,
)


def by_hand(stack, t, box):
    """What a network of `RATIO` sees: dB of VV less dB of VH, VH and VV, each between its limits."""
    db = {band: 20 * np.log10(stack.amplitude[t, i][box]) for i, band in enumerate(stack.bands)}
    zero, one = (np.array(limits)[:, None, None] for limits in (RATIO.zero_db, RATIO.one_db))
    channels = np.stack([db["VV"] - db["VH"], db["VH"], db["VV"]])
    return torch.from_numpy(((channels - zero) / (one - zero)).astype(np.float32))[None]


def test_a_ratio_is_made_of_its_bands(weights, make_stack, rng):
    """In power, where its dB are the difference of theirs; whichever bands are beside, in whichever order."""
    path, made = weights(channels=3, card=RATIO)
    stack = make_stack(rng, (32, 48), dates=2, bands=("HH", "VH", "VV"))
    encoder = Vit(weights=path, patch=16, halo=0, pool="mean")
    features = encoder.encode(stack)
    assert features.values.shape == (2, 2, 3, 24) and features.names[0] == "bands_mean_0"
    looks = encoder.attention(stack)
    assert looks.values.shape == (2, 8, 12, 2) and looks.names == ("bands_head_0", "bands_head_1")
    for t, row, col in np.ndindex(2, 2, 3):
        pixels = by_hand(stack, t, np.s_[16 * row : 16 * row + 16, 16 * col : 16 * col + 16])
        with torch.no_grad():
            expected, seen = made.vit.pooled(pixels)[0], made.vit.class_attention(pixels)[0]
        np.testing.assert_allclose(features.values[t, row, col], expected, atol=1e-4)
        found = looks.values[t, 4 * row : 4 * row + 4, 4 * col : 4 * col + 4]
        np.testing.assert_allclose(found, seen, atol=1e-4)
    turned = replace(stack, bands=stack.bands[::-1], amplitude=stack.amplitude[:, ::-1])
    np.testing.assert_array_equal(encoder.encode(turned).values, features.values)
    control = Vit(random_init="micro", card=RATIO, patch=16, token=4).encode(stack)
    assert control.values.shape == (2, 2, 3, 2 * 96) and control.encoder == "vit-random"


@pytest.mark.parametrize("bad", [0.0, 1e3])
def test_a_lost_pixel_reaches_no_ratio(weights, make_stack, rng, bad):
    """It is filled in after the ratio is made, with the mean of its patch."""
    path, made = weights(channels=3, card=RATIO)
    stack = make_stack(rng, (16, 16), dates=1)
    amplitude, valid = stack.amplitude.copy(), stack.valid.copy()
    amplitude[0, :, 5, 6], valid[0, 5, 6] = bad, False
    found = Vit(weights=path, patch=16, halo=0, pool="mean").encode(
        replace(stack, amplitude=amplitude, valid=valid)
    )
    pixels = by_hand(stack, 0, np.s_[:, :])
    one = pixels[0, :, 4:8, 4:8]
    pixels[0, :, 5, 6] = (one.sum((1, 2)) - one[:, 1, 2]) / 15
    share = torch.ones(4, 4, 1)
    share[1, 1] = 15 / 16
    with torch.no_grad():
        expected = (made.vit(pixels)[0] * share).sum((0, 1)) / share.sum()
    np.testing.assert_allclose(found.values[0, 0, 0], expected, atol=1e-4)
    tokens = Vit(weights=path, patch=4, halo=1).encode(replace(stack, amplitude=amplitude, valid=valid))
    assert tokens.valid.all() and np.isfinite(tokens.values).all()


def test_channels_that_cannot_be_made_are_refused(weights, make_stack, rng):
    stack = make_stack(rng, (16, 16), dates=1, bands=("HH", "HV"))
    with pytest.raises(SettingsError, match="channels VV-VH, VH, VV as the card has, found HH, HV, in stack"):
        Vit(weights=weights(channels=3, card=RATIO)[0], patch=4, halo=1).encode(stack)
    card = Card(name="db_channels", channels=CHANNELS, zero_db=(-20.0,) * 12, one_db=(0.0,) * 12)
    path, _ = weights(channels=12, card=card)
    for bands in (("VV", "VH"), ("HH",)):
        with pytest.raises(
            SettingsError, match=r"found a card of seasons, for stack .*: seasonal tiles"
        ) as told:
            Vit(weights=path, patch=4, halo=1).encode(make_stack(rng, (16, 16), bands=bands))
        assert "\n" not in str(told.value)


def test_the_control_is_drawn_from_its_seed(make_stack, rng):
    stack = make_stack(rng, (32, 32), dates=1)
    a, b, c = (Vit(patch=8, random_init="micro", seed=seed).encode(stack) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a.values, b.values)
    assert np.abs(a.values - c.values).max() > 0.1
    assert a.encoder == "vit-random"
    assert Vit(patch=8).encode(stack).encoder == "vit" and Vit().files, "sarcast-tiny unless asked otherwise"


def test_what_does_not_fit_is_refused(weights, make_stack, rng, tmp_path):
    path, _ = weights()
    stack = make_stack(rng, (16, 16), dates=1)
    with pytest.raises(SettingsError, match="more than two halos of 2 tokens, found 4"):
        Vit(weights=path, patch=4, halo=2).encode(stack)
    with pytest.raises(ArtefactError, match="expected a model folder"):
        Vit(weights=tmp_path, patch=4).encode(stack)
    with pytest.raises(SettingsError, match="no card beside a folder"):
        Vit(weights=path, card=Card(low_db=-9), halo=1, patch=4).encode(stack)


@pytest.mark.parametrize("tokens", range(1, 30))
def test_every_token_is_kept_once_and_no_window_is_read_twice(tokens):
    from sarcast.encoders.vit import _Lattice
    from sarcast.values import PatchGrid

    grid = PatchGrid(image=(4 * tokens, 4), patch=4, stride=4)
    lattice = _Lattice.over(grid, 4, window=8, halo=2)
    windows = lattice.windows(0, 0, tokens)
    kept = [token for _, begin, end in windows for token in range(begin, end)]
    starts = [start for start, _, _ in windows]
    assert kept == list(range(tokens)) and sorted(set(starts)) == starts
    for start, begin, end in windows:
        assert start <= begin and end <= start + min(8, tokens)
        assert start == 0 or begin - start >= 2
        assert start + 8 >= tokens or start + 8 - end >= 2
    assert len(windows) == 1 or tokens > 8


def test_attention_is_stitched_from_the_cores_of_windows(weights, make_stack, rng):
    path, made = weights()
    stack = make_stack(rng, (32, 48), dates=2)
    found = Vit(weights=path, patch=16, window=6, halo=1).attention(stack, [1], block=0)
    assert found.grid.shape == (8, 12) and found.encoder == "vit-attention"
    assert found.names == ("vh_head_0", "vh_head_1", "vv_head_0", "vv_head_1")
    assert found.valid.all()
    for row, col in [(0, 0), (2, 5), (4, 8), (7, 11), (6, 4)]:
        top, left = (min(max(at // 4 * 4 - 1, 0), most - 6) for at, most in ((row, 8), (col, 12)))
        for band in (0, 1):
            cut = stack.amplitude[1, band, 4 * top : 4 * top + 24, 4 * left : 4 * left + 24] ** 2
            with torch.no_grad():
                pixels = torch.from_numpy(scaled(cut, made.card))[None, None]
                looks = made.vit.class_attention(pixels, block=0)[0, row - top, col - left]
            np.testing.assert_allclose(found.values[0, row, col, 2 * band : 2 * band + 2], looks, atol=1e-5)
