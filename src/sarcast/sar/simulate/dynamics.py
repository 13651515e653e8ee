"""What changes and is no event: seasons, crops, rain and drying, frost, wind, tide, cars. In dB, per date."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sarcast.sar.simulate.fields import smooth_field
from sarcast.sar.simulate.land_cover import COVERS, CROPS, INDEX, Land

_PATTERNS = 3
_YEAR_DAYS = 365.25
_TIDE_DAYS = 12.4206 / 24
_SPRING_DAYS = 14.7653


@dataclass(frozen=True, kw_only=True, eq=False)
class Dynamics:
    """Everything needed to give the level of every pixel at one date relative to its long-term mean."""

    scale: float
    """Multiplies all dB; 0 for a place where nothing moves."""
    season_db: np.ndarray
    """float32 (time, class)."""
    crop_db: np.ndarray
    """float32 (time, parcels + 1)."""
    rain: np.ndarray
    """float32 (time, pattern): wetness by rain pattern."""
    wind: np.ndarray
    """float32 (time, pattern + 1): by wind pattern, then everywhere."""
    patterns: np.ndarray
    """float32 (pattern, y, x): smooth fields of unit variance."""
    frozen: np.ndarray
    """float32 (time,): 0 thawed to 1 frozen."""
    cold: np.ndarray
    """float32 (y, x): 0 to 1, where frost sets in."""
    tide: np.ndarray
    """float32 (time,): as a share of the tidal range."""
    cars: np.ndarray
    """bool (time, slot): which parking slots are taken."""

    def level_db(self, index: int, *, cover: np.ndarray, parcel: np.ndarray, land: Land) -> np.ndarray:
        """Level relative to the long-term mean at date `index`, dB, float32 (y, x).

        Args:
            index: Which date.
            cover: Land cover at that date (events change it), uint8 (y, x).
            parcel: Parcel at that date, int32 (y, x).
            land: The place.
        """
        if self.scale == 0:
            return np.zeros(cover.shape, np.float32)
        level = self.season_db[index][cover] + self.crop_db[index][parcel]
        wet = np.maximum(np.tensordot(self.rain[index], 1 + 0.25 * self.patterns, axes=1), 0)
        level += _RAIN[cover] * np.minimum(wet, 1.4)
        level -= _FROST[cover] * self.frozen[index] * self.cold
        water = (cover == INDEX["water"]) | (cover == INDEX["tidal flat"])
        if water.any():
            level[water] += self._water_db(index, cover, land)[water]
        level[(cover == INDEX["parking"]) & self.cars[index][land.slot]] += 9
        return np.asarray(np.float32(self.scale) * level)

    def _water_db(self, index: int, cover: np.ndarray, land: Land) -> np.ndarray:
        wind = self.wind[index, -1] + np.tensordot(self.wind[index, :-1], self.patterns, axes=1)
        wind_db = _WIND[INDEX["water"]] * wind
        drowned = 1 / (1 + np.exp(-np.clip((self.tide[index] - land.shore) / 0.04, -30, 30)))
        flat_db = drowned * (-4.5 + wind_db)
        return np.asarray(np.where(cover == INDEX["water"], wind_db, flat_db), np.float32)


def make_dynamics(
    land: Land, time: np.ndarray, *, scale: float, usual_days: float, rng: np.random.Generator
) -> Dynamics:
    """Draw a history of weather, crops, tides and traffic.

    Args:
        land: The place.
        time: datetime64[ns] (time,), ascending.
        scale: Multiplies all dB.
        usual_days: Usual repeat of the series; slow processes are a few times longer than it.
        rng: Source of randomness.
    """
    day = (time - time[0]) / np.timedelta64(1, "D")
    of_year = (time - time.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    patterns = np.stack(
        [
            smooth_field(land.cover.shape, scale_px=min(land.cover.shape) / 12, rng=rng)
            for _ in range(_PATTERNS)
        ]
    )
    return Dynamics(
        scale=scale,
        season_db=(_SEASON * np.cos(2 * np.pi * (of_year - 170) / _YEAR_DAYS)[:, None]).astype(np.float32),
        crop_db=_crops(land, day, usual_days, rng),
        rain=_rain(day, usual_days, rng),
        wind=_wind(day, rng),
        patterns=patterns,
        frozen=_frost(of_year, rng),
        cold=np.clip(0.5 + smooth_field(land.cover.shape, scale_px=min(land.cover.shape) / 7, rng=rng), 0, 1),
        tide=_tide(time),
        cars=_cars(land, time, rng),
    )


def _column(field: str) -> np.ndarray:
    return np.array([getattr(cover, field) for cover in COVERS], np.float32)


_SEASON, _RAIN, _FROST, _WIND = (_column(name) for name in ("season_db", "rain_db", "frost_db", "wind_db"))


def _crops(land: Land, day: np.ndarray, usual_days: float, rng: np.random.Generator) -> np.ndarray:
    """Growth and harvest: a sawtooth for each parcel, alike within a crop. float32 (time, parcels + 1)."""
    parcels = land.crop.size
    period = usual_days * np.array([16.0, 9.0, 30.0, 4.0, 1.0])
    rise_db = np.array([1.6, 1.5, 1.3, 0.8, 0.0])
    begun = rng.random(len(CROPS))
    spread = np.array([0.15, 0.3, 0.15, 0.5, 0.0])
    phase = begun[land.crop] + spread[land.crop] * rng.uniform(-1, 1, parcels)
    vigour = rise_db[land.crop] * rng.normal(1, 0.12, parcels)
    grown = np.mod(day[:, None] / period[land.crop] + phase, 1)
    level = vigour * (np.minimum(grown / 0.8, 1) - 0.5)
    level[:, 0] = 0
    return np.asarray(level, np.float32)


def _rain(day: np.ndarray, usual_days: float, rng: np.random.Generator) -> np.ndarray:
    """Showers at random, each drying within a few acquisitions. float32 (time, pattern)."""
    first, last = -5 * usual_days, float(day[-1])
    count = rng.poisson((last - first) / (4.5 * usual_days))
    when = rng.uniform(first, last, count)
    amount = rng.gamma(2.0, 0.25, count)
    pattern = rng.integers(_PATTERNS, size=count)
    age = day[:, None] - when
    left = np.where(age >= 0, amount * np.exp(-np.maximum(age, 0) / (2.5 * usual_days)), 0)
    wet = np.zeros((len(day), _PATTERNS), np.float32)
    for shower in range(count):
        wet[:, pattern[shower]] += left[:, shower]
    return wet


def _wind(day: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    wind = rng.normal(0, 1, (len(day), _PATTERNS + 1))
    wind[:, :-1] *= 0.35
    return wind.astype(np.float32)


def _frost(of_year: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frozen dates come in spells, in winter only. float32 (time,)."""
    winter = np.clip(np.cos(2 * np.pi * (of_year - 20) / _YEAR_DAYS), 0, 1)
    spell = np.convolve(rng.normal(0, 1, len(of_year) + 2), (0.5, 0.7, 0.5), mode="valid")
    return ((spell > 0.35) & (winter > 0.3)).astype(np.float32) * winter.astype(np.float32)


def _tide(time: np.ndarray) -> np.ndarray:
    day = (time - np.datetime64("2000-01-01T00:00:00", "ns")) / np.timedelta64(1, "D")
    spring = 1 + 0.3 * np.cos(2 * np.pi * day / _SPRING_DAYS)
    return (0.5 + 0.42 * spring * np.cos(2 * np.pi * day / _TIDE_DAYS)).astype(np.float32)


def _cars(land: Land, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fuller on weekdays. bool (time, slots + 1)."""
    weekday = (time.astype("datetime64[D]").astype(np.int64) + 3) % 7
    share = np.where(weekday < 5, 0.55, 0.3)[:, None]
    return rng.random((len(time), int(land.slot.max()) + 1), dtype=np.float32) < share
