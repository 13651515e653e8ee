"""The values every step passes to the next: frozen, keyword-only, true from birth. No torch, no files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sarcast.errors import ShapeError

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

Unit = Literal["amplitude", "power", "db"]
UNITS: tuple[Unit, ...] = ("amplitude", "power", "db")
POLARISATIONS = ("HH", "HV", "VH", "VV")


@dataclass(frozen=True, kw_only=True)
class SceneFile:
    """One raster of one acquisition in one polarisation, and how its numbers become linear amplitude."""

    path: str
    """Absolute path of the raster."""
    band: str
    """Polarisation: HH, HV, VH or VV."""
    product_id: str
    """The product's own full identifier."""
    unit: Unit
    """What a stored number is, after `scale`: amplitude, power (both linear) or dB of power."""
    scale: float
    """Stored numbers are multiplied by this first (Capella's `scale_factor`; 1 elsewhere)."""
    nodata: float | None
    """Stored number that means "no data" (NaN always does too); None when there is none."""
    index: int = 1
    """Band of the raster, counted from 1."""
    crs: str
    """WKT or EPSG:nnnn of the raster's grid."""
    transform: tuple[float, float, float, float, float, float]
    """Affine (a, b, c, d, e, f): x = a*col + b*row + c, y = d*col + e*row + f."""
    shape: tuple[int, int]
    """(rows, cols)."""
    size: int
    """Bytes on disk when it was catalogued."""
    sha256: str
    """Of the file's content when it was catalogued."""

    def __post_init__(self) -> None:
        if self.band not in POLARISATIONS:
            raise ShapeError(f"expected a band in {POLARISATIONS}, found {self.band!r}, in {self.path}")
        if self.unit not in UNITS:
            raise ShapeError(f"expected a unit in {UNITS}, found {self.unit!r}, in {self.path}")
        if not self.scale > 0:
            raise ShapeError(f"expected a positive scale, found {self.scale}, in {self.path}")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One acquisition of one place: one time, one or more files (bands, or frames of one pass)."""

    scene_id: str
    """Unique in a catalogue: the product id without what differs between its files."""
    time: np.datetime64
    """UTC, nanoseconds: the centre of the pass where known, else its start."""
    files: tuple[SceneFile, ...]
    sensor: str
    """Sensor family: capella, sentinel1, or what the caller declared."""
    platform: str
    """Satellite, e.g. capella-14, S1A; "unknown" where unknown."""
    mode: str | None = None
    product_type: str
    """GEO, GEC, SLC, RTC-S1, geotiff ..."""
    place: str | None = None
    """A fixed place name when the product has one (the burst id); different places share a stack only
    where they touch."""
    orbit_direction: Literal["ascending", "descending"] | None = None
    look_side: Literal["left", "right"] | None = None
    track: str | None = None
    """Relative orbit or orbital plane; None when unknown."""
    incidence_deg: float | None = None
    """At the scene centre, degrees from the vertical."""
    radiometry: Literal["sigma0", "gamma0", "beta0", "uncalibrated"]
    calibration: str = "unknown"
    """The product's own word: full, partial, limited, none, unknown."""
    geometry: Literal["terrain", "ellipsoid", "slant", "unknown"] = "unknown"
    looks: float | None = None
    """Equivalent number of looks the product declares."""
    processed: np.datetime64 | None = None
    """When the product was made: the newest processing of one acquisition wins."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Sensor-specific facts, JSON-able."""

    def __post_init__(self) -> None:
        if not self.files:
            raise ShapeError(f"scene {self.scene_id} has no files")
        if len({f.unit for f in self.files}) > 1:
            raise ShapeError(
                f"expected one unit in scene {self.scene_id}, found {sorted({f.unit for f in self.files})}"
            )

    @property
    def bands(self) -> tuple[str, ...]:
        """Polarisations, sorted."""
        return tuple(sorted({f.band for f in self.files}))

    @property
    def product_ids(self) -> tuple[str, ...]:
        """Ids of all products behind the scene, sorted."""
        return tuple(sorted({f.product_id for f in self.files}))


@dataclass(frozen=True, kw_only=True, eq=False)
class Times:
    """What is known of each acquisition of a stack, in time order. All arrays have length `time`."""

    time: np.ndarray
    """datetime64[ns], UTC, ascending."""
    scene_id: tuple[str, ...]
    platform: tuple[str, ...]
    incidence_deg: np.ndarray
    """float32; NaN where unknown."""
    look_side: tuple[str, ...]
    """left, right or unknown."""
    orbit_direction: tuple[str, ...]
    """ascending, descending or unknown."""
    relative_orbit: tuple[str, ...]
    """Relative orbit or orbital plane; "unknown" where unknown."""

    def __post_init__(self) -> None:
        n = len(self.time)
        for name in (
            "scene_id",
            "platform",
            "incidence_deg",
            "look_side",
            "orbit_direction",
            "relative_orbit",
        ):
            if len(getattr(self, name)) != n:
                raise ShapeError(f"Times.{name} has {len(getattr(self, name))} entries for {n} times")
        if self.time.dtype != np.dtype("datetime64[ns]"):
            raise ShapeError(f"Times.time must be datetime64[ns], found {self.time.dtype}")
        if n > 1 and (np.diff(self.time) < np.timedelta64(0)).any():
            raise ShapeError("Times.time must ascend")
        if len(set(self.scene_id)) != n:
            raise ShapeError("Times.scene_id must be unique")

    def __len__(self) -> int:
        return len(self.time)

    @property
    def days(self) -> np.ndarray:
        """float64 days since the first acquisition."""
        return np.asarray((self.time - self.time[0]) / np.timedelta64(1, "D"), dtype=np.float64)

    def take(self, index: np.ndarray) -> Times:
        """The same facts for some of the times (indices or a boolean mask, order kept)."""
        index = np.arange(len(self))[index]
        return Times(
            time=self.time[index],
            incidence_deg=self.incidence_deg[index],
            **{
                name: tuple(getattr(self, name)[i] for i in index)
                for name in ("scene_id", "platform", "look_side", "orbit_direction", "relative_orbit")
            },
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Co-registered amplitude of one place in one geometry. Arrays may be lazy (zarr), sliced like numpy."""

    amplitude: np.ndarray
    """float32 (time, band, y, x), linear; 0 where not valid."""
    valid: np.ndarray
    """bool (time, y, x)."""
    times: Times
    bands: tuple[str, ...]
    geobox: GeoBox
    """The one grid, (y, x)."""
    name: str
    """Readable name of the stack."""
    unit: str = "amplitude"
    radiometry: str = "uncalibrated"
    attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        t, b, y, x = self.amplitude.shape
        if self.valid.shape != (t, y, x):
            raise ShapeError(f"Stack.valid must be {(t, y, x)}, found {self.valid.shape}")
        if t != len(self.times) or b != len(self.bands) or (y, x) != tuple(self.geobox.shape):
            raise ShapeError(
                f"Stack.amplitude {self.amplitude.shape} does not match {len(self.times)} times, "
                f"{len(self.bands)} bands and grid {tuple(self.geobox.shape)}"
            )


@dataclass(frozen=True, kw_only=True)
class PatchGrid:
    """Square cells over an image; what is left over is covered by one more, shifted cell."""

    image: tuple[int, int]
    """(rows, cols) in pixels."""
    patch: int
    """Side of a cell, pixels."""
    stride: int
    """Step between cells, pixels."""

    def __post_init__(self) -> None:
        if not 0 < self.stride <= self.patch <= min(self.image):
            raise ShapeError(
                f"need 0 < stride <= patch <= image side, got stride={self.stride}, "
                f"patch={self.patch}, image={self.image}"
            )

    @property
    def tops(self) -> np.ndarray:
        """First pixel row of each cell row."""
        return self._starts(self.image[0])

    @property
    def lefts(self) -> np.ndarray:
        """First pixel column of each cell column."""
        return self._starts(self.image[1])

    @property
    def shape(self) -> tuple[int, int]:
        """(row, col) of the cell grid."""
        return len(self.tops), len(self.lefts)

    @property
    def shifted(self) -> np.ndarray:
        """Boolean (row, col): cells moved in from the edge, which overlap their neighbour more."""
        rows = np.diff(self.tops, prepend=self.tops[0] - self.stride) < self.stride
        cols = np.diff(self.lefts, prepend=self.lefts[0] - self.stride) < self.stride
        return rows[:, None] | cols[None, :]

    def _starts(self, side: int) -> np.ndarray:
        starts = np.arange(0, side - self.patch + 1, self.stride)
        if starts[-1] + self.patch < side:
            starts = np.append(starts, side - self.patch)
        return starts


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """One vector for every (time, row, col): how the cell looks to an encoder."""

    values: np.ndarray
    """float32 (time, row, col, dim); 0 where not valid."""
    valid: np.ndarray
    """bool (time, row, col)."""
    times: Times
    grid: PatchGrid
    geobox: GeoBox
    """The pixel grid the cells were cut from."""
    names: tuple[str, ...]
    """What each of `dim` is."""
    encoder: str
    stack: str = ""
    """Name of the stack."""

    def __post_init__(self) -> None:
        t, row, col, dim = self.values.shape
        if self.valid.shape != (t, row, col) or t != len(self.times):
            raise ShapeError(
                f"Features.valid {self.valid.shape} or {len(self.times)} times misfit {self.values.shape}"
            )
        if (row, col) != self.grid.shape:
            raise ShapeError(f"Features has {(row, col)} cells, its grid {self.grid.shape}")
        if dim != len(self.names):
            raise ShapeError(f"Features has {dim} dims but {len(self.names)} names")
        if not np.isfinite(self.values[self.valid]).all():
            raise ShapeError("Features.values must be finite wherever Features.valid is True")

    def take(self, index: np.ndarray) -> Features:
        """The same for some of the times (indices or a boolean mask, order kept)."""
        return replace(self, values=self.values[index], valid=self.valid[index], times=self.times.take(index))


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """One number for every (time, row, col). Higher is always more anomalous."""

    values: np.ndarray
    """float32 (time, row, col); 0 where not valid."""
    valid: np.ndarray
    """bool (time, row, col)."""
    times: Times
    grid: PatchGrid
    geobox: GeoBox
    detector: str
    encoder: str = ""
    stack: str = ""
    p_value: np.ndarray | None = None
    """float32 (time, row, col) in (0, 1], where calibrated; 1 where not valid."""
    change_db: np.ndarray | None = None
    """float32 (time, row, col): mean level now minus history's, less the scene-wide part, dB."""
    frame_score: np.ndarray | None = None
    """float32 (time,): how far the middle of the frame lies from history, standard deviations of a cell."""
    frame_p_value: np.ndarray | None = None
    """float32 (time,) in (0, 1]: chance of a frame score at least as high; None with little history."""

    def __post_init__(self) -> None:
        t, row, col = self.values.shape
        if self.valid.shape != (t, row, col) or t != len(self.times) or (row, col) != self.grid.shape:
            raise ShapeError(
                f"Scores.valid {self.valid.shape}, times or grid do not match {self.values.shape}"
            )
        if not np.isfinite(self.values[self.valid]).all():
            raise ShapeError("Scores.values must be finite wherever Scores.valid is True")
        for name in ("p_value", "change_db"):
            other = getattr(self, name)
            if other is not None and other.shape != (t, row, col):
                raise ShapeError(f"Scores.{name} must be {(t, row, col)}, found {other.shape}")
        for name in ("frame_score", "frame_p_value"):
            other = getattr(self, name)
            if other is not None and other.shape != (t,):
                raise ShapeError(f"Scores.{name} must be {(t,)}, found {other.shape}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Which times a detector may learn from and which it is judged on. Nothing else decides that."""

    fit: np.ndarray
    """bool (time,): history."""
    judge: np.ndarray
    """bool (time,): judged later; never overlaps `fit`."""

    def __post_init__(self) -> None:
        if self.fit.dtype != bool or self.judge.dtype != bool or self.fit.shape != self.judge.shape:
            raise ShapeError("Split.fit and Split.judge must be boolean and of one length")
        if (self.fit & self.judge).any():
            raise ShapeError("Split.fit and Split.judge overlap")
        if (
            self.fit.any()
            and self.judge.any()
            and np.flatnonzero(self.fit)[-1] > np.flatnonzero(self.judge)[0]
        ):
            raise ShapeError("Split: every judged time must come after history")


@dataclass(frozen=True, kw_only=True)
class Label:
    """One known event."""

    label_id: str
    kind: str
    """lava, flood, clearing ..."""
    onset: np.datetime64
    """First time it is there."""
    end: np.datetime64 | None
    """First time it is gone again; None when permanent."""
    change_db: float
    """Strength: change of the mean level in dB (0 for texture only)."""
    geometry: Any
    """shapely geometry in the stack's CRS."""
    texture_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What is known to have happened in one stack."""

    labels: tuple[Label, ...]
    crs: str


@dataclass(frozen=True, kw_only=True)
class Event:
    """A change connected in space and time."""

    event_id: str
    stack: str
    first_seen: np.datetime64
    confirmed: np.datetime64 | None
    last_seen: np.datetime64
    status: str
    """first_low, provisional_low, confirmed_low, finished_low and the same with _high, as in DIST-ALERT."""
    observations: int
    peak_time: np.datetime64
    peak_score: float
    p_value: float
    """Smallest cell p-value."""
    direction: Literal["brighter", "darker", "texture"]
    change_db: float
    area_m2: float
    cells: int
    geometry: Any
    """shapely polygon in the stack's CRS."""


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Events of one stack."""

    events: tuple[Event, ...]
    crs: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval: a figure without one is not reported."""

    name: str
    value: float
    low: float
    high: float
    level: float = 0.95
    n: int
    resampled: str
    """What was resampled: event, frame, cell block."""
    seed: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"
