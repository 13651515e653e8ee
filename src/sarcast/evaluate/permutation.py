"""Permutation tests of where and when scores are high: the published one, and ones that can tell.

The published test shuffles every place in time, so that whatever whole frames have in common (a satellite,
an incidence angle, rain) makes it significant. The others keep each date's scores and ask about places:
`within_dates` moves them within their date, `toroidal` moves each date's map as a whole. `rotated_in_time`
keeps each place's course. p = (1 + #{null >= observed}) / (1 + draws) is never 0 (Phipson and Smyth, 2010).
Neighbours are rook neighbours on the same date, no wrap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.evaluate.two_way import residual, table

_CHUNK = 4_000_000

Statistic = Callable[[np.ndarray], np.ndarray]
"""(..., time, row, col) -> (...)."""
Shuffle = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""(time, row, col), draws, rng -> (draws, time, row, col)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Permuted:
    """An observed figure beside what it is when the data are shuffled."""

    observed: float
    null: np.ndarray
    """float64 (draws,)."""
    expected: float | None = None
    """Exact mean of the null, where there is a closed form."""

    @property
    def null_mean(self) -> float:
        """Mean of the draws."""
        return float(self.null.mean())

    @property
    def null_std(self) -> float:
        """Standard deviation of the draws (ddof 0)."""
        return float(self.null.std())

    @property
    def p_value(self) -> float:
        """Chance under the null of a figure at least as high: (1 + #) / (1 + draws)."""
        return float((1 + np.count_nonzero(self.null >= self.observed)) / (1 + len(self.null)))

    @property
    def share_at_least(self) -> float:
        """# / draws: what was published as p; 0 is possible."""
        return float(np.mean(self.null >= self.observed))

    @property
    def ratio(self) -> float:
        """Observed over the mean of the draws."""
        return self.observed / max(self.null_mean, 1e-6)

    def summary(self) -> dict[str, float | None]:
        """Plain values: observed, expected, null_mean, null_std, p_value, draws."""
        return {
            "observed": self.observed,
            "expected": self.expected,
            "null_mean": self.null_mean,
            "null_std": self.null_std,
            "p_value": self.p_value,
            "draws": len(self.null),
        }


def permutation_test(
    values: np.ndarray,
    *,
    statistic: Statistic,
    shuffle: Shuffle,
    draws: int = 999,
    rng: np.random.Generator,
    expected: float | None = None,
) -> Permuted:
    """One statistic of flags or scores against its values on shuffled copies.

    Args:
        values: (time, row, col): flags or scores.
        statistic: `neighbour_share`, `joins`, `recurrence`, `moran`, or another; high means structure.
        shuffle: `within_dates`, `toroidal`, `rotated_in_time`, or another.
        draws: Shuffled copies.
        rng: Of the shuffles.
        expected: Exact mean of the null, to be kept beside it.
    """
    if draws < 1:
        raise SettingsError(f"expected at least 1 draw, found {draws}")
    step = max(1, _CHUNK // values.size)
    counts = [min(step, draws - start) for start in range(0, draws, step)]
    null = np.concatenate([statistic(shuffle(values, count, rng)) for count in counts])
    return Permuted(observed=float(statistic(values)), null=null, expected=expected)


def published_test(
    flags: np.ndarray, *, permutations: int = 1000, seed: int = 42, order: np.ndarray | None = None
) -> list[Permuted]:
    """The published test: share of flagged cells with a flagged neighbour, each place shuffled in time.

    Draws are those of the released code to the last bit: `RandomState(seed)`, and for every permutation one
    in-place shuffle per place. Since a shuffle does not look at what it shuffles, several sets of flags share
    one stream, and are shuffled as the bits of one integer.

    Args:
        flags: bool (case, time, row, col); at most 8 cases, e.g. thresholds of one site.
        permutations: Shuffles of the whole site.
        seed: Of the legacy generator.
        order: int (cell,): the flat (row, col) index of the place shuffled first, second, ...; None means row
            by row. The released order is column by column.

    Returns:
        A test per case; `expected` is the closed form of `expected_in_time`.
    """
    if flags.ndim != 4 or flags.dtype != bool or not 1 <= len(flags) <= 8:
        raise ShapeError(f"expected bool (1 to 8 cases, time, row, col), found {flags.dtype} {flags.shape}")
    cases, times, *grid = flags.shape
    cells = grid[0] * grid[1]
    order = np.arange(cells) if order is None else order
    codes = sum(one.reshape(times, cells).T.astype(np.int64) << case for case, one in enumerate(flags))
    hits = np.empty((permutations, cases))
    start = 0
    for batch in _shuffled(codes[order], order, permutations, seed):
        hits[start : start + len(batch)] = _bits(_touching(batch.reshape(-1, *grid, times)), cases)
        start += len(batch)
    flagged = np.maximum(flags.sum(axis=(1, 2, 3)), 1)
    return [
        Permuted(
            observed=float(neighbour_share(flags[case])),
            null=hits[:, case] / flagged[case],
            expected=expected_in_time(flags[case]),
        )
        for case in range(cases)
    ]


def within_dates(
    values: np.ndarray, draws: int, rng: np.random.Generator, *, cells: np.ndarray | None = None
) -> np.ndarray:
    """Places shuffled within each date: each date keeps its scores, no place keeps its own.

    Args:
        values: (time, row, col).
        draws: Copies.
        rng: Of the shuffles.
        cells: bool (row, col): which take part; None means all. The others stay.
    """
    if cells is None:
        flat = np.repeat(values.reshape(1, len(values), -1), draws, axis=0)
        rng.permuted(flat, axis=-1, out=flat)
        return flat.reshape(draws, *values.shape)
    out = np.repeat(values[None], draws, axis=0)
    out[..., cells] = rng.permuted(out[..., cells], axis=-1)
    return out


def toroidal(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Each date's map moved by its own number of rows and columns, wrapped round.

    Keeps each date's scores and, but for the seam, their texture; so it says nothing about neighbours on one
    date, but whether maps of different dates fit each other: use `recurrence`.
    """
    times, rows, cols = values.shape
    down = rng.integers(rows, size=(draws, times, 1, 1))
    right = rng.integers(cols, size=(draws, times, 1, 1))
    row = (np.arange(rows)[:, None] - down) % rows
    col = (np.arange(cols) - right) % cols
    return np.asarray(values[np.arange(times)[:, None, None], row, col])


def rotated_in_time(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Each place's series turned by its own number of dates, wrapped round: keeps its values and its course.

    Like the published shuffle it breaks what frames have in common.
    """
    times, rows, cols = values.shape
    by = rng.integers(times, size=(draws, 1, rows, cols))
    at = (np.arange(times)[:, None, None] - by) % times
    return np.asarray(values[at, np.arange(rows)[:, None], np.arange(cols)])


def neighbour_share(flags: np.ndarray) -> np.ndarray:
    """Share of flagged cells with a flagged neighbour: (..., time, row, col) -> (...); 0 when none is."""
    hits = np.count_nonzero(_touching(np.moveaxis(flags, -3, -1)), axis=(-3, -2, -1))
    return np.asarray(hits / np.maximum(np.count_nonzero(flags, axis=(-3, -2, -1)), 1))


def joins(flags: np.ndarray) -> np.ndarray:
    """Number of neighbours that are both flagged (join count BB; Cliff and Ord, 1981)."""
    axes = (-3, -2, -1)
    down = np.count_nonzero(flags[..., 1:, :] & flags[..., :-1, :], axis=axes)
    return np.asarray(down + np.count_nonzero(flags[..., 1:] & flags[..., :-1], axis=axes))


def recurrence(flags: np.ndarray) -> np.ndarray:
    """Share of flagged cells, less the last date's, that are flagged on the next date too; 0 when none is."""
    axes = (-3, -2, -1)
    again = np.count_nonzero(flags[..., 1:, :, :] & flags[..., :-1, :, :], axis=axes)
    return np.asarray(again / np.maximum(np.count_nonzero(flags[..., :-1, :, :], axis=axes), 1))


def moran(values: np.ndarray, cells: np.ndarray | None = None) -> np.ndarray:
    """Moran's I (1950) of what neither date nor place explains: (..., time, row, col) -> (...).

    Mean over dates of: mean of r r' over neighbours / mean of r^2 over cells, r the two-way residual.
    Neither a frame-wide effect nor a lasting difference between places can raise it. Its mean is exactly
    -1 / (cells - 1) when places are shuffled within dates. Dates on which nothing is left do not count.

    Args:
        values: Scores.
        cells: bool (row, col): which to use, valid on every date; None means all.

    Raises:
        DataError: No two neighbours among the cells, or nothing is left of the scores.
    """
    chosen = np.ones(values.shape[-2:], bool) if cells is None else cells
    by_cell = table(values, chosen)
    rest = residual(by_cell)
    spread = np.square(rest).mean(axis=-1)
    left = spread > np.square(16 * np.finfo(float).eps * np.abs(by_cell).max())
    pairs = int(joins(chosen[None]))
    if not pairs or not left.any(axis=-1).all():
        raise DataError("expected neighbouring cells whose scores differ, found none")
    full = np.zeros((*rest.shape[:-1], *chosen.shape))
    full[..., chosen] = rest
    down = np.einsum("...yx,...yx->...", full[..., 1:, :], full[..., :-1, :])
    across = np.einsum("...yx,...yx->...", full[..., 1:], full[..., :-1])
    found = np.divide((down + across) / pairs, spread, out=np.zeros_like(spread), where=left)
    return np.asarray(found.sum(axis=-1) / left.sum(axis=-1))


def expected_in_time(flags: np.ndarray) -> float:
    """Exact mean of `neighbour_share` when places are shuffled or turned in time, each by itself.

    sum_l c_l [1 - prod_n (1 - c_n / T)] / sum_l c_l over cells l, their neighbours n, flags c, dates T.
    """
    count = flags.sum(axis=0)
    free = np.pad(1 - count / len(flags), 1, constant_values=1.0)
    alone = free[:-2, 1:-1] * free[2:, 1:-1] * free[1:-1, :-2] * free[1:-1, 2:]
    return float((count * (1 - alone)).sum() / max(count.sum(), 1))


def expected_within_dates(flags: np.ndarray, cells: np.ndarray | None = None) -> float:
    """Exact mean of `neighbour_share` when places are shuffled within dates.

    sum_t (m_t / n) sum_l [1 - C(n-1-k_l, m_t-1) / C(n-1, m_t-1)] / sum_t m_t over dates t with m_t flags
    among n cells, and cells l with k_l neighbours.

    Args:
        flags: bool (time, row, col).
        cells: bool (row, col): which take part; None means all.
    """
    chosen = np.ones(flags.shape[1:], bool) if cells is None else cells
    padded = np.pad(chosen.astype(int), 1)
    near = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    kinds, how_many = np.unique(near[chosen], return_counts=True)
    marked = flags[:, chosen].sum(axis=1)
    marked, n = marked[marked > 0].astype(float), int(chosen.sum())
    touched = np.zeros_like(marked)
    for near_n, count in zip(kinds, how_many, strict=True):
        i = np.arange(near_n)[:, None]
        alone = np.prod(np.maximum(n - marked - i, 0) / np.maximum(n - 1 - i, 1), axis=0)
        touched += count * (1 - alone)
    return float((marked / n * touched).sum() / max(marked.sum(), 1))


def expected_recurrence(flags: np.ndarray) -> float:
    """Exact mean of `recurrence` when each date is moved or shuffled by itself.

    sum m_t m_(t+1) / (n sum m_t) over all dates t but the last, m_t flags among n cells.
    """
    marked = flags.sum(axis=(1, 2)).astype(float)
    return float((marked[:-1] * marked[1:]).sum() / (flags[0].size * max(marked[:-1].sum(), 1)))


def _shuffled(codes: np.ndarray, order: np.ndarray, permutations: int, seed: int) -> Iterator[np.ndarray]:
    """Batches (permutation, cell, time) of codes whose rows were shuffled in turn, each put in its place."""
    rng = np.random.RandomState(seed)
    step = max(1, _CHUNK // codes.size)
    scratch = np.empty_like(codes)
    rows = list(scratch)
    for start in range(0, permutations, step):
        batch = np.empty((min(step, permutations - start), *codes.shape), np.uint8)
        for one in batch:
            scratch[:] = codes
            for row in rows:
                rng.shuffle(row)
            one[order] = scratch
        yield batch


def _touching(flags: np.ndarray) -> np.ndarray:
    """Flags (..., row, col, time), bool or bits, that a rook neighbour shares."""
    near = np.zeros_like(flags)
    near[..., 1:, :, :] = flags[..., :-1, :, :]
    near[..., :-1, :, :] |= flags[..., 1:, :, :]
    near[..., 1:, :] |= flags[..., :-1, :]
    near[..., :-1, :] |= flags[..., 1:, :]
    near &= flags
    return near


def _bits(codes: np.ndarray, cases: int) -> np.ndarray:
    """How many codes have each bit set: uint8 (batch, ...) -> (batch, cases)."""
    flat = codes.reshape(len(codes), -1)
    marked = (((flat >> case) & 1).view(bool) for case in range(cases))
    return np.array([[np.count_nonzero(one) for one in case] for case in marked]).T
