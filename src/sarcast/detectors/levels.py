"""Levels in dB against a cell's own history, less what the frame or the alike cells did on the date."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.random import Generator

from sarcast.detectors.alike import alike, centred
from sarcast.detectors.by_fold import flat
from sarcast.errors import DataError
from sarcast.values import Features


def levels(features: Features) -> Features:
    """The features that are levels in dB: those whose names end in `_mean`.

    Raises:
        DataError: There are none.
    """
    found = [i for i, name in enumerate(features.names) if name.endswith("_mean")]
    if not found:
        raise DataError(
            "expected levels in dB, named *_mean (encoders statistics and pixels), "
            f"found {', '.join(features.names[:3])} ..., in features of {features.encoder}"
        )
    names = tuple(features.names[i] for i in found)
    return replace(features, values=features.values[..., found], names=names)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What history says of each cell."""

    mean: np.ndarray
    """float32 (cell, dim)."""
    known: np.ndarray
    """bool (cell,): seen often enough."""
    neighbours: np.ndarray
    """int32 (cell, neighbour): alike cells; no columns where the frame is taken together."""


class Referring(Protocol):
    """A model that holds a reference among other things."""

    @property
    def mean(self) -> np.ndarray:
        """As in `Reference`."""
        ...

    @property
    def known(self) -> np.ndarray:
        """As in `Reference`."""
        ...

    @property
    def neighbours(self) -> np.ndarray:
        """As in `Reference`."""
        ...


REFERENCE = ("mean", "known", "neighbours")
"""Fields of `Reference`."""


def deviation(reference: Referring, values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """One date's features (cell, dim) less history's mean and what the others did; 0 where not seen."""
    return less_common(values - reference.mean, seen, reference.neighbours)


def learn_reference(
    values: np.ndarray, valid: np.ndarray, *, neighbours: int, components: int, rng: Generator
) -> tuple[Reference, np.ndarray, np.ndarray]:
    """The reference, and history's own deviations from it.

    Args:
        values: (time, cell, dim), 0 where not valid.
        valid: bool (time, cell).
        neighbours: How many alike cells a date is centred on; 0 takes the frame's median off.
        components: Principal components that say what is alike.
        rng: Draws the pool of alike cells in large stacks.

    Returns:
        Reference; float32 (time, cell, dim), 0 where not seen; bool (time, cell): valid in a known cell.
    """
    count = valid.sum(0)
    known = count >= max(3, len(valid) // 2)
    mean = (values * valid[..., None]).sum(0) / np.maximum(count, 1)[:, None]
    seen = valid & known
    near = np.zeros((len(known), 0), np.int32)
    if neighbours:
        near = alike(values, seen, neighbours=neighbours, components=components, rng=rng)
    reference = Reference(mean=mean.astype(np.float32), known=known, neighbours=near)
    away = [less_common(v - mean, s, near) for v, s in zip(values, seen, strict=True)]
    return reference, np.stack(away), seen


def less_common(deviation: np.ndarray, seen: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Deviations (cell, dim) less the median of alike cells, or of the frame; float32, 0 where not seen."""
    if neighbours.shape[1]:
        return centred(deviation, seen, neighbours)
    if not seen.any():
        return np.zeros(deviation.shape, np.float32)
    common = np.median(deviation[seen], axis=0)
    return np.where(seen[:, None], deviation - common, 0).astype(np.float32)


def squared_spread(away: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Products of a new date's deviations from the mean of n others, (cell, dim, dim).

    Deviations of n dates around their own mean are corrected by n / (n - 1) for the mean taken out and by
    (n + 1) / n for the mean's own error on a new date.

    Args:
        away: (time, cell, dim), 0 where not seen.
        seen: bool (time, cell).
    """
    n = np.maximum(seen.sum(0), 2)[:, None, None]
    return np.einsum("tci,tcj->cij", away, away, dtype=np.float64) * (n + 1) / (n * (n - 1))


def shared(own: np.ndarray, known: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Mean of the cells' values (cell, ...) over the alike cells, or over all known where there are none."""
    if neighbours.shape[1]:
        return np.stack([own[near].mean(0) for near in neighbours])
    some = own[known] if known.any() else own
    return np.broadcast_to(some.mean(0), own.shape)


def last_dates(
    reference: Referring, features: Features, t: int, context: int
) -> tuple[np.ndarray, np.ndarray]:
    """Deviations of a date and of the `context` dates before it.

    Returns:
        float32 (time, cell, dim), the date itself last, 0 where not seen; bool (time, cell).
    """
    dates = [flat(features, i) for i in range(max(0, t - context), t + 1)]
    seen = np.stack([valid & reference.known for _, valid in dates])
    away = [deviation(reference, values, s) for (values, _), s in zip(dates, seen, strict=True)]
    return np.stack(away), seen
