"""The report of the bench of simulated places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sarcast.errors import DataError
from sarcast.evaluate.planted import Judged, pool
from sarcast.steps.bench_rows import choose_pairs, grid_of
from sarcast.steps.bench_simulated import (
    APART,
    Scene,
    Scored,
    SimulatedPlaces,
    judged_cells,
    scenes,
    score_all,
)
from sarcast.steps.bench_table import Cell, Report, Table

if TYPE_CHECKING:
    from sarcast.steps.bench import Bench
    from sarcast.values import Estimate

LEVELS = (0.01, 0.001)
BASE = "statistics, z_score"
_QUICK_SEEDS, _SEEDS = (0, 2), (0, 1, 2, 3, 4)


def report(settings: Bench) -> Report:
    """Simulate, run every row, and judge all on the same cells.

    Raises:
        DataError: No cell has a score of every row, or no event was judged.
        SettingsError: A row is no pair of encoder and detector.
    """
    told = settings.simulated
    seeds = settings.seeds or (_QUICK_SEEDS if settings.quick else _SEEDS)
    resamples = 100 if settings.quick else settings.resamples
    rows = choose_pairs(settings.rows, default=[BASE, *grid_of(quick=settings.quick)])
    places = scenes(told, seeds)
    found = score_all(rows, places, jobs=settings.jobs)
    count = len(seeds)
    judged = [_judged(place, k, found) for k, place in enumerate(places[:count])]
    pooled = pool(judged)
    base = BASE if BASE in found else next(iter(found))
    tables = [
        _all(pooled, judged, found, places, base, resamples),
        *([_texture(judged, base, resamples)] if "texture" in pooled.kinds else []),
        _kinds(pooled),
    ]
    return Report(
        title=f"Planted events on simulated places, {told.events}",
        about=_about(told, places[:count], seeds, resamples, pooled),
        tables=tuple(tables),
    )


def _judged(place: Scene, k: int, found: Mapping[str, Scored]) -> Judged:
    valid = np.logical_and.reduce([one.valid[k] for one in found.values()])
    judged = judged_cells(place, {name: -np.log10(one.p[k]) for name, one in found.items()}, valid)
    if not judged.labels.any():
        raise DataError(
            f"expected events that cover a cell at their onset, found none, with seed {place.seed}"
        )
    return judged


def _all(
    pooled: Judged,
    judged: Sequence[Judged],
    found: Mapping[str, Scored],
    places: Sequence[Scene],
    base: str,
    resamples: int,
) -> Table:
    figures = _figures(pooled, judged, base, resamples)
    quiet = range(len(judged), len(places))
    rows = []
    for name, one in found.items():
        shares = [_share(one, quiet, level, resamples) for level in LEVELS]
        costs = (one.encode.seconds / len(places), one.detect.seconds / len(places))
        memory = round(max(one.encode.memory_mb, one.detect.memory_mb))
        rows.append((name, *figures[name], *shares, *costs, memory))
    return Table(
        title="All rows",
        note="Pooled over places by -log10 p, p calibrated on each place's own history; means over places "
        "beside them; share of judged cells of the places without events with p under a level; CPU seconds a "
        "place to encode, and to learn and score; peak memory of the row's processes, libraries included.",
        columns=(
            "row", *_COLUMNS, *(f"p < {level:g}" for level in LEVELS), "encode, s", "detect, s", "MB",
        ),
        rows=tuple(rows),
        signed=frozenset({_COLUMNS[3]}),
    )  # fmt: skip


_COLUMNS = ("ROC-AUC", "AP", "recall at 1e-3", f"AP less that of {BASE}", "mean AUC", "mean AP")


def _figures(
    pooled: Judged, judged: Sequence[Judged], base: str, resamples: int
) -> dict[str, tuple[Cell, ...]]:
    """Row -> the cells of `_COLUMNS`."""
    from sarcast.evaluate.bootstrap import event_bootstrap, paired_difference
    from sarcast.evaluate.curves import average_precision, recall_at_false_alarms, roc_auc

    every = {"auc": roc_auc, "ap": average_precision, "recall": recall_at_false_alarms}
    cells = pooled.labels, pooled.events
    found: dict[str, tuple[Cell, ...]] = {}
    for name, surprise in pooled.surprise.items():
        own = event_bootstrap(
            surprise, *cells, statistics=every, block_ids=pooled.blocks, draws=resamples, seed=0
        )
        less: Estimate | None = None
        if name != base:
            less = paired_difference(
                surprise, pooled.surprise[base], *cells, statistics={"ap": average_precision},
                block_ids=pooled.blocks, draws=resamples, seed=0,
            )["ap"]  # fmt: skip
        each = [
            (roc_auc(s.surprise[name], s.labels), average_precision(s.surprise[name], s.labels))
            for s in judged
        ]
        found[name] = (own["auc"], own["ap"], own["recall"], less, *(float(v) for v in np.mean(each, axis=0)))
    return found


def _share(one: Scored, quiet: Sequence[int], level: float, resamples: int) -> Estimate:
    from sarcast.evaluate.false_alarms import share_below

    p, valid = ([part[k][one.judge[k]] for k in quiet] for part in (one.p, one.valid))
    return share_below(p, valid, below=level, draws=resamples, seed=0)


def _texture(judged: Sequence[Judged], base: str, resamples: int) -> Table:
    alone = [one for one in (scene.only({"texture"}) for scene in judged) if one.labels.any()]
    pooled = pool(alone)
    figures = _figures(pooled, alone, base, resamples)
    return Table(
        title=f"Texture-only events alone ({len(np.unique(pooled.events[pooled.labels]))})",
        columns=("row", *_COLUMNS),
        rows=tuple((name, *cells) for name, cells in figures.items()),
        signed=frozenset({_COLUMNS[3]}),
    )


def _kinds(pooled: Judged) -> Table:
    from sarcast.evaluate.curves import recall_at_false_alarms, roc_auc

    parts = {kind: pooled.only({kind}) for kind in sorted(set(pooled.kinds))}
    parts = {kind: one for kind, one in parts.items() if one.labels.any()}
    rows = [
        (
            name,
            *(
                f"{roc_auc(one.surprise[name], one.labels):.2f} / "
                f"{recall_at_false_alarms(one.surprise[name], one.labels):.2f}"
                for one in parts.values()
            ),
        )
        for name in pooled.surprise
    ]
    heads = [f"{kind} ({len(np.unique(one.events[one.labels]))})" for kind, one in parts.items()]
    return Table(title="By kind: ROC-AUC / recall at 1e-3", columns=("row", *heads), rows=tuple(rows))


def _about(
    told: SimulatedPlaces, places: Sequence[Scene], seeds: Sequence[int], resamples: int, pooled: Judged
) -> tuple[str, ...]:
    shown = "; ".join(
        f"{p.settings.kind} {p.settings.shape[0]} px, {p.settings.look_side}, {p.settings.orbit_direction}, "
        f"{p.settings.incidence_deg:g} degrees, {p.settings.clutter} clutter (seed {p.seed})"
        for p in places
    )
    events = len(np.unique(pooled.events[pooled.labels]))
    return (
        f"Places: {shown}; {told.dates} dates, history the first half. {events} events, "
        f"{int(pooled.labels.sum())} positive of {len(pooled.labels):,} judged cells; beside each place one "
        f"without events (seeds {[s + APART for s in seeds]}). {resamples} resamples (seed 0) of events and "
        "of blocks of 8 x 8 cells.",
        "Positive: a cell at least half of which an event covers, at the date of its onset; negative: a cell "
        "no event has touched. Rows are judged on the cells that all of them score.",
    )
