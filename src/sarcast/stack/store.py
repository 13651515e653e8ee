"""stack.zarr: amplitude and validity through time in one Zarr v3 store that any tool opens."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import ArtefactError, ShapeError
from sarcast.values import Stack, Times

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

NAME = "stack.zarr"
CHUNK = 1024
"""Side of a chunk, pixels (or the image's side where that is smaller)."""
_TEXTS = ("scene_id", "platform", "look_side", "orbit_direction", "relative_orbit")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a stack is apart from its pixels and dates."""

    name: str
    bands: tuple[str, ...]
    geobox: GeoBox
    radiometry: str
    attributes: dict[str, Any]
    """JSON-able: calibration, source, cutoff ..."""

    @property
    def chunk(self) -> tuple[int, int]:
        """(y, x) of a chunk."""
        return min(CHUNK, self.geobox.shape[0]), min(CHUNK, self.geobox.shape[1])


class StackWriter:
    """Writes a stack date by date, in any order; the result depends on the dates alone.

    Every chunk holds one date and band, so adding a date, even before others, rewrites no other date's
    pixels: its folders are renamed. Files are replaced, never rewritten in place, so a hard-linked copy is
    safe.
    """

    def __init__(self, path: Path, header: Header) -> None:
        """Open the store at `path`, or make an empty one."""
        self.path = path
        self.header = header
        self._order = _scene_ids(path)
        self._amplitude: Any = None
        self._valid: Any = None

    def lay_out(self, times: Times) -> None:
        """Make room for exactly `times`: known dates keep their pixels, new ones are empty, others go.

        Writes all metadata, consolidated, so that the store opens in one read and without a warning.
        """
        import zarr
        from zarr.codecs import ZstdCodec

        t, (y, x) = len(times), self.header.geobox.shape
        b, (cy, cx) = len(self.header.bands), self.header.chunk
        for array in ("amplitude", "valid"):
            _reorder(self.path / array / "c", self._order, times.scene_id)
        self._order = times.scene_id
        group = zarr.open_group(self.path, mode="a", zarr_format=3, use_consolidated=False)
        common: Any = {"compressors": [ZstdCodec(level=1)]}
        for name in ("amplitude", "valid"):
            (self.path / name / "zarr.json").unlink(missing_ok=True)
        self._amplitude = group.create_array(
            "amplitude",
            shape=(t, b, y, x),
            chunks=(1, 1, cy, cx),
            dtype="float32",
            fill_value=0,
            dimension_names=("time", "band", "y", "x"),
            attributes={
                "grid_mapping": "spatial_ref",
                "long_name": "backscatter amplitude",
                "units": "1",
            },
            **common,
        )
        self._valid = group.create_array(
            "valid",
            shape=(t, y, x),
            chunks=(1, cy, cx),
            dtype="bool",
            fill_value=False,
            dimension_names=("time", "y", "x"),
            attributes={"grid_mapping": "spatial_ref", "long_name": "pixel was measured"},
            **common,
        )
        self._coordinates(group, times)
        group.attrs.put(_attributes(self.header))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Consolidated metadata")
            zarr.consolidate_metadata(self.path, zarr_format=3)

    def write_block(
        self, scene_id: str, start: tuple[int, int], amplitude: np.ndarray, valid: np.ndarray
    ) -> None:
        """Write one date's block that covers whole chunks. Safe from several threads for different chunks.

        Args:
            scene_id: One that `lay_out` made room for.
            start: (row, col) of the block's first pixel.
            amplitude: float32 (band, y, x).
            valid: bool (y, x).
        """
        i = self._order.index(scene_id)
        (row, col), (y, x) = start, valid.shape
        for at, size, chunk, side in zip(
            start, valid.shape, self.header.chunk, self.header.geobox.shape, strict=True
        ):
            if at % chunk or (size % chunk and at + size != side):
                raise ShapeError(f"expected whole chunks of {chunk} px, found {size} px from {at} of {side}")
        self._amplitude[i, :, row : row + y, col : col + x] = amplitude
        self._valid[i, row : row + y, col : col + x] = valid

    def read(self) -> Stack:
        """What is in the store now, lazily."""
        return read_stack(self.path)

    def _coordinates(self, group: Any, times: Times) -> None:
        for name, dims, values, attributes in _coordinates(self.header, times):
            shutil.rmtree(self.path / name, ignore_errors=True)
            values = np.asarray(values)
            text = values.dtype.kind in "UO"
            array = group.create_array(
                name,
                shape=values.shape,
                chunks=tuple(max(n, 1) for n in values.shape),
                dtype=str if text else values.dtype,
                fill_value="" if text else (np.nan if values.dtype.kind == "f" else 0),
                dimension_names=dims,
                attributes=attributes,
                compressors=None,
            )
            array[...] = values.astype(object) if text else values


def write_stack(path: Path, stack: Stack) -> None:
    """Write a whole stack held in memory (or lazily) to `path`, block by block.

    Args:
        path: A folder that does not exist yet; `runtime.artefact.writing` gives one.
        stack: What to write; its `attributes` are kept.
    """
    header = Header(
        name=stack.name,
        bands=stack.bands,
        geobox=stack.geobox,
        radiometry=stack.radiometry,
        attributes=dict(stack.attributes),
    )
    writer = StackWriter(path, header)
    writer.lay_out(stack.times)
    (rows, cols), (cy, cx) = header.geobox.shape, header.chunk
    for i, scene_id in enumerate(stack.times.scene_id):
        for row in range(0, rows, cy):
            for col in range(0, cols, cx):
                box = np.s_[row : min(row + cy, rows), col : min(col + cx, cols)]
                valid = np.asarray(stack.valid[(i, *box)])
                amplitude = np.where(valid, np.asarray(stack.amplitude[(i, slice(None), *box)]), 0)
                writer.write_block(scene_id, (row, col), amplitude.astype(np.float32), valid)


def read_stack(path: Path, *, lazy: bool = True) -> Stack:
    """The stack at `path`; lazy arrays are zarr's and are sliced like numpy's.

    Raises:
        ArtefactError: There is no stack, or it is not one of ours.
    """
    import zarr
    from odc.geo.geobox import GeoBox

    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        attributes: dict[str, Any] = dict(group.attrs)
        geobox = GeoBox(
            _shape(attributes.pop("shape")), _affine(attributes.pop("transform")), attributes.pop("crs_wkt")
        )
        amplitude: Any = group["amplitude"]
        valid: Any = group["valid"]
        times = _read_times(group)
        bands = tuple(str(b) for b in np.asarray(group["band"][...]))  # type: ignore[index]
        name, unit, radiometry = (attributes.pop(key) for key in ("stack", "unit", "radiometry"))
    except (FileNotFoundError, KeyError, ValueError, TypeError) as error:
        found = "nothing" if not path.exists() else f"{type(error).__name__}: {error}".splitlines()[0]
        raise ArtefactError(f"expected a stack, found {found}, in {path}") from None
    attributes.pop("Conventions", None)
    attributes.pop("coordinates", None)
    return Stack(
        amplitude=amplitude if lazy else amplitude[...],
        valid=valid if lazy else valid[...],
        times=times,
        bands=bands,
        geobox=geobox,
        name=name,
        unit=unit,
        radiometry=radiometry,
        attributes=attributes,
    )


def _attributes(header: Header) -> dict[str, Any]:
    return {
        **header.attributes,
        "Conventions": "CF-1.11",
        "coordinates": " ".join(["spatial_ref", *_TEXTS, "incidence_deg"]),
        "stack": header.name,
        "unit": "amplitude",
        "radiometry": header.radiometry,
        "crs_wkt": _crs(header.geobox).to_wkt(),
        "transform": list(header.geobox.transform)[:6],
        "shape": list(header.geobox.shape),
    }


def _coordinates(header: Header, times: Times) -> list[tuple[str, tuple[str, ...], Any, dict[str, Any]]]:
    """(name, dimensions, values, attributes) of every coordinate."""
    rows, cols = header.geobox.shape
    a = header.geobox.transform
    projected = bool(_crs(header.geobox).projected)
    unit = "metre" if projected else "degree"
    kind = "projection_{}_coordinate" if projected else "{}"
    names = {"y": "y" if projected else "latitude", "x": "x" if projected else "longitude"}
    since = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian", "axis": "T"}
    found: list[tuple[str, tuple[str, ...], Any, dict[str, Any]]] = [
        ("time", ("time",), times.time.astype(np.int64), since),
        ("band", ("band",), np.array(header.bands, dtype=object), {"long_name": "polarisation"}),
        ("y", ("y",), a.f + a.e * (np.arange(rows) + 0.5), _axis("Y", unit, kind.format(names["y"]))),
        ("x", ("x",), a.c + a.a * (np.arange(cols) + 0.5), _axis("X", unit, kind.format(names["x"]))),
        ("spatial_ref", (), np.int64(0), _spatial_ref(header.geobox)),
        ("incidence_deg", ("time",), times.incidence_deg.astype(np.float32), {"units": "degree"}),
    ]
    found.extend((name, ("time",), np.array(getattr(times, name), dtype=object), {}) for name in _TEXTS)
    return found


def _axis(axis: str, unit: str, name: str) -> dict[str, str]:
    return {"axis": axis, "units": unit, "standard_name": name}


def _spatial_ref(geobox: GeoBox) -> dict[str, Any]:
    cf = {k: v for k, v in _crs(geobox).proj.to_cf().items() if k != "crs_wkt"}
    a = geobox.transform
    wkt = _crs(geobox).to_wkt()
    plain = json.loads(json.dumps(cf, default=str))
    return {
        **plain,
        "crs_wkt": wkt,
        "spatial_ref": wkt,
        "GeoTransform": " ".join(repr(float(v)) for v in (a.c, a.a, a.b, a.f, a.d, a.e)),
    }


def _read_times(group: Any) -> Times:
    texts = {name: tuple(str(v) for v in np.asarray(group[name][...])) for name in _TEXTS}
    return Times(
        time=np.asarray(group["time"][...]).astype("datetime64[ns]"),
        incidence_deg=np.asarray(group["incidence_deg"][...], dtype=np.float32),
        **texts,
    )


def _crs(geobox: GeoBox) -> Any:
    if geobox.crs is None:
        raise ShapeError("expected a grid with a CRS, found none")
    return geobox.crs


def _shape(values: Sequence[int]) -> tuple[int, int]:
    rows, cols = values
    return rows, cols


def _affine(values: Sequence[float]) -> Any:
    from affine import Affine

    return Affine(*values)


def _scene_ids(path: Path) -> tuple[str, ...]:
    import zarr

    if not (path / "scene_id").exists():
        return ()
    group: Any = zarr.open_group(path, mode="r", zarr_format=3)
    return tuple(str(v) for v in np.asarray(group["scene_id"][...]))


def _reorder(chunks: Path, old: Sequence[str], new: Iterable[str]) -> None:
    """Rename the per-date folders of an array from one order of dates to another."""
    if not chunks.exists():
        return
    kept = chunks.with_name("c.old")
    chunks.rename(kept)
    chunks.mkdir()
    where = {scene_id: i for i, scene_id in enumerate(old)}
    for i, scene_id in enumerate(new):
        folder = kept / str(where.get(scene_id, -1))
        if folder.exists():
            folder.rename(chunks / str(i))
    shutil.rmtree(kept)
