"""The network of the temporal forecaster: a place's last K vectors, with their days, become its next one.

After T-SAR-JEPA (arXiv 2606.05700), with real days before the target instead of a window scaled to [0, 1],
the target's horizon and frame-wide state known, and the context mean to start from.
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sarcast.nn.linear import Linear
from sarcast.nn.sequence import Layer
from sarcast.nn.time_encoding import time_encoding
from sarcast.nn.tokens import DAYS, context_mean, drawn_from


class Forecaster(nn.Module):
    """Context (K acquisitions) and what is known of the target -> the target's features.

    Prediction = mean of the valid context + a correction whose last layer starts at zero: an untrained
    forecaster is the context mean.
    """

    def __init__(
        self, dim: int, *, width: int, layers: int, heads: int, encoding: str, geometry: int = 0, seed: int
    ) -> None:
        """`geometry` values are known of every acquisition; parameters are drawn from `seed`."""
        super().__init__()
        with drawn_from(seed):
            self.embed = Linear(2 * dim + geometry, width)
            self.target = Linear(dim + geometry, width)
            self.time = time_encoding(encoding, width)
            drawn = nn.TransformerEncoderLayer(width, heads, 4 * width, batch_first=True, norm_first=True)
            self.blocks = nn.ModuleDict(
                {"layers": nn.ModuleList(Layer(width, heads, 4 * width) for _ in range(layers))}
            )
            self.norm = nn.LayerNorm(width)
            self.correction = Linear(width, dim)
        for layer in self._layers:
            layer.load_state_dict(drawn.state_dict())
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def forward(
        self,
        values: Float[Tensor, "b k dim"],
        valid: Bool[Tensor, "b k"],
        frame: Float[Tensor, "b k1 dim"],
        days: Float[Tensor, "b k"],
        geometry: Float[Tensor, "b k1 g"],
    ) -> Float[Tensor, "b dim"]:
        """Forecast.

        Args:
            values: Normalised features of the context, 0 where not valid.
            valid: Which acquisitions of the context the cell was seen on; at least one.
            frame: Frame-wide state of the context and, last, of the target (k1 = k + 1).
            days: Days from each acquisition to the target.
            geometry: Of the context and, last, of the target.
        """
        return self.head(self.state(values, valid, frame, days, geometry), values, valid)

    def state(
        self,
        values: Float[Tensor, "b k dim"],
        valid: Bool[Tensor, "b k"],
        frame: Float[Tensor, "b k1 dim"],
        days: Float[Tensor, "b k"],
        geometry: Float[Tensor, "b k1 g"],
    ) -> Float[Tensor, "b width"]:
        """What is made of the context and of what is known of the target."""
        context = self.embed(torch.cat([values, frame[:, :-1], geometry[:, :-1]], -1))
        context = context + self.time(days / DAYS)
        query = self.target(torch.cat([frame[:, -1], geometry[:, -1]], -1))[:, None]
        hidden = torch.cat([~valid, torch.zeros_like(valid[:, :1])], 1)
        state = torch.cat([context, query], 1)
        for layer in self._layers:
            state = layer(state, hidden)
        return state[:, -1]

    def head(
        self,
        state: Float[Tensor, "b width"],
        values: Float[Tensor, "b k dim"],
        valid: Bool[Tensor, "b k"],
    ) -> Float[Tensor, "b dim"]:
        """The forecast that goes with a state."""
        return context_mean(values, valid) + self.correction(self.norm(state))

    @property
    def _layers(self) -> nn.ModuleList:
        return cast(nn.ModuleList, self.blocks["layers"])
