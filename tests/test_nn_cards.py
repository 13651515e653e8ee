"""Cards of several channels: published, measured, kept with a checkpoint; mismatches are refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from pydantic import ValidationError

from sarcast.errors import DataError, SettingsError
from sarcast.nn.card import Card, scaled, scaled_db
from sarcast.nn.cards import CARDS, measured_card, named_card
from sarcast.nn.pretrained import Pretrained, load_encoder, save_encoder
from sarcast.nn.vit import Size, ViT
from sarcast.sar.decibel import from_db
from sarcast.sar.seasons import CHANNELS, SeasonalStack

BY_HAND = {
    "ssl4eo-s12/1": lambda vv, vh: (
        np.clip((vv - (-12.548 - 2 * 5.257)) / (4 * 5.257), 0, 1),
        np.clip((vh - (-20.192 - 2 * 5.912)) / (4 * 5.912), 0, 1),
    ),
    "terramind-s1grd/1": lambda vv, vh: ((vv + 12.599) / 5.195, (vh + 20.293) / 5.890),
    "terramind-s1rtc/1": lambda vv, vh: ((vv + 10.93) / 4.391, (vh + 17.329) / 4.459),
    "olmoearth/1": lambda vv, vh: (
        np.clip((vv - (-11.649 - 2 * 10.84)) / (4 * 10.84), 0, 1),
        np.clip((vh - (-17.745 - 2 * 10.216)) / (4 * 10.216), 0, 1),
    ),
    "presto/1": lambda vv, vh: ((vv + 25) / 25, (vh + 25) / 25),
}


@pytest.fixture
def tile(rng):
    shape = (12, 16, 18)
    mean, spread = rng.normal(-12, 5, (12, 1, 1)), rng.uniform(1, 4, (12, 1, 1))
    valid = rng.random(shape) > 0.2
    return SeasonalStack(
        db=np.where(valid, rng.normal(mean, spread, shape), 0).astype(np.float32),
        valid=valid,
        geobox=GeoBox(shape[1:], Affine(10, 0, 0, 0, -10, 0), "EPSG:32611"),
        name="tile",
        statistic="mean",
        radiometry="gamma0",
    )


@pytest.mark.parametrize("name", sorted(CARDS))
def test_constants_are_the_published_ones(rng, name):
    db = rng.uniform(-45, 12, (3, 2, 7, 8))
    expected = np.stack(BY_HAND[name](db[:, 0], db[:, 1]), 1)
    card = named_card(name)
    assert card.constants == name and card.channels == ("VV", "VH")
    np.testing.assert_allclose(scaled_db(db, card), expected, atol=2e-5)
    np.testing.assert_allclose(scaled(from_db(db), card), expected, atol=2e-5)
    np.testing.assert_array_equal(scaled_db(torch.from_numpy(db), card).numpy(), scaled_db(db, card))


def test_an_unknown_name_says_which_there_are():
    with pytest.raises(SettingsError, match=r"expected a card in ssl4eo-s12/1, .*, found 'ssl4eo-s12/2'"):
        named_card("ssl4eo-s12/2")


def test_measured_is_mean_and_spread_of_what_is_valid(tile):
    other = replace(tile, db=np.where(tile.valid, tile.db, 0), valid=tile.valid & (tile.db < -5))
    other = replace(other, db=np.where(other.valid, other.db, 0))
    card = measured_card([tile, other], constants="here/1")
    assert card.channels == CHANNELS and card.unit == "gamma0" and card.constants == "here/1"
    for c in range(12):
        seen = np.concatenate([tile.db[c][tile.valid[c]], other.db[c][other.valid[c]]]).astype(float)
        assert card.zero_db[c] == pytest.approx(seen.mean(), abs=1e-4)
        assert card.one_db[c] == pytest.approx(seen.mean() + seen.std(), abs=1e-4)
    unit = scaled_db(tile.db, measured_card([tile], constants="here/1"), tile.valid)
    assert abs(unit[3][tile.valid[3]].mean()) < 1e-4 and unit.min() < 0
    assert (unit[~tile.valid] == 0).all()
    with pytest.raises(DataError, match="found none in VV DJF"):
        measured_card(
            [replace(tile, valid=tile.valid & (np.arange(12) != 4)[:, None, None])], constants="x/1"
        )


def test_channels_in_another_order_are_refused(rng):
    card = named_card("terramind-s1grd/1")
    card.check(("VV", "VH"), where="here")
    with pytest.raises(
        SettingsError, match="expected channels VV, VH as the card has, found VH, VV, in here"
    ):
        card.check(("VH", "VV"), where="here")
    Card().check(("VV",), where="here")
    with pytest.raises(SettingsError, match="expected channels one at a time as the card has, found VV, VH"):
        Card().check(("VV", "VH"), where="here")
    with pytest.raises(
        SettingsError, match=r"expected 2 channels \(VV, VH\) of the card, found images of shape"
    ):
        scaled(rng.random((4, 12, 6, 6)), card)


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": ("VV",), "zero_db": (0.0,)},
        {"name": "db_channels"},
        {"channels": ("VV",), "zero_db": (0.0,), "one_db": (1.0,)},
        {"name": "db_channels", "channels": ("VV",), "zero_db": (1.0,), "one_db": (1.0,)},
        {"name": "db_channels", "channels": ("VV", "VV"), "zero_db": (0.0, 0.0), "one_db": (1.0, 1.0)},
    ],
)
def test_a_card_is_whole_or_none(wrong):
    with pytest.raises(ValidationError):
        Card(**wrong)


def test_kept_with_the_checkpoint_and_refused_with_another_network(tmp_path, tile):
    rng = torch.Generator().manual_seed(0)
    card = measured_card([tile], constants="here/1")
    vit = ViT(Size(dim=24, depth=1, heads=2), patch=4, channels=12, rng=rng)
    save_encoder(tmp_path / "a", Pretrained(vit=vit, card=card, window=4))
    found = load_encoder(tmp_path / "a")
    assert found.card == card and found.vit.channels == 12
    pixels = torch.from_numpy(scaled_db(tile.db, card, tile.valid))[None, :, :, :16]
    with torch.no_grad():
        torch.testing.assert_close(found.vit(pixels), vit.eval()(pixels))
    with pytest.raises(SettingsError, match="expected no card beside a folder that has its own"):
        load_encoder(tmp_path / "a", card=measured_card([tile], constants="here/2"))
    two = named_card("ssl4eo-s12/1")
    with pytest.raises(
        SettingsError, match="expected a card of 12 channels as the network has, found VV, VH"
    ):
        save_encoder(tmp_path / "b", Pretrained(vit=vit, card=two, window=4))
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    config["card"] = two.model_dump(mode="json")
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    with pytest.raises(SettingsError, match="expected a card of 12 channels"):
        load_encoder(tmp_path / "a")
