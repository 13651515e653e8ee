"""Events: states as in DIST-ALERT, connected in space and time, with names that stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sarcast.decide.calibrate import learn_null
from sarcast.decide.events import STATUS, cell_status, find_events
from sarcast.decide.nulls import Tail
from sarcast.decide.rules import Rules
from sarcast.decide.threshold import Threshold, set_threshold
from sarcast.errors import ShapeError
from sarcast.runtime.settings import build
from sarcast.values import PatchGrid, Scores, Times

LIMITS = Threshold(low=3.0, high=5.0, p_low=1e-3, p_high=1e-4)
LEVEL = {".": 0.0, "x": 4.0, "X": 6.0}
HISTORY = 2


def scores_of(
    values: np.ndarray, *, valid=None, change_db=None, patch=8, stride=8, crs="EPSG:32611", image=None
):
    """Scores whose first `HISTORY` dates are loud and must not count."""
    values = np.concatenate([np.full((HISTORY, *values.shape[1:]), 9.0), values]).astype(np.float32)
    n, rows, cols = values.shape
    image = image or (rows * patch, cols * patch)
    told = np.ones(values.shape, bool)
    if valid is not None:
        told[HISTORY:] = valid
    times = Times(
        time=np.datetime64("2024-01-01T02:00", "ns") + np.arange(n) * np.timedelta64(12, "D"),
        scene_id=tuple(f"s{i}" for i in range(n)), platform=("a",) * n,
        incidence_deg=np.full(n, np.nan, np.float32), look_side=("right",) * n,
        orbit_direction=("ascending",) * n, relative_orbit=("1",) * n,
    )  # fmt: skip
    side = 10 if crs != "EPSG:4326" else 1e-4
    return Scores(
        values=np.where(told, values, 0), valid=told, times=times,
        grid=PatchGrid(image=image, patch=patch, stride=stride),
        geobox=GeoBox(image, Affine(side, 0, 10, 0, -side, 50), crs), detector="x", stack="here",
        p_value=np.where(told, np.exp(-values), 1).astype(np.float32),
        change_db=None if change_db is None else np.concatenate(
            [np.zeros((HISTORY, rows, cols)), change_db]).astype(np.float32),
    )  # fmt: skip


def find(scores: Scores, *, usable=None, **rules):
    n = len(scores.times)
    passed = np.ones(n, bool)
    if usable is not None:
        passed[HISTORY:] = usable
    judged = np.arange(n) >= HISTORY
    return find_events(scores, LIMITS, judged=judged, usable=passed, settings=Rules(**rules)).events


def sequence(text: str) -> np.ndarray:
    return np.array([LEVEL[c] for c in text])[:, None, None]


@pytest.mark.parametrize(
    ("alarms", "status", "observations"),
    [
        ("x", "first_low", 1),
        ("X", "first_high", 1),
        ("..x", "first_low", 1),
        ("x.", "first_low", 1),
        ("x..", "finished_low", 1),
        ("X..", "finished_high", 1),
        ("xx", "provisional_low", 2),
        ("x.x", "provisional_low", 2),
        ("xX", "provisional_high", 2),
        ("xxx", "confirmed_low", 3),
        ("x.x.x", "confirmed_low", 3),
        ("xXx", "confirmed_high", 3),
        ("xxxx.", "confirmed_low", 4),
        ("xxx..", "finished_low", 3),
        ("Xxxx......", "finished_high", 4),
    ],
)
def test_states_as_in_dist_alert(alarms, status, observations):
    (event,) = find(scores_of(sequence(alarms)))
    assert event.status == status and event.status in STATUS
    assert event.observations == observations
    time = scores_of(sequence(alarms)).times.time[HISTORY:]
    on = [i for i, c in enumerate(alarms) if c != "."]
    assert event.first_seen == time[on[0]] and event.last_seen == time[on[-1]]
    assert event.confirmed == (time[on[2]] if len(on) > 2 else None)
    peak = max(LEVEL[c] for c in alarms)
    assert event.peak_score == peak and event.peak_time == time[[LEVEL[c] for c in alarms].index(peak)]
    assert event.p_value == pytest.approx(np.exp(-peak), rel=1e-5)


def test_nothing_is_no_event_and_history_raises_none():
    assert find(scores_of(sequence("...."))) == ()


def test_after_it_finished_a_new_one_begins():
    first, second = find(scores_of(sequence("xx..x")))
    assert (first.status, second.status) == ("finished_low", "first_low")
    assert first.event_id != second.event_id
    assert len(find(scores_of(sequence("xx.x")))) == 1


def test_exactly_at_the_threshold_is_an_alarm():
    assert len(find(scores_of(np.full((1, 1, 1), 3.0)))) == 1
    assert find(scores_of(np.full((1, 1, 1), np.nextafter(np.float32(3), np.float32(0))))) == ()
    (event,) = find(scores_of(np.full((1, 1, 1), 5.0)))
    assert event.status == "first_high"


@pytest.mark.parametrize(
    ("alarms", "usable", "status", "observations"),
    [
        ("xX", "10", "first_low", 1),
        ("x..", "100", "first_low", 1),
        ("x..", "101", "first_low", 1),
        ("x...", "1011", "finished_low", 1),
        ("xxx", "101", "provisional_low", 2),
        ("xxx.x", "11001", "confirmed_low", 3),
    ],
)
def test_flagged_dates_neither_raise_nor_finish(alarms, usable, status, observations):
    (event,) = find(scores_of(sequence(alarms)), usable=np.array([c == "1" for c in usable]))
    assert (event.status, event.observations) == (status, observations)


def test_a_flagged_date_alone_raises_nothing():
    assert find(scores_of(sequence(".X.")), usable=np.array([True, False, True])) == ()


def test_invalid_cells_raise_nothing():
    valid = np.array([False, True, False])[:, None, None]
    (event,) = find(scores_of(sequence("XxX"), valid=valid))
    assert event.status == "first_low"


@pytest.mark.parametrize(
    ("alarms", "seen", "status", "observations"),
    [
        ("x...", "1000", "first_low", 1),
        ("x..x", "1001", "provisional_low", 2),
        ("x....", "11001", "finished_low", 1),
        ("xx.", "110", "provisional_low", 2),
    ],
)
def test_dates_that_do_not_see_an_event_do_not_finish_it(alarms, seen, status, observations):
    valid = np.array([c == "1" for c in seen])[:, None, None]
    (event,) = find(scores_of(sequence(alarms), valid=valid))
    assert (event.status, event.observations) == (status, observations)


@pytest.mark.parametrize(("patience", "events"), [(1, 3), (2, 2), (3, 1)])
def test_patience(patience, events):
    assert len(find(scores_of(sequence("x.x..x")), patience=patience)) == events


@pytest.mark.parametrize(("confirm", "status"), [(2, "confirmed"), (3, "confirmed"), (4, "provisional")])
def test_confirm(confirm, status):
    (event,) = find(scores_of(sequence("xxx")), confirm=confirm)
    assert event.status == f"{status}_low"


def painted(*dates: str) -> np.ndarray:
    """Dates as small pictures, rows apart by /."""
    return np.array([[[LEVEL[c] for c in row] for row in date.split("/")] for date in dates])


def test_touching_alarms_are_one_corners_too():
    (event,) = find(scores_of(painted("x..../.x.../..x..")))
    assert event.cells == 3 and event.area_m2 == 3 * 80 * 80
    assert len(find(scores_of(painted("x.x../...../..x..")))) == 3


def test_an_event_that_moves_stays_one():
    (event,) = find(scores_of(painted("x.....", ".x....", "..x...", "...x..")))
    assert event.status == "confirmed_low" and event.cells == 4 and event.observations == 4


def test_a_jump_is_another_event():
    assert len(find(scores_of(painted("x.....", "..x...")))) == 2


def test_two_that_meet_become_one_under_the_older_name():
    before = find(scores_of(painted("x....", "x...x", "x...x")))
    assert len(before) == 2
    (after,) = find(scores_of(painted("x....", "x...x", "x...x", "xxxxx")))
    assert after.event_id == before[0].event_id and before[0].first_seen < before[1].first_seen
    assert after.observations == 4 and after.cells == 5


def test_one_that_splits_stays_one():
    (event,) = find(scores_of(painted("xxxxx", "x...x", "x...x")))
    assert event.status == "confirmed_low" and event.cells == 5 and event.observations == 3


def test_small_events_can_be_left_out():
    found = find(scores_of(painted("xx..x")), min_cells=2)
    assert [event.cells for event in found] == [2]


@pytest.mark.parametrize(
    ("change", "direction"), [(4.0, "brighter"), (-4.0, "darker"), (0.4, "texture"), (-0.99, "texture")]
)
def test_direction(change, direction):
    values = painted("x..", "x..")
    level = np.where(values > 0, change, 20.0)
    (event,) = find(scores_of(values, change_db=level))
    assert event.direction == direction and event.change_db == pytest.approx(change)


def test_without_levels_the_direction_is_texture():
    (event,) = find(scores_of(painted("x..")))
    assert event.direction == "texture" and event.change_db == 0


def test_outline_and_area_follow_cells_that_overlap():
    scores = scores_of(painted("..x/..x"), patch=8, stride=6, image=(14, 20))
    (event,) = find(scores)
    assert event.geometry.bounds == (10 + 120, 50 - 140, 10 + 200, 50)
    assert event.area_m2 == 80 * 140
    shifted = scores_of(painted("..../..../..x."), patch=8, stride=8, image=(22, 32))
    (event,) = find(shifted)
    assert event.geometry.bounds == (10 + 160, 50 - 220, 10 + 240, 50 - 140)


def test_area_in_degrees_is_square_metres():
    (event,) = find(scores_of(painted("x."), crs="EPSG:4326"))
    side = 8 * 1e-4 * 111_200
    assert event.area_m2 == pytest.approx(side * side * np.cos(np.deg2rad(50)), rel=0.01)


def test_uncalibrated_scores_raise():
    with pytest.raises(ShapeError, match="p_value"):
        find(replace(scores_of(sequence("x")), p_value=None))


def test_names_are_unique_and_events_in_order():
    rng = np.random.default_rng(3)
    values = np.where(rng.random((8, 20, 20)) > 0.9, 4.0, 0.0)
    found = find(scores_of(values))
    assert len({event.event_id for event in found}) == len(found) > 20
    seen = [(event.first_seen, event.event_id) for event in found]
    assert seen == sorted(seen)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), dates=st.integers(2, 8))
def test_every_alarm_belongs_to_one_event_and_names_stay_as_dates_are_added(seed, dates):
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((dates, 6, 6)) > 0.85, 4.0, 0.0)
    usable = rng.random(dates) > 0.2
    scores = scores_of(values)
    found = find(scores, usable=usable)
    assert sum(event.observations for event in found) >= (values[usable].any((1, 2))).sum()
    alarmed = (values[usable] > 0).any(0)
    covered = np.zeros((6, 6), bool)
    for event in found:
        west, south, east, north = event.geometry.bounds
        assert event.area_m2 == pytest.approx(event.cells * 6400)
        covered |= _cells(event.geometry)
        assert east > west and north > south
    np.testing.assert_array_equal(covered, alarmed)
    longer = np.concatenate([values, np.zeros((1, 6, 6))])
    later = find(scores_of(longer), usable=np.append(usable, True))
    assert [e.event_id for e in later] == [e.event_id for e in found]
    noisy = np.concatenate([values, np.where(rng.random((1, 6, 6)) > 0.7, 4.0, 0.0)])
    after = {e.event_id for e in find(scores_of(noisy), usable=np.append(usable, True))}
    merged = [e for e in found if e.event_id not in after]
    assert all(not e.status.startswith("finished") for e in merged)


def _cells(geometry) -> np.ndarray:
    import shapely

    col, row = np.meshgrid(np.arange(6), np.arange(6))
    return shapely.contains_xy(geometry, 10 + 80 * col + 40, 50 - 80 * row - 40)


def _slow_status(levels, seen, usable, confirm, patience) -> list[int]:
    """DIST-ALERT codes of one cell, date by date, spelled out."""
    codes, count, quiet, high, known, finished = [], 0, 0, False, False, False
    for level, valid, passed in zip(levels, seen, usable, strict=True):
        if passed and valid:
            known = True
            if level >= LIMITS.low:
                if finished:
                    count, high, finished = 0, False, False
                count, quiet = count + 1, 0
                high = high or level >= LIMITS.high
            elif count:
                quiet += 1
                finished = finished or quiet >= patience
        if not known:
            codes.append(255)
        elif not count:
            codes.append(0)
        elif finished:
            codes.append(STATUS.index(f"finished_{'high' if high else 'low'}"))
        else:
            stage = "confirmed" if count >= confirm else "provisional" if count > 1 else "first"
            codes.append(STATUS.index(f"{stage}_{'high' if high else 'low'}"))
    return codes


@pytest.mark.parametrize("confirm", [2, 3, 5])
@pytest.mark.parametrize("patience", [1, 2, 3])
def test_cell_status_against_a_slow_reference(rng, confirm, patience):
    values = rng.choice([0.0, 4.0, 6.0], (14, 7, 8), p=[0.6, 0.3, 0.1])
    valid, usable = rng.random(values.shape) > 0.2, np.append(rng.random(14) > 0.2, [True] * 0)
    scores = scores_of(values, valid=valid)
    judged = np.arange(14 + HISTORY) >= HISTORY
    found = cell_status(
        scores.values >= LIMITS.low,
        scores.values >= LIMITS.high,
        scores.valid,
        judged=judged,
        usable=np.append([True] * HISTORY, usable),
        confirm=confirm,
        patience=patience,
    )
    assert (found[:HISTORY] == 255).all()
    for row, col in np.ndindex(7, 8):
        expected = _slow_status(values[:, row, col], valid[:, row, col], usable, confirm, patience)
        assert found[HISTORY:, row, col].tolist() == expected


def test_thresholds_by_false_alarms_and_by_percentile(rng):
    null = learn_null(rng.normal(size=5000))
    one = scores_of(rng.normal(size=(100, 10, 10)))
    limits = set_threshold(Rules(false_alarms=0.01, high=0.1), Tail(pooled=null), one)
    assert null.p_value(np.array([limits.low, limits.high])) == pytest.approx([0.01, 0.001])
    assert (limits.p_low, limits.p_high) == pytest.approx((0.01, 0.001))
    seen = one.values
    paper = set_threshold(Rules(rule="percentile", percentile=80), Tail(pooled=null), one)
    assert (seen >= paper.low).mean() == pytest.approx(0.2, abs=1e-3)
    assert (seen >= paper.high).mean() == pytest.approx(0.02, abs=1e-3)
    assert paper.p_low == pytest.approx(0.2, abs=0.03)
    with pytest.raises(ShapeError):
        Threshold(low=2.0, high=1.0, p_low=0.1, p_high=0.2)


@pytest.mark.parametrize(
    "told",
    [
        {"false_alarms": 0},
        {"false_alarms": 0.6},
        {"high": 0},
        {"confirm": 1},
        {"patience": 0},
        {"percentile": 100},
    ],
)
def test_rules_out_of_range_are_one_line(told):
    from sarcast.errors import SettingsError

    with pytest.raises(SettingsError):
        build(Rules, told, where="the test")
