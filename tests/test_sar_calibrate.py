"""Stored numbers become linear power to a relative 1e-6, in every unit."""

from decimal import Decimal, getcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcast.errors import SettingsError
from sarcast.sar.calibrate import to_power

getcontext().prec = 40


@given(st.integers(1, 65535), st.floats(1e-6, 10))
def test_amplitude_is_scaled_then_squared(stored, scale):
    exact = float((Decimal(stored) * Decimal(scale)) ** 2)
    assert to_power(np.array([stored], np.uint16), unit="amplitude", scale=scale)[0] == pytest.approx(
        exact, rel=1e-6
    )


@given(st.floats(1e-9, 1e5), st.floats(1e-3, 1e3))
def test_power_is_scaled(stored, scale):
    assert to_power(np.array([stored]), unit="power", scale=scale)[0] == pytest.approx(
        stored * scale, rel=1e-6
    )


@given(st.integers(-6000, 4000))
def test_db_is_scaled_then_raised(stored):
    exact = float(Decimal(10) ** (Decimal(stored) / 1000))
    assert to_power(np.array([stored], np.int16), unit="db", scale=0.01)[0] == pytest.approx(exact, rel=1e-6)


def test_units_agree(rng):
    power = rng.exponential(size=(16, 16)) + 1e-3
    for unit, stored in (("power", power), ("amplitude", np.sqrt(power)), ("db", 10 * np.log10(power))):
        np.testing.assert_allclose(to_power(stored, unit=unit), power, rtol=1e-6)


def test_float32_dn_do_not_lose_digits_before_they_are_squared():
    stored = np.array([60000], np.uint16)
    assert to_power(stored, unit="amplitude")[0] == np.float32(3.6e9)


def test_result_is_float32_of_the_same_shape():
    power = to_power(np.ones((3, 4, 5), np.uint16), unit="amplitude", scale=0.5)
    assert power.dtype == np.float32
    assert power.shape == (3, 4, 5)


def test_huge_no_data_numbers_pass_without_a_warning():
    for unit in ("amplitude", "db"):
        assert to_power(np.array([3.4e38], np.float32), unit=unit)[0] == np.inf


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_a_bad_scale_raises(scale):
    with pytest.raises(SettingsError, match="scale"):
        to_power(np.ones(2), unit="power", scale=scale)


def test_an_unknown_unit_raises():
    with pytest.raises(SettingsError, match="unit"):
        to_power(np.ones(2), unit="intensity")
