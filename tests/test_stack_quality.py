"""A planted pixel or decibel is flagged, natural dates and local events are not, water is not measurable."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter

from sarcast.sar.coregister import Gain, Shift, apply_shift
from sarcast.stack.quality import (
    DateQuality,
    Measured,
    Quality,
    _Sorted,
    consensus,
    gain_limits_db,
    is_textured,
    measure,
    measure_history,
    reference_of,
)
from sarcast.values import Stack, Times

N, HISTORY, LOOKS = 14, 10, 9


def _stack(rng, *, level_db=None, texture_db=3.0, side=64, shifts=None, gains=None, event=None) -> Stack:
    """Textured ground under 9-look speckle; `shifts` and `gains` by date, `event` (date, dB) over 40 %."""
    field = gaussian_filter(rng.normal(size=(side, side)), 2, mode="wrap")
    field = texture_db * field / field.std()
    amplitude = np.empty((N, 1, side, side), np.float32)
    for i in range(N):
        level = apply_shift(field, (shifts or {}).get(i, (0.0, 0.0))) + (gains or {}).get(i, 0.0)
        level = level + (0 if level_db is None else level_db[i])
        if event is not None and event[0] == i:
            level[: int(0.4 * side)] += event[1]
        amplitude[i, 0] = np.sqrt(10 ** (level / 10) * rng.gamma(LOOKS, 1 / LOOKS, level.shape))
    return _of(amplitude)


def _of(amplitude: np.ndarray, valid: np.ndarray | None = None) -> Stack:
    n, _, rows, cols = amplitude.shape
    times = Times(
        time=np.datetime64("2024-01-01", "ns") + 12 * np.arange(n) * np.timedelta64(1, "D"),
        scene_id=tuple(f"s{i}" for i in range(n)), platform=("x",) * n,
        incidence_deg=np.full(n, 37.0, np.float32), look_side=("right",) * n,
        orbit_direction=("ascending",) * n, relative_orbit=("1",) * n,
    )  # fmt: skip
    return Stack(
        amplitude=amplitude, valid=np.ones((n, rows, cols), bool) if valid is None else valid, times=times,
        bands=("VV",), geobox=GeoBox((rows, cols), Affine(10, 0, 0, 0, -10, 0), "EPSG:32611"), name="x",
    )  # fmt: skip


def _judge(stack: Stack, settings: Quality | None = None) -> list[dict]:
    settings = settings or Quality()
    history = np.arange(N) < HISTORY
    measured = measure_history(stack, history)
    reference = reference_of(stack, history)
    measured |= {i: measure(stack, i, reference) for i in range(HISTORY, N)}
    known = [measured[i] for i in range(HISTORY)]
    limits = gain_limits_db(known, settings)
    return [
        DateQuality(
            scene_id=f"s{i}", time="", platform="", measured=measured[i], textured=is_textured(known),
            limits_db=limits, settings=settings,
        ).to_json()
        for i in range(N)
    ]  # fmt: skip


def test_natural_dates_are_not_flagged(rng):
    for _ in range(3):
        natural = rng.normal(0, 0.2, N)
        dates = _judge(_stack(rng, level_db=natural))
        assert all(d["usable"] and d["shift_state"] == d["gain_state"] == "ok" for d in dates)
        error = np.array([d["gain_db"]["VV"] for d in dates]) - (natural - np.median(natural[:HISTORY]))
        assert np.abs(error).max() < 0.12


@pytest.mark.parametrize("date", [4, 12])
@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.0, -1.0), (-0.7, 0.7)])
def test_one_pixel_is_flagged_in_history_and_later(rng, date, shift):
    dates = _judge(_stack(rng, shifts={date: shift}))
    assert [i for i, d in enumerate(dates) if not d["usable"]] == [date]
    assert dates[date]["shift_state"] == "flagged"
    assert dates[date]["shift_px"] == pytest.approx(shift, abs=0.15)
    assert dates[date]["correlation_after"] > dates[date]["correlation_before"]


@pytest.mark.parametrize("date", [4, 12])
@pytest.mark.parametrize("gain_db", [1.0, -1.0])
def test_one_db_is_flagged_in_history_and_later(rng, date, gain_db):
    dates = _judge(_stack(rng, gains={date: gain_db}))
    assert [i for i, d in enumerate(dates) if not d["usable"]] == [date]
    assert dates[date]["gain_db"]["VV"] == pytest.approx(gain_db, abs=0.15)
    assert dates[date]["flags"][0].startswith("gain VV")


@pytest.mark.parametrize("event_db", [-6.0, 1.5, 10.0])
def test_a_local_event_is_no_gain_and_no_shift(rng, event_db):
    dates = _judge(_stack(rng, event=(12, event_db)))
    assert all(d["usable"] for d in dates)
    assert abs(dates[12]["gain_db"]["VV"]) < 0.2


def test_water_is_not_measurable_whatever_the_wind(rng):
    dates = _judge(_stack(rng, texture_db=0.0, level_db=rng.normal(0, 3, N)))
    assert all(
        d["shift_px"] is None and d["shift_state"] == d["gain_state"] == "not measurable" for d in dates
    )
    assert all(d["usable"] for d in dates)


def test_speckle_of_a_date_does_not_agree_with_itself(rng):
    """A date is part of history's median: without leaving it out, water would seem to have texture."""
    stack = _stack(rng, texture_db=0.0)
    assert not any(m.shift.measurable for m in measure_history(stack, np.arange(N) < HISTORY).values())


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_median_without_one_is_that_of_the_others(rng, n):
    values = rng.integers(0, 6, (n, 8, 9)).astype(np.float32)
    seen = rng.uniform(size=values.shape) < 0.7
    chosen = _Sorted(list(values), list(seen))
    for index in [None, *range(n)]:
        rest = [i for i in range(n) if i != index or n == 1]
        found, enough = chosen.median(index)
        for y, x in np.ndindex(8, 9):
            kept = [values[i, y, x] for i in rest if seen[i, y, x]]
            assert enough[y, x] == (len(kept) > 0 and 2 * len(kept) >= len(rest))
            assert found[y, x] == (np.median(kept) if enough[y, x] else 0)


def test_missing_ground_is_flagged_and_does_not_spoil_the_rest(rng):
    stack = _stack(rng)
    valid = np.array(stack.valid)
    valid[3, :, :40] = False
    valid[5, :10] = False
    amplitude = stack.amplitude * valid[:, None]
    dates = _judge(_of(amplitude, valid))
    assert [i for i, d in enumerate(dates) if not d["usable"]] == [3]
    assert dates[3]["flags"] == ["coverage 38 %"]
    assert dates[3]["valid_fraction"] == 0.375


def test_a_quiet_history_excuses_nothing_and_a_wild_one_not_everything():
    def history(spread: float) -> list[Measured]:
        shift = Shift(dy=0, dx=0, correlation_before=1, correlation_after=1, accepted=False, measurable=True)
        values = spread * np.linspace(-2, 2, 11)
        return [
            Measured(
                shift=shift, gains={"VV": Gain(value_db=float(v), spread_db=0.1, measurable=True)},
                valid_fraction=1.0,
            )
            for v in values
        ]  # fmt: skip

    assert gain_limits_db(history(0.2), Quality()) == {"VV": 0.75}
    assert 0.75 < gain_limits_db(history(0.5), Quality())["VV"] < 1.5
    assert gain_limits_db(history(5.0), Quality()) == {"VV": 1.5}


def test_settings_turn_checks_off(rng):
    stack = _stack(rng, shifts={4: (1.0, 0.0)}, gains={12: 2.0})
    assert all(d["usable"] for d in _judge(stack, Quality(registration="off", gain="off")))


def test_windows_agree_or_nothing_is_said():
    def shift(dy: float, *, measurable=True) -> Shift:
        return Shift(
            dy=dy, dx=0.0, correlation_before=0.5, correlation_after=0.6, accepted=True, measurable=measurable
        )

    assert consensus([shift(1.0), shift(1.1), shift(0.9), shift(-5.0)]).dy == pytest.approx(1.0)
    assert not consensus([shift(1.0), shift(-3.0), shift(5.0), shift(9.0)]).measurable
    assert not consensus([shift(1.0, measurable=False)] * 3).measurable
    assert consensus([shift(0.0, measurable=False), shift(0.4)]).dy == 0.4


def test_large_frames_are_looked_at_in_tiles(rng):
    """Three tiles of a tall frame, one of them water; the shift is the land's."""
    amplitude = np.sqrt(rng.gamma(LOOKS, 1 / LOOKS, (3, 1, 3072, 64))).astype(np.float32)
    field = gaussian_filter(rng.normal(size=(3072, 64)), 2)
    field[1024:2048] = 0
    field *= 3 / field[:1024].std()
    for i in range(3):
        amplitude[i, 0] *= 10 ** (apply_shift(field, (0.0, 0.8 if i == 2 else 0.0)) / 20)
    stack = _of(amplitude)
    reference = reference_of(stack, np.array([True, True, False]))
    assert len(reference.tiles) == 3
    found = measure(stack, 2, reference).shift
    assert found.measurable and found.dx == pytest.approx(0.8, abs=0.1)
