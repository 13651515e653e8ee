"""TCN: the error of a forecast by dilated causal convolutions over a cell's last acquisitions.

Bai, Kolter and Koltun (2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sarcast.detectors.forecasting import Forecasting

if TYPE_CHECKING:
    from torch import nn


class TCN(Forecasting):
    """Forecast a cell's next features by convolutions over its last K; the error is the score."""

    detector: ClassVar[str] = "tcn"

    layers: int | None = Field(None, ge=1)
    """Layers, each looking back twice as far as the one before. When not given, as few as see the whole
    context."""

    def network(self, dim: int, *, geometry: int, seed: int) -> nn.Module:
        """Convolutions over the valid acquisitions and what is known of the target."""
        from sarcast.nn.convolution import Convolutional, layers_to_see

        return Convolutional(
            dim,
            width=self.width,
            layers=self.layers or layers_to_see(self.context + 1),
            encoding=self.time_encoding,
            geometry=geometry,
            seed=seed,
        )
