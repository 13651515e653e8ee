"""The forecaster that knows who looks, and how: platform, incidence, look side and direction as a token.

A place looks otherwise from another satellite or angle. What one of them always sees is explained here, where
the plain forecaster takes it for a change. Only platforms of history are told apart; unknown ones are legal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sarcast.detectors.forecasting import Attentive

if TYPE_CHECKING:
    from torch import nn


class GeometryTransformer(Attentive):
    """Forecast a cell's next features from its last K and the geometry of each; the error is the score."""

    detector: ClassVar[str] = "geometry_transformer"
    sees_platforms: ClassVar[bool] = True

    def network(self, dim: int, *, geometry: int, seed: int) -> nn.Module:
        """Attention over the context, the target's geometry, and what else is known of the target."""
        from sarcast.nn.geometry_forecaster import GeometryForecaster

        return GeometryForecaster(
            dim,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            encoding=self.time_encoding,
            geometry=geometry,
            seed=seed,
        )
