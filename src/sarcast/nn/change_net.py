"""A small convolutional network that reads maps of standardised deviations: how likely a cell has changed.

It sees every deviation with its sign and without, and which cells were measured. Two halvings give it a view
of about forty cells.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional


class ChangeNet(nn.Module):
    """Deviations (b, dim, y, x) -> logits (b, y, x)."""

    def __init__(self, dim: int, *, width: int, seed: int) -> None:
        """For `dim` features; `width` channels, twice as many below; parameters are drawn from `seed`."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.full = _twice(2 * dim + 1, width)
            self.coarse = _twice(width, 2 * width)
            self.coarser = _twice(2 * width, 2 * width)
            self.up_coarse = _once(4 * width, 2 * width)
            self.up_full = _once(3 * width, width)
            self.logit = nn.Conv2d(width, 1, 3, padding=1)

    def forward(
        self, deviations: Float[Tensor, "b dim y x"], seen: Bool[Tensor, "b y x"]
    ) -> Float[Tensor, "b y x"]:
        """Logits of a change.

        Args:
            deviations: Signed, in standard deviations; 0 where not seen.
            seen: Cells that were measured.
        """
        known = seen.to(deviations.dtype)[:, None]
        full = self.full(torch.cat([deviations, deviations.abs(), known], 1))
        coarse = self.coarse(_halved(full))
        coarser = self.coarser(_halved(coarse))
        coarse = self.up_coarse(torch.cat([coarse, _like(coarser, coarse)], 1))
        logits: Tensor = self.logit(self.up_full(torch.cat([full, _like(coarse, full)], 1)))
        return logits[:, 0]


def _once(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU())


def _twice(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(*_once(inside, outside), *_once(outside, outside))


def _halved(image: Tensor) -> Tensor:
    """Half as many rows and columns, rounded up."""
    y, x = image.shape[-2:]
    return functional.adaptive_avg_pool2d(image, (-(-y // 2), -(-x // 2)))


def _like(image: Tensor, other: Tensor) -> Tensor:
    return functional.interpolate(image, size=other.shape[-2:], mode="bilinear", align_corners=False)
