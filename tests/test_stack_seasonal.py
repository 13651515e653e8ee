"""Seasonal channels: averaged in power, in M3LEO's order, with what is missing as a mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.errors import DataError, ShapeError, StackError
from sarcast.sar.seasons import CHANNELS, SEASONS, season_of, season_year
from sarcast.stack import seasonal as module
from sarcast.stack.seasonal import seasonal, tiles

YEAR = [15.0 * i for i in range(24)]


@pytest.fixture
def stack(make_stack, make_times, rng):
    made = make_stack(rng, (12, 14), dates=24)
    valid = rng.random(made.valid.shape) > 0.3
    return replace(
        made,
        times=make_times(24, days=YEAR),
        valid=valid,
        amplitude=np.where(valid[:, None], made.amplitude, 0),
    )


def slow(stack, statistic, year=None, min_dates=1):
    """Pixel by pixel, date by date, with months written out."""
    months = {"DJF": (12, 1, 2), "MAM": (3, 4, 5), "JJA": (6, 7, 8), "SON": (9, 10, 11)}
    stamps = [str(t)[:7].split("-") for t in stack.times.time]
    db = np.zeros((12, *stack.geobox.shape))
    valid = np.zeros(db.shape, bool)
    for s, season in enumerate(("DJF", "MAM", "JJA", "SON")):
        for y, x in np.ndindex(*stack.geobox.shape):
            level = {}
            for band in ("VV", "VH"):
                seen = [
                    float(stack.amplitude[t, stack.bands.index(band), y, x]) ** 2
                    for t, (own, month) in enumerate(stamps)
                    if int(month) in months[season]
                    and (year is None or int(own) + (int(month) == 12) == year)
                    and stack.valid[t, y, x]
                ]
                if len(seen) >= min_dates:
                    level[band] = 10 * np.log10(np.mean(seen) if statistic == "mean" else np.median(seen))
            if level:
                db[[s, 4 + s, 8 + s], y, x] = level["VV"] - level["VH"], level["VV"], level["VH"]
                valid[[s, 4 + s, 8 + s], y, x] = True
    return db, valid


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("min_dates", [1, 4])
def test_equals_the_slow_way(stack, statistic, min_dates, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_BYTES", 8 * 24 * 14)
    found = seasonal(stack, statistic=statistic, min_dates=min_dates)
    db, valid = slow(stack, statistic, min_dates=min_dates)
    np.testing.assert_array_equal(found.valid, valid)
    np.testing.assert_allclose(found.db, db, atol=1e-4)
    assert CHANNELS[:5] == ("VV-VH DJF", "VV-VH MAM", "VV-VH JJA", "VV-VH SON", "VV DJF")


def test_of_one_year_the_winter_begins_in_december(stack, make_times):
    shifted = replace(stack, times=make_times(24, days=[day - 60 for day in YEAR]))
    found = seasonal(shifted, year=2024)
    db, valid = slow(shifted, "mean", year=2024)
    assert (shifted.times.time < np.datetime64("2023-12-01")).any()
    np.testing.assert_array_equal(found.valid, valid)
    np.testing.assert_allclose(found.db, db, atol=1e-4)


def test_seasons_and_their_years():
    time = np.array(["1969-12-31", "2023-11-30", "2023-12-01", "2024-02-29", "2024-03-01"], "datetime64[ns]")
    assert season_of(time).tolist() == [0, 3, 0, 0, 1]
    assert season_year(time).tolist() == [1970, 2023, 2024, 2024, 2024]


def test_mean_in_power_is_not_the_mean_of_decibels(make_stack, make_times, rng):
    """One look: the mean of dB lies 2.5 dB too low."""
    made = replace(make_stack(rng, (32, 32), dates=40, looks=1), times=make_times(40, days=range(0, 360, 9)))
    truth = replace(made, amplitude=np.full_like(made.amplitude, 0.1))
    speckled = np.sqrt(0.01 * rng.gamma(1, 1, made.amplitude.shape)).astype(np.float32)
    found, flat = seasonal(replace(made, amplitude=speckled)), seasonal(truth)
    assert abs(found.db[4:].mean() - flat.db[4:].mean()) < 0.35
    assert (flat.db[4:] + 20 < 1e-4).all() and (flat.db[:4] == 0).all()


def test_a_missing_season_is_a_mask_and_three_are_refused(stack):
    def keep(*names):
        some = np.isin(season_of(stack.times.time), [SEASONS.index(name) for name in names])
        index = np.flatnonzero(some)
        return replace(
            stack,
            times=stack.times.take(some),
            valid=stack.valid[index],
            amplitude=stack.amplitude[index],
        )

    found = seasonal(keep("DJF", "JJA", "SON"))
    assert found.seasons == ("DJF", "JJA", "SON")
    assert not found.valid[1::4].any() and (found.db[1::4] == 0).all()
    assert found.valid[2].any()
    with pytest.raises(
        DataError, match=r"^expected dates of 2 seasons or more, found JJA, in stack simulated$"
    ):
        seasonal(keep("JJA"))
    with pytest.raises(DataError, match="of 2031 or more, found none"):
        seasonal(stack, year=2031)


def test_one_polarisation_is_refused(stack):
    single = replace(stack, amplitude=stack.amplitude[:, 1:], bands=("VV",))
    with pytest.raises(StackError, match="expected VV and VH for seasonal channels, found VV, in stack"):
        seasonal(single)


def test_blind_to_invalid_pixels(stack):
    other = replace(
        stack, amplitude=np.where(stack.valid[:, None], stack.amplitude, np.float32(1e6)).astype(np.float32)
    )
    for statistic in ("mean", "median"):
        a, b = seasonal(stack, statistic=statistic), seasonal(other, statistic=statistic)
        np.testing.assert_array_equal(a.db, b.db)


def test_tiles_lie_where_they_say(stack):
    place = seasonal(stack, min_dates=2)
    found = list(tiles(stack, side=5, min_valid=0.1, min_dates=2))
    assert len(found) == 4
    for tile in found:
        row, col = (int(part) for part in tile.name.split("_")[-2:])
        box = slice(5 * row, 5 * row + 5), slice(5 * col, 5 * col + 5)
        np.testing.assert_array_equal(tile.db, place.db[:, *box])
        np.testing.assert_array_equal(tile.valid, place.valid[:, *box])
        west, north = place.geobox.transform.c, place.geobox.transform.f
        assert (tile.geobox.transform.c, tile.geobox.transform.f) == (west + 50 * col, north - 50 * row)
    with pytest.raises(DataError, match="expected tiles with 100% valid"):
        list(tiles(replace(stack, valid=np.zeros_like(stack.valid)), side=5, min_valid=1.0))
    with pytest.raises(ShapeError):
        list(tiles(stack, side=13))


def test_a_tile_reads_no_more_than_itself(stack):
    class Watched:
        """An array that remembers how much was asked of it."""

        def __init__(self, array):
            self.array, self.shape, self.read = array, array.shape, 0

        def __getitem__(self, key):
            part = self.array[key]
            self.read += part.size
            return part

    watched = replace(stack, amplitude=Watched(stack.amplitude), valid=Watched(stack.valid))
    next(tiles(watched, side=5, min_valid=0))
    assert watched.amplitude.read == 2 * 24 * 25
    assert watched.valid.read == 24 * 25
