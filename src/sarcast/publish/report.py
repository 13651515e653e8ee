"""One self-contained page: what changed, where, when, how sure, and what this cannot tell."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from sarcast import __version__
from sarcast.publish import sections
from sarcast.publish.cog import strength
from sarcast.publish.material import Material
from sarcast.publish.style import CSS, SCRIPT
from sarcast.publish.words import area, count, days, html, percent


def report_html(
    materials: Sequence[Material], *, title: str, settings: Mapping[str, Any] | None = None, top: int = 12
) -> str:
    """The report of all stacks as one HTML page that asks nothing of any network.

    Args:
        materials: One entry a stack, in the order to show.
        title: Heading of the page.
        settings: Settings of the whole run: step -> field -> value.
        top: So many events of each stack, strongest first, are shown with pictures and series.
    """
    body = [
        _head(materials, title),
        _stack_table(materials) if len(materials) > 1 else "",
        *(sections.stack_section(material, number, top) for number, material in enumerate(materials, 1)),
        _caveats(materials),
        sections.settings_details("Settings of the run", settings or {}),
        _footer(),
    ]
    script_hash = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{script_hash}'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="sarcast {escape(__version__)}">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + f"\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _head(materials: Sequence[Material], title: str) -> str:
    events = [event for material in materials for event in material.events]
    judged = np.concatenate([m.scores.times.time[m.judged] for m in materials] or [np.array([], "M8[ns]")])
    confirmed = sum(event.confirmed is not None for event in events)
    noted = sum(len(material.usable) - int(material.usable.sum()) for material in materials)
    lead = (
        f"<b>{count(len(events), 'event')}</b> on {count(len(materials), 'stack')}, judged on "
        f"{html(days(judged))}."
    )
    tiles = [
        (f"{len(events):,}", "events" if len(events) != 1 else "event"),
        (f"{confirmed:,}", "of them confirmed by later dates"),
        (f"{len(np.unique(judged.astype('M8[D]'))):,}", "days judged"),
        (f"{noted:,}", "acquisitions set aside: they raise a note, never events"),
        (area(sum(event.area_m2 for event in events)), "changed, all events together"),
    ]
    cells = "".join(
        f'<div class="tile card"><b>{value}</b><span>{label}</span></div>' for value, label in tiles
    )
    return (
        f'<h1>{escape(title)}</h1>\n<p class="lead">{lead} {_chance(materials)}</p>\n'
        f'<div class="tiles">{cells}</div>'
    )


def _chance(materials: Sequence[Material]) -> str:
    """The requested rate, what it means in cells a date, and what was found."""
    rates = sorted({material.threshold.false_alarms for material in materials})
    if not rates:
        return "There is no stack to judge."
    asked = " and ".join(percent(rate) for rate in rates)
    discoveries = sorted({m.threshold.fdr for m in materials if m.threshold.fdr is not None})
    expected, cells, over, judged = 0.0, 0.0, 0, 0
    for material in materials:
        scores = material.scores
        at = np.flatnonzero(material.judged & _usable(material))
        seen = int(scores.valid[at].sum())
        dates = max(len(at), 1)
        cells += seen / dates
        expected += material.threshold.false_alarms * seen / dates
        if scores.p_value is not None:
            over += int(material.threshold.alarms(scores)[0][at].sum())
            judged += seen
    each = "a date" if len(materials) == 1 else "a date, all stacks together"
    text = (
        f"The threshold lets {asked} of unchanged cells through: by chance alone about "
        f"<b>{expected:.2g}</b> of {cells:,.0f} cells {each}, however quiet the place."
    )
    if discoveries:
        share = " and ".join(percent(rate) for rate in discoveries)
        text = f"Of each date's cells over the threshold, {share} or less are expected to be there by chance."
    for rate in sorted({r for r in (m.threshold.per_km2_month for m in materials) if r is not None}):
        text += f" That is the {rate:g} alarmed cells a square kilometre and month asked for."
    if judged:
        text += f" Found over it: {percent(over / judged)}."
    return text


def _usable(material: Material) -> np.ndarray:
    """True at the times of the scores whose acquisition is usable."""
    usable = dict(zip(material.stack.times.scene_id, material.usable, strict=True))
    return np.array([usable[scene] for scene in material.scores.times.scene_id], bool)


def _stack_table(materials: Sequence[Material]) -> str:
    heads = ("Stack", "Bands", "Dates", "Judged", "Events", "Confirmed", "Set aside", "Strongest")
    rows = []
    for number, m in enumerate(materials, 1):
        confirmed = sum(event.confirmed is not None for event in m.events)
        strongest = max((float(strength(event.p_value)) for event in m.events), default=None)
        numbers: tuple[Any, ...] = (
            len(m.stack.times),
            int(m.judged.sum()),
            len(m.events),
            confirmed,
            int((~m.usable).sum()),
            "–" if strongest is None else f"{strongest:.1f}",
        )
        name, bands = escape(m.name), escape(" ".join(m.stack.bands))
        rows.append(
            f'<tr><td><a href="#stack-{number}">{name}</a></td><td>{bands}</td>'
            + "".join(f'<td class="n">{value}</td>' for value in numbers)
            + "</tr>"
        )
    head = "".join(f"<th{' class=n' if i > 1 else ''}>{name}</th>" for i, name in enumerate(heads))
    return (
        f'<div class="scroll card"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="soft small">Strongest: anomaly strength −log₁₀ p of the strongest cell of any event.</p>'
    )


def _caveats(materials: Sequence[Material]) -> str:
    cell = sorted({material.cell_area_m2 for material in materials})
    size = f" (of {area(cell[0])}{' and more' if len(cell) > 1 else ''})" if cell else ""
    points = (
        "<b>Not why.</b> An event says the radar saw something its history does not explain. Rain, snow, "
        "wind on water, flooding, harvest and building all do that; the cause is yours to find.",
        "<b>Not exactly when.</b> A change is dated to the first acquisition that shows it; it happened "
        "between that one and the one before.",
        f"<b>Not its exact outline.</b> Outlines follow whole cells{size}; areas are theirs.",
        "<b>Only against this history.</b> A season, a ploughing or a tide that history never held looks "
        "anomalous the first time. What changed slowly, or before the first date, does not show.",
        "<b>p is not the chance that an event is false.</b> It is how rarely history's own deviations are as "
        "large in one cell. An event is the strongest of many cells, so its p is lower than one cell's luck.",
        "<b>Not what the radar cannot see.</b> Layover, shadow and gaps between acquisitions stay blind; "
        "dates set aside raise no events even where something happened.",
    )
    items = "".join(f"<li>{point}</li>" for point in points)
    heading = "<h2>What this cannot tell you</h2>"
    return f'<section class="stack card">{heading}<ul class="notes">{items}</ul></section>'


def _footer() -> str:
    return (
        '<footer>Beside this page: <a href="detections.parquet">detections.parquet</a>, '
        '<a href="detections.geojson">detections.geojson</a>, <a href="maps/">maps/</a> (Cloud-Optimised '
        'GeoTIFF), <a href="stac/collection.json">stac/collection.json</a>. '
        f"Made by sarcast {escape(__version__)}.</footer>"
    )
