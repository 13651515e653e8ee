"""Labelled series: did this place change, and how soon after it was it seen? Sites are resampled.

Series of one site are not independent, so sites are drawn, with all their series; those that changed and
those that did not by themselves, since their numbers are the study's choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sarcast.errors import DataError, ShapeError
from sarcast.evaluate.bootstrap import block_bootstrap
from sarcast.evaluate.grouped import GroupedCurve
from sarcast.values import Estimate

_LEAST = 3


def mean_shift(level: np.ndarray, valid: np.ndarray, fit: np.ndarray, judge: np.ndarray) -> np.ndarray:
    """|mean level later - mean level in history| in dB, the larger of the bands.

    Args:
        level: (time, series, band), dB.
        valid: bool (time, series).
        fit: bool (time,): history.
        judge: bool (time,): later dates.

    Returns:
        float64 (series,).
    """
    before, after = (_mean(level[at], valid[at]) for at in (fit, judge))
    return np.asarray(np.abs(after - before).max(-1))


def variation(level: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Coefficient of variation of amplitude over all dates, the larger of the bands: float64 (series,)."""
    amplitude = 10 ** (level / 20)
    mean = _mean(amplitude, valid)
    return np.asarray((np.sqrt(_mean((amplitude - mean) ** 2, valid)) / mean).max(-1))


def anniversary_z(
    level: np.ndarray, valid: np.ndarray, days: np.ndarray, fit: np.ndarray, *, window_days: float
) -> tuple[np.ndarray, np.ndarray]:
    """|z| of every date against history's dates of the same season, itself left out; the larger of the bands.

    Args:
        level: (time, series, band), dB.
        valid: bool (time, series).
        days: (time,), of any origin.
        fit: bool (time,): history.
        window_days: How far in the year, either way, a date is of the same season.

    Returns:
        float64 (time, series), and bool where at least three dates of history are of the season. The standard
        deviation is half the season's and half that of all seasons of the series, in variance.
    """
    apart = np.abs((days[:, None] - days[None, :] + 182.6) % 365.25 - 182.6)
    season = (apart <= window_days) & fit[None, :] & ~np.eye(len(days), dtype=bool)
    z, known = np.zeros(valid.shape), np.zeros(valid.shape, bool)
    spread = np.zeros((len(days), *level.shape[1:]))
    for t in range(len(days)):
        seen = valid & season[t][:, None]
        count = seen.sum(0)
        mean = _mean(level, seen)
        square = ((level - mean) ** 2 * seen[..., None]).sum(0) / np.maximum(count - 1, 1)[:, None]
        known[t] = valid[t] & (count >= _LEAST)
        spread[t] = np.where(known[t][:, None], square, 0)
    usual = (spread * fit[:, None, None]).sum(0) / np.maximum((known & fit[:, None]).sum(0), 1)[:, None]
    for t in range(len(days)):
        mean = _mean(level, valid & season[t][:, None])
        deviation = np.sqrt(np.maximum(0.5 * spread[t] + 0.5 * usual, 1e-12))
        z[t] = np.where(known[t], (np.abs(level[t] - mean) / deviation).max(-1), 0)
    return z, known


@dataclass(frozen=True, kw_only=True, eq=False)
class Delays:
    """When a change was first seen."""

    days: np.ndarray
    """float64 (series that changed,): first alarm after the last look without change, less the day it was
    first seen changed; may be negative; NaN where there is no alarm in time."""
    site: np.ndarray
    """int (series that changed,)."""

    def share_seen(self, *, draws: int, seed: int) -> Estimate:
        """Share of changed series with an alarm in time."""
        return block_bootstrap(
            np.isfinite(self.days), self.site, name="seen", resampled="site", draws=draws, seed=seed
        )

    def median(self, *, draws: int, seed: int) -> Estimate | None:
        """Median delay of those seen; None where none was."""
        seen = np.isfinite(self.days)
        if not seen.any():
            return None
        return block_bootstrap(
            self.days[seen], self.site[seen], name="median delay", statistic=_median, resampled="site",
            draws=draws, seed=seed,
        )  # fmt: skip


def delays(
    alarm: np.ndarray,
    times: np.ndarray,
    clear: Sequence[np.datetime64],
    changed: Sequence[np.datetime64],
    site: np.ndarray,
    *,
    within_days: float,
) -> Delays:
    """Delay of every series that changed.

    Args:
        alarm: bool (time, series), judged dates that raise an alarm.
        times: datetime64[ns] (time,).
        clear: Last look without change, of each series.
        changed: First look with it.
        site: int (series,).
        within_days: Alarms later than this after `changed` are not counted.
    """
    if alarm.shape != (len(times), len(site)) or len(clear) != len(site) != len(changed):
        raise ShapeError(f"expected alarms ({len(times)}, {len(site)}), found {alarm.shape}")
    found = np.full(len(site), np.nan)
    for k, (before, first) in enumerate(zip(clear, changed, strict=True)):
        day = (times - first) / np.timedelta64(1, "D")
        late = day[alarm[:, k] & (times > before) & (day <= within_days)]
        if len(late):
            found[k] = late[0]
    return Delays(days=found, site=site)


def site_auc(scores: np.ndarray, changed: np.ndarray, site: np.ndarray, *, draws: int, seed: int) -> Estimate:
    """ROC-AUC of series, changed against not, with a 95 % interval over sites.

    Args:
        scores: (series,).
        changed: bool (series,).
        site: int (series,).
        draws: Resamples.
        seed: Of the resamples.

    Raises:
        DataError: None or all changed, or a score that is not finite.
    """
    if not changed.any() or changed.all():
        raise DataError(
            f"expected series that changed and others, found {int(changed.sum())} of {len(changed)}"
        )
    groups = [np.unique(site[flag], return_inverse=True)[1] for flag in (changed, ~changed)]
    events, blocks = np.zeros((2, len(site)), int)
    events[changed], blocks[~changed] = groups
    count = [int(group.max()) + 1 for group in groups]
    rng = np.random.default_rng(seed)
    drawn = [np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=draws)]) for n in count]
    auc, _ = GroupedCurve.of(scores, changed, events, blocks, groups=(count[0], count[1])).figures(*drawn)
    low, high = np.quantile(auc[1:], [0.025, 0.975])
    return Estimate(
        name="ROC-AUC", value=float(auc[0]), low=float(low), high=float(high), n=sum(count), resampled="site",
        seed=seed,
    )  # fmt: skip


def _mean(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Mean over valid times, (series, band)."""
    return np.asarray((values * valid[..., None]).sum(0) / np.maximum(valid.sum(0), 1)[:, None])


def _median(values: np.ndarray) -> float:
    return float(np.median(values))
