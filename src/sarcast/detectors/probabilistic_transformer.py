"""The forecaster that says how sure it is: mean and variance of every feature, trained by likelihood.

The score is the root mean square over features of |error| / sigma: what is far off where the forecast was
sure counts, what is far off where it was not does not. Starts as the context mean with unit variance.
Nix and Weigend (1994) for the Gaussian; Student's t forgives outliers in history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from sarcast.detectors.forecasting import Attentive

if TYPE_CHECKING:
    from torch import Tensor, nn


class ProbabilisticTransformer(Attentive):
    """Forecast mean and variance of a cell's next features; the calibrated deviation is the score."""

    detector: ClassVar[str] = "probabilistic_transformer"

    likelihood: Literal["gaussian", "student"] = "gaussian"
    """What errors are taken to be distributed as."""
    freedom: float = Field(5.0, gt=2)
    """Degrees of freedom of Student's t."""

    def network(self, dim: int, *, geometry: int, seed: int) -> nn.Module:
        """The transformer with a second head."""
        from sarcast.nn.gaussian_forecaster import GaussianForecaster

        return GaussianForecaster(
            dim,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            encoding=self.time_encoding,
            geometry=geometry,
            seed=seed,
        )

    def loss(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Mean negative log-likelihood."""
        from sarcast.nn.gaussian_forecaster import gaussian_nll, student_nll

        if self.likelihood == "student":
            return student_nll(predicted, target, freedom=self.freedom)
        return gaussian_nll(predicted, target)

    def error(self, value: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Standard deviations (scales of Student's t) from the forecast, (cell, dim)."""
        return (value - predicted[:, 0]) / np.exp(predicted[:, 1] / 2)
