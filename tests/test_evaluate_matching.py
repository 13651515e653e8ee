"""Events against events: the pairing is the best there is, delays are honest about what was never found."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from shapely import Point, box

from sarcast.errors import DataError, SettingsError
from sarcast.evaluate.matching import Matched, Outcome, event_figures, match_events, median_delay
from sarcast.evaluate.shares import bounded
from sarcast.values import Estimate, Event, Label

TIMES = np.datetime64("2024-01-01", "ns") + np.arange(20) * np.timedelta64(10, "D")
JUDGED = np.arange(20) >= 10
ALL = np.ones(20, bool)


def label(name, geometry, onset, end=None):
    return Label(
        label_id=name,
        kind="lava",
        onset=TIMES[onset] - np.timedelta64(1, "D"),
        end=None if end is None else TIMES[end],
        change_db=3.0,
        geometry=geometry,
    )


def event(name, geometry, first, last=19):
    return Event(
        event_id=name,
        stack="s",
        first_seen=TIMES[first],
        confirmed=None,
        last_seen=TIMES[last],
        status="first_low",
        observations=1,
        peak_time=TIMES[first],
        peak_score=5.0,
        p_value=1e-4,
        direction="brighter",
        change_db=3.0,
        area_m2=float(geometry.area),
        cells=1,
        geometry=geometry,
    )


def match(labels, events, **told):
    told = {"delay_days": 60.0, "judged": JUDGED, "usable": ALL} | told
    return match_events(labels, events, times=TIMES, **told)


def found_by(matched):
    return {one.label_id: one.found_by for one in matched.outcomes}


def test_a_pair_needs_overlap_and_time():
    there = box(0, 0, 10, 10)
    for events, expected in [
        ([event("d", box(5, 5, 12, 12), 12)], "d"),
        ([event("d", box(10, 0, 20, 10), 12)], None),
        ([event("d", there, 11)], None),
        ([event("d", there, 17)], "d"),
        ([event("d", there, 18)], None),
    ]:
        assert found_by(match([label("a", there, 12)], events)) == {"a": expected}
    assert found_by(match([label("a", there, 12, end=14)], [event("d", there, 14)])) == {"a": None}
    assert found_by(match([label("a", Point(3, 3), 12)], [event("d", there, 12)])) == {"a": "d"}
    assert found_by(match([label("a", there, 12)], [event("d", box(9, 9, 19, 19), 12)], least=0.5)) == {
        "a": None
    }


def test_as_many_pairs_as_can_be_and_of_those_the_best_overlap():
    """The greedy choice, the best overlap first, would leave one event without its only detection."""
    labels = [label("a", box(0, 0, 10, 10), 12), label("b", box(10, 0, 16, 10), 12)]
    events = [event("both", box(0, 0, 12, 10), 12), event("left", box(0, 0, 3, 3), 12)]
    assert found_by(match(labels, events)) == {"a": "left", "b": "both"}


def test_pairs_against_every_permutation(rng):
    for _ in range(20):
        boxes = [box(x, y, x + 4, y + 4) for x, y in rng.integers(0, 8, (8, 2))]
        labels = [label(str(i), b, 12) for i, b in enumerate(boxes[:4])]
        events = [event(str(i), b, 12) for i, b in enumerate(boxes[4:])]
        best = (0, 0.0)
        for order in permutations(range(4)):
            shared = [boxes[i].intersection(boxes[4 + j]).area for i, j in enumerate(order)]
            iou = [s / (32 - s) for s in shared if s > 0]
            best = max(best, (len(iou), sum(iou)))
        got = [
            boxes[int(k)].intersection(boxes[4 + int(v)]).area
            for k, v in found_by(match(labels, events)).items()
            if v is not None
        ]
        assert len(got) == best[0] and sum(s / (32 - s) for s in got) == pytest.approx(best[1])


def test_what_else_was_detected_is_told_apart():
    labels = [label("old", box(0, 0, 5, 5), 4), label("a", box(20, 0, 30, 10), 12, end=15)]
    events = [
        event("finds", box(20, 0, 30, 10), 12),
        event("piece", box(28, 8, 32, 12), 13),
        event("back", box(20, 0, 30, 10), 15),
        event("of old", box(0, 0, 5, 5), 14),
        event("nothing", box(50, 50, 55, 55), 14),
        event("before", box(20, 0, 30, 10), 11),
    ]
    matched = match(labels, events)
    assert [(one.label_id, one.found_by, one.fragments) for one in matched.outcomes] == [("a", "finds", 2)]
    assert matched.false == ("nothing", "before") and matched.left_out == ("of old",)
    figures = event_figures([matched], seed=0, draws=50)
    assert figures["precision"].value == pytest.approx(1 / 5) and figures["recall"].value == 1


def test_an_event_is_judged_where_a_usable_judged_date_could_show_it():
    here = box(0, 0, 5, 5)
    labels = [label("history", here, 9), label("first", here, 10), label("late", here, 19)]
    assert list(found_by(match(labels, []))) == ["first", "late"]
    over = Label(**{**vars(labels[0]), "label_id": "over", "onset": TIMES[19] + np.timedelta64(1, "D")})
    assert list(found_by(match([over], []))) == []
    usable = ALL.copy()
    usable[19] = False
    assert list(found_by(match(labels, [], usable=usable))) == ["first"]


def test_delays_are_counted_from_onset_over_usable_dates():
    usable = ALL.copy()
    usable[13] = False
    (one,) = match(
        [label("a", box(0, 0, 5, 5), 12)], [event("d", box(0, 0, 5, 5), 15)], usable=usable
    ).outcomes
    assert one.delay_days == pytest.approx(31) and one.delay_acquisitions == 2
    (one,) = match([label("a", box(0, 0, 5, 5), 18)], []).outcomes
    assert one.found_by is None and np.isinf(one.delay_days)
    assert one.followed_days == pytest.approx(11) and one.followed_acquisitions == 2
    (one,) = match([label("a", box(0, 0, 5, 5), 12)], []).outcomes
    assert np.isinf(one.followed_days)


def outcome(name, delay, followed=np.inf, fragments=0):
    return Outcome(
        label_id=name,
        kind="lava",
        onset=TIMES[12],
        found_by="d" if np.isfinite(delay) else None,
        delay_days=delay,
        delay_acquisitions=delay,
        followed_days=followed,
        followed_acquisitions=followed,
        fragments=fragments,
    )


def test_the_median_delay_is_infinite_where_half_are_never_found():
    never = [outcome(str(i), 1.0) for i in range(4)] + [outcome(f"n{i}", np.inf) for i in range(5)]
    assert np.isinf(
        event_figures([Matched(outcomes=tuple(never), false=(), left_out=())], seed=0)["delay_days"].value
    )


def test_median_delay_against_a_slow_product_limit(rng):
    for _ in range(30):
        n = 12
        delay = np.where(rng.random(n) < 0.7, rng.integers(0, 6, n).astype(float), np.inf)
        followed = rng.integers(0, 7, n).astype(float)
        weights = rng.integers(0, 3, (5, n)).astype(float)
        for row, got in zip(weights, median_delay(delay, followed, weights), strict=True):
            until = np.where(np.isfinite(delay), delay, followed)
            alive, median = 1.0, np.inf
            for t in np.unique(delay[np.isfinite(delay)]):
                at_risk = row[until >= t].sum()
                if at_risk:
                    alive *= 1 - row[delay == t].sum() / at_risk
                if alive <= 0.5 + 1e-12 and np.isinf(median) and row.sum():
                    median = t
            assert got == median


def test_intervals_cover_and_a_perfect_score_has_one(rng):
    """Recall 0.7 over 30 events, precision with as many false ones: 95 % intervals cover near as often."""
    covered = 0
    for trial in range(60):
        outcomes = tuple(outcome(str(i), 1.0 if rng.random() < 0.7 else np.inf) for i in range(30))
        false = tuple(str(i) for i in range(rng.poisson(10)))
        recall = event_figures([Matched(outcomes=outcomes, false=false, left_out=())], seed=trial)["recall"]
        covered += recall.low <= 0.7 <= recall.high
    assert covered >= 50
    perfect = Matched(outcomes=tuple(outcome(str(i), 1.0) for i in range(10)), false=(), left_out=())
    figures = event_figures([perfect], seed=0)
    for name in ("precision", "recall"):
        assert figures[name].high == 1 and figures[name].low == pytest.approx(0.025**0.1)


def test_an_event_seen_by_two_stacks_is_one_event():
    one = Matched(outcomes=(outcome("a", 1.0), outcome("b", np.inf)), false=("x",), left_out=())
    assert event_figures([one, one], seed=0, draws=20)["recall"].n == 4
    assert event_figures([one, one], seed=0, draws=20)["recall"].value == 0.5


def test_what_cannot_be_judged_is_said():
    with pytest.raises(DataError, match="judged onset"):
        event_figures([Matched(outcomes=(), false=("x",), left_out=())], seed=0)
    with pytest.raises(SettingsError, match="delay_days"):
        match([], [], delay_days=-1.0)


def test_bounds_of_a_share_of_nothing():
    nothing = Estimate(name="x", value=0.0, low=0.0, high=0.0, n=9, resampled="event", seed=0)
    assert bounded(nothing, 100).high == pytest.approx(0.0362, abs=1e-4) and bounded(nothing, 100).low == 0
    assert bounded(nothing, 0) is nothing
