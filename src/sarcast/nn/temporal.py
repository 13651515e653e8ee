"""The temporal predictor of T-SAR-JEPA: from the last K vectors of a place to the next (arXiv 2606.05700)."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sarcast.nn.attention import initialise
from sarcast.nn.linear import Linear
from sarcast.nn.sequence import Layer
from sarcast.nn.time_encoding import time_encoding


class TemporalPredictor(nn.Module):
    """Pre-norm transformer over the context with its times, mean over the sequence, LayerNorm, linear map.

    There is no causal mask: every context date sees every other. The paper's size is 768 wide, 4 layers,
    8 heads, feed-forward 2048, dropout 0.1. Dropout draws from torch's global generator, so it is off unless
    asked for.
    """

    def __init__(
        self,
        *,
        dim: int = 768,
        layers: int = 4,
        heads: int = 8,
        feedforward: int = 2048,
        encoding: str = "sinusoidal",
        dropout: float = 0.0,
        rng: torch.Generator,
    ) -> None:
        """Weights drawn from `rng`.

        Raises:
            SettingsError: No such time encoding.
        """
        super().__init__()
        self.time_enc = time_encoding(encoding, dim)
        self.layers = nn.ModuleList(Layer(dim, heads, feedforward, dropout) for _ in range(layers))
        self.out_norm = nn.LayerNorm(dim)
        self.out_proj = Linear(dim, dim)
        initialise(self, rng=rng)

    def forward(
        self, context: Float[Tensor, "b t dim"], times: Float[Tensor, "b t"]
    ) -> Float[Tensor, "b dim"]:
        """The next vector, from `t` vectors and their times (any unit, the same in training and use)."""
        x = context + self.time_enc(times)
        for layer in self.layers:
            x = layer(x)
        return self.out_proj(self.out_norm(x.mean(1)))

    def attention(
        self, context: Float[Tensor, "b t dim"], times: Float[Tensor, "b t"]
    ) -> Float[Tensor, "b head t t"]:
        """Attention map of the last layer (rows sum to 1 without dropout)."""
        x = context + self.time_enc(times)
        for layer in self.layers[:-1]:
            x = layer(x)
        last = cast(Layer, self.layers[-1])
        return last.self_attn.maps(last.norm1(x))
