"""A whole simulated stack: land, ground, dynamics, events, sensor and speckle put together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from sarcast.errors import ShapeError
from sarcast.sar.simulate.dynamics import Dynamics, make_dynamics
from sarcast.sar.simulate.events import Planted, plant
from sarcast.sar.simulate.ground import Ground, blur, make_ground
from sarcast.sar.simulate.land_cover import CLASS_NAMES, Land, flat_land, mixed_land
from sarcast.sar.simulate.outlines import outline
from sarcast.sar.simulate.sensor import Passes, incidence_gain_db, make_passes, moved
from sarcast.sar.simulate.settings import SimulateScene
from sarcast.sar.simulate.speckle import point_speckle, speckle
from sarcast.values import Label, Labels, Stack

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

_CRS = {"capella": "EPSG:32610", "opera": "EPSG:32611"}
_ORIGIN_M = {"capella": (598_000.0, 4_133_000.0), "opera": (499_980.0, 3_780_000.0)}
_SCINTILLATION_DB = 0.4


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulated:
    """A stack and everything that is true of it."""

    settings: SimulateScene
    stack: Stack
    """As a perfect reader would give it, gains and misregistration of the sensor included."""
    labels: Labels
    """Events in order of onset, geometry in the stack's CRS; `change_db` is that of the co-polarised level
    at full strength, what else moves aside."""
    masks: np.ndarray
    """bool (event, y, x): pixels of each event, in the order of the labels."""
    land_cover: np.ndarray
    """uint8 (y, x): index into `class_names`, before any event."""
    class_names: tuple[str, ...]
    clean: np.ndarray
    """float32 (time, band, y, x): power without speckle, gain and misregistration."""
    shifts_px: np.ndarray
    """float32 (time, 2): how far (y, x) the content lies from where the georeference says."""
    gains_db: np.ndarray
    """float32 (time,): gain of power."""


def simulate(
    settings: SimulateScene, *, rng: np.random.Generator, offsets_px: np.ndarray | None = None
) -> Simulated:
    """Simulate one stack. The same settings and generator state give the same bytes.

    Clutter is the class mean times a static texture, times what moves (dB), through the point spread
    function, moved by the date's misregistration, times gamma speckle drawn anew for every date; steady
    points scintillate (by 0.4 dB times `dynamics`) and speckle less, as a Rician mixture does.

    Args:
        settings: What to simulate.
        rng: Source of randomness; must come from a seed sequence (as `np.random.default_rng` does).
        offsets_px: float (time, 2), (y, x): each date is delivered on a grid of its own, this far from the
            stack's grid; speckle is drawn on that grid, so nothing is resampled twice. For writing products.

    Raises:
        ShapeError: `offsets_px` is not (dates, 2).
    """
    offsets = np.zeros((settings.dates, 2)) if offsets_px is None else np.asarray(offsets_px, float)
    if offsets.shape != (settings.dates, 2):
        raise ShapeError(f"expected offsets_px of shape {(settings.dates, 2)}, found {offsets.shape}")
    for_land, for_ground, for_passes, for_weather, for_events, for_speckle = rng.spawn(6)
    land = (
        flat_land(settings.shape)
        if settings.land_cover == "flat"
        else mixed_land(settings.shape, fine=settings.kind == "capella", rng=for_land)
    )
    ground = make_ground(land, settings, rng=for_ground)
    passes = make_passes(settings, rng=for_passes)
    dynamics = make_dynamics(
        land,
        passes.times.time,
        scale=0.0 if settings.stationary else settings.dynamics,
        usual_days=settings.repeat_days,
        rng=for_weather,
    )
    planted = plant(settings, land, ground, rng=for_events)
    place = _Place(settings=settings, land=land, ground=ground, dynamics=dynamics, planted=planted)
    clean, amplitude = _acquire(place, passes, passes.shifts_px - offsets, rng=for_speckle)
    geobox = make_geobox(settings)
    return Simulated(
        settings=settings,
        stack=_stack(settings, amplitude, passes, geobox),
        labels=_labels(planted, passes, geobox),
        masks=_masks(planted, settings.shape),
        land_cover=land.cover,
        class_names=CLASS_NAMES,
        clean=clean,
        shifts_px=passes.shifts_px,
        gains_db=passes.gains_db,
    )


def event_truth(simulated: Simulated) -> np.ndarray:
    """Which events are there at which dates, bool (time, event)."""
    time = simulated.stack.times.time
    truth = np.zeros((len(time), len(simulated.labels.labels)), bool)
    for index, label in enumerate(simulated.labels.labels):
        truth[:, index] = time >= label.onset
        if label.end is not None:
            truth[:, index] &= time < label.end
    return truth


def add_step(
    stack: Stack, *, index: int, shift_px: tuple[float, float] = (0.0, 0.0), gain_db: float = 0.0
) -> Stack:
    """`stack` with the content of one date moved by (y, x) pixels and its power raised by `gain_db`.

    Whole-pixel moves are exact; others interpolate amplitude with a cubic spline. What moves in from
    outside is not valid.

    Raises:
        ShapeError: There is no such date.
    """
    if not 0 <= index < len(stack.times):
        raise ShapeError(f"expected a date within 0 and {len(stack.times) - 1}, found {index}")
    amplitude, valid = np.array(stack.amplitude), np.array(stack.valid)
    order = 0 if all(float(side).is_integer() for side in shift_px) else 3
    if any(shift_px):
        kept = ndimage.shift(valid[index].astype(np.float32), shift_px, order=min(order, 1), cval=0) > 0.999
        for band in range(len(stack.bands)):
            image = ndimage.shift(amplitude[index, band], shift_px, order=order, mode="nearest")
            amplitude[index, band] = np.where(kept, np.maximum(image, 0), 0)
        valid[index] = kept
    amplitude[index] *= np.float32(10 ** (gain_db / 20))
    return replace(stack, amplitude=amplitude, valid=valid)


def make_geobox(settings: SimulateScene) -> GeoBox:
    """The grid: UTM, north up, its upper left corner on a whole multiple of the spacing."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    spacing, (left, top) = settings.pixel_m, _ORIGIN_M[settings.kind]
    left, top = (round(edge / spacing) * spacing for edge in (left, top))
    return GeoBox(settings.shape, Affine(spacing, 0, left, 0, -spacing, top), _CRS[settings.kind])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Place:
    """All that does not depend on the date."""

    settings: SimulateScene
    land: Land
    ground: Ground
    dynamics: Dynamics
    planted: tuple[Planted, ...]


def _acquire(
    place: _Place, passes: Passes, shifts_px: np.ndarray, *, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Clean power and the amplitude the sensor delivers, both float32 (time, band, y, x)."""
    settings = place.settings
    shape = (settings.dates, len(settings.bands), *settings.shape)
    clean, amplitude = np.empty(shape, np.float32), np.zeros(shape, np.float32)
    for index in range(settings.dates):
        ground = _seen(place, passes, index, rng)
        clean[index] = ground.power
        gain = np.float32(10 ** (0.1 * passes.gains_db[index]))
        for band in range(len(settings.bands)):
            clutter, points = (
                moved(layer[band], shifts_px[index]) for layer in (ground.clutter, ground.points)
            )
            points = np.maximum(points, 0)
            total = clutter + points
            noise = speckle(
                settings.shape, looks=settings.speckle_looks, oversampling=settings.oversampling, rng=rng
            )
            noise = point_speckle(noise, points / total, looks=settings.speckle_looks, rng=rng)
            image = np.sqrt(gain * total * noise)
            amplitude[index, band] = np.where(passes.valid[index], image, 0)
    return clean, amplitude


def _seen(place: _Place, passes: Passes, index: int, rng: np.random.Generator) -> Ground:
    """The ground at one date through the point spread function, in float32 (band, y, x)."""
    land, settings = place.land, place.settings
    clutter, points = place.ground.clutter.copy(), place.ground.points.copy()
    cover, parcel = land.cover.copy(), land.parcel.copy()
    for event in place.planted:
        share = event.share(index)
        if share > 0:
            for layer, after in ((clutter, event.after.clutter), (points, event.after.points)):
                window = layer[:, event.rows, event.cols]
                window[:, event.mask] += np.float32(share) * (after - window)[:, event.mask]
            if event.becomes is not None:
                cover[event.rows, event.cols][event.mask] = event.becomes
                parcel[event.rows, event.cols][event.mask] = 0
    level = place.dynamics.level_db(index, cover=cover, parcel=parcel, land=land)
    incidence = float(passes.times.incidence_deg[index])
    level = level + incidence_gain_db(incidence, settings.incidence_deg)[cover]
    clutter *= 10 ** (0.1 * level)
    flicker_db = _SCINTILLATION_DB * place.dynamics.scale
    if flicker_db:
        lit = points > 0
        points[lit] *= 10 ** (0.1 * flicker_db * rng.standard_normal(int(lit.sum()), dtype=np.float32))
    return Ground(clutter=blur(clutter), points=blur(points))


def _stack(settings: SimulateScene, amplitude: np.ndarray, passes: Passes, geobox: GeoBox) -> Stack:
    return Stack(
        amplitude=amplitude,
        valid=passes.valid,
        times=passes.times,
        bands=settings.bands,
        geobox=geobox,
        name=f"simulated-{settings.kind}",
        radiometry="sigma0" if settings.kind == "capella" else "gamma0",
        attributes={"calibration": "full", "source": "simulated", "looks": settings.speckle_looks},
    )


def _labels(planted: tuple[Planted, ...], passes: Passes, geobox: GeoBox) -> Labels:
    time = passes.times.time
    labels = []
    for number, event in enumerate(planted):
        mask = np.zeros(tuple(geobox.shape), bool)
        mask[event.rows, event.cols] = event.mask
        labels.append(
            Label(
                label_id=f"event-{number:03d}",
                kind=event.kind,
                onset=time[event.onset],
                end=None if event.end is None else time[event.end],
                change_db=round(event.change_db, 6),
                geometry=outline(mask, geobox),
                texture_only=event.kind == "texture",
            )
        )
    return Labels(labels=tuple(labels), crs=str(geobox.crs))


def _masks(planted: tuple[Planted, ...], shape: tuple[int, int]) -> np.ndarray:
    masks = np.zeros((len(planted), *shape), bool)
    for mask, event in zip(masks, planted, strict=True):
        mask[event.rows, event.cols] = event.mask
    return masks
