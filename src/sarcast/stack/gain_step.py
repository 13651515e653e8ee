"""A frame suddenly brighter or darker than the dates just before it, though not than history's median."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sarcast.stack.quality import Quality

_BEFORE, _FEWEST, _DAYS = 5, 3, 120
_SHARE = 0.85
"""Of the gain's limit: dates near in time differ less than dates of other seasons."""
_WORD = "gain step"


def flag_steps(
    dates: Sequence[Mapping[str, Any]], limits_db: Mapping[str, float], settings: Quality
) -> list[dict[str, Any]]:
    """The dates of quality.json with every sudden step flagged; earlier flags of this kind are forgotten.

    A date is compared with the median of the last five dates of the 120 days before it, less those flagged
    for their gain; with fewer than three such dates nothing is said. The limit is 0.85 of the gain's own. So
    the instrument's step of 1 dB shows on a date that the season had moved half a dB the other way.
    """
    found: list[dict[str, Any]] = []
    for date in dates:
        plain = _without(date)
        before = [one for one in found if _counts(one, plain)][-_BEFORE:]
        flags = (
            [] if settings.gain == "off" or plain["gain_state"] != "ok" else _steps(plain, before, limits_db)
        )
        if flags:
            plain |= {"flags": [*plain["flags"], *flags], "usable": False, "gain_state": "flagged"}
        found.append(plain)
    return found


def _steps(
    date: Mapping[str, Any], before: Sequence[Mapping[str, Any]], limits_db: Mapping[str, float]
) -> list[str]:
    flags = []
    for band, value in sorted(date["gain_db"].items()):
        known = [one["gain_db"][band] for one in before if band in one["gain_db"]]
        if len(known) < _FEWEST:
            continue
        step = value - float(np.median(known))
        if abs(step) > _SHARE * limits_db[band]:
            flags.append(f"{_WORD} {band} {step:+.2f} dB")
    return flags


def _counts(one: Mapping[str, Any], date: Mapping[str, Any]) -> bool:
    """A date near enough in time, whose gain is not flagged by itself."""
    age = np.datetime64(date["time"].rstrip("Z")) - np.datetime64(one["time"].rstrip("Z"))
    own = any(flag.startswith("gain ") and not flag.startswith(_WORD) for flag in one["flags"])
    return bool(age <= np.timedelta64(_DAYS, "D")) and not own


def _without(date: Mapping[str, Any]) -> dict[str, Any]:
    flags = [flag for flag in date["flags"] if not flag.startswith(_WORD)]
    state = "ok" if len(flags) < len(date["flags"]) else date["gain_state"]
    return {**date, "flags": flags, "usable": not flags, "gain_state": state}
