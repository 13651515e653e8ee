"""LSTM: the error of a recurrent forecast from a cell's last acquisitions.

Hochreiter and Schmidhuber (1997).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sarcast.detectors.forecasting import Forecasting

if TYPE_CHECKING:
    from torch import nn


class LSTM(Forecasting):
    """Forecast a cell's next features by an LSTM over its last K; the error is the score."""

    detector: ClassVar[str] = "lstm"

    layers: int = Field(1, ge=1)
    """LSTM layers, one on the other."""

    def network(self, dim: int, *, geometry: int, seed: int) -> nn.Module:
        """A recurrence over the valid acquisitions and what is known of the target."""
        from sarcast.nn.recurrent import Recurrent

        return Recurrent(
            dim,
            cell="lstm",
            width=self.width,
            layers=self.layers,
            encoding=self.time_encoding,
            geometry=geometry,
            seed=seed,
        )
