"""A transformer forecaster to which the geometry of the target is a token of its own.

A place looks otherwise from another satellite, angle or side. The geometry token holds the target's geometry
(platform, incidence, look side, direction; unknown ones are 0) and how the context's acquisitions of a like
geometry differ from its mean; geometry is also part of every acquisition's own token.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sarcast.nn.linear import Linear
from sarcast.nn.sequence import Layer
from sarcast.nn.tokens import Correction, Tokens, context_mean, drawn_from

_SHARPNESS = 4.0


class GeometryForecaster(nn.Module):
    """Context and what is known of the target -> the context mean plus a correction to it."""

    def __init__(
        self, dim: int, *, width: int, layers: int, heads: int, encoding: str, geometry: int, seed: int
    ) -> None:
        """`geometry` values are known of every acquisition; parameters are drawn from `seed`."""
        super().__init__()
        with drawn_from(seed):
            self.tokens = Tokens(dim, width=width, encoding=encoding, geometry=geometry)
            self.geometry = Linear(geometry + dim, width)
            drawn = nn.TransformerEncoderLayer(width, heads, 4 * width, batch_first=True, norm_first=True)
            self.layers = nn.ModuleList(Layer(width, heads, 4 * width) for _ in range(layers))
            self.correction = Correction(width, dim)
        for layer in self.layers:
            layer.load_state_dict(drawn.state_dict())

    def forward(
        self,
        values: Float[Tensor, "b k dim"],
        valid: Bool[Tensor, "b k"],
        frame: Float[Tensor, "b k1 dim"],
        days: Float[Tensor, "b k"],
        geometry: Float[Tensor, "b k1 g"],
    ) -> Float[Tensor, "b dim"]:
        """Forecast; the arguments are those of `Forecaster.forward`."""
        mean = context_mean(values, valid)
        like = like_geometry(values, valid, geometry) - mean
        token = self.geometry(torch.cat([geometry[:, -1], like], -1))[:, None]
        state = torch.cat([token, self.tokens(values, frame, days, geometry)], 1)
        always = torch.zeros_like(valid[:, :1])
        hidden = torch.cat([always, ~valid, always], 1)
        for layer in self.layers:
            state = layer(state, hidden)
        return mean + self.correction(state[:, -1])


def like_geometry(
    values: Float[Tensor, "b k dim"], valid: Bool[Tensor, "b k"], geometry: Float[Tensor, "b k1 g"]
) -> Float[Tensor, "b dim"]:
    """Mean of the valid acquisitions, each weighted by exp(-4 d^2), d the distance to the target's geometry.

    That is the context mean where all geometries are the same or unknown.
    """
    distance = ((geometry[:, :-1] - geometry[:, -1:]) ** 2).sum(-1)
    nearest = torch.where(valid, distance, torch.inf).amin(1, keepdim=True)
    nearest = torch.where(nearest.isfinite(), nearest, 0)
    weight = torch.exp(-_SHARPNESS * (distance - nearest)) * valid
    total = weight.sum(1, keepdim=True)
    return torch.einsum("bk,bkd->bd", weight, values) / total.clamp(min=1e-6)
