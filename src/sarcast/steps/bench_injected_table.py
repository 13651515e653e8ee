"""The report of the bench of injected changes: all rows on the same pixels, and how it was done."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sarcast.errors import DataError
from sarcast.runtime.progress import progress
from sarcast.steps.bench_injected import LEVELS, Z_LEVELS, Injected, Judged, judge_apart, places, truth
from sarcast.steps.bench_rows import AGAINST, BASELINE, FAST, INJECTED, Z_ROWS, choose, missing
from sarcast.steps.bench_table import Cell, Report, Table

if TYPE_CHECKING:
    from sarcast.evaluate.injected import Chips, Drawn
    from sarcast.steps.bench import Bench
    from sarcast.steps.bench_injected import Place

LOG = logging.getLogger("sarcast.bench")
_AUC, _AP = "mean AUC", "mean AP"
_QUICK = {"draws": 1}


def report(settings: Bench) -> Report:
    """Run every row and judge them together.

    Raises:
        DataError: No pixel has a score of every row.
    """
    assert settings.source is not None
    told = settings.injected.model_copy(update=_QUICK if settings.quick else {})
    seeds = settings.seeds or (0,)
    resamples = 100 if settings.quick else settings.resamples
    rows = choose(settings.rows, default=FAST if settings.quick else INJECTED)
    names = list(dict.fromkeys([*rows, BASELINE]))
    there = places(settings.source, told)
    found: dict[str, Judged] = {}
    with progress("rows", len(names)) as advance:
        for name, judged in judge_apart(names, settings.source, told, seeds=seeds, jobs=settings.jobs):
            found[name] = judged
            LOG.info("%s: %.1f s a stack", name, judged.learn_seconds)
            advance()
    valid = np.logical_and.reduce([judged.valid for judged in found.values()])
    if not valid.any():
        raise DataError(f"expected pixels that all rows score, found none: {', '.join(names)}")
    chips = truth(there, told, seeds=seeds)
    drawn = _drawn(chips, valid, found, told, resamples)
    tables = [
        _summary(found, drawn, told, stacks=len(there), resamples=resamples),
        *(_change(change, drawn[change], resamples) for change in told.changes),
        *(_against(other, drawn) for other in AGAINST if other in found),
        _by_place(chips, valid, found, there, told),
    ]
    about = (
        *_about(told, there, seeds, resamples, int(valid.sum()), chips),
        *missing(),
    )
    return Report(title="Changes injected into real stacks", about=about, tables=tuple(tables))


def _drawn(
    chips: Chips, valid: np.ndarray, found: Mapping[str, Judged], told: Injected, resamples: int
) -> dict[str, dict[str, Drawn]]:
    """Change -> row -> figures, on the pixels all rows score."""
    from sarcast.evaluate.injected import figures

    kept = chips.kept(valid)
    return {
        change: figures(
            kept,
            {name: (one.scores[c][valid], one.surprise[c][valid]) for name, one in found.items()},
            draws=resamples,
            seed=0,
        )
        for c, change in enumerate(told.changes)
    }


def _summary(
    found: Mapping[str, Judged],
    drawn: Mapping[str, Mapping[str, Drawn]],
    told: Injected,
    *,
    stacks: int,
    resamples: int,
) -> Table:
    from sarcast.evaluate.false_alarms import share_below
    from sarcast.evaluate.injected import FIGURES

    auc, ap = FIGURES.index(_AUC), FIGURES.index(_AP)
    rows = []
    for name, one in found.items():
        quiet = one.quiet[:stacks]
        p = [10.0 ** -m.surprise.astype(np.float64) for m in quiet]
        cells: list[Cell] = [name]
        cells += [f"{drawn[c][name].value[auc]:.3f} / {drawn[c][name].value[ap]:.3f}" for c in told.changes]
        shown = {"cells": told.block, "draws": resamples, "seed": 0}
        cells += [share_below(p, [m.valid for m in quiet], below=level, **shown) for level in LEVELS]
        for z in Z_LEVELS:
            over = [(m.values > z)[m.valid] for m in quiet]
            cells.append(f"{np.concatenate(over).mean():.2%}" if name in Z_ROWS else None)
        rows.append((*cells, one.learn_seconds, one.judge_seconds, round(one.memory_mb)))
    return Table(
        title="All rows",
        note="Mean over chips of ROC-AUC / average precision; share of pixels of the unchanged judged date "
        "with p or z beyond a level; CPU seconds a stack to learn and a date to judge; peak memory of the "
        "row's process, libraries included.",
        columns=(
            "row", *told.changes, *(f"p < {level:g}" for level in LEVELS), *(f"z > {z:g}" for z in Z_LEVELS),
            "learn, s", "judge, s", "MB",
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _change(change: str, drawn: Mapping[str, Drawn], resamples: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, one in drawn.items():
        own = one.estimates(seed=0)
        less = one.less(drawn[BASELINE]).estimates(seed=0)
        paired = (None, None) if name == BASELINE else (less[_AUC], less[_AP])
        rows.append((name, own[_AUC], own[_AP], *paired, own["pooled AUC"], own["pooled AP"]))
    columns = (
        "row", _AUC, _AP, "AUC less the baseline's", "AP less the baseline's", "pooled AUC", "pooled AP",
    )  # fmt: skip
    return Table(
        title=change,
        note=f"95 % intervals of {resamples} resamples; the baseline is `{BASELINE}`.",
        columns=columns,
        rows=tuple(rows),
        signed=frozenset(columns[3:5]),
    )


def _against(other: str, drawn: Mapping[str, Mapping[str, Drawn]]) -> Table:
    """What every row is worth beside another that is hard to beat, on the same resamples."""
    rows: list[tuple[Cell, ...]] = []
    for name in next(iter(drawn.values())):
        if name == other:
            continue
        less = [one[name].less(one[other]).estimates(seed=0) for one in drawn.values()]
        rows.append((name, *(estimate[figure] for estimate in less for figure in (_AUC, _AP))))
    columns = tuple(f"{change}: {figure}" for change in drawn for figure in ("AUC", "AP"))
    return Table(
        title=f"Less {other}",
        note="Differences of means over chips, 95 % intervals.",
        columns=("row", *columns),
        rows=tuple(rows),
        signed=frozenset(columns),
    )


def _by_place(
    chips: Chips, valid: np.ndarray, found: Mapping[str, Judged], there: Sequence[Place], told: Injected
) -> Table:
    """AUC / AP of the weakest change in each place: what the means hide."""
    weakest = min(told.levels_db, key=lambda level: (abs(level), level))
    at = told.levels_db.index(weakest)
    rows = [
        (name, *(_in_place(chips, one.scores[at], valid, place) for place in range(len(there))))
        for name, one in found.items()
    ]
    return Table(
        title=f"{weakest:+g} dB by place",
        note="Mean over chips of ROC-AUC / average precision.",
        columns=("row", *(place.stack.name for place in there)),
        rows=tuple(rows),
    )


def _in_place(chips: Chips, scores: np.ndarray, valid: np.ndarray, place: int) -> str:
    from sarcast.evaluate.curves import average_precision, roc_auc

    each = []
    for chip in np.flatnonzero(chips.place == place):
        index = np.flatnonzero((chips.chip == chip) & valid)
        labels = chips.event[index] >= 0
        each.append((roc_auc(scores[index], labels), average_precision(scores[index], labels)))
    auc, ap = np.mean(each, axis=0)
    return f"{auc:.3f} / {ap:.3f}"


def _about(
    told: Injected, there: Sequence[Place], seeds: Sequence[int], resamples: int, pixels: int, chips: Chips
) -> tuple[str, ...]:
    dates = sorted({np.datetime_as_string(place.stack.times.time[-1], "D") for place in there})
    share = (chips.event >= 0).mean()
    return (
        f"Stacks {', '.join(place.stack.name for place in there)}; judged date {', '.join(dates)}; history "
        f"the {told.references} dates before a gap of {told.gap_days} days. {len(chips.place)} chips "
        f"({told.draws} draws of ellipses a stack and seed; seeds {list(seeds)}), "
        f"{int(chips.event.max()) + 1} ellipses on {share:.1%} of {len(chips.event):,} pixels, {pixels:,} "
        f"judged. Rougher: gamma texture of variation {told.texture:g} over {told.texture_px:g} px; "
        f"smoother: means over {told.smooth_px} px. {resamples} resamples, blocks of {told.block} px.",
        "Changes are made in linear power, all bands alike, in a copy of the judged date, before any filter; "
        "changes of texture keep the mean power of every ellipse. All rows are judged on the pixels that all "
        "of them score; coarser cells are spread to their pixels.",
        "Intervals resample ellipses within their chip and blocks of negatives within their place: they say "
        "how sure a figure is on these places and this date, not on others. Pooled figures compare -log10 p, "
        "p calibrated on each stack's own history.",
    )
