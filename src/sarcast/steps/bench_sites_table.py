"""The report of the bench of labelled sites."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from sarcast.steps.bench_sites import DETECTORS_DEFAULT, PLAIN, RowScores, Series, Sites, read_sites, score
from sarcast.steps.bench_table import Cell, Report, Table
from sarcast.steps.bench_work import peak_memory_mb

if TYPE_CHECKING:
    from sarcast.steps.bench import Bench


def report(settings: Bench) -> Report:
    """Read the series, run every row, and judge.

    Raises:
        ProductError: The source is no folder of labelled series.
        DataError: Nothing usable.
    """
    assert settings.source is not None
    told = settings.sites
    resamples = 100 if settings.quick else settings.resamples
    seed = settings.seeds[0] if settings.seeds else 0
    series = read_sites(settings.source, told)
    rows = []
    for name in settings.rows or (*PLAIN, *DETECTORS_DEFAULT):
        started = time.process_time()
        found = score(name, series, told, seed=seed)
        seconds = time.process_time() - started
        rows.append((name, *_cells(found, series, told, resamples), seconds, round(peak_memory_mb())))
    table = Table(
        title="All rows",
        note=f"AUC: series that changed against the others, by the mean and by the largest score of the "
        f"judged dates. Alarm: p < {told.level:g}, p calibrated on the history of all series. Seen: share of "
        "changed series with an alarm between the last look without change and "
        f"{told.within_days:g} days after the first look with it; delay of those, days. False: alarms on the "
        "judged dates of unchanged series, and share of those series with any. CPU seconds; memory of the "
        "process so far.",
        columns=(
            "row", "AUC, mean", "AUC, largest", "seen", "median delay, days", "false, dates", "false, series",
            "seconds", "MB",
        ),
        rows=tuple(rows),
    )  # fmt: skip
    return Report(title="Labelled sites", about=_about(series, told, resamples, seed), tables=(table,))


def _cells(found: RowScores, series: Series, told: Sites, resamples: int) -> tuple[Cell, ...]:
    from sarcast.evaluate.bootstrap import block_bootstrap
    from sarcast.evaluate.site_scores import delays, site_auc

    drawn = {"draws": resamples, "seed": 0}
    first: list[Cell] = [
        None if one is None else site_auc(one, series.changed, series.site, **drawn)
        for one in (found.typical, found.largest)
    ]
    if found.p is None:
        return (*first, None, None, None, None)
    alarm = (found.p < told.level) & series.split.judge[:, None]
    some = np.flatnonzero(series.changed)
    late = delays(
        alarm[:, some], series.features.times.time, [series.clear[k] for k in some],
        [series.first[k] for k in some], series.site[some], within_days=told.within_days,
    )  # fmt: skip
    rest = np.flatnonzero(~series.changed)
    dates = series.valid[:, rest] & series.split.judge[:, None]
    sites = np.broadcast_to(series.site[rest], dates.shape)
    return (
        *first,
        late.share_seen(**drawn),
        late.median(**drawn),
        block_bootstrap(alarm[:, rest][dates], sites[dates], resampled="site", draws=resamples, seed=0),
        block_bootstrap(alarm[:, rest].any(0), series.site[rest], resampled="site", draws=resamples, seed=0),
    )


def _about(series: Series, told: Sites, resamples: int, seed: int) -> tuple[str, ...]:
    changed = series.changed
    fit, judge = (int(at.sum()) for at in (series.split.fit, series.split.judge))
    return (
        f"{len(changed)} series of {len(np.unique(series.site))} sites, {int(changed.sum())} changed and "
        f"{int((~changed).sum())} not, by optical labels: not every change is seen by C-band. Mean power of "
        f"3 x 3 pixels in bins of {told.bin_days} days; history {fit} bins to {told.history_end}, {judge} "
        f"judged. {resamples} resamples of sites, seed {seed}.",
        "The series are cells of one frame without places: no surroundings, and no cells alike are looked "
        "for (neighbours 0); detectors that take off what the frame did take off the median over all sites.",
    )
