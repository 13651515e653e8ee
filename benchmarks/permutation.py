"""The published permutation test: cell by cell as released, against bits shuffled at once; one null.

    python -m benchmarks.permutation [--dates 179] [--permutations 1000] [--repeats 3] [--out FILE.md]

Made-up scores of 10 x 10 cells: speckle, and what whole frames have in common. Thresholds P75, P80, P85, as
published. All ways draw from one and the same legacy stream, and give the same null to the last bit, or
there is no table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from sarcast.evaluate.permutation import published_test
from sarcast.evaluate.published import TESTED

SIDE = 10
SEED = 42


def main() -> None:
    """Run, print, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dates", type=int, default=179)
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3, help="interleaved rounds; medians are shown")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the table to")
    told = parser.parse_args()
    text = table(flags(told.dates), permutations=told.permutations, repeats=told.repeats)
    print(text)
    if told.out is not None:
        told.out.write_text(f"# The published permutation test: speed\n\n{text}", encoding="utf-8")


def flags(dates: int) -> np.ndarray:
    """Flags of made-up scores at the published percentiles: bool (case, time, row, col)."""
    rng = np.random.default_rng(0)
    scores = rng.gamma(4, 0.25, (dates, SIDE, SIDE)) + rng.gamma(1, 1, (dates, 1, 1))
    return np.stack([scores >= np.percentile(scores, percentile) for percentile in TESTED])


def table(cases: np.ndarray, *, permutations: int, repeats: int) -> str:
    """CPU seconds a threshold of every way, as Markdown."""
    single = cases[1:2]
    ways: dict[str, tuple[Callable[[], list[np.ndarray]], int]] = {
        "cell by cell, as released": (lambda: [by_cell(single[0], permutations)], 1),
        "sarcast, one threshold": (lambda: nulls(single, permutations), 1),
        "sarcast, three thresholds in one stream": (lambda: nulls(cases, permutations), len(cases)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found = {}
    for _ in range(repeats):
        for name, (way, shared) in ways.items():
            start = time.process_time()
            found[name] = way()
            seconds[name].append((time.process_time() - start) / shared)
    released, one, three = found.values()
    if not (np.array_equal(released[0], one[0]) and np.array_equal(released[0], three[1])):
        raise SystemExit("expected one null from all ways, found several")
    slow, dates = median(next(iter(seconds.values()))), cases.shape[1]
    lines = [
        f"{SIDE} x {SIDE} cells, {dates} dates, {permutations} permutations, numpy {np.__version__};",
        f"CPU seconds a threshold, medians of {repeats} interleaved rounds. Nulls are equal to the last bit.",
        "",
        "| way | s | times faster |",
        "|---|---|---|",
        *(f"| {name} | {median(s):.3f} | {slow / median(s):.1f} |" for name, s in seconds.items()),
    ]
    return "\n".join(lines) + "\n"


def nulls(cases: np.ndarray, permutations: int) -> list[np.ndarray]:
    """The null of every case, by sarcast."""
    return [test.null for test in published_test(cases, permutations=permutations, seed=SEED)]


def by_cell(case: np.ndarray, permutations: int) -> np.ndarray:
    """The null as the released evaluation makes it: every flag of every date asked for its neighbours."""
    original = case.reshape(len(case), -1).T.astype(int)
    rng, null = np.random.RandomState(SEED), []
    for _ in range(permutations):
        shuffled = original.copy()
        for place in range(len(shuffled)):
            rng.shuffle(shuffled[place])
        null.append(share(shuffled))
    return np.array(null)


def share(flagged: np.ndarray) -> float:
    """Share of flagged (cell, time) with a flagged rook neighbour, one at a time."""
    hits = total = 0
    places, dates = flagged.shape
    for t in range(dates):
        for place in range(places):
            if not flagged[place, t]:
                continue
            total += 1
            row, col = divmod(place, SIDE)
            near = [place - SIDE] * (row > 0) + [place + SIDE] * (row < SIDE - 1)
            near += [place - 1] * (col > 0) + [place + 1] * (col < SIDE - 1)
            if any(flagged[other, t] for other in near):
                hits += 1
    return hits / max(total, 1)


if __name__ == "__main__":
    main()
