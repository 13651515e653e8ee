"""rx and padim on wide features against a covariance inverted for every cell: times faster, at equal scores.

    python -m benchmarks.detectors [--dim 768] [--side 10] [--dates 179] [--history 7 12] [--cells 4]
                                   [--repeats 3] [--out FILE.md]

Made-up features of a site of the published size: a few common directions and noise. The alternative makes the
covariance of each cell, with the same shrinkage or ridge, and inverts it by numpy.linalg.inv; it is timed on
some cells and scaled per cell. Unless both give the same scores to 1e-6, relative, there is no table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.random import Generator

from sarcast.detectors.padim import low_rank, squared_distance
from sarcast.detectors.rx import global_rx, local_rx

RING = {"window": 7, "guard": 3}
SHRINKAGE = 0.1
POOLED, RIDGE = 0.5, 0.01
EQUAL = 1e-6


@dataclass(frozen=True, kw_only=True)
class Row:
    """One detector in two ways."""

    name: str
    unit: str
    """What the seconds of a cell are of."""
    ours: float
    """Seconds a unit."""
    inverted: float
    """Seconds a unit."""
    difference: float
    """Largest relative one between the scores."""


def main() -> None:
    """Run, print, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dim", type=int, default=768, help="features of a cell")
    parser.add_argument("--side", type=int, default=10, help="cells along each side of the site")
    parser.add_argument("--dates", type=int, default=179)
    parser.add_argument("--history", type=int, nargs="+", default=[7, 12], help="dates padim learns from")
    parser.add_argument("--cells", type=int, default=4, help="cells the alternative is timed on")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved rounds; medians are shown")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the table to")
    told = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = (told.side, told.side)
    rows = [rx(shape, told.dim, local, told.cells, told.repeats, rng) for local in (False, True)]
    for n in told.history:
        rows += [
            padim(shape, told.dim, n, later, told.cells, told.repeats, rng) for later in (1, told.dates - n)
        ]
    text = table(rows, told)
    print(text)
    if told.out is not None:
        told.out.write_text(f"# rx and padim without an inverse per cell: speed\n\n{text}", encoding="utf-8")


def table(rows: list[Row], told: argparse.Namespace) -> str:
    """CPU seconds of both ways, as Markdown."""
    ring = f"{RING['window']} x {RING['window']}"
    lines = [
        f"{told.side} x {told.side} cells, {told.dates} dates, {told.dim} features, float64, one thread,",
        f"numpy {np.__version__}; CPU milliseconds, medians of {told.repeats} interleaved rounds. The",
        f"inverse is timed on {told.cells} cells and scaled. rx: {SHRINKAGE} shrunk to the mean variance,",
        f"ring of {ring} cells; padim: {POOLED} pooled, ridge {RIDGE}.",
        "",
        "| detector | of a cell | sarcast, ms | inverted, ms | times faster | largest relative difference |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        times = f"{1e3 * row.ours:.3f} | {1e3 * row.inverted:.1f} | {row.inverted / row.ours:.0f}"
        lines.append(f"| {row.name} | {row.unit} | {times} | {row.difference:.0e} |")
    return "\n".join(lines) + "\n"


def site(shape: tuple[int, int], dim: int, dates: int, rng: Generator) -> np.ndarray:
    """Made-up features (date, cell, dim), float64: ten common directions and noise."""
    cells = shape[0] * shape[1]
    common = rng.normal(size=(dates, cells, 10)) @ rng.normal(size=(10, dim))
    found: np.ndarray = common + rng.normal(size=(dates, cells, dim))
    return found


def rx(shape: tuple[int, int], dim: int, local: bool, cells: int, repeats: int, rng: Generator) -> Row:
    """A date's cells against each other, or each against a ring around it."""
    z = site(shape, dim, 1, rng)[0]
    seen = np.ones(len(z), bool)
    some = np.linspace(0, len(z) - 1, cells).astype(int)
    around = [_ring(shape, c) if local else seen for c in some]

    def ours() -> np.ndarray:
        if local:
            return local_rx(z, seen, shape, shrinkage=SHRINKAGE, **RING)[0]
        return global_rx(z, seen, shrinkage=SHRINKAGE)

    def inverted() -> np.ndarray:
        return np.array([_rx_of_one(z[c], z[ring]) for c, ring in zip(some, around, strict=True)])

    (a, fast), (b, slow) = _timed([ours, inverted], repeats)
    name = "rx, local background" if local else "rx, global background"
    difference = _equal(a[some], b)
    return Row(name=name, unit="each date", ours=fast / len(z), inverted=slow / cells, difference=difference)


def _rx_of_one(cell: np.ndarray, others: np.ndarray) -> float:
    away = others - others.mean(0)
    covariance = (1 - SHRINKAGE) * (away.T @ away) / len(away)
    covariance[np.diag_indices_from(covariance)] += SHRINKAGE * (away**2).mean()
    left = cell - others.mean(0)
    return float(np.sqrt(left @ np.linalg.inv(covariance) @ left / len(left)))


def _ring(shape: tuple[int, int], cell: int) -> np.ndarray:
    """The ring around a cell, cut at the frame, bool (cell,)."""
    row, col = np.indices(shape)
    apart = np.maximum(abs(row - cell // shape[1]), abs(col - cell % shape[1])).ravel()
    found: np.ndarray = (apart <= RING["window"] // 2) & (apart > RING["guard"] // 2)
    return found


def padim(
    shape: tuple[int, int], dim: int, history: int, dates: int, cells: int, repeats: int, rng: Generator
) -> Row:
    """A Gaussian per cell, fitted on dates of history and asked for later ones."""
    values = site(shape, dim, history + dates, rng)
    past, later = values[:history], values[history:]
    factor = np.sqrt((1 - POOLED) / (history - 1)) * (past - past.mean(0)).swapaxes(0, 1)
    variance = past.var(0, ddof=1).mean(0)
    diagonal = np.broadcast_to(POOLED * variance + RIDGE * variance.mean(), past.shape[1:])
    left = later - past.mean(0)

    def ours() -> np.ndarray:
        span, spread = low_rank(factor, diagonal)
        return np.stack([squared_distance(one, diagonal, span, spread) for one in left])

    def inverted() -> np.ndarray:
        found = []
        for c in range(cells):
            inverse = np.linalg.inv(factor[c].T @ factor[c] + np.diag(diagonal[c]))
            found.append(((left[:, c] @ inverse) * left[:, c]).sum(1))
        return np.stack(found, axis=1)

    (a, fast), (b, slow) = _timed([ours, inverted], repeats)
    every = values.shape[1]
    return Row(
        name=f"padim, {history} dates of history",
        unit=f"fit, and {dates} date{'s' * (dates > 1)} scored",
        ours=fast / every,
        inverted=slow / cells,
        difference=_equal(a[:, :cells], b),
    )


def _timed(ways: list[Callable[[], np.ndarray]], repeats: int) -> list[tuple[np.ndarray, float]]:
    """What each way gives, and its median CPU seconds over interleaved rounds."""
    seconds: list[list[float]] = [[] for _ in ways]
    found = []
    for _ in range(repeats):
        found = []
        for way, taken in zip(ways, seconds, strict=True):
            start = time.process_time()
            found.append(way())
            taken.append(time.process_time() - start)
    return [(one, median(taken)) for one, taken in zip(found, seconds, strict=True)]


def _equal(ours: np.ndarray, inverted: np.ndarray) -> float:
    """Largest relative difference.

    Raises:
        SystemExit: The scores are not the same.
    """
    difference = float(np.abs(ours / inverted - 1).max())
    if not difference <= EQUAL:
        raise SystemExit(f"expected equal scores to {EQUAL}, found a difference of {difference:.1e}")
    return difference


if __name__ == "__main__":
    main()
