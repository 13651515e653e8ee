"""When an acquisition was made, as a vector: three encodings compared by T-SAR-JEPA (arXiv 2606.05700).

They take any unit of time; what matters is that training and use scale it in the same way.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sarcast.errors import SettingsError, ShapeError
from sarcast.nn import linear

HIDDEN = 256
"""Width of the continuous encoding's hidden layers."""


class Sinusoidal(nn.Module):
    """Sines and cosines of 1000 t at frequencies 1 .. 1/10000, then a linear map."""

    freqs: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim % 2:
            raise ShapeError(f"expected an even width for the sinusoidal encoding, found {dim}")
        self.register_buffer("freqs", torch.exp(-math.log(10000) * torch.arange(dim // 2) / (dim // 2)))
        self.proj = linear.Linear(dim, dim)

    def forward(self, times: Float[Tensor, "*b t"]) -> Float[Tensor, "*b t dim"]:
        """One vector a time."""
        angle = times[..., None] * 1000 * self.freqs
        return self.proj(torch.cat([angle.sin(), angle.cos()], -1))


class Continuous(nn.Module):
    """A learned smooth function of time: three linear maps with GELU between (ctlpe)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, dim)
        )

    def forward(self, times: Float[Tensor, "*b t"]) -> Float[Tensor, "*b t dim"]:
        """One vector a time."""
        return self.net(times[..., None])


class Linear(nn.Module):
    """Time multiplies one learned vector and adds another."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(1, dim)

    def forward(self, times: Float[Tensor, "*b t"]) -> Float[Tensor, "*b t dim"]:
        """One vector a time."""
        return self.proj(times[..., None])


TIME_ENCODINGS: dict[str, type[nn.Module]] = {"sinusoidal": Sinusoidal, "ctlpe": Continuous, "linear": Linear}


def time_encoding(name: str, dim: int) -> nn.Module:
    """The encoding of a name in `TIME_ENCODINGS`, `dim` wide.

    Raises:
        SettingsError: No such encoding.
    """
    if name not in TIME_ENCODINGS:
        raise SettingsError(f"expected a time encoding in {', '.join(TIME_ENCODINGS)}, found {name!r}")
    return TIME_ENCODINGS[name](dim)
