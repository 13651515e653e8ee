"""Permutation tests: the published one against bits shuffled at once, and how often each test errs.

    python -m benchmarks.permutation [--dates 179] [--permutations 1000] [--repeats 3] [--sites 1000]
                                     [--out FILE.md]

Speed, on made-up scores of 10 x 10 cells: speckle, and what whole frames have in common. Thresholds P75, P80,
P85, as published. All ways draw from one and the same legacy stream, and give the same null to the last bit,
or there is no table. Errors, on many small sites where nothing happens in any place: the share of p <= 0.05.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from scipy.stats import pearsonr

from sarcast.evaluate.confounding import rotation_p
from sarcast.evaluate.correlation import pearson
from sarcast.evaluate.permutation import (
    joins,
    moran,
    neighbour_share,
    permutation_test,
    published_test,
    recurrence,
    toroidal,
    within_dates,
)
from sarcast.evaluate.published import TESTED

SIDE = 10
SEED = 42
SITE, DRAWS, LEVEL = (9, 6, 5), 99, 0.05


def main() -> None:
    """Run, print, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dates", type=int, default=179)
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3, help="interleaved rounds; medians are shown")
    parser.add_argument("--sites", type=int, default=1000, help="made-up sites to count errors on")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the table to")
    told = parser.parse_args()
    speed = table(flags(told.dates), permutations=told.permutations, repeats=told.repeats)
    parts = [
        "# Permutation tests",
        "## Speed of the published one",
        speed,
        "## Errors where no place differs",
    ]
    text = "\n\n".join([*parts, errors(told.sites), rotations(told.sites)])
    print(text)
    if told.out is not None:
        told.out.write_text(f"{text}\n", encoding="utf-8")


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
    return "\n".join(lines)


def errors(sites: int) -> str:
    """Share of p <= 0.05 of every test on speckle, and on speckle with a term common to each frame."""
    columns = {"speckle": 0.0, "with a term common to each frame": 1.5}
    rows: dict[str, list[float]] = {}
    for effect in columns.values():
        rng = np.random.default_rng(1)
        found = [
            p_values(rng.gamma(4, 0.25, SITE) + effect * rng.gamma(1, 1, (SITE[0], 1, 1)), rng)
            for _ in range(sites)
        ]
        for name in found[0]:
            rows.setdefault(name, []).append(float(np.mean([one[name] <= LEVEL for one in found])))
    lines = [
        f"{sites} sites of {SITE[0]} dates, {SITE[1]} x {SITE[2]} cells, {DRAWS} shuffles, flags at P75, "
        "seed 1.",
        f"Share of p <= {LEVEL}; {LEVEL} is right, less is cautious (few flags give many equal figures).",
        "",
        f"| test | {' | '.join(columns)} |",
        "|---|---|---|",
        *(f"| {name} | {' | '.join(f'{share:.3f}' for share in shares)} |" for name, shares in rows.items()),
    ]
    return "\n".join(lines)


def p_values(scores: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """The p-value of every test of one site's scores."""
    marked = scores >= np.percentile(scores, 75)
    ways = {
        "neighbours, shuffled within dates": (marked, neighbour_share, within_dates),
        "join count, shuffled within dates": (marked, joins, within_dates),
        "Moran's I, shuffled within dates": (scores, moran, within_dates),
        "recurrence, maps shifted": (marked, recurrence, toroidal),
    }
    released = published_test(marked[None], permutations=DRAWS)[0].p_value
    return {"published: neighbours, shuffled in time": released} | {
        name: permutation_test(values, statistic=statistic, shuffle=shuffle, draws=DRAWS, rng=rng).p_value
        for name, (values, statistic, shuffle) in ways.items()
    }


def rotations(pairs: int) -> str:
    """Share of p <= 0.05 of the correlation of two unrelated series that are smooth over so many dates."""
    rng, dates = np.random.default_rng(2), 60
    lines = [
        f"Correlation of two unrelated series of {dates} dates, {pairs} pairs, seed 2: share of "
        f"p <= {LEVEL}.",
        "",
        "| each is a mean over | dates taken as independent | all rotations |",
        "|---|---|---|",
    ]
    for width in (1, 5, 20):
        found = []
        for _ in range(pairs):
            a, b = (
                np.convolve(rng.normal(size=dates + width - 1), np.ones(width), "valid") for _ in range(2)
            )
            found.append((pearsonr(a, b).pvalue <= LEVEL, rotation_p(a, b, pearson) <= LEVEL))
        plain, turned = np.mean(found, axis=0)
        lines.append(f"| {width} date{'s' if width > 1 else ''} | {plain:.3f} | {turned:.3f} |")
    return "\n".join(lines)


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
