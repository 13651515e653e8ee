"""Bands over a region: shares, one answer only, and a buffer that keeps roles apart on the ground."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sarcast.errors import DataError, SettingsError
from sarcast.stack.bands import PATTERN, UNUSED, band_index, roles_of, split_bands

SIDE_M = 4480.0
FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def grid(rows, cols, *, crs="EPSG:32611", left=300_000.0, top=4_500_000.0):
    """A region of tiles that touch."""
    return [
        GeoBox((448, 448), Affine(10, 0, left + SIDE_M * col, 0, -10, top - SIDE_M * row), crs)
        for row in range(rows)
        for col in range(cols)
    ]


def apart(boxes, one, other):
    """Least distance between the edges of any two tiles, metres, on their common grid."""
    a, b = (np.array([[*boxes[i].extent.boundingbox] for i in np.flatnonzero(part)]) for part in (one, other))
    gap = np.maximum(a[:, None, :2] - b[None, :, 2:], b[None, :, :2] - a[:, None, 2:])
    return float(np.hypot(*np.maximum(gap, 0).transpose(2, 0, 1)).min())


@FEW
@given(angle=st.floats(-np.pi / 2, np.pi / 2), rows=st.integers(120, 160), cols=st.integers(120, 160))
def test_shares_are_near_60_20_20(angle, rows, cols):
    lat, lon = np.meshgrid(40 + 0.04 * np.arange(rows), 5 + 0.05 * np.arange(cols), indexing="ij")
    centres = np.stack([lon.ravel(), lat.ravel()], 1)
    roles = roles_of(centres, np.full(len(centres), 3168.0), angle_rad=angle)
    for role, share in (("train", 0.6), ("test", 0.2), ("val", 0.2)):
        assert abs((roles == role).mean() - share) < 0.05
    np.testing.assert_array_equal(roles, roles_of(centres, np.full(len(centres), 3168.0), angle_rad=angle))
    index = band_index(centres, angle_rad=angle, bands=60)
    assert index.min() == 0 and index.max() == 59


@FEW
@given(angle=st.sampled_from([0.2, 0.9, 1.5, -0.6]), buffer_m=st.sampled_from([1.0, 5e3, 9e3]))
def test_the_buffer_keeps_roles_apart(angle, buffer_m):
    boxes = grid(24, 24)
    plain = split_bands(boxes, angle_rad=angle, bands=5)
    roles = split_bands(boxes, angle_rad=angle, bands=5, buffer_m=buffer_m)
    assert apart(boxes, plain == "train", plain == "test") == 0, "without a buffer they touch"
    for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
        assert apart(boxes, roles == one, roles == other) > 0.999 * buffer_m
    np.testing.assert_array_equal(roles == "test", plain == "test")
    assert set(roles) <= {*PATTERN, UNUSED}
    assert (roles[roles != UNUSED] == plain[roles != UNUSED]).all()
    assert (roles == "train").mean() > 0.15


def test_bands_run_as_the_angle_says(rng):
    lat, lon = np.meshgrid(np.arange(20.0), np.arange(20.0), indexing="ij")
    centres = np.stack([lon.ravel(), lat.ravel()], 1)
    flat = band_index(centres, angle_rad=0.0, bands=20).reshape(20, 20)
    np.testing.assert_array_equal(flat, np.arange(20)[:, None].repeat(20, 1))
    np.testing.assert_array_equal(band_index(centres, angle_rad=np.pi / 2, bands=20).reshape(20, 20), flat.T)
    leaning = band_index(centres, angle_rad=np.pi / 4, bands=19).reshape(20, 20)
    assert leaning[3, 10] == leaning[10, 3] and leaning[0, 0] == 0 and leaning[-1, -1] == 18
    scattered = np.vstack([[[0, 0], [1, 1], [0, 1], [1, 0]], rng.random((300, 2))])
    mirrored = scattered * [-1, 1] + [1, 0]
    np.testing.assert_array_equal(
        band_index(mirrored, angle_rad=-0.6, bands=19), band_index(scattered, angle_rad=0.6, bands=19)
    )


def test_a_region_across_the_date_line_is_in_one_piece():
    here = np.stack([np.linspace(170, 190, 200), np.linspace(0, 1, 200)], 1)
    wrapped = np.stack([(here[:, 0] + 180) % 360 - 180, here[:, 1]], 1)
    radii = np.full(200, 100.0)
    np.testing.assert_array_equal(
        roles_of(here, radii, angle_rad=1.5), roles_of(wrapped, radii, angle_rad=1.5)
    )


def test_what_cannot_be_split_is_refused():
    with pytest.raises(DataError, match="expected tiles of train, test and val, found none of test and val"):
        split_bands(grid(1, 1), bands=5)
    with pytest.raises(
        DataError, match="found none of train and val among 36 tiles in 5 bands with a buffer"
    ):
        split_bands(grid(6, 6), bands=5, buffer_m=1e5)
    with pytest.raises(SettingsError, match="expected an angle within"):
        split_bands(grid(3, 3), bands=5, angle_rad=2.0)
    with pytest.raises(SettingsError, match="need bands >= 5"):
        split_bands(grid(3, 3), bands=3)
