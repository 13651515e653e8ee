"""Which dates are history, learned from, and which come later and are judged."""

from __future__ import annotations

import numpy as np

from sarcast.errors import DataError
from sarcast.values import Split


def history_cutoff(times: np.ndarray, *, context: int = 7) -> np.datetime64:
    """Time of history's last date: the first half of the dates, at least `context` + 3.

    Args:
        times: datetime64[ns] (time,), ascending.
        context: Dates a forecast looks back.

    Raises:
        DataError: Fewer than `context` + 4 dates, so that none would be left to judge.
    """
    least = context + 3
    if len(times) < least + 1:
        raise DataError(
            f"expected at least {least + 1} dates ({least} of history and one to judge), found {len(times)}"
        )
    return np.datetime64(times[max(len(times) // 2, least) - 1], "ns")


def split_history(
    times: np.ndarray,
    usable: np.ndarray,
    *,
    cutoff: np.datetime64 | None = None,
    context: int = 7,
    gap_days: int = 0,
) -> Split:
    """Split dates into history (`fit`) and what is judged (`judge`).

    `fit` is the usable dates up to the cut-off, or all of them when fewer than `context` + 1 are usable.
    `judge` is every later date, usable or not: whether one raises events is decided at detection.

    Args:
        times: datetime64[ns] (time,), ascending.
        usable: bool (time,): passed its quality checks.
        cutoff: Time of history's last date; `history_cutoff` when None.
        context: Dates a forecast looks back.
        gap_days: Days after the cut-off whose dates are neither learned from nor judged.

    Raises:
        DataError: Too few dates, or a cut-off that leaves less than `context` + 3 before or none after it.
    """
    if cutoff is None:
        cutoff = history_cutoff(times, context=context)
    history = times <= cutoff
    judge = times > cutoff + np.timedelta64(gap_days, "D")
    if history.sum() < context + 3 or not judge.any():
        raise DataError(
            f"expected at least {context + 3} dates up to {np.datetime_as_string(cutoff, 'D')} and one "
            f"to judge after it{f' and {gap_days} days' if gap_days else ''}, found {int(history.sum())} and "
            f"{int(judge.sum())}"
        )
    fit = history & usable
    return Split(fit=fit if fit.sum() > context else history, judge=judge)
