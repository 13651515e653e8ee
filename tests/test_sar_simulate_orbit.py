"""The orbit passes where it should: inclination, direction, side and incidence come back from the vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcast.sar.simulate import orbit_over
from sarcast.sar.simulate.orbit import EARTH_RATE

SECONDS = np.arange(-20.0, 21.0, 5.0)


def place(latitude_deg, longitude_deg, radius_m=6_371_000.0):
    lat, lon = np.deg2rad([latitude_deg, longitude_deg])
    return radius_m * np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


@settings(max_examples=40, deadline=None)
@given(
    incidence_deg=st.floats(15, 55),
    latitude_deg=st.floats(-40, 40),
    longitude_deg=st.floats(-180, 180),
    direction=st.sampled_from(["ascending", "descending"]),
    look_side=st.sampled_from(["left", "right"]),
    inclination_deg=st.sampled_from([53.0, 97.4]),
)
def test_geometry_comes_back(
    incidence_deg, latitude_deg, longitude_deg, direction, look_side, inclination_deg
):
    target = place(latitude_deg, longitude_deg)
    orbit = orbit_over(
        target,
        incidence_deg=incidence_deg,
        direction=direction,
        look_side=look_side,
        inclination_deg=inclination_deg,
        seconds=SECONDS,
    )
    middle = len(SECONDS) // 2
    position, velocity = orbit.position_m[middle], orbit.velocity_m_s[middle]
    sight = target - position
    up = target / np.linalg.norm(target)
    found = np.rad2deg(np.arccos(-(sight @ up) / np.linalg.norm(sight)))
    assert found == pytest.approx(incidence_deg, abs=1e-3)
    assert np.linalg.norm(sight) == pytest.approx(orbit.range_m)
    inertial = velocity + np.cross([0, 0, EARTH_RATE], position)
    momentum = np.cross(position, inertial)
    assert np.rad2deg(np.arccos(momentum[2] / np.linalg.norm(momentum))) == pytest.approx(
        inclination_deg, abs=1e-3
    )
    assert (velocity[2] > 0) == (direction == "ascending")
    assert (np.cross(inertial, position) @ sight > 0) == (look_side == "right")
    assert abs(inertial @ sight) / np.linalg.norm(inertial) / np.linalg.norm(sight) < 1e-3


def test_velocity_is_the_derivative_of_position():
    orbit = orbit_over(
        place(37, -122), incidence_deg=37, direction="ascending", look_side="right",
        seconds=np.array([-0.01, 0.0, 0.01]),
    )  # fmt: skip
    slope = (orbit.position_m[2] - orbit.position_m[0]) / 0.02
    np.testing.assert_allclose(slope, orbit.velocity_m_s[1], atol=0.01)
