"""History is the first half of the dates, at least the context and three more; what is judged comes later."""

from __future__ import annotations

import numpy as np
import pytest

from sarcast.errors import DataError
from sarcast.stack.split import history_cutoff, split_history


def _times(n: int) -> np.ndarray:
    return np.datetime64("2024-01-01", "ns") + 12 * np.arange(n) * np.timedelta64(1, "D")


@pytest.mark.parametrize(("n", "history"), [(11, 10), (19, 10), (22, 11), (23, 11), (40, 20)])
def test_first_half_but_ten(n, history):
    split = split_history(_times(n), np.ones(n, bool))
    assert split.fit.sum() == history and split.judge.sum() == n - history
    assert history_cutoff(_times(n)) == _times(n)[history - 1]


def test_flagged_history_is_not_learned_from_and_later_dates_are_all_judged():
    usable = np.ones(22, bool)
    usable[[2, 15]] = False
    split = split_history(_times(22), usable)
    assert not split.fit[2] and split.fit.sum() == 10
    assert split.judge[15] and split.judge.sum() == 11


def test_all_of_history_when_too_little_is_usable():
    split = split_history(_times(22), np.arange(22) >= 5)
    assert split.fit.sum() == 11


def test_a_stored_cutoff_does_not_move_and_a_gap_is_left_out():
    cutoff = _times(30)[10]
    split = split_history(_times(30), np.ones(30, bool), cutoff=cutoff, gap_days=24)
    assert split.fit.sum() == 11 and split.judge.sum() == 17
    assert not (split.fit | split.judge)[11:13].any() and split.judge[13]


@pytest.mark.parametrize("n", [0, 5, 10])
def test_too_few_dates(n):
    with pytest.raises(DataError, match="at least 11 dates"):
        split_history(_times(n), np.ones(n, bool))


def test_a_late_date_within_the_gap_moves_nothing():
    """Days, not dates: another acquisition after the cut-off does not change which ones are judged."""
    times = _times(30)
    late = np.sort(np.append(times, times[10] + np.timedelta64(5, "D")))
    few, more = (
        split_history(t, np.ones(len(t), bool), cutoff=times[10], gap_days=24) for t in (times, late)
    )
    assert set(times[few.judge]) == set(late[more.judge])
    with pytest.raises(DataError, match="one to judge after it and 999 days, found 11 and 0"):
        split_history(times, np.ones(30, bool), cutoff=times[10], gap_days=999)


def test_a_cutoff_that_leaves_nothing():
    for at in (3, 29):
        with pytest.raises(DataError):
            split_history(_times(30), np.ones(30, bool), cutoff=_times(30)[at])
