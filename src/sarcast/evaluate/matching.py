"""Events judged as events: which detection found which true event, how late, and what was made up.

One detection finds at most one event and one event is found at most once: among all ways to pair them the
one with the most pairs is taken, and of those the one that overlaps best (Kuhn, 1955; linear_sum_assignment).
A pair is possible where the detection overlaps the event and is first seen between the event's onset and its
end, no later than an allowed delay after the onset.

What else is detected is one of three: on an event that is there already, but not the one that found it (late,
a second piece, or its end): a fragment, which counts as false; of a change that began before judged dates:
left out; or on nothing: false.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.evaluate.shares import bounded
from sarcast.values import Estimate, Event, Label

_DAY = np.timedelta64(86_400_000_000_000, "ns")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one true event."""

    label_id: str
    kind: str
    onset: np.datetime64
    found_by: str | None
    """Id of the detection; None when none found it."""
    delay_days: float
    """From onset to first seen; infinite when not found."""
    delay_acquisitions: float
    """Judged acquisitions that could have shown it before the one that did; infinite when not found."""
    followed_days: float
    """How long it was looked for: to the end of the record, or infinite where its chance is over (it ended,
    or the allowed delay passed) and "not found" is final."""
    followed_acquisitions: float
    """The same in judged acquisitions."""
    fragments: int
    """Further detections on it."""


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Detections of one stack against its true events."""

    outcomes: tuple[Outcome, ...]
    """Of every event whose onset was judged."""
    false: tuple[str, ...]
    """Ids of detections where nothing had happened."""
    left_out: tuple[str, ...]
    """Ids of detections of what began before judged dates."""


def match_events(
    labels: Sequence[Label],
    detections: Sequence[Event],
    *,
    times: np.ndarray,
    judged: np.ndarray,
    usable: np.ndarray,
    delay_days: float,
    least: float = 0.0,
) -> Matched:
    """Pair detections with true events of one stack.

    Args:
        labels: True events inside the stack's footprint, in its CRS; points and lines will do.
        detections: Detected events, in the same CRS.
        times: datetime64[ns] (time,), ascending.
        judged: bool (time,): `Split.judge`. An event is judged when the first date at or after its onset is,
            and a usable one shows it.
        usable: bool (time,): dates the quality checks let pass; others could not have shown anything.
        delay_days: A detection later than this after onset does not find the event; may be infinite.
        least: Least overlap: shared area over the area of the smaller of the two, in [0, 1). Any by default;
            points and lines need only be touched.

    Raises:
        SettingsError: `delay_days` is negative or `least` out of range.
        ShapeError: `judged` is not of the times.
    """
    if not delay_days >= 0 or not 0 <= least < 1:
        raise SettingsError(f"expected delay_days >= 0 and least in [0, 1), found {delay_days} and {least}")
    if not judged.shape == usable.shape == times.shape:
        raise ShapeError(
            f"expected judged and usable ({len(times)},), found {judged.shape} and {usable.shape}"
        )
    overlap = _overlaps(labels, detections, least)
    can = np.array([_is_judged(label, times, judged, usable) for label in labels], bool)
    begun = np.zeros(overlap.shape, bool)
    in_time = np.zeros(overlap.shape, bool)
    for row, label in enumerate(labels):
        for col, found in enumerate(detections):
            begun[row, col] = overlap[row, col] > 0 and found.first_seen >= label.onset
            in_time[row, col] = begun[row, col] and _in_time(label, found.first_seen, delay_days)
    pairs = _pairs(np.where(in_time & can[:, None], overlap, 0))
    fragments, false, left_out = _others(np.where(begun, overlap, 0), can, {col for _, col in pairs})
    by = {row: detections[col] for row, col in pairs}
    outcomes = [
        _outcome(label, by.get(row), times, judged & usable, delay_days, int(fragments[row]))
        for row, label in enumerate(labels)
        if can[row]
    ]
    ids = [found.event_id for found in detections]
    return Matched(
        outcomes=tuple(outcomes),
        false=tuple(ids[col] for col in false),
        left_out=tuple(ids[col] for col in left_out),
    )


def event_figures(
    matched: Iterable[Matched], *, draws: int = 500, level: float = 0.95, seed: int
) -> dict[str, Estimate]:
    """precision, recall, f1, delay_days and delay_acquisitions over one or several stacks.

    Resampled are events: a true one with all its detections (in every stack that saw it), a false detection
    by itself. Delays are medians by the product-limit estimator (Kaplan and Meier, 1958): an event not found
    when the record ends may be found yet, one whose chance is over never was, and counts as infinitely late.
    The median is infinite when half are never found. Precision is 0 where nothing was detected.

    Raises:
        DataError: No true event was judged.
    """
    stacks = list(matched)
    outcomes = [one for stack in stacks for one in stack.outcomes]
    false = sum(len(stack.false) for stack in stacks)
    if not outcomes:
        raise DataError("expected true events with a judged onset, found none")
    names = {name: number for number, name in enumerate(dict.fromkeys(one.label_id for one in outcomes))}
    index = np.array([names[one.label_id] for one in outcomes])
    units = len(names) + false
    rng = np.random.default_rng(seed)
    counts = np.concatenate([np.ones((1, units)), rng.multinomial(units, np.full(units, 1 / units), draws)])
    counts = counts[counts[:, : len(names)].any(axis=1)]
    weights = counts[:, index]
    found = np.array([one.found_by is not None for one in outcomes], float)
    extra = np.array([one.fragments for one in outcomes], float)
    hits, wrong = weights @ found, weights @ extra + counts[:, len(names) :].sum(axis=1)
    missed = weights @ (1 - found)
    told = {
        "precision": _ratio(hits, hits + wrong),
        "recall": _ratio(hits, hits + missed),
        "f1": _ratio(2 * hits, 2 * hits + wrong + missed),
    }
    for name in ("days", "acquisitions"):
        delay = np.array([getattr(one, f"delay_{name}") for one in outcomes])
        followed = np.array([getattr(one, f"followed_{name}") for one in outcomes])
        told[f"delay_{name}"] = median_delay(delay, followed, weights)
    made = {name: _estimate(name, values, units, level, seed) for name, values in told.items()}
    counted = {"precision": int(hits[0] + wrong[0]), "recall": len(outcomes), "f1": units}
    return made | {name: bounded(made[name], n) for name, n in counted.items()}


def median_delay(delay: np.ndarray, followed: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Median time to detection by the product-limit estimator, many weightings at once.

    Args:
        delay: (n,): time to detection, infinite where not detected.
        followed: (n,): for those, how long they were looked for; infinite where never means never.
        weights: (draws, n), not negative.

    Returns:
        float64 (draws,); infinite where half are never detected.
    """
    seen = np.isfinite(delay)
    until = np.where(seen, delay, followed)
    order = np.lexsort((~seen, until))
    weight, event = weights[:, order], seen[order]
    at_risk = np.cumsum(weight[:, ::-1], axis=1)[:, ::-1]
    hazard = np.divide(weight * event, at_risk, out=np.zeros_like(weight), where=at_risk > 0)
    half = np.cumprod(1 - hazard, axis=1) <= 0.5 + 1e-12
    return np.where(half.any(axis=1), until[order][half.argmax(axis=1)], np.inf)


def _overlaps(labels: Sequence[Label], detections: Sequence[Event], least: float) -> np.ndarray:
    """In [0, 1], (label, detection): intersection over union, tiny where only touched, 0 where apart."""
    import shapely

    table = np.zeros((len(labels), len(detections)))
    if not table.size:
        return table
    true = np.array([label.geometry for label in labels], object)
    found = np.array([event.geometry for event in detections], object)
    row, col = shapely.STRtree(found).query(true, predicate="intersects")
    areas = shapely.area(true[row]), shapely.area(found[col])
    shared = shapely.area(shapely.intersection(true[row], found[col]))
    smaller = np.minimum(*areas)
    flat = smaller == 0
    near = flat | ((shared > 0) & (shared >= least * smaller))
    iou = np.divide(shared, areas[0] + areas[1] - shared, out=np.zeros(len(row)), where=~flat)
    table[row[near], col[near]] = np.maximum(iou[near], 1e-9)
    return table


def _others(begun: np.ndarray, can: np.ndarray, paired: set[int]) -> tuple[np.ndarray, list[int], list[int]]:
    """What detections are that found nothing: fragments a label, and which are false, which left out.

    Args:
        begun: (label, detection): overlap with what had begun when the detection was first seen.
        can: bool (label,): which labels are judged.
        paired: Detections that found one.
    """
    fragments = np.zeros(len(begun), int)
    false, left_out = [], []
    for col in sorted(set(range(begun.shape[1])) - paired):
        if not begun[:, col].any():
            false.append(col)
        elif begun[can, col].any():
            fragments[int(np.where(can, begun[:, col], 0).argmax())] += 1
        else:
            left_out.append(col)
    return fragments, false, left_out


def _pairs(weight: np.ndarray) -> list[tuple[int, int]]:
    """(row, col) of the most pairs with positive weight; of those sets, the one of highest total weight."""
    from scipy.optimize import linear_sum_assignment

    if not weight.size:
        return []
    most = min(weight.shape) + 1.0
    rows, cols = linear_sum_assignment(np.where(weight > 0, most + weight, 0), maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, cols, strict=True) if weight[r, c] > 0]


def _is_judged(label: Label, times: np.ndarray, judged: np.ndarray, usable: np.ndarray) -> bool:
    """The first date at or after its onset is a judged one, and a usable one shows it."""
    shown = judged & usable & (times >= label.onset)
    if label.end is not None:
        shown &= times < label.end
    first = int(np.count_nonzero(times < label.onset))
    return bool(shown.any() and judged[first])


def _in_time(label: Label, first_seen: np.datetime64, delay_days: float) -> bool:
    """Seen while it lasts, after its onset and not too late."""
    lasts = label.end is None or first_seen < label.end
    return bool(lasts and 0 <= (first_seen - label.onset) / _DAY <= delay_days)


def _outcome(
    label: Label, by: Event | None, times: np.ndarray, judged: np.ndarray, delay_days: float, fragments: int
) -> Outcome:
    seen = times[judged & (times >= label.onset)]
    left = (times[-1] - label.onset) / _DAY
    final = left >= delay_days or (label.end is not None and label.end <= times[-1])
    return Outcome(
        label_id=label.label_id,
        kind=label.kind,
        onset=label.onset,
        found_by=None if by is None else by.event_id,
        delay_days=np.inf if by is None else float((by.first_seen - label.onset) / _DAY),
        delay_acquisitions=np.inf if by is None else float((seen < by.first_seen).sum()),
        followed_days=np.inf if final else float(left),
        followed_acquisitions=np.inf if final else float(len(seen)),
        fragments=fragments,
    )


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _estimate(name: str, values: np.ndarray, units: int, level: float, seed: int) -> Estimate:
    """The first value is the figure, the others are its resamples."""
    low = high = float("nan")
    if units > 1:
        edges = [(1 - level) / 2, (1 + level) / 2]
        low, high = (float(v) for v in np.quantile(values[1:], edges, method="inverted_cdf"))
    return Estimate(
        name=name,
        value=float(values[0]),
        low=low,
        high=high,
        level=level,
        n=units,
        resampled="event",
        seed=seed,
    )
