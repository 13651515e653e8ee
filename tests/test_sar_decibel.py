"""Decibels: there and back, float32 stays, nothing under the floor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcast.sar.decibel import from_db, to_db


def test_known_values():
    np.testing.assert_allclose(to_db(np.array([1.0, 10.0, 0.5])), [0, 10, -3.0103], atol=1e-4)


def test_the_floor_is_the_least():
    assert to_db(np.array([0.0, 1e-9])).tolist() == [-60.0, -60.0]
    assert to_db(np.zeros(1), floor=1e-3)[0] == pytest.approx(-30)


@pytest.mark.parametrize(
    ("given_dtype", "kept"), [("float32", "float32"), ("float64", "float64"), ("uint16", "float64")]
)
def test_float32_stays_float32(given_dtype, kept):
    values = np.array([1, 2, 3], dtype=given_dtype)
    assert to_db(values).dtype == kept
    assert from_db(values).dtype == kept


@given(st.floats(-59, 60))
def test_there_and_back(db):
    assert to_db(from_db(np.array([db])))[0] == pytest.approx(db, abs=1e-9)


def test_mean_of_db_is_biased_by_2_5_db_at_one_look(rng):
    power = rng.exponential(size=200_000)
    assert to_db(power).mean() == pytest.approx(-2.51, abs=0.05)
    assert to_db(power.mean()) == pytest.approx(0, abs=0.02)
