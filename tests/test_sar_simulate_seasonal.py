"""Simulated seasonal tiles: physics that goes the right way, labels that can be learned but not read off."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, RidgeCV

from sarcast.sar.seasons import CHANNELS
from sarcast.sar.simulate import SimulateSeasons, backscatter, simulate_seasons
from sarcast.sar.simulate.climate import CLIMATES, PLANTS
from sarcast.sar.simulate.land_cover import CROPS
from sarcast.sar.world_cover import CLASS, CLASS_NAMES
from sarcast.stack.bands import split_bands

SMALL = SimulateSeasons(tiles=(2, 3), side=32)


def drawn(seed, **told):
    settings = SMALL.model_copy(update=told)
    return list(simulate_seasons(settings, rng=np.random.default_rng(seed)))


@pytest.fixture(scope="module")
def region():
    settings = SimulateSeasons(tiles=(12, 10), side=24)
    return list(simulate_seasons(settings, rng=np.random.default_rng(3)))


def everything(tiles):
    return b"".join(
        array.tobytes()
        for tile in tiles
        for array in (tile.image.db, tile.land_cover, tile.vegetation, tile.built, tile.biomass)
    )


def test_same_seed_same_bytes_and_other_seeds_differ():
    assert everything(drawn(1)) == everything(drawn(1)) != everything(drawn(2))


def test_tiles_are_whole_and_touch():
    tiles = drawn(0)
    assert len(tiles) == 6
    for tile in tiles:
        assert tile.image.db.shape == (12, 32, 32) and tile.image.valid.all()
        assert tile.land_cover.max() < len(tile.class_names) == 11
        assert tile.vegetation.min() >= 0 and tile.vegetation.max() <= 1
        assert tile.built.min() >= 0 and tile.built.max() <= 1 and tile.biomass.min() >= 0
        np.testing.assert_allclose(tile.image.db[:4], tile.image.db[4:8] - tile.image.db[8:], atol=1e-4)
    a, b = tiles[0].image.geobox.extent.boundingbox, tiles[1].image.geobox.extent.boundingbox
    assert (a.right, a.top) == (b.left, b.top)
    big = list(simulate_seasons(SimulateSeasons(tiles=(10, 10), side=16), rng=np.random.default_rng(0)))
    roles = split_bands([tile.image.geobox for tile in big], bands=10)
    assert set(roles) == {"train", "test", "val"}


def test_speckle_has_the_looks_it_is_told():
    """On water: a difference of seasons and of neighbours is of four gamma logarithms, 24 looks each."""
    differences = []
    for tile in drawn(4, slopes_db=0.0, texture=0.0, dates=(6, 6), looks=4.0):
        vv = tile.image.db[4:8]
        differences.append(np.diff((vv[0] - vv[1])[tile.land_cover == CLASS["permanent water"]]))
    together = np.concatenate(differences)
    assert len(together) > 100
    assert 4 * (10 / np.log(10)) ** 2 / np.var(together) == pytest.approx(24, rel=0.3)


def test_backscatter_rises_with_biomass_and_saturates():
    biomass = np.array([[0.0, 5, 20, 60, 150, 300]])
    ground = backscatter.soil(np.full(biomass.shape, 0.2), np.full(biomass.shape, 0.3))
    power = 10 * np.log10(backscatter.canopy(ground, biomass, np.full(biomass.shape, 3.0)))
    steps = np.diff(power[1, 0])
    assert (steps > 0).all() and steps[-1] < 0.3 < steps[0] and power[1, 0, -1] - power[1, 0, 0] > 4
    assert np.ptp(power[0]) < np.ptp(power[1]), "VH says more of biomass than VV"


def test_what_moves_each_kind():
    one = np.ones((1, 1))
    db = lambda power: 10 * np.log10(power[:, 0, 0])  # noqa: E731
    wet, dry = (backscatter.soil(m * one, 0.3 * one) for m in (0.3, 0.1))
    assert (db(wet) - db(dry) > 3).all()
    assert (db(backscatter.soil(0.3 * one, 0.3 * one, frozen=1.0)) < db(dry)).all()
    assert (db(backscatter.soil(0.2 * one, one)) > db(backscatter.soil(0.2 * one, 0 * one))).all()
    along, across = (db(backscatter.facades(one, turn)) for turn in (0.0, 1.0))
    assert along[0] - across[0] > along[1] - across[1] > 0
    assert (db(backscatter.facades(0.2 * one, 0.0)) < along).all()
    calm, rough = (backscatter.open_water(w * one) for w in (-1, 1))
    assert db(rough)[0] - db(calm)[0] > 4
    assert (db(backscatter.flooded(calm, 10 * one, one)) > db(backscatter.canopy(calm, 10 * one, one))).all()
    assert (db(backscatter.snow(0 * one)) - db(backscatter.snow(one)) > 6).all()


def test_seasons_follow_leaves_and_frost(region):
    db = np.stack([tile.image.db for tile in region])
    cover = np.stack([tile.land_cover for tile in region])
    by_channel = db.transpose(1, 0, 2, 3)
    often = [name for name in CLASS_NAMES if (cover == CLASS[name]).sum() > 200]
    level = {name: by_channel[:, cover == CLASS[name]].mean(1) for name in often}
    winter, summer = CHANNELS.index("VH DJF"), CHANNELS.index("VH JJA")
    swing = {name: abs(means[winter] - means[summer]) for name, means in level.items()}
    assert swing["snow and ice"] > 4 > swing["grassland"] > swing["tree cover"]
    assert level["permanent water"][8:].max() < level["tree cover"][8:].min() - 5
    assert level["built-up"][4:8].min() > level["cropland"][4:8].max()


def test_climates_are_whole():
    for climate in CLIMATES.values():
        assert len(climate.common) == len(CLASS_NAMES) and sum(climate.common) > 1
        assert set(climate.leaf) == set(PLANTS) >= set(CROPS)
    vegetation = {
        name: np.mean([tile.vegetation.mean() for tile in drawn(5, climate=name, tiles=(4, 4))])
        for name in CLIMATES
    }
    assert vegetation["tropical"] > vegetation["temperate"]


@pytest.mark.parametrize("name, least", [("vegetation", 0.2), ("built", 0.25), ("biomass", 0.08)])
def test_hand_made_means_tell_something_but_not_all(region, name, least):
    """Tile means of labels from channel means: better than the mean, far from perfect, no channel alone."""
    x = np.stack([tile.image.db.mean((1, 2)) for tile in region])
    y = np.array([getattr(tile, name).mean() for tile in region])
    learn = np.arange(len(y)) % 2 == 0
    guess = RidgeCV(np.logspace(-2, 2, 9)).fit(x[learn], y[learn]).predict(x[~learn])
    explained = 1 - np.mean((guess - y[~learn]) ** 2) / np.mean((y[~learn] - y[learn].mean()) ** 2)
    assert least < explained < 0.85
    assert max(abs(spearmanr(x[:, c], y).statistic) for c in range(12)) < 0.85


def test_classes_of_pixels_can_be_guessed_but_not_known(region):
    x = np.stack([tile.image.db[4:] for tile in region]).transpose(0, 2, 3, 1)[:, ::5, ::5].reshape(-1, 8)
    y = np.stack([tile.land_cover for tile in region])[:, ::5, ::5].ravel()
    half = len(y) // 2
    x = (x - x.mean(0)) / x.std(0)
    model = LogisticRegression(max_iter=200, tol=1e-2).fit(x[:half], y[:half])
    right = np.mean(model.predict(x[half:]) == y[half:])
    most = np.bincount(y[half:]).max() / half
    assert most + 0.1 < right < 0.8
