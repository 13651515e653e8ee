"""stack.zarr opens everywhere without a warning, and depends on its dates, not on the order they came in."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox

from sarcast.errors import ArtefactError, ShapeError
from sarcast.runtime.artefact import digest, writing
from sarcast.stack.store import Header, StackWriter, read_stack, write_stack
from sarcast.values import Stack, Times

BANDS = ("VH", "VV")


def _times(days) -> Times:
    n = len(days)
    return Times(
        time=np.datetime64("2024-01-01T02:03:04.123456789", "ns") + np.asarray(days) * np.timedelta64(1, "D"),
        scene_id=tuple(f"scene-{day}" for day in days),
        platform=("S1A",) * n,
        incidence_deg=np.full(n, np.nan, np.float32),
        look_side=("right",) * n,
        orbit_direction=("ascending",) * n,
        relative_orbit=("137",) * n,
    )


def _stack(rng, days=(0, 12, 24), shape=(20, 30)) -> Stack:
    valid = rng.uniform(size=(len(days), *shape)) < 0.9
    amplitude = rng.gamma(2.0, size=(len(days), 2, *shape)).astype(np.float32) * valid[:, None]
    return Stack(
        amplitude=amplitude,
        valid=valid,
        times=_times(days),
        bands=BANDS,
        geobox=GeoBox(shape, Affine(30.0, 0.0, 500_010.0, 0.0, -30.0, 4_000_020.0), "EPSG:32611"),
        name="here_vv-vh",
        radiometry="gamma0",
        attributes={"calibration": "full"},
    )


def _write_dates(path, stack, indices):
    header = Header(
        name=stack.name, bands=stack.bands, geobox=stack.geobox, radiometry=stack.radiometry,
        attributes=dict(stack.attributes),
    )  # fmt: skip
    writer = StackWriter(path, header)
    known = {i for i in range(len(stack.times)) if stack.times.scene_id[i] in writer._order}
    everything = np.array(sorted(known | set(indices)))
    writer.lay_out(stack.times.take(everything))
    for i in indices:
        writer.write_block(stack.times.scene_id[i], (0, 0), stack.amplitude[i], stack.valid[i])


def _same(a: Stack, b: Stack) -> None:
    np.testing.assert_array_equal(np.asarray(a.amplitude[...]), b.amplitude)
    np.testing.assert_array_equal(np.asarray(a.valid[...]), b.valid)
    np.testing.assert_array_equal(a.times.time, b.times.time)
    assert a.times.scene_id == b.times.scene_id and a.times.platform == b.times.platform
    assert (a.bands, a.name, a.unit, a.radiometry) == (b.bands, b.name, b.unit, b.radiometry)
    assert a.geobox == b.geobox and a.attributes == b.attributes


@pytest.mark.parametrize("lazy", [True, False])
def test_what_is_written_is_read(rng, tmp_path, lazy):
    stack = _stack(rng)
    write_stack(tmp_path / "stack.zarr", stack)
    found = read_stack(tmp_path / "stack.zarr", lazy=lazy)
    _same(found, stack)
    assert isinstance(found.amplitude, np.ndarray) is not lazy


def test_lazy_arrays_are_sliced_like_numpys(rng, tmp_path):
    stack = _stack(rng)
    write_stack(tmp_path / "stack.zarr", stack)
    found = read_stack(tmp_path / "stack.zarr")
    np.testing.assert_array_equal(found.amplitude[1, :, 3:9, -5:], stack.amplitude[1, :, 3:9, -5:])
    np.testing.assert_array_equal(found.valid[:, 4, 5], stack.valid[:, 4, 5])


def test_opens_with_xarray_without_a_warning(rng, tmp_path):
    stack = _stack(rng)
    write_stack(tmp_path / "stack.zarr", stack)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = xr.open_zarr(tmp_path / "stack.zarr").load()
        xr.open_zarr(tmp_path / "stack.zarr", consolidated=False).load()
    assert found.amplitude.dims == ("time", "band", "y", "x")
    assert found.amplitude.dtype == np.float32 and found.valid.dtype == bool
    assert found.time.dtype == "datetime64[ns]"
    np.testing.assert_array_equal(found.time, stack.times.time)
    assert list(found.band.values) == list(BANDS)
    assert {"scene_id", "platform", "incidence_deg", "spatial_ref"} <= set(found.coords)
    assert found.y.values[0] == 4_000_005.0 and found.x.values[0] == 500_025.0
    np.testing.assert_array_equal(found.amplitude.sel(band="VV"), stack.amplitude[:, 1])
    assert found.sizes == {"time": 3, "band": 2, "y": 20, "x": 30}


@pytest.mark.filterwarnings("ignore:Use `@`")
def test_georeference_is_read_by_rioxarray(rng, tmp_path):
    import rioxarray  # noqa: F401

    stack = _stack(rng)
    write_stack(tmp_path / "stack.zarr", stack)
    found = xr.open_zarr(tmp_path / "stack.zarr").amplitude
    assert found.rio.crs.to_epsg() == 32611
    assert tuple(found.rio.transform())[:6] == tuple(stack.geobox.transform)[:6]


def test_any_order_gives_the_same_bytes(rng, tmp_path):
    stack = _stack(rng, days=(0, 12, 24, 36, 48))
    write_stack(tmp_path / "whole.zarr", stack)
    for name, parts in {"late": [(0, 1, 3, 4), (2,)], "odd": [(4,), (1, 2), (0,), (3,)]}.items():
        for part in parts:
            _write_dates(tmp_path / f"{name}.zarr", stack, part)
        assert digest(tmp_path / f"{name}.zarr") == digest(tmp_path / "whole.zarr")


def test_writing_a_date_again_replaces_it(rng, tmp_path):
    stack, other = _stack(rng), _stack(rng)
    write_stack(tmp_path / "stack.zarr", other)
    _write_dates(tmp_path / "stack.zarr", stack, (0, 1, 2))
    _same(read_stack(tmp_path / "stack.zarr"), stack)


def test_a_date_that_became_empty_leaves_nothing_behind(rng, tmp_path):
    stack = _stack(rng)
    write_stack(tmp_path / "a.zarr", stack)
    stack.amplitude[1], stack.valid[1] = 0, False
    _write_dates(tmp_path / "a.zarr", stack, (1,))
    write_stack(tmp_path / "b.zarr", stack)
    _same(read_stack(tmp_path / "a.zarr"), stack)
    assert digest(tmp_path / "a.zarr") == digest(tmp_path / "b.zarr")


def test_adding_a_date_to_a_clone_leaves_the_original_alone(rng, tmp_path):
    stack = _stack(rng)
    target = tmp_path / "stack.zarr"
    write_stack(tmp_path / "whole.zarr", stack)
    with writing(target, settings={}, inputs={}) as partial:
        _write_dates(partial, stack, (0, 2))
    before = digest(target)
    with pytest.raises(RuntimeError), writing(target, settings={}, inputs={}, clone=True) as partial:
        _write_dates(partial, stack, (1,))
        raise RuntimeError
    assert digest(target) == before
    with writing(target, settings={}, inputs={}, clone=True) as partial:
        _write_dates(partial, stack, (1,))
    assert digest(target) == digest(tmp_path / "whole.zarr")


def test_chunks_hold_one_date_and_band(rng, tmp_path):
    stack = _stack(rng, days=(0,), shape=(1030, 20))
    write_stack(tmp_path / "stack.zarr", stack)
    group = zarr.open_group(tmp_path / "stack.zarr", mode="r")
    assert group["amplitude"].chunks == (1, 1, 1024, 20)
    assert group["valid"].chunks == (1, 1024, 20)
    _same(read_stack(tmp_path / "stack.zarr"), stack)


def test_a_block_that_splits_a_chunk_raises(rng, tmp_path):
    stack = _stack(rng)
    header = Header(name="x", bands=BANDS, geobox=stack.geobox, radiometry="gamma0", attributes={})
    writer = StackWriter(tmp_path / "stack.zarr", header)
    writer.lay_out(stack.times)
    with pytest.raises(ShapeError, match="whole chunks"):
        writer.write_block("scene-0", (0, 0), stack.amplitude[0, :, :10], stack.valid[0, :10])


def test_nothing_or_something_else_is_no_stack(tmp_path):
    with pytest.raises(ArtefactError, match="found nothing"):
        read_stack(tmp_path / "stack.zarr")
    zarr.create_group(tmp_path / "other.zarr", zarr_format=3)
    with pytest.raises(ArtefactError, match="expected a stack") as error:
        read_stack(tmp_path / "other.zarr")
    assert "\n" not in str(error.value)
