"""What is made of guesses in sarcast probe: counts of each group of the test chips, and figures of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from sarcast.probes.intervals import Measure
from sarcast.probes.measures import class_figures, confusion, number_figures, overlaps, pixel_figures, squares
from sarcast.steps.probe_chips import Role, token_goal


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """The test role's labels."""

    role: Role
    class_names: tuple[str, ...]
    """Empty for numbers."""
    token: int | None
    """Side of a token, pixels; None where chips have one label each."""

    @property
    def parts(self) -> int:
        """Number of groups."""
        return int(self.role.groups.max()) + 1

    @property
    def measure(self) -> Measure:
        """Sums of counts -> figures."""
        if not self.class_names:
            return number_figures
        figures = class_figures if self.token is None else pixel_figures
        return partial(figures, class_names=self.class_names)

    def counts(self, guess: np.ndarray) -> np.ndarray:
        """Counts of each group, (group, count).

        Args:
            guess: For each chip; where pixels have labels, for each pixel (chip, y, x), or for each token of
                all chips in one row, which counts for all its pixels.
        """
        truth, known, group = self.role.goal.labels, self.role.goal.known, self.role.groups
        if guess.ndim < truth.ndim and self.token is not None:
            rows = truth.shape[1] // self.token
            guess = guess.reshape(-1, rows, rows).repeat(self.token, 1).repeat(self.token, 2)
        chip = np.nonzero(known)[0]
        truth, guess, part = truth[known], guess[known], group[chip]
        if not self.class_names:
            return squares(truth, guess, part, parts=self.parts)
        classes = len(self.class_names)
        found = confusion(truth, guess, part, classes=classes, parts=self.parts)
        if self.token is None:
            return found
        own = confusion(truth, guess, chip, classes=classes, parts=len(group))
        return np.concatenate([found, overlaps(own, group, classes=classes, parts=self.parts)], 1)

    def ceiling(self, main: str) -> float | None:
        """The figure `main` of tokens that say what is true of most of their pixels, or of their mean."""
        if self.token is None:
            return None
        counts = self.counts(token_goal(self.role.goal, self.token).labels.ravel())
        return float(self.measure(counts.sum(0))[main])
