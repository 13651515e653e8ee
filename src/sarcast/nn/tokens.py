"""What forecasting networks share: acquisitions as tokens, simple forecasts, corrections that start at 0."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sarcast.nn.linear import Linear
from sarcast.nn.time_encoding import time_encoding

DAYS = 365.0
"""Days before the target are divided by this, in training and in scoring alike."""


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Parameters made inside are drawn from `seed`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class Tokens(nn.Module):
    """One vector for every acquisition of the context, then one for what is known of the target."""

    def __init__(self, dim: int, *, width: int, encoding: str, geometry: int = 0) -> None:
        """`geometry` values are known of every acquisition; `encoding` is that of time."""
        super().__init__()
        self.embed = Linear(2 * dim + geometry, width)
        self.target = Linear(dim + geometry, width)
        self.time = time_encoding(encoding, width)

    def forward(
        self,
        values: Float[Tensor, "b k dim"],
        frame: Float[Tensor, "b k1 dim"],
        days: Float[Tensor, "b k"],
        geometry: Float[Tensor, "b k1 g"],
    ) -> Float[Tensor, "b k1 width"]:
        """Tokens in time order; what they are made of is said in `Forecaster.forward`."""
        context = self.embed(torch.cat([values, frame[:, :-1], geometry[:, :-1]], -1))
        target = self.target(torch.cat([frame[:, -1:], geometry[:, -1:]], -1))
        return torch.cat([context + self.time(days / DAYS), target], 1)


class Correction(nn.Module):
    """LayerNorm, then a linear map that starts at zero."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = Linear(width, dim)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, state: Float[Tensor, "b width"]) -> Float[Tensor, "b dim"]:
        """What is added to a simple forecast."""
        return self.linear(self.norm(state))


class StepByStep(nn.Module, ABC):
    """A forecaster that goes through its tokens: the context mean plus a correction from the last state."""

    tokens: Tokens
    correction: Correction

    def forward(
        self,
        values: Float[Tensor, "b k dim"],
        valid: Bool[Tensor, "b k"],
        frame: Float[Tensor, "b k1 dim"],
        days: Float[Tensor, "b k"],
        geometry: Float[Tensor, "b k1 g"],
    ) -> Float[Tensor, "b dim"]:
        """Forecast; the arguments are those of `Forecaster.forward`."""
        states = self.states(self.tokens(values, frame, days, geometry), with_target(valid))
        return context_mean(values, valid) + self.correction(states[:, -1])

    @abstractmethod
    def states(
        self, tokens: Float[Tensor, "b t width"], valid: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t width"]:
        """What is made of every step and those before it; steps that are not valid count for none."""


def with_target(valid: Bool[Tensor, "b k"]) -> Bool[Tensor, "b k1"]:
    """Which tokens count: the valid acquisitions of the context, and the target's."""
    return torch.cat([valid, torch.ones_like(valid[:, :1])], 1)


def context_mean(values: Float[Tensor, "b k dim"], valid: Bool[Tensor, "b k"]) -> Float[Tensor, "b dim"]:
    """Mean of the valid acquisitions; 0 where there are none."""
    weight = valid[..., None].to(values.dtype)
    return (values * weight).sum(1) / weight.sum(1).clamp(min=1)


def context_last(values: Float[Tensor, "b k dim"], valid: Bool[Tensor, "b k"]) -> Float[Tensor, "b dim"]:
    """The last valid acquisition (persistence); the first one where none is valid."""
    place = torch.arange(valid.shape[1], device=valid.device)
    last = torch.where(valid, place, 0).amax(1)
    return values[torch.arange(len(values), device=values.device), last]
