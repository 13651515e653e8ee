"""Several places side by side: what their scores are like, judged cells put together, means over places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sarcast.errors import ShapeError
from sarcast.evaluate.onset import JudgedCells
from sarcast.values import Estimate


def summary(values: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation (ddof 0), extremes, median, 80th and 90th percentile, count of scores (n,)."""
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values)),
        "min": float(np.min(values)),
        "max": float(np.max(values)),
        "median": float(np.median(values)),
        "n": float(len(values)),
        "p80": float(np.percentile(values, 80)),
        "p90": float(np.percentile(values, 90)),
    }


def together(places: Sequence[JudgedCells], first_event: Sequence[int]) -> JudgedCells:
    """Judged cells of several places as one list, blocks kept apart.

    Args:
        places: In the order their scores are put together.
        first_event: Number of each place's first event: places with one list of events share them, so that an
            event seen by two stacks is one.

    Returns:
        `JudgedCells` whose `index` counts the cells of the concatenated list, and whose `missed` are the
        events that have a positive cell nowhere.
    """
    if len(places) != len(first_event) or not places:
        raise ShapeError(f"expected a first event for each place, found {len(first_event)} for {len(places)}")
    events, blocks, last = [], [], 0
    for place, first in zip(places, first_event, strict=True):
        events.append(np.where(place.labels, place.event_ids + first, -1))
        blocks.append(place.block_ids + last)
        last = int(blocks[-1].max(initial=last - 1)) + 1
    every = np.concatenate(events)
    missed = {one + first for place, first in zip(places, first_event, strict=True) for one in place.missed}
    return JudgedCells(
        index=np.arange(len(every)),
        labels=every >= 0,
        event_ids=every,
        block_ids=np.concatenate(blocks),
        missed=tuple(sorted(missed - set(every.tolist()))),
    )


def over_places(name: str, values: Sequence[float], *, level: float = 0.95) -> Estimate:
    """Mean of a figure over places and Student's interval for it, as if places were drawn from many alike.

    Resampling a handful of places would give an interval far too narrow; with two it has nothing but them.

    Args:
        name: Of the estimate.
        values: The figure of each place.
        level: Of the interval, in (0, 1).

    Returns:
        `Estimate` with `n` the number of places; with one place the interval is NaN. Nothing is drawn: the
        seed is 0.
    """
    from scipy.stats import t

    found = np.asarray(values, np.float64)
    half = float("nan")
    if len(found) > 1:
        half = float(t.ppf((1 + level) / 2, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
    mean = float(found.mean())
    return Estimate(
        name=name,
        value=mean,
        low=mean - half,
        high=mean + half,
        level=level,
        n=len(found),
        resampled="place (Student's t)",
        seed=0,
    )
