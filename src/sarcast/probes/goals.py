"""What is to be learned of chips: a class or a number, of each chip or of each of its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sarcast.errors import DataError, ShapeError


@dataclass(frozen=True, kw_only=True, eq=False)
class Goal:
    """Labels of chips, and where there are any."""

    labels: np.ndarray
    """int64 or float32 (chip,), or (chip, y, x); anything where not known."""
    known: np.ndarray
    """bool, of that shape."""
    classes: int
    """How many there are; 0: labels are numbers."""

    def __post_init__(self) -> None:
        if self.labels.shape != self.known.shape or self.labels.ndim not in (1, 3):
            raise ShapeError(
                f"expected labels (chip,) or (chip, y, x), and which are known, found {self.labels.shape} "
                f"and {self.known.shape}"
            )

    @property
    def dense(self) -> bool:
        """Whether pixels have labels."""
        return self.labels.ndim == 3

    @property
    def outputs(self) -> int:
        """Numbers a network says of each: the classes' logits, or the number."""
        return self.classes or 1

    def __getitem__(self, some: np.ndarray) -> Goal:
        return Goal(labels=self.labels[some], known=self.known[some], classes=self.classes)

    def with_labels(self) -> np.ndarray:
        """Numbers of the chips that have a label, or a pixel with one.

        Raises:
            DataError: None has.
        """
        some = np.flatnonzero(self.known.reshape(len(self.known), -1).any(1))
        if len(some) == 0:
            raise DataError(f"expected labels in the {len(self.known)} labelled chips, found none")
        return some

    def scale(self) -> tuple[float, float]:
        """Mean and spread of known numbers, which a network learns them by; 0 and 1 of classes."""
        if self.classes:
            return 0.0, 1.0
        found = self.labels[self.known].astype(np.float64)
        return float(found.mean()), float(found.std()) or 1.0
