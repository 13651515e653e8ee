"""Several places side by side: what their scores are like, judged cells put together, means over places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sarcast.errors import ShapeError
from sarcast.evaluate.bootstrap import block_bootstrap
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


def over_places(
    name: str, values: Sequence[float], *, draws: int = 500, level: float = 0.95, seed: int
) -> Estimate:
    """Mean of a figure over places, with an interval over places; with one place it has none."""
    return block_bootstrap(
        np.asarray(values, np.float64),
        np.arange(len(values)),
        name=name,
        resampled="place",
        draws=draws,
        level=level,
        seed=seed,
    )
