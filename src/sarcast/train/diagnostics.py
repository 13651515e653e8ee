"""Is the encoder still saying anything? Spread, rank, cosine and normalised error, and a word for collapse.

A loss in latent space falls when vectors shrink as well as when something is learned; these tell which. Every
young encoder says little: of parts of an image that are alike it gives nearly one vector, and in the first
steps those draw nearer still, whatever is learned from. So how near they are is judged late in a training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from sarcast.nn.fill import fill
from sarcast.nn.rank import effective_rank, mean_cosine
from sarcast.objectives.base import Module
from sarcast.objectives.temporal import TemporalPrediction, Windows
from sarcast.train.checkpoint import Epoch

SHRUNK = 0.2
"""Spread or effective rank under this share of its first value is collapse."""
FEW = 2.0
"""Effective rank under this is collapse."""
PARALLEL = 0.99
"""Mean cosine of token vectors over this, and over its first value, is collapse late in a training. Measured
(docs/log.md): .989 to .996 of new encoders, up to .9998 after 100 steps of any objective, .72 to .97 where
something was learned."""
ONE_ANSWER = 1.1
"""Fewer different answers of a head than this are collapse late in a training. Measured: 1.00 to 1.02 of new
heads and of collapsed ones, over 2.4 where something was learned."""
LATE = 0.5
"""Share of a training after which an encoder is no longer young."""
_IMAGES, _VECTORS, _PLACES = 64, 4096, 4


@dataclass(frozen=True, kw_only=True)
class Health:
    """What an encoder and its objective are worth on images not learned from."""

    loss: float
    spread: float
    """Root mean square over dimensions of the standard deviation of token vectors."""
    rank: float
    """Effective rank of the token vectors, 1..dim."""
    cosine: float | None = None
    """Mean cosine of the token vectors with one another, not centred, -1..1."""
    answers: float | None = None
    """Of an objective with probabilities for targets: how many different answers images get, 1 (all get one)
    to the number of images: exponential of the mutual information of image and answer in nats."""
    normalised_error: float
    """Loss over that of the best constant, which is the variance of what is predicted, or, of probabilities,
    the entropy of their mean: 1 is no better than a constant."""
    skill_last: float | None = None
    """Of a forecast: 1 - squared error / that of the last valid acquisition (persistence)."""
    skill_mean: float | None = None
    """Of a forecast: 1 - squared error / that of the mean of the context."""


def spread(vectors: np.ndarray) -> float:
    """Root mean square over dimensions of the standard deviation over samples; `vectors` (sample, dim)."""
    return float(np.sqrt(np.asarray(vectors, np.float64).var(0).mean()))


def collapse(now: Health | Epoch, start: Health | Epoch, *, done: float = 1.0) -> str | None:
    """What is wrong, in words; None when nothing is.

    Args:
        now: After `done` (0..1) of the training.
        start: Before it.
        done: Up to `LATE` only a lost rank counts.
    """
    if now.rank < FEW:
        return f"collapse: effective rank {now.rank:.2f}, all tokens say nearly one thing"
    if now.rank < SHRUNK * start.rank:
        return f"collapse: effective rank fell from {start.rank:.1f} to {now.rank:.1f}"
    if done < LATE:
        return None
    if now.spread < SHRUNK * start.spread:
        return f"collapse: spread of the tokens fell from {start.spread:.3g} to {now.spread:.3g}"
    before, cosine = start.cosine, now.cosine
    if before is not None and cosine is not None and cosine > max(PARALLEL, before):
        return (
            f"collapse: all tokens are nearly parallel, mean cosine {cosine:.4f} ({before:.4f} at the start)"
        )
    if now.answers is not None and now.answers < ONE_ANSWER:
        return f"collapse: the head gives all images nearly one answer ({now.answers:.2f} different ones)"
    return None


@torch.no_grad()
def health(module: Module, *images: Tensor, seed: int) -> Health:
    """Loss, spread, rank and normalised error of an objective on held-out images.

    Args:
        module: Objective with its encoder.
        images: pixels (b, c, y, x), as the card scales them, and valid, bool (b, y, x); of several dates one
            after the other: the first are encoded, the last predicted.
        seed: Of what is hidden.
    """
    device = next(module.encoder.parameters()).device
    loss, seen, vectors = 0.0, 0, []
    target = _Moments(told=getattr(module, "distribution", False))
    for number, first in enumerate(range(0, len(images[0]), _IMAGES)):
        some = [x[first : first + _IMAGES].to(device) for x in images]
        rng = torch.Generator().manual_seed(seed + number)
        loss += float(module(*some, rng=rng)) * len(some[0])
        seen += len(some[0])
        target.add(*module.targets(*some[-2:]))
        filled, share = fill(some[0], some[1], module.encoder.patch)
        vectors.append(module.encoder(filled)[share > 0].float().cpu().numpy())
    every = np.concatenate(vectors)
    every = every[:: max(1, -(-len(every) // _VECTORS))]
    mean = loss / max(seen, 1)
    return Health(
        loss=mean,
        spread=spread(every),
        rank=effective_rank(every),
        cosine=mean_cosine(every),
        answers=target.answers,
        normalised_error=mean / max(target.constant, 1e-12),
    )


@torch.no_grad()
def forecast_health(
    module: TemporalPrediction,
    pixels: Tensor,
    valid: Tensor,
    days: Tensor,
    *,
    seed: int,  # noqa: ARG001
) -> Health:
    """Loss, spread, rank, normalised error and skill on held-out places.

    Errors are squared, over all windows and dimensions, in the units of the loss; the error's variance is
    that of the vectors to be predicted, around their mean in every dimension. The simple forecasts are made
    from such vectors too. On noise, to forecast nothing has skill 1 / (K + 1) against the mean of K.

    Args:
        module: Encoder and predictor.
        pixels: (b, t, c, y, x), as the card scales them.
        valid: bool (b, t, y, x).
        days: (b, t).
        seed: Nothing is drawn.
    """
    device = next(module.parameters()).device
    vectors, goals, seen = [], [], []
    for first in range(0, len(pixels), _PLACES):
        some, ok = (x[first : first + _PLACES].to(device) for x in (pixels, valid))
        found, enough = module.cells(some, ok)
        vectors.append(found)
        goals.append(module.goals(some, ok, found))
        seen.append(enough)
    every, use = torch.cat(vectors), torch.cat(seen)
    goal, when = torch.cat(goals), days.to(device)
    windows, simple = (module.windows(context, goal, use, when) for context in (every, goal))
    predicted = torch.cat([module.predict(part) for part in _split(windows)])
    error, last, mean = (
        float((guess - windows.goal).square().double().mean())
        for guess in (predicted, simple.last(), simple.mean())
    )
    shown = every[use].float().cpu().numpy()
    shown = shown[:: max(1, -(-len(shown) // _VECTORS))]
    return Health(
        loss=float(module.loss(predicted, windows.goal)),
        spread=spread(shown),
        rank=effective_rank(shown),
        cosine=mean_cosine(shown),
        normalised_error=error / max(float(windows.goal.double().var(0, correction=0).mean()), 1e-12),
        skill_last=1 - error / max(last, 1e-12),
        skill_mean=1 - error / max(mean, 1e-12),
    )


def _split(windows: Windows) -> list[Windows]:
    """The same windows in parts that fit into memory."""
    parts = [getattr(windows, f.name).split(_VECTORS) for f in fields(Windows)]
    return [
        Windows(**dict(zip([f.name for f in fields(Windows)], some, strict=True)))
        for some in zip(*parts, strict=True)
    ]


class _Moments:
    """What the best constant loses: squared error of each value, or, of probabilities (`told`), entropy."""

    def __init__(self, *, told: bool) -> None:
        self.told = told
        self.count: Tensor | float = 0.0
        self.total: Tensor | float = 0.0
        self.each: Tensor | float = 0.0

    def add(self, value: Tensor, counts: Tensor) -> None:
        kept = torch.where(counts, value, 0.0).double()
        self.count = self.count + counts.double().sum((0, 1))
        self.total = self.total + kept.sum((0, 1))
        each = -torch.xlogy(kept, kept) if self.told else kept.square()
        self.each = self.each + each.sum((0, 1))

    @property
    def constant(self) -> float:
        """Loss of the best constant."""
        count, total, each = (torch.as_tensor(x) for x in (self.count, self.total, self.each))
        mean = total / count.clamp_min(1)
        if self.told:
            return float(-torch.xlogy(mean, mean).sum())
        return float((each - total**2 / count.clamp_min(1)).sum() / count.clamp_min(1).sum())

    @property
    def answers(self) -> float | None:
        """Of probabilities: exponential of the entropy of their mean less their mean entropy."""
        if not self.told:
            return None
        doubt = float((torch.as_tensor(self.each) / torch.as_tensor(self.count).clamp_min(1)).sum())
        return math.exp(max(self.constant - doubt, 0.0))
