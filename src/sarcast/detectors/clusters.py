"""Clusters of cells that behaved alike in history: what `alike` does by neighbours, for millions of cells."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sarcast.detectors.alike import described

_LEAST = 50
_POOL = 20_000


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which cluster each cell is in, and what the cells of a cluster do together."""

    of: np.ndarray
    """int32 (cell,): 0, 1, ...; -1 is in none and is left as it is."""

    def centred(self, deviation: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Deviations (cell, dim) of one date less the median of the cell's cluster; 0 where not seen."""
        found = np.where(seen[:, None], deviation, 0).astype(np.float32)
        for cells in self._cells(seen):
            found[cells] -= np.median(found[cells], axis=0)
        return found

    def disagreement(self, z: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """1.48 times the median of |z| (cell, dim) in each cell's cluster: about 1 on a usual day."""
        found = np.ones(z.shape, np.float32)
        for cells in self._cells(seen):
            found[cells] = 1.4826 * np.median(np.abs(z[cells]), axis=0)
        return found

    def mean(self, values: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Mean of `values` (cell, dim) over the seen cells of each cell's cluster; over all where in none."""
        some = seen if seen.any() else np.ones_like(seen)
        found = np.broadcast_to(values[some].mean(0), values.shape).copy()
        for cells in self._cells(seen):
            found[cells] = values[cells].mean(0)
        return found

    def _cells(self, seen: np.ndarray) -> list[np.ndarray]:
        inside = np.flatnonzero(seen & (self.of >= 0))
        order = inside[np.argsort(self.of[inside], kind="stable")]
        parts = np.split(order, np.flatnonzero(np.diff(self.of[order])) + 1)
        return [part for part in parts if len(part)]


def clusters(
    values: np.ndarray, valid: np.ndarray, *, count: int, components: int, rng: Generator
) -> np.ndarray:
    """K-means on how cells behaved in history.

    Args:
        values: (time, cell, dim), history only.
        valid: bool (time, cell).
        count: How many clusters; fewer where they would hold less than 50 cells on average, 0 for none.
        components: Principal components that describe the deviations (`alike.described`).
        rng: Draws the 20,000 cells that larger stacks learn from, and the start.

    Returns:
        int32 (cell,): -1 for cells never seen, and for all where `count` is 0.
    """
    found = np.full(valid.shape[1], -1, np.int32)
    seen = np.flatnonzero(valid.sum(0) >= 2)
    count = min(count, max(1, len(seen) // _LEAST)) if count else 0
    if not count or not len(seen):
        return found
    if count == 1:
        found[seen] = 0
        return found
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    about = described(values, valid, components, rng)[seen].astype(np.float64)
    pool = about if len(about) <= _POOL else about[np.sort(rng.choice(len(about), _POOL, replace=False))]
    means = KMeans(count, n_init=1, max_iter=30, random_state=int(rng.integers(2**31)))
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found[seen] = means.fit(pool).predict(about)
    return found
