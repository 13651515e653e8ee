"""Stage 3 of T-SAR-JEPA: encoder and temporal predictor learn together (arXiv 2606.05700).

A sequence of images of one place is encoded once a date; every K dates in a row forecast the next one, cell
by cell. `live` is the published way: the target comes from the encoder being trained, and the loss in its own
units falls when all vectors shrink. The others compare vectors that have mean 0 and variance 1 in every
dimension over the batch, and no gradient passes the target: neither shrinking nor moving vectors pays.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, smooth_l1_loss

from sarcast.errors import ShapeError
from sarcast.nn.ema import decay_at, follow, follower
from sarcast.nn.fill import fill
from sarcast.nn.forecaster import Forecaster
from sarcast.nn.tokens import context_last, context_mean
from sarcast.nn.vit import ViT

Target = Literal["live", "stop_gradient", "ema"]
FEWEST = 3
"""Valid acquisitions a forecast needs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """K acquisitions of a cell, what is known of the next one, and that one; only where there is enough."""

    values: Float[Tensor, "n k dim"]
    valid: Bool[Tensor, "n k"]
    frame: Float[Tensor, "n k1 dim"]
    """Mean of the place's other cells on the dates of the context, less that over all of them; no gradient
    passes it. The target's is 0: an encoder whose vectors know all of their image would tell it there."""
    days: Float[Tensor, "n k"]
    goal: Float[Tensor, "n dim"]

    def mean(self) -> Float[Tensor, "n dim"]:
        """The forecast that needs no training: the mean of the context."""
        return context_mean(self.values, self.valid)

    def last(self) -> Float[Tensor, "n dim"]:
        """Persistence: the last valid acquisition."""
        return context_last(self.values, self.valid)

    def blank(self) -> Windows:
        """One window of nothing, which hangs on the same graph."""
        told = {f.name: getattr(self, f.name)[:0].sum(0, keepdim=True) for f in fields(self)}
        return Windows(**{**told, "valid": told["valid"].bool()})


class TemporalPrediction(nn.Module):
    """An encoder and a predictor of a place's next vector; called with sequences, it gives the loss."""

    def __init__(
        self,
        encoder: ViT,
        predictor: Forecaster,
        *,
        target: Target,
        context: int,
        cell: int,
        decay: tuple[float, float] = (0.99, 1.0),
        min_valid: float = 0.9,
    ) -> None:
        """Both networks are shared, not copied.

        Args:
            encoder: Of images.
            predictor: Of the encoder's width, without geometry.
            target: Where the vectors to be predicted come from.
            context: K, acquisitions a forecast looks back on.
            cell: Side of a cell, pixels: the mean of the tokens it covers, each by area and valid share.
            decay: Of the slow encoder at the start and the end of training (ema).
            min_valid: Share of a cell's pixels that must be valid.
        """
        super().__init__()
        self.encoder, self.predictor = encoder, predictor
        self.kind, self.context, self.cell = target, context, cell
        self.decay, self.min_valid = decay, min_valid
        self.slow = follower(encoder) if target == "ema" else None

    def forward(
        self,
        pixels: Float[Tensor, "b t c y x"],
        valid: Bool[Tensor, "b t y x"],
        days: Float[Tensor, "b t"],
        *,
        rng: torch.Generator | None = None,  # noqa: ARG002
    ) -> Float[Tensor, ""]:
        """Smooth-L1 loss over all windows of all cells; 0 where there is none.

        Args:
            pixels: As the card scales them.
            valid: Where pixels count; others reach nothing.
            days: Of the dates, ascending.
            rng: Nothing is drawn.

        Raises:
            ShapeError: The image is not whole patches, or smaller than a cell; or too few dates.
        """
        vectors, seen = self.cells(pixels, valid)
        windows = self.windows(vectors, self.goals(pixels, valid, vectors), seen, days)
        return self.loss(self.predict(windows), windows.goal)

    def cells(
        self, pixels: Float[Tensor, "b t c y x"], valid: Bool[Tensor, "b t y x"]
    ) -> tuple[Float[Tensor, "b t cell dim"], Bool[Tensor, "b t cell"]]:
        """(one vector a date and cell, each image encoded once; which cells have enough valid pixels)."""
        return _cells(self.encoder, pixels, valid, cell=self.cell, min_valid=self.min_valid)

    def goals(
        self,
        pixels: Float[Tensor, "b t c y x"],
        valid: Bool[Tensor, "b t y x"],
        vectors: Float[Tensor, "b t cell dim"],
    ) -> Float[Tensor, "b t cell dim"]:
        """What is to be predicted, in the encoder's own units."""
        if self.slow is not None:
            with torch.no_grad():
                return _cells(self.slow, pixels, valid, cell=self.cell, min_valid=self.min_valid)[0]
        return vectors if self.kind == "live" else vectors.detach()

    def windows(
        self,
        vectors: Float[Tensor, "b t cell dim"],
        goals: Float[Tensor, "b t cell dim"],
        seen: Bool[Tensor, "b t cell"],
        days: Float[Tensor, "b t"],
    ) -> Windows:
        """Every K + 1 dates in a row of every cell whose last is valid, and three of the others."""
        k, dates = self.context, vectors.shape[1]
        if dates <= k:
            raise ShapeError(f"expected at least {k + 1} dates to forecast from {k}, found {dates}")
        if self.kind != "live":
            vectors, goals = standardised(vectors, seen), standardised(goals, seen)
        at = torch.arange(dates - k, device=seen.device)[:, None] + torch.arange(k + 1, device=seen.device)
        ok = seen[:, at].movedim(3, 2)
        use = ok[..., -1] & (ok[..., :-1].sum(3) >= FEWEST)
        valid = ok[use][:, :-1]
        frame = _others(vectors.detach(), seen)[:, at[:, :-1]].movedim(3, 2)[use]
        frame = frame - context_mean(frame, valid)[:, None]
        apart = (days[:, at[:, -1:]] - days[:, at[:, :-1]])[:, :, None].expand(*use.shape, k)
        return Windows(
            values=vectors[:, at[:, :-1]].movedim(3, 2)[use] * valid[..., None],
            valid=valid,
            frame=torch.cat([frame, torch.zeros_like(frame[:, :1])], 1),
            days=apart[use],
            goal=goals[:, k:][use],
        )

    def predict(self, windows: Windows) -> Float[Tensor, "n dim"]:
        """Forecast of every window's next vector."""
        if not len(windows.goal):
            return self.predict(windows.blank())[:0]
        geometry = windows.frame[..., :0]
        return self.predictor(windows.values, windows.valid, windows.frame, windows.days, geometry)

    @staticmethod
    def loss(predicted: Float[Tensor, "n dim"], goal: Float[Tensor, "n dim"]) -> Float[Tensor, ""]:
        """Smooth L1, mean over all values; 0 where there are none."""
        return smooth_l1_loss(predicted, goal, reduction="sum") / max(goal.numel(), 1)

    def stepped(self, done: float) -> None:
        """After an optimiser step, `done` (0..1) of the training behind it: the slow encoder follows."""
        if self.slow is not None:
            start, end = self.decay
            follow(self.slow, self.encoder, decay=decay_at(round(1e6 * done), 10**6, start=start, end=end))


def standardised(
    vectors: Float[Tensor, "b t cell dim"], seen: Bool[Tensor, "b t cell"]
) -> Float[Tensor, "b t cell dim"]:
    """Mean 0 and variance 1 in every dimension over what was seen; gradients pass the statistics too.

    The mean is that of each cell's place in the image, over all images: to tell where in its image a cell
    lies, which is as good as forever, is worth nothing.
    """
    use = seen[..., None]
    mean = torch.where(use, vectors, 0.0).sum((0, 1)) / use.sum((0, 1)).clamp_min(1)
    centred = torch.where(use, vectors - mean, 0.0)
    return centred / (centred.square().sum((0, 1, 2)) / seen.sum().clamp_min(1) + 1e-12).sqrt()


def _cells(
    encoder: ViT, pixels: Tensor, valid: Tensor, *, cell: int, min_valid: float
) -> tuple[Tensor, Tensor]:
    high, wide = pixels.shape[-2:]
    if cell > min(high, wide):
        raise ShapeError(f"expected images of at least one cell of {cell} px, found {high} x {wide} px")
    filled, share = fill(pixels.flatten(0, 1), valid.flatten(0, 1), encoder.patch)
    tokens = encoder(filled).float()
    rows, cols = (_overlap(side, cell, encoder.patch, share) for side in (high, wide))
    total = torch.einsum("ir,jc,nrc->nij", rows, cols, share).clamp_min(1e-6)
    pooled = torch.einsum("ir,jc,nrc,nrcd->nijd", rows, cols, share, tokens) / total[..., None]
    seen = avg_pool2d(valid.flatten(0, 1)[:, None].float(), cell)[:, 0] >= min_valid - 1e-6
    shape = pixels.shape[:2]
    return pooled.flatten(1, 2).unflatten(0, shape), seen.flatten(1).unflatten(0, shape)


def _overlap(side: int, cell: int, token: int, like: Tensor) -> Float[Tensor, "cell token"]:
    """Pixels that cells and tokens, both side by side from 0 on, share along one axis."""
    starts = torch.arange(0, side - cell + 1, cell, device=like.device)[:, None]
    begin = torch.arange(0, side, token, device=like.device)
    low, high = torch.maximum(starts, begin), torch.minimum(starts + cell, begin + token)
    return (high - low).clamp_min(0).to(like.dtype)


def _others(vectors: Tensor, seen: Tensor) -> Float[Tensor, "b t cell dim"]:
    """For every cell and date the mean of the place's other valid cells; 0 where there are none."""
    weight = seen[..., None].to(vectors.dtype)
    own = vectors * weight
    return (own.sum(2, keepdim=True) - own) / (weight.sum(2, keepdim=True) - weight).clamp_min(1)
