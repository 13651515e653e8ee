"""What the site needs of one stack, together and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.decide.events import cell_status
from sarcast.decide.threshold import Threshold as Limits
from sarcast.errors import ArtefactError, ShapeError
from sarcast.values import Event, Scores, Stack

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Where a score becomes an event, as the detect step chose it."""

    p_value: float
    """Cells at or under this p-value are over the threshold."""
    score: float | None = None
    """The same as a raw score, where there is one such number."""
    false_alarms: float
    """Share of unchanged cells a date that may be over the threshold, as requested."""
    judged_from: np.datetime64
    """First judged time, UTC."""
    rule: str = ""
    """In words."""
    score_high: float | None = None
    """Score from which an alarm is high."""
    confirm: int = 3
    """Alarmed dates that confirm."""
    patience: int = 2
    """Usable dates without alarm that finish."""
    p_value_high: float = 0.0
    """The p-value at or under which an alarm is high, where there is no score for it."""
    by_date: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """scene_id -> p-values at or under which a cell is alarmed, and high, where dates differ."""
    fdr: float | None = None
    """Share of a date's alarmed cells that may be false, where that was the rule."""
    per_km2_month: float | None = None
    """Alarmed cells a square kilometre and month, where that was asked for."""

    @classmethod
    def of(cls, found: Mapping[str, Any], where: str) -> Threshold:
        """From threshold.json.

        Raises:
            ArtefactError: A field is missing or not a number.
        """
        try:
            return cls(
                p_value=float(found["p_value"]),
                score=_optional(found.get("score")),
                false_alarms=float(found["false_alarms"]),
                judged_from=instant(found["judged_from"]),
                rule=str(found.get("rule", "")),
                score_high=_optional(found.get("score_high")),
                confirm=int(found.get("confirm", 3)),
                patience=int(found.get("patience", 2)),
                p_value_high=float(found.get("p_value_high", 0.0)),
                by_date={str(s): (float(a), float(b)) for s, (a, b) in found.get("by_date", {}).items()},
                fdr=_optional(found.get("fdr")),
                per_km2_month=_optional(found.get("false_alarms_per_km2_month")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"expected a threshold, found a bad or missing {error}, in {where}") from None

    def alarms(self, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
        """Bool (time, row, col) twice: alarms, and strong alarms."""
        high = np.inf if self.score is not None and self.score_high is None else self.score_high
        dates = tuple(self.by_date.get(scene, (0.0, 0.0)) for scene in scores.times.scene_id)
        limits = Limits(
            low=self.score,
            high=high if self.score is not None else None,
            p_low=self.p_value,
            p_high=self.p_value_high,
            by_date=dates if self.by_date else None,
        )
        return limits.alarms(scores)


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """One stack with its scores, quality, threshold and events."""

    stack: Stack
    """Its arrays may be lazy: only windows and blocks are read."""
    scores: Scores
    quality: Mapping[str, Any]
    """quality.json."""
    threshold: Threshold
    events: tuple[Event, ...]
    """Of this stack, in its CRS; strongest first."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What to print of each step's settings: step -> field -> value."""

    def __post_init__(self) -> None:
        if self.scores.grid.image != tuple(self.stack.geobox.shape):
            raise ShapeError(
                f"scores of {self.stack.name} are over {self.scores.grid.image} pixels, "
                f"its stack has {tuple(self.stack.geobox.shape)}"
            )
        unknown = set(self.scores.times.scene_id) - set(self.stack.times.scene_id)
        if unknown:
            raise ShapeError(f"scores of {self.stack.name} know the scene {min(unknown)}, its stack does not")

    @property
    def name(self) -> str:
        """Of the stack."""
        return self.stack.name

    @property
    def judged(self) -> np.ndarray:
        """Bool (time,) over `scores.times`."""
        return np.asarray(self.scores.times.time >= self.threshold.judged_from, bool)

    @property
    def history(self) -> np.ndarray:
        """Bool (time,) over `stack.times`: usable dates before the first judged one."""
        return (self.stack.times.time < self.threshold.judged_from) & self.usable

    @property
    def dates(self) -> dict[str, Mapping[str, Any]]:
        """scene_id -> its entry in quality.json."""
        return {str(one["scene_id"]): one for one in self.quality.get("dates", [])}

    @property
    def usable(self) -> np.ndarray:
        """Bool (time,) over `stack.times`: False where a date raises a note and never events."""
        dates = self.dates
        return np.array([bool(dates.get(s, {}).get("usable", True)) for s in self.stack.times.scene_id], bool)

    @property
    def status(self) -> np.ndarray:
        """uint8 (time, row, col) over `scores.times`: DIST-ALERT codes as each date knew them."""
        scores, known = self.scores, self.threshold
        usable = dict(zip(self.stack.times.scene_id, self.usable, strict=True))
        low, high = known.alarms(scores)
        return cell_status(
            low,
            high,
            scores.valid,
            judged=self.judged,
            usable=np.array([usable[scene] for scene in scores.times.scene_id], bool),
            confirm=known.confirm,
            patience=known.patience,
        )

    @property
    def band(self) -> int:
        """The band to look at: the first co-polarised one, else the first."""
        return next((i for i, name in enumerate(self.stack.bands) if name[0] == name[-1]), 0)

    @property
    def cell_area_m2(self) -> float:
        """Ground area of one stride by one stride."""
        resolution = self.stack.geobox.resolution
        return abs(resolution.x * resolution.y) * self.scores.grid.stride**2


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)


def pixel_outline(geometry: Any, geobox: GeoBox) -> Any:
    """A geometry of the grid's CRS in its pixels: x = column, y = row, counted from the grid's corner."""
    import shapely

    a, b, c, d, e, f = (~geobox.affine)[:6]
    return shapely.transform(
        geometry, lambda at: np.stack([a * at[:, 0] + b * at[:, 1] + c, d * at[:, 0] + e * at[:, 1] + f], 1)
    )


def instant(text: str) -> np.datetime64:
    """UTC from ISO 8601 with or without a final Z or +00:00.

    >>> instant("2023-01-01T02:03:04Z")
    np.datetime64('2023-01-01T02:03:04.000000000')
    """
    return np.datetime64(text.removesuffix("Z").removesuffix("+00:00"), "ns")


def day(time: np.datetime64) -> str:
    """2023-01-01."""
    return str(time.astype("datetime64[D]"))


def iso(time: np.datetime64) -> str:
    """2023-01-01T02:03:04Z, with a fraction only where there is one.

    >>> iso(np.datetime64("2023-01-01T02:03:04.500", "ns"))
    '2023-01-01T02:03:04.5Z'
    """
    whole, _, fraction = str(time.astype("datetime64[ns]")).partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def stamps(times: np.ndarray) -> list[str]:
    """One file-name part a time: 20230101T020304Z; a second at the same second gets -2, and so on."""
    found: list[str] = []
    for time in times:
        base = str(time.astype("datetime64[s]")).replace("-", "").replace(":", "") + "Z"
        count = sum(one == base or one.startswith(f"{base}-") for one in found)
        found.append(base if count == 0 else f"{base}-{count + 1}")
    return found
