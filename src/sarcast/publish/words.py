"""What the report says, in plain words: numbers, dates, quality notes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from sarcast.publish.material import Material, day
from sarcast.values import Event

_MINUS = "−"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_EXPLAINED = ("shift", "gain", "coverage")
_STEP = "gain step "
"""Flags that sentences of their own say better."""
_UNUSUAL = 0.01
"""p-value from which on a frame is unusual."""
_SMALL_DB = 0.25
"""Smaller corrections of level are not worth a sentence."""


def count(number: int, one: str, many: str | None = None) -> str:
    """A number and its noun, "1 event" or "2 events".

    >>> count(1, "event"), count(1200, "event")
    ('1 event', '1,200 events')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """A share with two figures.

    >>> percent(0.001), percent(0.0138), percent(0.5)
    ('0.1 %', '1.4 %', '50 %')
    """
    return f"{float(f'{100 * share:.2g}'):g} %"


def probability(p: float) -> str:
    """A p-value as people write it.

    >>> probability(0.034), probability(0.00012)
    ('0.034', '1.2 × 10⁻⁴')
    """
    if p >= 0.001:
        return f"{float(f'{p:.2g}'):g}"
    mantissa, exponent = f"{p:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def area(square_metres: float) -> str:
    """Hectares from one hectare on.

    >>> area(850), area(14400)
    ('850 m²', '1.44 ha')
    """
    if square_metres < 10_000:
        return f"{square_metres:,.0f} m²"
    hectares = square_metres / 10_000
    return f"{hectares:,.2f} ha" if hectares < 100 else f"{hectares:,.0f} ha"


def signed_db(value: float) -> str:
    """A change with its sign.

    >>> signed_db(-3.14), signed_db(0.02)
    ('−3.1 dB', '0.0 dB')
    """
    text = f"{abs(value):.1f} dB"
    return text if text == "0.0 dB" else (_MINUS if value < 0 else "+") + text


def days(times: np.ndarray) -> str:
    """From "2023-01-01 to 2023-02-06" to one day where both are one, or "no dates"."""
    if len(times) == 0:
        return "no dates"
    first, last = day(times.min()), day(times.max())
    return first if first == last else f"{first} to {last}"


def html(text: str) -> str:
    """Text for a page: escaped, with dates that do not break at their hyphens."""
    return re.sub(r"\d{4}-\d\d-\d\d", r'<span class="d">\g<0></span>', escape(text))


def status(event: Event) -> str:
    """As in "confirmed, high"."""
    return event.status.replace("_", ", ")


def event_title(event: Event) -> str:
    """One line for a tooltip."""
    return (
        f"{event.event_id}: {event.direction}, {status(event)}, first seen {day(event.first_seen)}, "
        f"{area(event.area_m2)}, p {probability(event.p_value)}"
    )


def quality_notes(material: Material) -> list[tuple[str, str]]:
    """(date or "", sentence) for everything worth knowing of the acquisitions, in time order."""
    found = []
    for time, scene in zip(material.stack.times.time, material.stack.times.scene_id, strict=True):
        entry = material.dates.get(scene)
        past = bool(time < material.threshold.judged_from)
        found += [(day(time), text) for text in date_notes(entry or {}, history=past)]
        found += [(day(time), text) for text in frame_notes(material, scene)]
    found += [("", text) for text in _unmeasured(material)]
    found += [("", str(text)) for text in material.quality.get("notes", [])]
    return found


def date_notes(entry: Mapping[str, Any], *, history: bool) -> list[str]:
    """Sentences for one date of quality.json, of history or judged; none where nothing is amiss."""
    parts = [*_gain_words(entry), *_shift_words(entry), *_coverage_words(entry)]
    flags = [str(flag) for flag in entry.get("flags", [])]
    others = [flag for flag in flags if not parts or not flag.startswith(_EXPLAINED)]
    parts += others
    if not entry.get("usable", True):
        parts = [*(parts or ["the acquisition failed its checks"])]
        parts[-1] += "; nothing is learned from it" if history else "; no events are raised"
    return ["; ".join(parts)] if parts else []


def frame_notes(material: Material, scene: str) -> list[str]:
    """One sentence where a judged date's whole frame is unusual, none elsewhere."""
    scores = material.scores
    if scores.frame_score is None or scores.frame_p_value is None or scene not in scores.times.scene_id:
        return []
    t = scores.times.scene_id.index(scene)
    p, score = float(scores.frame_p_value[t]), float(scores.frame_score[t])
    if not material.judged[t] or p > _UNUSUAL:
        return []
    return [
        f"the whole frame is unusual: its scores lie {score:.1f} standard deviations above history's "
        f"(p {probability(p)}); rain, snow or another instrument does that, or a change nearly everywhere"
    ]


def _gain_words(entry: Mapping[str, Any]) -> list[str]:
    state = entry.get("gain_state")
    steps = [str(flag).removeprefix(_STEP) for flag in entry.get("flags", []) if str(flag).startswith(_STEP)]
    if steps:
        return [f"the level of the whole frame stepped against the dates just before ({', '.join(steps)})"]
    gains = {name: float(value) for name, value in (entry.get("gain_db") or {}).items() if value is not None}
    largest = max(gains.values(), key=abs, default=0.0)
    if state not in ("corrected", "flagged") or (state == "corrected" and abs(largest) < _SMALL_DB):
        return []
    each = ", ".join(f"{name} {signed_db(value)}" for name, value in sorted(gains.items()))
    ending = ", corrected" if state == "corrected" or entry.get("applied_gain_db") else ""
    return [
        f"the whole frame is {abs(largest):.1f} dB {'brighter' if largest > 0 else 'darker'} than history"
        f"{f' ({each})' if len(gains) > 1 else ''}{ending}"
    ]


def _shift_words(entry: Mapping[str, Any]) -> list[str]:
    state, shift = entry.get("shift_state"), entry.get("shift_px")
    if state not in ("corrected", "flagged") or not shift:
        return []
    down, right = (float(value) for value in shift)
    ending = ", corrected" if state == "corrected" or entry.get("applied_shift_px") else ""
    length = float(np.hypot(down, right))
    return [f"the frame lies {length:.1f} px off the others ({down:+.1f} down, {right:+.1f} right){ending}"]


def _coverage_words(entry: Mapping[str, Any]) -> list[str]:
    share = entry.get("valid_fraction")
    if share is None or not any(str(flag).startswith("coverage") for flag in entry.get("flags", [])):
        return []
    return [f"only {percent(float(share))} of the frame was seen"]


def _unmeasured(material: Material) -> list[str]:
    """What could not be checked, said once."""
    if not material.quality.get("textured", True):
        return []  # the notes of quality.json say so
    found = []
    entries = list(material.dates.values())
    for key, what, risk in (
        ("shift_state", "Registration", "too little texture: a shift would go unnoticed"),
        ("gain_state", "Radiometric gain", "a frame-wide step would go unnoticed"),
    ):
        missing = sum(entry.get(key) == "not measurable" for entry in entries)
        if missing:
            where = "any date" if missing == len(entries) else f"{missing} of {len(entries)} dates"
            found.append(f"{what} could not be measured on {where} ({risk}).")
    return found
