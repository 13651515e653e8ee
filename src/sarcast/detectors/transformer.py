"""The temporal forecaster of T-SAR-JEPA's second stage (arXiv 2606.05700), on any features.

A cell's last K acquisitions, each with its features and its real days before the target, go through a small
transformer that predicts the target's features: the context mean plus a correction that starts at zero.
Score = L2 norm of the forecast error. Unlike the published code, days are real and absolute, normalised the
same way in training and scoring; the horizon to the target is known, and the target's frame-wide state and
geometry; features are deviations from the cell's own history, centred on the cells that behaved alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sarcast.detectors.forecasting import Attentive

if TYPE_CHECKING:
    from torch import nn


class Transformer(Attentive):
    """Forecast a cell's next features from its last K; the error is the score."""

    detector: ClassVar[str] = "transformer"

    def network(self, dim: int, *, geometry: int, seed: int) -> nn.Module:
        """Attention over the context and what is known of the target."""
        from sarcast.nn.forecaster import Forecaster

        return Forecaster(
            dim,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            encoding=self.time_encoding,
            geometry=geometry,
            seed=seed,
        )
