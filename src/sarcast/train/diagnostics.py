"""Is the encoder still saying anything? Spread, effective rank and normalised error, and a word for collapse.

A loss in latent space falls when vectors shrink as well as when something is learned; these tell which.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sarcast.nn.fill import fill
from sarcast.objectives.base import Module

SHRUNK = 0.2
"""Spread under this share of its first value is collapse."""
FEW = 2.0
"""Effective rank under this is collapse."""
_IMAGES, _VECTORS = 64, 4096


@dataclass(frozen=True, kw_only=True)
class Health:
    """What an encoder and its objective are worth on images not learned from."""

    loss: float
    spread: float
    """Root mean square over dimensions of the standard deviation of token vectors."""
    rank: float
    """Effective rank of the token vectors, 1..dim."""
    normalised_error: float
    """Loss over the variance of what is predicted: 1 is no better than a constant."""
    skill_last: float | None = None
    """Of a forecast: 1 - squared error / that of the last valid acquisition (persistence)."""
    skill_mean: float | None = None
    """Of a forecast: 1 - squared error / that of the mean of the context."""


def spread(vectors: np.ndarray) -> float:
    """Root mean square over dimensions of the standard deviation over samples; `vectors` (sample, dim)."""
    return float(np.sqrt(np.asarray(vectors, np.float64).var(0).mean()))


def effective_rank(vectors: np.ndarray) -> float:
    """Exponential of the entropy of singular values of centred `vectors` (sample, dim); 1 if all are equal.

    RankMe (Garrido et al., 2023, arXiv 2210.02885), centred: a vector common to all counts for nothing.
    """
    centred = np.asarray(vectors, np.float64)
    centred = centred - centred.mean(0)
    values = np.linalg.svd(centred, compute_uv=False)
    total = values.sum()
    if not total > 0:
        return 1.0
    share = values[values > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))


def collapse(now: Health, start: Health) -> str | None:
    """What is wrong, in words; None when nothing is."""
    if now.rank < FEW:
        return f"collapse: effective rank {now.rank:.2f}, all tokens say nearly one thing"
    if now.spread < SHRUNK * start.spread:
        return f"collapse: spread of the tokens fell from {start.spread:.3g} to {now.spread:.3g}"
    return None


@torch.no_grad()
def health(module: Module, pixels: Tensor, valid: Tensor, *, seed: int) -> Health:
    """Loss, spread, rank and normalised error of an objective on held-out images.

    Args:
        module: Objective with its encoder.
        pixels: (b, c, y, x), as the card scales them.
        valid: bool (b, y, x).
        seed: Of what is hidden.
    """
    device = next(module.encoder.parameters()).device
    loss, seen, vectors = 0.0, 0, []
    target = _Moments()
    for number, first in enumerate(range(0, len(pixels), _IMAGES)):
        some = pixels[first : first + _IMAGES].to(device)
        ok = valid[first : first + _IMAGES].to(device)
        rng = torch.Generator().manual_seed(seed + number)
        loss += float(module(some, ok, rng=rng)) * len(some)
        seen += len(some)
        target.add(*module.targets(some, ok))
        filled, share = fill(some, ok, module.encoder.patch)
        vectors.append(module.encoder(filled)[share > 0].float().cpu().numpy())
    every = np.concatenate(vectors)
    every = every[:: max(1, -(-len(every) // _VECTORS))]
    mean = loss / max(seen, 1)
    return Health(
        loss=mean,
        spread=spread(every),
        rank=effective_rank(every),
        normalised_error=mean / max(target.variance, 1e-12),
    )


class _Moments:
    """Variance of targets around the mean of each value, over batches."""

    def __init__(self) -> None:
        self.count: Tensor | float = 0.0
        self.total: Tensor | float = 0.0
        self.square: Tensor | float = 0.0

    def add(self, value: Tensor, counts: Tensor) -> None:
        kept = torch.where(counts, value, 0.0).double()
        self.count = self.count + counts.double().sum((0, 1))
        self.total = self.total + kept.sum((0, 1))
        self.square = self.square + kept.square().sum((0, 1))

    @property
    def variance(self) -> float:
        count = torch.as_tensor(self.count).clamp_min(1)
        around = torch.as_tensor(self.square) - torch.as_tensor(self.total) ** 2 / count
        return float(around.sum() / count.sum())
