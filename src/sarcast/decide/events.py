"""From alarms to events: connected in space and time, with the states of DIST-ALERT.

An alarmed cell starts or continues an event. Alarms of one date that touch (eight neighbours) belong
together, and to an event they overlap or touch that was alarmed on the last `patience` usable dates. An event
is `first` when alarmed on one date, `provisional` on two, `confirmed` on three or more, `finished` when not
alarmed on the last `patience` usable dates that saw it; it is `high` when any cell passed the high threshold,
else `low`. Dates flagged by the quality checks are passed over: they neither raise nor end events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy import ndimage

from sarcast.decide.rules import Rules
from sarcast.decide.threshold import Threshold
from sarcast.errors import ShapeError
from sarcast.values import Detections, Event, Scores

STATUS = (
    "none",
    "first_low",
    "provisional_low",
    "confirmed_low",
    "first_high",
    "provisional_high",
    "confirmed_high",
    "finished_low",
    "finished_high",
)
"""DIST-ALERT-S1 codes 0 to 8, in order."""
_NEIGHBOURS = np.ones((3, 3), bool)


def find_events(
    scores: Scores, threshold: Threshold, *, judged: np.ndarray, usable: np.ndarray, settings: Rules
) -> Detections:
    """Events of one stack.

    Args:
        scores: With `p_value`; `change_db` says brighter or darker where known.
        threshold: Low and high.
        judged: bool (time,): dates that may raise alarms.
        usable: bool (time,): dates the quality checks let pass.
        settings: Rules.

    Raises:
        ShapeError: The scores are not calibrated.
    """
    if scores.p_value is None:
        raise ShapeError("expected calibrated scores, found no p_value")
    dates = np.flatnonzero(judged & usable)
    low, high = threshold.alarms(scores)
    tracks = _track(low, scores.valid, dates, settings.patience)
    kept = [t for t in tracks if len(t.cells) >= settings.min_cells]
    events = [_event(t, scores, high, settings) for t in kept]
    events.sort(key=lambda e: (e.first_seen, e.event_id))
    crs = scores.geobox.crs
    return Detections(events=tuple(events), crs=crs.to_wkt() if crs is not None else "")


def cell_status(
    alarms: np.ndarray,
    strong_alarms: np.ndarray,
    valid: np.ndarray,
    *,
    judged: np.ndarray,
    usable: np.ndarray,
    confirm: int,
    patience: int,
) -> np.ndarray:
    """DIST-ALERT code of every cell as each date knew it, uint8 (time, row, col); 255 where nothing is known.

    Each cell by itself: alarms count up to confirmed, `patience` usable dates without one finish it, and an
    alarm after that starts anew.

    Args:
        alarms: bool (time, row, col): at or over the low threshold.
        strong_alarms: The same for the high one.
        valid: bool (time, row, col).
        judged: bool (time,).
        usable: bool (time,): dates the quality checks let pass; others change nothing.
        confirm: Alarms that confirm.
        patience: Usable dates without alarm that finish.
    """
    shape = alarms.shape
    codes = np.full(shape, 255, np.uint8)
    count = np.zeros(shape[1:], int)
    quiet = np.zeros(shape[1:], int)
    strong = np.zeros(shape[1:], bool)
    done = np.zeros(shape[1:], bool)
    known = np.zeros(shape[1:], bool)
    for t in np.flatnonzero(judged):
        if usable[t]:
            seen = valid[t]
            alarm = seen & alarms[t]
            again = alarm & done
            count[again], strong[again], done[again] = 0, False, False
            count += alarm
            strong |= alarm & strong_alarms[t]
            quiet = np.where(alarm, 0, quiet + (seen & (count > 0)))
            done |= (quiet >= patience) & (count > 0)
            known |= seen
        state = np.clip(count, 0, confirm)
        stage = np.where(state >= confirm, 3, np.minimum(state, 2))
        code = np.where(count == 0, 0, np.where(done, 7 + strong, stage + 3 * strong))
        codes[t] = np.where(known, code, 255)
    return codes


@dataclass(eq=False)
class _Track:
    """Alarmed cells of one event, by date."""

    dates: dict[int, np.ndarray] = field(default_factory=dict)
    """time index -> flat indices of alarmed cells."""
    quiet: int = 0
    """Usable dates since the last alarm that saw any of its cells."""

    @property
    def cells(self) -> np.ndarray:
        return np.unique(np.concatenate(list(self.dates.values())))

    def recent(self, since: int) -> np.ndarray:
        since = min(since, max(self.dates))
        parts = [cells for t, cells in self.dates.items() if t >= since]
        return np.unique(np.concatenate(parts)) if parts else np.zeros(0, int)


def _track(alarms: np.ndarray, valid: np.ndarray, dates: np.ndarray, patience: int) -> list[_Track]:
    shape = alarms.shape[1:]
    live: list[_Track] = []
    every: list[_Track] = []
    for k, t in enumerate(dates):
        since = int(dates[max(0, k - patience)])
        live = [track for track in live if track.quiet < patience]
        labels, n = ndimage.label(alarms[t], structure=_NEIGHBOURS)
        for cells in _groups(labels.ravel(), n):
            near = _grown(cells, shape)
            touched = [track for track in live if np.isin(track.recent(since), near).any()]
            track = _joined(touched, every, live)
            track.dates[int(t)] = np.union1d(track.dates.get(int(t), np.zeros(0, int)), cells)
        for track in live:
            seen = valid[t].ravel()[track.cells].any()
            track.quiet = 0 if int(t) in track.dates else track.quiet + int(seen)
    return every


def _groups(labels: np.ndarray, n: int) -> list[np.ndarray]:
    """Flat indices of each label from 1 to n, ascending."""
    some = np.flatnonzero(labels)
    order = some[np.argsort(labels[some], kind="stable")]
    return np.split(order, np.cumsum(np.bincount(labels[some], minlength=n + 1)[1:-1])) if n else []


def _grown(cells: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Flat indices of the cells and their eight neighbours."""
    row, col = (part[:, None, None] for part in np.unravel_index(cells, shape))
    row, col = np.broadcast_arrays(row + np.arange(-1, 2)[:, None], col + np.arange(-1, 2))
    inside = (row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1])
    return np.unique(row[inside] * shape[1] + col[inside])


def _joined(touched: Sequence[_Track], every: list[_Track], live: list[_Track]) -> _Track:
    """One track: a new one, the touched one, or all the touched ones merged into the first."""
    if not touched:
        track = _Track()
        every.append(track)
        live.append(track)
        return track
    first, *rest = touched
    for other in rest:
        for t, cells in other.dates.items():
            first.dates[t] = np.union1d(first.dates.get(t, np.zeros(0, int)), cells)
        every.remove(other)
        live.remove(other)
    return first


def _event(track: _Track, scores: Scores, high: np.ndarray, settings: Rules) -> Event:
    times = sorted(track.dates)
    cells = track.cells
    flat = scores.values.reshape(len(scores.times), -1)
    peaks = [(float(flat[t, c].max()), t) for t, c in track.dates.items()]
    peak, peak_time = max(peaks, key=lambda pair: (pair[0], -pair[1]))
    assert scores.p_value is not None
    p = min(float(scores.p_value.reshape(flat.shape)[t, c].min()) for t, c in track.dates.items())
    strong = any(high[t].ravel()[c].any() for t, c in track.dates.items())
    change = _change(track, scores)
    time = scores.times.time
    geometry, area = _outline(cells, scores)
    return Event(
        event_id=_name(scores.stack, time[times[0]], track.dates[times[0]]),
        stack=scores.stack,
        first_seen=time[times[0]],
        confirmed=time[times[settings.confirm - 1]] if len(times) >= settings.confirm else None,
        last_seen=time[times[-1]],
        status=_status(track, strong, settings),
        observations=len(times),
        peak_time=time[peak_time],
        peak_score=peak,
        p_value=p,
        direction=_direction(change, settings.texture_db),
        change_db=change,
        area_m2=area,
        cells=len(cells),
        geometry=geometry,
    )


def _status(track: _Track, strong: bool, settings: Rules) -> str:
    level = "high" if strong else "low"
    if track.quiet >= settings.patience:
        return f"finished_{level}"
    seen = len(track.dates)
    stage = "confirmed" if seen >= settings.confirm else "provisional" if seen > 1 else "first"
    return f"{stage}_{level}"


def _change(track: _Track, scores: Scores) -> float:
    """Mean level change over the event's alarms, dB; 0 where the scores do not say."""
    if scores.change_db is None:
        return 0.0
    flat = scores.change_db.reshape(len(scores.times), -1)
    return float(np.mean(np.concatenate([flat[t, c] for t, c in track.dates.items()])))


def _direction(change_db: float, texture_db: float) -> Literal["brighter", "darker", "texture"]:
    if abs(change_db) < texture_db:
        return "texture"
    return "brighter" if change_db > 0 else "darker"


def _outline(cells: np.ndarray, scores: Scores) -> tuple[object, float]:
    """Union of the cells' squares in the stack's CRS, and its area in square metres."""
    from pyproj import Geod
    from shapely import affinity, box, union_all

    row, col = np.unravel_index(cells, scores.grid.shape)
    top, left, side = scores.grid.tops[row], scores.grid.lefts[col], scores.grid.patch
    a = scores.geobox.transform
    squares = box(left, top, left + side, top + side)
    shape = affinity.affine_transform(union_all(squares), [a.a, a.b, a.d, a.e, a.c, a.f]).normalize()
    crs = scores.geobox.crs
    if crs is not None and not crs.projected:
        return shape, abs(float(Geod(ellps="WGS84").geometry_area_perimeter(shape)[0]))
    return shape, float(shape.area)


def _name(stack: str, first_seen: np.datetime64, cells: np.ndarray) -> str:
    """A name from the stack, the first date and its first cell, so that it stays as the event grows."""
    key = f"{stack}|{np.datetime_as_string(first_seen, unit='s')}|{int(cells.min())}"
    return f"{np.datetime_as_string(first_seen, unit='D')}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
