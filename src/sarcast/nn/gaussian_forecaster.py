"""A forecaster that says how sure it is: mean and log-variance of every feature (Nix and Weigend, 1994)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sarcast.nn.forecaster import Forecaster
from sarcast.nn.tokens import Correction, drawn_from

_LIMIT = 8.0


class GaussianForecaster(nn.Module):
    """The transformer forecaster with a second head: starts as the context mean with unit variance."""

    def __init__(
        self, dim: int, *, width: int, layers: int, heads: int, encoding: str, geometry: int = 0, seed: int
    ) -> None:
        """`geometry` values are known of every acquisition; parameters are drawn from `seed`."""
        super().__init__()
        self.forecaster = Forecaster(
            dim, width=width, layers=layers, heads=heads, encoding=encoding, geometry=geometry, seed=seed
        )
        with drawn_from(seed):
            self.log_variance = Correction(width, dim)

    def forward(
        self,
        values: Float[Tensor, "b k dim"],
        valid: Bool[Tensor, "b k"],
        frame: Float[Tensor, "b k1 dim"],
        days: Float[Tensor, "b k"],
        geometry: Float[Tensor, "b k1 g"],
    ) -> Float[Tensor, "b 2 dim"]:
        """Mean, then natural logarithm of the variance (within +-8); arguments as in `Forecaster.forward`."""
        state = self.forecaster.state(values, valid, frame, days, geometry)
        spread = _LIMIT * torch.tanh(self.log_variance(state) / _LIMIT)
        return torch.stack([self.forecaster.head(state, values, valid), spread], 1)


def gaussian_nll(predicted: Float[Tensor, "b 2 dim"], target: Float[Tensor, "b dim"]) -> Float[Tensor, ""]:
    """Mean of -log N(target; mean, variance)."""
    mean, spread = predicted.unbind(1)
    square = (target - mean) ** 2 * torch.exp(-spread)
    return (0.5 * (square + spread + math.log(2 * math.pi))).mean()


def student_nll(
    predicted: Float[Tensor, "b 2 dim"], target: Float[Tensor, "b dim"], *, freedom: float
) -> Float[Tensor, ""]:
    """Mean of -log density of Student's t with `freedom` degrees, its squared scale the predicted one."""
    mean, spread = predicted.unbind(1)
    square = (target - mean) ** 2 * torch.exp(-spread)
    constant = math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2) + 0.5 * math.log(freedom * math.pi)
    return (constant + 0.5 * spread + (freedom + 1) / 2 * torch.log1p(square / freedom)).mean()
