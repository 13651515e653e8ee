"""Drawings as inline SVG: they follow the page's colours, light or dark, and stay sharp on any screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from sarcast.publish.material import day

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
PLATFORM_COLOURS = 6
"""Style classes p0 to p5."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One date of a series."""

    time: np.datetime64
    value: float | None
    """None where nothing was seen."""
    usable: bool
    history: bool
    title: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One acquisition of a calendar."""

    time: np.datetime64
    platform: str
    usable: bool
    noted: bool
    history: bool
    title: str


def series_svg(
    points: Sequence[Point], *, threshold: float | None, unit: str, marks: Iterable[tuple[np.datetime64, str]]
) -> str:
    """Values through time: history shaded, the threshold dashed, unusable dates hollow.

    Args:
        points: In time order.
        threshold: In the values' unit; None where there is none.
        unit: What the values are.
        marks: (time, word) written above the curve, such as "first seen".
    """
    width, height, left, right, top, bottom = 440, 188, 30, 10, 34, 24
    days = _days([point.time for point in points])
    span = max(float(days[-1]), 1.0)
    known = [point.value for point in points if point.value is not None]
    ceiling = max([1.0, *known, *([threshold] if threshold is not None else [])]) * 1.08
    floor = min([0.0, *known])

    def at_x(value: float) -> float:
        return round(left + (width - left - right) * (0.015 + 0.97 * value / span), 1)

    def at_y(value: float) -> float:
        return round(height - bottom - (height - top - bottom) * (value - floor) / (ceiling - floor), 1)

    base = height - bottom
    parts = _history_band(points, days, at_x, top, base, width - right)
    for tick in _ticks(floor, ceiling):
        y = at_y(tick)
        parts.append(f'<path class="grid" d="M{left} {y}H{width - right}"/>')
        parts.append(f'<text class="tick" x="{left - 5}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    parts += _time_axis([point.time for point in points], at_x, base, width - right)
    if threshold is not None:
        y = at_y(threshold)
        parts.append(f'<path class="limit" d="M{left} {y}H{width - right}"/>')
        parts.append(f'<text class="limit-text" x="{left + 3}" y="{y - 4}">threshold</text>')
    drawn = [(at_x(d), at_y(p.value), p) for d, p in zip(days, points, strict=True) if p.value is not None]
    steps = " ".join(f"{x} {y}" for x, y, _ in drawn)
    parts.append(f'<polyline class="curve" points="{steps}"/>')
    for x, y, point in drawn:
        over = threshold is not None and (point.value or 0) >= threshold and not point.history
        kind = ("dot" if point.usable else "dot off") + (" over" if over and point.usable else "")
        parts.append(
            f'<circle class="{kind}" cx="{x}" cy="{y}" r="3.4"><title>{escape(point.title)}</title></circle>'
        )
    parts += _event_lines(points[0].time, marks, at_x, top, base)
    label = f"{unit} through time"
    return _svg(width, height, "series", label, parts)


def calendar_svg(marks: Sequence[Mark], platforms: Sequence[str]) -> str:
    """One mark an acquisition, one row a year (or a month where all lie within a few months).

    Filled: usable. Ringed: something is noted. Hollow and crossed: raises no events. Shaded: history.
    """
    times = np.array([mark.time for mark in marks])
    by_year = (times[-1] - times[0]) > np.timedelta64(150, "D")
    rows = _rows(times, by_year)
    width, left, right, step, top = 1000, 90, 14, 32, 24
    height = top + step * len(rows) + 6

    def at(time: np.datetime64) -> tuple[float, float]:
        row = next(i for i, (_, start, stop) in enumerate(rows) if start <= time < stop)
        _, start, stop = rows[row]
        share = float((time - start) / (stop - start))
        return round(left + (width - left - right) * share, 1), top + step * row + step / 2

    parts = _calendar_head(by_year, left, width - left - right)
    for i, (name, _, _) in enumerate(rows):
        y = top + step * i + step / 2
        past = [x for x, row in map(at, (mark.time for mark in marks if mark.history)) if row == y]
        if past:
            span = max(past) - min(past) + 24
            place = f'x="{min(past) - 12:.1f}" y="{y - 13}" width="{span:.1f}"'
            parts.append(f'<rect class="past" {place} height="26" rx="13"/>')
        parts.append(f'<path class="grid" d="M{left} {y}H{width - right}"/>')
        parts.append(f'<text class="row" x="{left - 12}" y="{y + 5}" text-anchor="end">{name}</text>')
    for mark in marks:
        x, y = at(mark.time)
        colour = f"p{platforms.index(mark.platform) % PLATFORM_COLOURS}"
        title = f"<title>{escape(mark.title)}</title>"
        if mark.noted:
            parts.append(f'<circle class="ring" cx="{x}" cy="{y}" r="8.5"/>')
        kind = f"mark {colour}" if mark.usable else f"mark off {colour}"
        parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="5">{title}</circle>')
        if not mark.usable:
            parts.append(f'<path class="cross" d="M{x - 4:.1f} {y - 4}l8 8m0 -8l-8 8"/>')
    return _svg(width, height, "calendar", "Acquisitions through time", parts)


def overlay_svg(
    outlines: Sequence[tuple[Any, str, str, str]],
    shape: tuple[int, int],
    *,
    origin: tuple[int, int] = (0, 0),
    metres: float | None = None,
    labels: int = 12,
) -> str:
    """Outlines over a picture, with a scale bar.

    Args:
        outlines: (geometry in pixels, direction, title, label) each.
        shape: (rows, cols) the picture covers, pixels.
        origin: (row, col) of its first pixel.
        metres: Size of a pixel; None for no scale bar.
        labels: How many outlines, from the first, carry their label.
    """
    rows, cols = shape
    size = max(rows, cols) / 24
    parts = []
    for number, (geometry, direction, title, label) in reversed(list(enumerate(outlines))):
        path = _path(geometry, origin)
        parts.append(
            f'<path class="outline {escape(direction)}" d="{path}"><title>{escape(title)}</title></path>'
        )
        if label and number < labels:
            west, north, east, _ = geometry.bounds
            x = min(max((west + east) / 2 - origin[1], size), cols - size)
            y = max(north - origin[0] - size * 0.35, size * 0.9)
            parts.append(
                f'<text class="name {escape(direction)}" x="{x:.2f}" y="{y:.2f}" font-size="{size:.2f}" '
                f'text-anchor="middle">{escape(label)}</text>'
            )
    if metres:
        parts += _scale_bar(rows, cols, metres, size)
    return (
        f'<svg class="overlay" viewBox="0 0 {cols} {rows}" preserveAspectRatio="none" '
        f'role="img" aria-label="Event outlines">{"".join(parts)}</svg>'
    )


def _svg(width: float, height: float, kind: str, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _days(times: Sequence[np.datetime64]) -> np.ndarray:
    array = np.array(times, "datetime64[ns]")
    return np.asarray((array - array[0]) / np.timedelta64(1, "D"), np.float64)


def _history_band(points: Any, days: Any, at_x: Any, top: float, base: float, end: float) -> list[str]:
    """A shade from the left border to between the last date of history and the first judged one."""
    past = [i for i, point in enumerate(points) if point.history]
    if not past:
        return []
    last = past[-1]
    stop = at_x((days[last] + days[last + 1]) / 2) if last + 1 < len(points) else end
    return [
        f'<rect class="past" x="30" y="{top}" width="{max(stop - 30, 0):.1f}" height="{base - top}"/>',
        f'<text class="past-text" x="36" y="{top + 13}">history</text>',
    ]


def _event_lines(origin: Any, marks: Any, at_x: Any, top: float, base: float) -> list[str]:
    """Upright lines with their word, one below the other: to the left of the first, else to the right."""
    parts = []
    for number, (time, word) in enumerate(marks):
        x = at_x(float(_days([origin, time])[1]))
        to_left = x > 340 or (number == 0 and x > 110)
        anchor, shift = ("end", -3) if to_left else ("start", 3)
        parts.append(f'<path class="event-line" d="M{x} {top - 19 + 12 * number}V{base}"/>')
        place = f'x="{x + shift:.1f}" y="{top - 21 + 12 * number}" text-anchor="{anchor}"'
        parts.append(f'<text class="event-text" {place}>{escape(word)}</text>')
    return parts


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 4
    base = 10.0 ** np.floor(np.log10(rough))
    step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= rough)
    first = np.ceil(low / step)
    return [float(round(step * (first + i), 10)) for i in range(int((high - first * step) / step) + 1)]


def _time_axis(times: Any, at_x: Any, base: float, end: float) -> list[str]:
    """First and last date, and years where there is room."""
    parts = [f'<path class="axis" d="M30 {base}H{end}"/>']
    first, last = day(times[0]), day(times[-1])
    parts.append(f'<text class="tick" x="30" y="{base + 16}">{first}</text>')
    if len(times) > 1:
        parts.append(f'<text class="tick" x="{end}" y="{base + 16}" text-anchor="end">{last}</text>')
    for year in range(int(first[:4]) + 1, int(last[:4]) + 1):
        x = at_x(float((np.datetime64(f"{year}-01-01", "ns") - times[0]) / np.timedelta64(1, "D")))
        parts.append(f'<path class="axis" d="M{x} {base}v4"/>')
        if 110 < x < end - 84:
            parts.append(f'<text class="tick" x="{x}" y="{base + 16}" text-anchor="middle">{year}</text>')
    return parts


def _rows(times: np.ndarray, by_year: bool) -> list[tuple[str, np.datetime64, np.datetime64]]:
    """(name, start, stop) of every calendar row that holds an acquisition."""
    unit = "Y" if by_year else "M"
    found = []
    for start in np.unique(times.astype(f"datetime64[{unit}]")):
        stop = start + 1 if by_year else start.astype("datetime64[D]") + 31
        text = str(start)
        name = text if by_year else f"{MONTHS[int(text[5:7]) - 1]} {text[:4]}"
        found.append((name, start.astype("datetime64[ns]"), stop.astype("datetime64[ns]")))
    return found


def _calendar_head(by_year: bool, left: float, width: float) -> list[str]:
    middle = 'text-anchor="middle"'
    if by_year:
        return [
            f'<text class="tick" x="{left + width * (i + 0.5) / 12:.1f}" y="14" {middle}>{name}</text>'
            for i, name in enumerate(MONTHS)
        ]
    return [
        f'<text class="tick" x="{left + width * (i - 0.5) / 31:.1f}" y="14" {middle}>{i}</text>'
        for i in (1, 5, 10, 15, 20, 25, 30)
    ]


def _path(geometry: Any, origin: tuple[int, int]) -> str:
    """Rings of a (multi)polygon as an SVG path."""
    import shapely

    drawn = []
    for part in shapely.get_parts(geometry):
        for ring in (part.exterior, *part.interiors):
            at = [f"{x - origin[1]:.2f} {y - origin[0]:.2f}" for x, y in ring.coords[:-1]]
            drawn.append("M" + "L".join(at) + "Z")
    return "".join(drawn)


def _scale_bar(rows: float, cols: float, metres: float, size: float) -> list[str]:
    """A bar of a round length, about a quarter of the width."""
    goal = cols * metres / 4
    base = 10.0 ** np.floor(np.log10(goal))
    length = max(base * factor for factor in (1, 2, 5) if base * factor <= goal)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    x, y = size * 0.7, rows - size * 0.8
    place = f'x="{x:.2f}" y="{y - size * 0.4:.2f}" font-size="{size * 0.85:.2f}"'
    return [
        f'<path class="bar" d="M{x:.2f} {y:.2f}h{length / metres:.2f}"/>',
        f'<text class="bar-text" {place}>{text}</text>',
    ]
