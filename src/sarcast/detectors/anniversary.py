"""History near a date's day of the year, in any year: where the season moves levels more than change does.

The operational DIST-S1 compares a date with those of earlier years around the same day (its anniversary
baseline). Whole history is kept, so that the dates near any later day can be picked when it comes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

YEAR = 365.2425
"""Days."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Past:
    """History as it was."""

    values: np.ndarray
    """float32 (time, cell, dim); 0 where not valid."""
    valid: np.ndarray
    """bool (time, cell)."""
    day: np.ndarray
    """float64 (time,): day of the year, 0 to 365.2425."""

    def near(self, day: float, *, within: int, at_least: int, allowed: np.ndarray) -> np.ndarray:
        """Dates of history near a day of the year.

        Args:
            day: Of the year.
            within: Days before and after, round the turn of the year.
            at_least: Fewer dates than this are too few.
            allowed: bool (time,): dates of history that may be used.

        Returns:
            bool (time,); all that are allowed where too few of them are near.
        """
        apart = np.abs((self.day - day + YEAR / 2) % YEAR - YEAR / 2)
        chosen = allowed & (apart <= within)
        return chosen if chosen.sum() >= at_least else allowed


def day_of_year(time: np.ndarray) -> np.ndarray:
    """Days since the beginning of the year of each time (datetime64), float64 of the same shape."""
    found: np.ndarray = (time - time.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    return found
