"""Sudden steps of the level: flagged against the dates just before, whatever the season did."""

from __future__ import annotations

import numpy as np
import pytest

from sarcast.stack.gain_step import flag_steps
from sarcast.stack.quality import Quality

LIMITS = {"VH": 0.75, "VV": 0.75}


def dates_of(values, *, days=6, flagged=()):
    start = np.datetime64("2024-01-01T01:59:02", "ns")
    return [
        {
            "scene_id": f"s{i}",
            "time": f"{start + np.timedelta64(days * i, 'D')}Z",
            "gain_db": {"VH": 0.0, "VV": float(value)},
            "gain_state": "flagged" if i in flagged else "ok",
            "flags": ["gain VV +3.00 dB"] if i in flagged else [],
            "usable": i not in flagged,
        }
        for i, value in enumerate(values)
    ]


def flagged(dates, settings=None):
    found = flag_steps(dates, LIMITS, settings or Quality())
    return [i for i, date in enumerate(found) if not date["usable"]], found


def test_a_step_that_the_season_hides_is_flagged():
    season = np.linspace(0, 0.6, 12)
    assert flagged(dates_of(season))[0] == []
    season[9] -= 1
    which, found = flagged(dates_of(season))
    assert which == [9]
    assert found[9]["gain_state"] == "flagged"
    assert found[9]["flags"] == ["gain step VV -0.84 dB"]


def test_too_few_or_too_old_dates_say_nothing():
    assert flagged(dates_of([0, 0, 1.0, 0, 0]))[0] == []
    assert flagged(dates_of([0, 0, 0, 0, 1.0], days=130))[0] == []


def test_rain_before_is_no_yardstick():
    values = [0, 3, 3, 0, 0, 0]
    assert flagged(dates_of(values, flagged=(1, 2)))[0] == [1, 2]


@pytest.mark.parametrize("order", [1, 2])
def test_flags_do_not_depend_on_how_often_they_were_given(order):
    dates = dates_of([0, 0, 0, 0, 1.0, 0, 0])
    once = flag_steps(dates, LIMITS, Quality())
    assert flag_steps(once[: 4 + order] + dates[4 + order :], LIMITS, Quality()) == once
    assert flag_steps(once, {"VH": 2.0, "VV": 2.0}, Quality()) == dates


def test_nothing_is_flagged_where_gain_is_off_or_cannot_be_measured():
    dates = dates_of([0, 0, 0, 0, 1.0])
    assert flagged(dates, Quality(gain="off"))[0] == []
    unknown = [{**date, "gain_state": "not measurable"} for date in dates]
    assert flagged(unknown)[0] == []


def test_the_report_says_it_in_words():
    from sarcast.publish.words import date_notes

    entry = {
        "gain_state": "flagged",
        "gain_db": {"VV": -0.4},
        "flags": ["gain step VV -0.98 dB"],
        "usable": False,
    }
    (said,) = date_notes(entry, history=False)
    assert "stepped against the dates just before (VV -0.98 dB)" in said
    assert said.endswith("no events are raised")
