"""What the satellites add: dates, platforms, gains, incidence, misregistration and footprints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sarcast.sar.simulate.land_cover import COVERS
from sarcast.sar.simulate.settings import SimulateScene
from sarcast.values import Times

_CAPELLA = ("capella-13", "capella-14", "capella-10", "capella-9")
_SENTINEL = ("S1A", "S1C", "S1B", "S1D")
_FOLDED = {"capella": 2.956 / 3, "opera": 1.0}


@dataclass(frozen=True, kw_only=True, eq=False)
class Passes:
    """The acquisitions of one place."""

    times: Times
    gains_db: np.ndarray
    """float32 (time,): of power."""
    shifts_px: np.ndarray
    """float32 (time, 2): how far (y, x) the image content lies from where the georeference says."""
    valid: np.ndarray
    """bool (time, y, x): inside the footprint."""


def make_passes(settings: SimulateScene, *, rng: np.random.Generator) -> Passes:
    """Draw dates, satellites and their imperfections."""
    n, still = settings.dates, settings.stationary
    time = _dates(settings, rng)
    names = (_CAPELLA if settings.kind == "capella" else _SENTINEL)[: settings.platforms]
    taken = rng.integers(len(names), size=n)
    offset = np.clip(rng.normal(0, 1, len(names)), -1, 1)
    gains = settings.gain_db * (offset - offset.mean())[taken] + 0.15 * settings.gain_db * rng.normal(0, 1, n)
    shifts = settings.jitter_px * rng.normal(0, 1, (n, 2))
    incidence = settings.incidence_deg + settings.incidence_spread_deg * rng.uniform(-1, 1, n) * (not still)
    valid = _footprints(settings, taken, rng)
    return Passes(
        times=Times(
            time=time,
            scene_id=tuple(_scene_id(settings, names[k], t) for k, t in zip(taken, time, strict=True)),
            platform=tuple(names[k] for k in taken),
            incidence_deg=incidence.astype(np.float32),
            look_side=(settings.look_side,) * n,
            orbit_direction=(settings.orbit_direction,) * n,
            relative_orbit=("53" if settings.kind == "capella" else "T137",) * n,
        ),
        gains_db=(gains * (not still)).astype(np.float32),
        shifts_px=(shifts * (not still)).astype(np.float32),
        valid=valid,
    )


def moved(power: np.ndarray, shift_px: np.ndarray) -> np.ndarray:
    """`power` (y, x) with its content moved by (y, x) pixels: cubic spline."""
    if not np.any(shift_px):
        return power
    out = ndimage.shift(power, shift_px, order=3, mode="nearest")
    return np.asarray(np.maximum(out, 0.5 * power.min()))


def incidence_gain_db(incidence_deg: float, reference_deg: float) -> np.ndarray:
    """Change of each class's level by another incidence: its own power of the cosine. float32 (class,)."""
    ratio = np.cos(np.deg2rad(incidence_deg)) / np.cos(np.deg2rad(reference_deg))
    powers = np.array([cover.incidence_power for cover in COVERS])
    return np.asarray(10 * powers * np.log10(ratio), np.float32)


def _dates(settings: SimulateScene, rng: np.random.Generator) -> np.ndarray:
    """Repeat passes with some missed, one long gap, and (capella) a minute or so of spread."""
    steps = 1 + (rng.random(settings.dates - 1) < 0.2)
    day = np.concatenate([[0.0], np.cumsum(steps * settings.repeat_days * _FOLDED[settings.kind])])
    day[max(1, round(0.35 * settings.dates)) :] += (
        np.ceil(settings.gap_days / settings.repeat_days) * settings.repeat_days
    )
    spread_s = rng.normal(0, 40 if settings.kind == "capella" else 1, settings.dates)
    ns = np.round((day * 86400 + np.clip(spread_s, -100, 100)) * 1e9).astype(np.int64)
    ns = ns // 1_000_000_000 * 1_000_000_000 if settings.kind == "opera" else ns
    first = np.datetime64(f"{settings.start}T14:23:08", "ns")
    return first + ns.astype("timedelta64[ns]")


def _footprints(settings: SimulateScene, taken: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slanted strip without data along each side, its width by satellite and date."""
    rows, cols = settings.shape
    valid = np.ones((len(taken), rows, cols), bool)
    y, x = np.linspace(-0.5, 0.5, rows), np.linspace(-0.5, 0.5, cols)
    usual = rng.uniform(0, 0.7, (int(taken.max()) + 1, 4))
    for index, satellite in enumerate(taken):
        width = settings.edge_px * np.clip(usual[satellite] + rng.uniform(-0.3, 0.3, 4), 0, 1)
        slant = settings.edge_px * rng.uniform(-0.4, 0.4)
        top, bottom, left, right = np.minimum(width, settings.edge_px - abs(slant) / 2)
        valid[index] &= np.arange(rows)[:, None] >= np.maximum(top + slant * x, 0)[None, :] * (top > 0)
        valid[index] &= np.arange(rows)[::-1, None] >= np.maximum(bottom - slant * x, 0)[None, :] * (
            bottom > 0
        )
        valid[index] &= np.arange(cols)[None, :] >= np.maximum(left - slant * y, 0)[:, None] * (left > 0)
        valid[index] &= np.arange(cols)[::-1][None, :] >= np.maximum(right + slant * y, 0)[:, None] * (
            right > 0
        )
    return valid


def _scene_id(settings: SimulateScene, platform: str, time: np.datetime64) -> str:
    """The id a real product of that satellite and time would carry."""
    seconds = time.astype("datetime64[s]")
    if settings.kind == "opera":
        stamp = str(seconds).replace("-", "").replace(":", "")
        burst = 292319 if settings.orbit_direction == "ascending" else 293192
        return f"OPERA_L2_RTC-S1_T137-{burst}-IW2_{stamp}Z_{_processed(seconds)}Z_{platform}_30_v1.0"
    start, stop = (
        str(seconds + np.timedelta64(s, "s")).replace("-", "").replace("T", "").replace(":", "")
        for s in (-14, 14)
    )
    return f"CAPELLA_C{int(platform.split('-')[1]):02d}_SP_GEO_HH_{start}_{stop}"


def _processed(seconds: np.datetime64) -> str:
    return str(seconds + np.timedelta64(6, "h")).replace("-", "").replace(":", "")
