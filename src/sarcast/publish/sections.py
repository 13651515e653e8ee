"""The part of the report that shows one stack: map, table, events, calendar, notes, settings."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sarcast.publish.charts import Mark, Point, calendar_svg, overlay_svg, series_svg
from sarcast.publish.cog import cells_in, strength
from sarcast.publish.figures import (
    CHANGE_LIMIT_DB,
    Chips,
    event_chips,
    place_picture,
)
from sarcast.publish.material import Material, day, instant, pixel_outline
from sarcast.publish.words import (
    area,
    count,
    date_notes,
    days,
    event_title,
    frame_notes,
    html,
    probability,
    quality_notes,
    signed_db,
    status,
)
from sarcast.values import Event

TABLE_ROWS = 200
OUTLINES = 400
_ARROWS = {"brighter": "▲", "darker": "▼", "texture": "◆"}


def stack_section(material: Material, number: int, top: int) -> str:
    """Everything of one stack.

    Args:
        material: The stack.
        number: Of the stack on the page, from 1: its anchor.
        top: So many events get a card with pictures and series.
    """
    shown = material.events[:top]
    parts = [
        f'<section class="stack card" id="stack-{number}"><h2>{escape(material.name)}</h2>{_facts(material)}',
        f'<h3>Events</h3><div class="over">{_map(material, top)}{_table(material, number, top)}</div>',
    ]
    if shown:
        rest = len(material.events) - len(shown)
        which = (
            f"{len(shown)} of {count(len(material.events), 'event')}" if rest else count(len(shown), "event")
        )
        parts.append(f"<h3>{which} up close, strongest first</h3>")
        cards = [_card(material, event, f"e{number}-{i}", i) for i, event in enumerate(shown, 1)]
        parts.append(f'<div class="events">{"".join(cards)}</div>')
    parts += [_calendar(material), _notes(material), _declaration(material), "</section>"]
    return "\n".join(parts)


def settings_details(summary: str, settings: Mapping[str, Any]) -> str:
    """A folded list of settings, step by step; nothing where there are none."""
    if not settings:
        return ""
    lists = "".join(
        f"<h4>{escape(step)}</h4>{_definitions(values)}" for step, values in sorted(settings.items())
    )
    return f"<details><summary>{escape(summary)}</summary>{lists}</details>"


def event_strength(material: Material, event: Event) -> tuple[list[float | None], float | None, str]:
    """How the strongest cell of an event stood on each date, the threshold, and the unit of both."""
    scores = material.scores
    inside = cells_in(event.geometry, scores)
    if scores.p_value is not None:
        values = strength(scores.p_value[:, inside])
        one = material.threshold.p_value if not material.threshold.by_date else 0.0
        limit: float | None = float(strength(one)) if one > 0 else None
        unit = "anomaly strength, −log₁₀ p"
    else:
        values, limit, unit = scores.values[:, inside], material.threshold.score, "raw score"
    valid = scores.valid[:, inside]
    found = [float(v[ok].max()) if ok.any() else None for v, ok in zip(values, valid, strict=True)]
    return found, limit, unit


def _facts(material: Material) -> str:
    stack, scores = material.stack, material.scores
    resolution = abs(stack.geobox.resolution.x)
    crs = stack.geobox.crs
    unit = " m" if crs is not None and crs.projected else "°"
    rows, cols = stack.geobox.shape
    past = stack.times.time[stack.times.time < material.threshold.judged_from]
    facts = (
        f"{' + '.join(stack.bands)}, {stack.radiometry}",
        f"{rows:,} × {cols:,} px of {resolution:g}{unit}, {_crs_name(crs)}",
        f"cells of {scores.grid.patch} px: {scores.grid.shape[0]:,} × {scores.grid.shape[1]:,}",
        f"history {len(past)} dates, {days(past)}",
        f"judged {int(material.judged.sum())} dates, {days(scores.times.time[material.judged])}",
        f"{scores.detector} on {scores.encoder}" if scores.encoder else scores.detector,
    )
    return '<div class="facts">' + "".join(f"<span>{html(fact)}</span>" for fact in facts) + "</div>"


def _map(material: Material, top: int) -> str:
    stack = material.stack
    outlines = [
        (
            pixel_outline(event.geometry, stack.geobox),
            event.direction,
            event_title(event),
            str(i) if i <= top else "",
        )
        for i, event in enumerate(material.events[:OUTLINES], 1)
    ]
    rows, cols = stack.geobox.shape
    crs = stack.geobox.crs
    metres = abs(stack.geobox.resolution.x) if crs is not None and crs.projected else None
    band = escape(stack.bands[material.band])
    return (
        f'<figure class="map"><div class="pic">{_img(place_picture(material), "Mean amplitude")}'
        f"{overlay_svg(outlines, (rows, cols), metres=metres, labels=top)}</div>"
        f"<figcaption>{band}, mean of history in power, shown in dB, stretched from 2 to 98 %. "
        f"Outlines: {_direction_key()}.</figcaption></figure>"
    )


def _table(material: Material, number: int, top: int) -> str:
    if not material.events:
        judged = int(material.judged.sum())
        text = (
            f"No events on {count(judged, 'judged date')}: nothing stood out from history at the requested "
            "false-alarm rate."
            if judged
            else "No date has been judged yet: every acquisition is history."
        )
        return f'<div class="empty">{text}</div>'
    heads = (
        ("#", 1), ("Direction", 0), ("First seen", 0), ("Confirmed", 0), ("Status", 0),
        ("Area", 1), ("Change", 1), ("Strength", 1), ("p", 1),
    )  # fmt: skip
    head = "".join(
        f'<th{" class=n" if numeric else ""}><button type="button">{name}</button></th>'
        for name, numeric in heads
    )
    rows = "".join(
        _table_row(event, i, f"e{number}-{i}" if i <= top else "")
        for i, event in enumerate(material.events[:TABLE_ROWS], 1)
    )
    rest = len(material.events) - TABLE_ROWS
    more = f'<p class="soft small">The other {rest:,} are in detections.geojson.</p>' if rest > 0 else ""
    return (
        f'<div><div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        '<p class="soft small">Strength: −log₁₀ p of the strongest cell; 3 is once in a thousand. Sort by a '
        f"click on a heading.</p>{more}</div>"
    )


def _table_row(event: Event, rank: int, anchor: str) -> str:
    level = float(strength(event.p_value))
    confirmed = "–" if event.confirmed is None else day(event.confirmed)
    name = escape(event.event_id)
    cells: tuple[tuple[str, Any, bool], ...] = (
        (f'<a href="#{anchor}">{rank}</a>' if anchor else str(rank), rank, True),
        (_direction(event), event.direction, False),
        (day(event.first_seen), day(event.first_seen), False),
        (confirmed, confirmed, False),
        (escape(status(event)), event.status, False),
        (area(event.area_m2), event.area_m2, True),
        (signed_db(event.change_db), round(event.change_db, 4), True),
        (f"{level:.1f}", round(level, 6), True),
        (probability(event.p_value), event.p_value, True),
    )
    return (
        f'<tr title="{name}">'
        + "".join(
            f'<td{" class=n" if numeric else ""} data-v="{escape(str(value))}">{text}</td>'
            for text, value, numeric in cells
        )
        + "</tr>"
    )


def _card(material: Material, event: Event, anchor: str, rank: int) -> str:
    confirmed = f", confirmed {day(event.confirmed)}" if event.confirmed is not None else ""
    kind = "confirmed" if event.confirmed is not None else ""
    return (
        f'<article class="event card" id="{anchor}"><header><h4>{rank}</h4>{_direction(event)}'
        f'<span class="tag status {kind}">{escape(status(event))}</span>'
        f'<span class="soft small">{area(event.area_m2)} · {signed_db(event.change_db)} · '
        f"p {probability(event.p_value)}</span></header>"
        f"{_chips(material, event, event_chips(material, event))}{_series(material, event)}"
        f'<p class="soft small">First seen {day(event.first_seen)}{confirmed}, strongest '
        f"{day(event.peak_time)}, last seen {day(event.last_seen)}; "
        f"{count(event.observations, 'observation')}, {count(event.cells, 'cell')}. "
        f"{escape(event.event_id)}</p></article>"
    )


def _chips(material: Material, event: Event, chips: Chips) -> str:
    (top, bottom), (left, right) = chips.window
    outline = [
        (pixel_outline(event.geometry, material.stack.geobox), event.direction, event_title(event), "")
    ]
    over = overlay_svg(outline, (bottom - top, right - left), origin=(top, left))
    dates = [day(time) for time in chips.before_days]
    before = f"before: {dates[-1]}" if len(dates) == 1 else f"before: mean of {len(dates)} to {dates[-1]}"
    captions = (before, f"after: {day(chips.after_day)}", f"change, ±{CHANGE_LIMIT_DB:g} dB")
    cells = []
    for i, band in enumerate(chips.bands):
        for pictures, caption in zip((chips.before, chips.after, chips.change), captions, strict=True):
            label = f'<span class="band">{escape(band)}</span>'
            words = f"<figcaption>{html(caption)}</figcaption>" if i == len(chips.bands) - 1 else ""
            cells.append(
                f'<figure class="chip"><div class="pic">{_img(pictures[i], f"{band} {caption}")}{over}{label}'
                f"</div>{words}</figure>"
            )
    return f'<div class="chips">{"".join(cells)}</div>'


def _series(material: Material, event: Event) -> str:
    values, limit, unit = event_strength(material, event)
    scores = material.scores
    usable = dict(zip(material.stack.times.scene_id, material.usable, strict=True))
    points = [
        Point(
            time=time,
            value=value,
            usable=bool(usable[scene]),
            history=not judged,
            title=f"{day(time)}: {'not seen' if value is None else f'{value:.2f}'}"
            + ("" if usable[scene] else " (set aside)"),
        )
        for time, value, scene, judged in zip(
            scores.times.time, values, scores.times.scene_id, material.judged, strict=True
        )
    ]
    marks = [(event.first_seen, "first seen")]
    if event.confirmed is not None:
        marks.append((event.confirmed, "confirmed"))
    drawn = series_svg(points, threshold=limit, unit=unit, marks=marks)
    return f'{drawn}<p class="soft small">{unit[0].upper()}{unit[1:]}, strongest cell of the event.</p>'


def _calendar(material: Material) -> str:
    stack = material.stack
    platforms = sorted(set(stack.times.platform))
    marks = []
    for i, (time, scene) in enumerate(zip(stack.times.time, stack.times.scene_id, strict=True)):
        past = bool(time < material.threshold.judged_from)
        notes = [*date_notes(material.dates.get(scene, {}), history=past), *frame_notes(material, scene)]
        title = f"{day(time)}, {stack.times.platform[i]}, {scene}" + "".join(f"\n{note}" for note in notes)
        marks.append(
            Mark(
                time=time,
                platform=stack.times.platform[i],
                usable=bool(material.usable[i]),
                noted=bool(notes),
                history=past,
                title=title,
            )
        )
    dot = '<svg viewBox="0 0 24 24" aria-hidden="true">{}</svg> {}'
    key = [
        dot.format(f'<circle class="mark p{i % 6}" cx="12" cy="12" r="7"/>', escape(name))
        for i, name in enumerate(platforms)
    ]
    key.append(dot.format('<rect class="past" width="24" height="24" rx="5"/>', "history"))
    key.append(dot.format('<circle class="ring" cx="12" cy="12" r="9"/>', "with a note"))
    key.append(dot.format('<path class="cross" d="M6 6l12 12m0 -12l-12 12"/>', "set aside"))
    legend = "".join(f"<span>{one}</span>" for one in key)
    return (
        f'<h3>Acquisitions</h3><div class="calendar-box">{calendar_svg(marks, platforms)}</div>'
        f'<div class="key soft small">{legend}</div>'
    )


def _notes(material: Material) -> str:
    notes = quality_notes(material)
    if not notes:
        return '<p class="soft small">Every acquisition passed its registration and gain checks.</p>'
    items = "".join(
        f"<li>{f'<b>{date}</b>: ' if date else ''}{escape(text)}</li>" for date, text in dict.fromkeys(notes)
    )
    return f'<h3>Quality notes</h3><ul class="notes small">{items}</ul>'


def _declaration(material: Material) -> str:
    quality, limit = material.quality, material.threshold
    declared = quality.get("declared") or {"nothing": "every fact comes from the products themselves"}
    facts = {
        "declared by the caller": declared,
        "data": {
            "calibration": quality.get("calibration"),
            "history ends": day(instant(quality["cutoff"])) if quality.get("cutoff") else None,
            "days after it left out": quality.get("gap_days") or None,
            "radiometry": quality.get("radiometry"),
            "units of the products": quality.get("source_units"),
            "unit inside": quality.get("unit"),
        },
        "threshold": {
            "p-value": limit.p_value,
            "raw score": limit.score,
            "requested false alarms": limit.false_alarms,
            "rule": limit.rule,
            "judged from": day(limit.judged_from),
        },
        **material.settings,
    }
    return settings_details("Declaration and settings", facts)


def _direction(event: Event) -> str:
    return f'<span class="tag {escape(event.direction)}">{_ARROWS[event.direction]} {event.direction}</span>'


def _direction_key() -> str:
    return ", ".join(f'<b style="color:var(--{name})">{name}</b>' for name in _ARROWS)


def _crs_name(crs: Any) -> str:
    """EPSG:nnnnn where it has a number, else its own name."""
    if crs is None:
        return "no CRS"
    number = crs.to_epsg()
    return str(crs.proj.name) if number is None else f"EPSG:{number}"


def _img(png: bytes, alt: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def _definitions(values: Any) -> str:
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(_plain(value))}</dd>" for name, value in sorted(_flat(values))
    )
    return f"<dl>{rows}</dl>"


def _flat(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """(dotted name, value) of everything in nested mappings."""
    if not isinstance(values, Mapping):
        return [(prefix, values)]
    start = f"{prefix}." if prefix else ""
    return [pair for name, value in values.items() for pair in _flat(value, f"{start}{name}")]


def _plain(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and all(isinstance(one, str) for one in value):
        return ", ".join(value) or "–"
    return json.dumps(value, sort_keys=True)
