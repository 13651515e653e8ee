"""What each kind of event looks like, and how it is laid down with exactly the change of mean it claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sarcast.sar.simulate.fields import gamma_texture, rotated
from sarcast.sar.simulate.ground import Ground, blur
from sarcast.sar.simulate.land_cover import INDEX, Land
from sarcast.sar.simulate.settings import Kind

_PAD = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """The place an event is laid on."""

    ground: Ground
    land: Land
    rows: slice
    cols: slice
    mask: np.ndarray
    """bool (y, x) within rows and cols."""
    bands: tuple[str, ...]
    look_side: str
    fine: bool
    """Metre-class pixels."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the window."""
        return self.mask.shape[0], self.mask.shape[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """Ground of a window after an event as `kept` + s * `free`: s is solved for the change of mean.

    All arrays are float32 (band, y, x).
    """

    kept: Ground
    free: Ground


def imprint(
    form: Form,
    draw: Callable[[Form, np.random.Generator], Look],
    change_db: float,
    *,
    cross_weight: float,
    rng: np.random.Generator,
) -> Ground:
    """The window's ground after an event whose mean level, as the sensor sees it, changes by `change_db`.

    The mean over the mask is taken through the point spread function with the surroundings as they are, so
    the claim holds for small masks too. Cross-polarised bands change by `cross_weight` times as many dB.
    """
    look = draw(form, rng)
    wide, inner = _widened(form)
    clutter, points = look.kept.clutter.copy(), look.kept.points.copy()
    for band, name in enumerate(form.bands):
        weight = cross_weight if name in ("HV", "VH") else 1.0
        before = form.ground.clutter[band][wide] + form.ground.points[band][wide]
        target = _seen(before, form.mask, inner) * 10 ** (0.1 * weight * change_db)
        outside = before.copy()
        outside[inner][form.mask] = 0
        kept = _seen(outside + _laid(look.kept.power[band], form, inner, before.shape), form.mask, inner)
        free = _seen(_laid(look.free.power[band], form, inner, before.shape), form.mask, inner)
        scale = np.float32(max((target - kept) / max(free, 1e-12), 1e-3))
        clutter[band] += scale * look.free.clutter[band]
        points[band] += scale * look.free.points[band]
    return Ground(clutter=clutter, points=points)


def _widened(form: Form) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The window with its surroundings, and where the window lies in that."""
    shape = form.ground.clutter.shape[1:]
    starts = [max(part.start - _PAD, 0) for part in (form.rows, form.cols)]
    stops = [min(part.stop + _PAD, side) for part, side in zip((form.rows, form.cols), shape, strict=True)]
    wide = (slice(starts[0], stops[0]), slice(starts[1], stops[1]))
    inner = (
        slice(form.rows.start - starts[0], form.rows.stop - starts[0]),
        slice(form.cols.start - starts[1], form.cols.stop - starts[1]),
    )
    return wide, inner


def _seen(power: np.ndarray, mask: np.ndarray, inner: tuple[slice, slice]) -> float:
    return float(blur(power)[inner][mask].mean(dtype=np.float64))


def _laid(power: np.ndarray, form: Form, inner: tuple[slice, slice], shape: tuple[int, ...]) -> np.ndarray:
    whole = np.zeros(shape, np.float32)
    whole[inner] = np.where(form.mask, power, 0)
    return whole


def _before(form: Form) -> Ground:
    window = np.s_[:, form.rows, form.cols]
    return Ground(clutter=form.ground.clutter[window].copy(), points=form.ground.points[window].copy())


def _nothing(form: Form) -> Ground:
    zeros = np.zeros((len(form.bands), *form.shape), np.float32)
    return Ground(clutter=zeros, points=zeros)


def _mean(form: Form) -> np.ndarray:
    """Mean power before, within the mask: float32 (band, 1, 1)."""
    return np.asarray(_before(form).power[:, form.mask].mean(1)[:, None, None])


def _textured(form: Form, variation: float, scale_px: float, rng: np.random.Generator) -> Look:
    """New homogeneous ground with a texture of its own; old points are gone."""
    variation = variation if form.fine else 0.7 * variation
    texture = gamma_texture(form.shape, variation=variation, scale_px=scale_px, rng=rng)
    new = Ground(clutter=_mean(form) * texture, points=_nothing(form).points)
    return Look(kept=_nothing(form), free=new)


def _scaled(form: Form, rng: np.random.Generator) -> Look:  # noqa: ARG001
    """The same ground, brighter or darker."""
    return Look(kept=_nothing(form), free=_before(form))


def _lava(form: Form, rng: np.random.Generator) -> Look:
    return _textured(form, 0.65, 2.0, rng)


def _flood(form: Form, rng: np.random.Generator) -> Look:
    return _textured(form, 0.08, 4.0, rng)


def _clearing(form: Form, rng: np.random.Generator) -> Look:
    return _textured(form, 0.28, 2.0, rng)


def _excavation(form: Form, rng: np.random.Generator) -> Look:
    """A pit: its near wall in shadow, its far wall bright, its floor rough."""
    x = np.linspace(-1, 1, form.shape[1])[None, :] * (1 if form.look_side == "right" else -1)
    y = np.linspace(-1, 1, form.shape[0])[:, None]
    wall_db = 7 * np.exp(-(((x - 0.62) / 0.2) ** 2)) - 8 * np.exp(-(((x + 0.62) / 0.24) ** 2))
    wall_db = wall_db * np.exp(-((y / 0.9) ** 4))
    look = _textured(form, 0.4, 1.5, rng)
    wall = (10 ** (0.1 * (wall_db if form.fine else 0.6 * wall_db))).astype(np.float32)
    return Look(kept=look.kept, free=Ground(clutter=look.free.clutter * wall, points=look.free.points))


def _construction(form: Form, rng: np.random.Generator) -> Look:
    """Bright points in rows over the old ground."""
    along, across = rotated(form.shape, form.land.angle_rad)
    step = 6 if form.fine else 2
    grid = (np.mod(along, step) < 1.0) & (np.mod(across, step) < 1.5)
    return _pointed(form, grid & (rng.random(form.shape) < 0.75), rng)


def _ship(form: Form, rng: np.random.Generator) -> Look:
    """A bright hull of strong points along the middle of its outline, half as wide as that."""
    core = _shrunk(form.mask, round(np.sqrt(form.mask.sum()) / 6))
    return _pointed(form, core & (rng.random(form.shape) < 0.6), rng)


def _vehicles(form: Form, rng: np.random.Generator) -> Look:
    return _pointed(form, _shrunk(form.mask, 1) & (rng.random(form.shape) < 0.035), rng)


def _texture(form: Form, rng: np.random.Generator) -> Look:
    """Rows, rubble or levelling: the same mean, another texture; points stay as they are."""
    before = _before(form)
    rough = np.isin(form.land.cover[form.rows, form.cols][form.mask], [INDEX["forest"], INDEX["urban"]])
    variation, scale_px = float(rng.uniform(0.8, 1.2)), float(rng.uniform(0.8, 1.6))
    rows = np.ones(form.shape)
    if rough.mean() > 0.7:
        variation, scale_px = 0.15, 2.0
    elif form.fine and rng.random() < 0.5:
        variation, scale_px = 0.2, 1.5
        along, _ = rotated(form.shape, float(rng.uniform(0, np.pi)))
        rows += rng.uniform(0.75, 0.95) * np.sin(2 * np.pi * along / rng.uniform(4, 6.5))
    new = _textured(form, variation, scale_px, rng).free
    return Look(
        kept=Ground(clutter=_nothing(form).clutter, points=before.points),
        free=Ground(clutter=(new.clutter * rows).astype(np.float32), points=new.points),
    )


def _pointed(form: Form, where: np.ndarray, rng: np.random.Generator) -> Look:
    """The old ground with new points on `where` (at least one, within the mask)."""
    where = where & form.mask
    if not where.any():
        rows, cols = np.nonzero(form.mask)
        where[rows[len(rows) // 2], cols[len(rows) // 2]] = True
    peak = np.where(where, 10 ** (0.1 * rng.normal(10, 2.5, form.shape)), 0)
    return Look(
        kept=_before(form),
        free=Ground(clutter=_nothing(form).clutter, points=(_mean(form) * peak).astype(np.float32)),
    )


def _shrunk(mask: np.ndarray, by_px: int) -> np.ndarray:
    """`mask` less a rim of `by_px`, unless nothing is left."""
    less = ndimage.binary_erosion(mask, iterations=by_px) if by_px else mask
    return less if less.any() else mask


FORMS: dict[Kind, Callable[[Form, np.random.Generator], Look]] = {
    "lava": _lava,
    "flood": _flood,
    "clearing": _clearing,
    "excavation": _excavation,
    "construction": _construction,
    "ship": _ship,
    "vehicles": _vehicles,
    "burnt": _scaled,
    "wet": _scaled,
    "texture": _texture,
}
