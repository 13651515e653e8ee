"""GRU: the error of a gated recurrent forecast from a cell's last acquisitions (Cho et al., 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sarcast.detectors.forecasting import Forecasting

if TYPE_CHECKING:
    from torch import nn


class GRU(Forecasting):
    """Forecast a cell's next features by a GRU over its last K; the error is the score."""

    detector: ClassVar[str] = "gru"

    layers: int = Field(1, ge=1)
    """GRU layers, one on the other."""

    def network(self, dim: int, *, geometry: int, seed: int) -> nn.Module:
        """A recurrence over the valid acquisitions and what is known of the target."""
        from sarcast.nn.recurrent import Recurrent

        return Recurrent(
            dim,
            cell="gru",
            width=self.width,
            layers=self.layers,
            encoding=self.time_encoding,
            geometry=geometry,
            seed=seed,
        )
