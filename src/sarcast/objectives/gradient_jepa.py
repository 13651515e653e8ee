"""Gradient-domain JEPA: predict in latent space how a slow copy of the encoder sees hidden blocks' edges.

I-JEPA (Assran et al., 2023, arXiv 2301.08243) with SAR's own target: the encoder sees the patches outside a
few blocks; a predictor with mask tokens tells, for each block, the vectors that an exponential moving average
of the encoder gives the whole image's ratio gradients, which speckle hardly moves. Loss: mean squared error.
Blocks lie anywhere in the grid, its last row and column included.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from sarcast.errors import ShapeError
from sarcast.nn.attention import EPS, Block, initialise
from sarcast.nn.ema import decay_at, follow, follower
from sarcast.nn.fill import each_channel, fill
from sarcast.nn.gradient import ratio_gradients
from sarcast.nn.masks import blocks
from sarcast.nn.patch import grid_of
from sarcast.nn.relative_position import buckets
from sarcast.nn.vit import ViT
from sarcast.runtime.settings import Settings

Radius = Annotated[int, Field(ge=1)]


class GradientJepa(Settings):
    """Predict the latent vectors of hidden blocks in the gradient domain."""

    blocks: int = Field(4, ge=1)
    """Blocks a step; each is predicted by itself from all patches outside every one of them."""
    share: tuple[float, float] = (0.1, 0.2)
    """Smallest and largest share of the image's patches in a block."""
    aspect: tuple[float, float] = (0.75, 1.5)
    """Smallest and largest ratio of a block's rows to its columns."""
    radii: tuple[Radius, ...] = Field((2, 4), min_length=1)
    """Radii of the ratio gradients, pixels; the target image is their mean."""
    offset: float = Field(1e-2, gt=0)
    """Added to amplitudes before ratios, where 1 is what the card scales to 0."""
    span_db: float = Field(40.0, ge=0)
    """dB between pixel values 0 and 1, undone before ratios; 0: ratios of the pixels as they are."""
    normalise: Literal["batch", "token"] = "batch"
    """Targets get mean 0 and variance 1. batch: in every dimension over the batch's patches, so that what all
    have in common is worth nothing (data2vec, arXiv 2202.03555). token: each vector by itself (I-JEPA); in a
    young encoder all are nearly parallel, so a constant is nearly right, and it collapses."""
    decay: tuple[float, float] = (0.996, 1.0)
    """Of the moving average, at the start and the end of training."""
    predictor_dim: int = Field(192, ge=1)
    """Width of the predictor."""
    predictor_depth: int = Field(4, ge=1)
    """Blocks of the predictor."""
    predictor_heads: int = Field(6, ge=1)
    """Attention heads of the predictor; divides its width."""

    @model_validator(mode="after")
    def _in_order(self) -> GradientJepa:
        for name, low, high, most in (
            ("share", *self.share, 1.0),
            ("aspect", *self.aspect, math.inf),
        ):
            if not 0 < low <= high < most:
                raise ValueError(f"{name} must be two positive numbers in order")
        if not 0 <= self.decay[0] <= self.decay[1] <= 1:
            raise ValueError("decay must be two numbers of 0 to 1 in order")
        return self

    def module(self, encoder: ViT, *, rng: torch.Generator) -> GradientPredictor:
        """`encoder` (shared, not copied) with a predictor drawn from `rng` and a copy as target encoder."""
        return GradientPredictor(encoder, self, rng=rng)


class GradientPredictor(nn.Module):
    """An encoder, its slow copy and a predictor; called with images, it gives the loss."""

    def __init__(self, encoder: ViT, settings: GradientJepa, *, rng: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        dim = settings.predictor_dim
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.before = nn.Linear(encoder.size.dim, dim)
        self.blocks = nn.ModuleList(
            Block(dim, settings.predictor_heads, encoder.ratio) for _ in range(settings.predictor_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.after = nn.Linear(dim, encoder.size.dim)
        initialise(self, rng=rng)
        self.encoder = encoder
        self.target = follower(encoder)

    def forward(
        self,
        pixels: Float[Tensor, "b c y x"],
        valid: Bool[Tensor, "b *channel y x"] | None = None,
        *,
        rng: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean squared error over the hidden blocks, in the latent space of the slow copy.

        Args:
            pixels: As the card scales them, in [0, 1].
            valid: Where pixels count; None means everywhere. Others reach neither input nor target.
            rng: Draws the blocks, the same for all images of the batch, on its own device.

        Raises:
            ShapeError: The image is not whole patches, or too small for the blocks or a radius.
        """
        hidden = self.draw(grid_of(pixels, self.encoder.patch), rng=rng)
        target, counts = self.targets(pixels, valid)
        return self.loss(self.predict(pixels, hidden, valid), target, counts, hidden)

    def draw(self, grid: tuple[int, int], *, rng: torch.Generator) -> Bool[Tensor, "block row col"]:
        """True inside each block; all of one step have one size.

        Raises:
            ShapeError: The blocks could cover the whole grid.
        """
        s = self.settings
        share, aspect = (
            low + (high - low) * float(torch.rand((), generator=rng, device=rng.device))
            for low, high in (s.share, s.aspect)
        )
        area = share * grid[0] * grid[1]
        rows = min(max(int(math.sqrt(area * aspect)), 1), grid[0])
        cols = min(max(int(math.sqrt(area / aspect)), 1), grid[1])
        if s.blocks * rows * cols >= grid[0] * grid[1]:
            raise ShapeError(
                f"expected a grid larger than {s.blocks} blocks of {rows} x {cols} patches, found {grid}"
            )
        return blocks(grid, batch=s.blocks, count=1, side=(rows, cols), rng=rng)

    def predict(
        self,
        pixels: Float[Tensor, "b c y x"],
        hidden: Bool[Tensor, "block row col"],
        valid: Bool[Tensor, "b *channel y x"] | None = None,
    ) -> list[Float[Tensor, "b p dim"]]:
        """For each block, the predicted vectors of its patches, row by row, from what lies outside all."""
        if valid is not None:
            pixels, _ = fill(pixels, valid, self.encoder.patch)
        hidden = hidden.to(pixels.device)
        seen = (~hidden.any(0)).flatten().nonzero()[:, 0]
        context = self.before(self.encoder.encode_some(self.encoder.patch_embed(pixels), seen))
        return [self._block(context, seen, block) for block in hidden]

    @torch.no_grad()
    def targets(
        self, pixels: Float[Tensor, "b c y x"], valid: Bool[Tensor, "b *channel y x"] | None = None
    ) -> tuple[Float[Tensor, "b patch dim"], Bool[Tensor, "b patch dim"]]:
        """(the slow copy's vectors of the gradient image, of mean 0 and variance 1; where they count)."""
        s, side = self.settings, self.encoder.patch
        amplitude = torch.where(each_channel(valid, pixels), pixels, 0.0)
        if s.span_db:
            amplitude = torch.pow(10.0, amplitude * (s.span_db / 20))
        value, counts = ratio_gradients(amplitude, radii=s.radii, offset=s.offset, valid=valid)
        image, share = fill(value.mean(2), counts.all(2), side)
        vectors = self.target.encode(self.target.patch_embed(image))[:, 1:].float()
        use = (share > 0).flatten(1)[..., None].expand_as(vectors)
        if s.normalise == "token":
            return layer_norm(vectors, vectors.shape[2:]), use
        return _standardised(vectors, use), use

    def loss(
        self,
        predicted: list[Float[Tensor, "b p dim"]],
        target: Float[Tensor, "b patch dim"],
        counts: Bool[Tensor, "b patch dim"],
        hidden: Bool[Tensor, "block row col"],
    ) -> Float[Tensor, ""]:
        """Mean squared error over all blocks' patches, where the target counts; 0 if it does nowhere."""
        inside = [block.flatten().to(target.device) for block in hidden]
        error = torch.cat(
            [(p.float() - target[:, i]).square() for p, i in zip(predicted, inside, strict=True)], 1
        )
        used = torch.cat([counts[:, i] for i in inside], 1)
        return torch.where(used, error, 0.0).sum() / used.sum().clamp_min(1)

    def stepped(self, done: float) -> None:
        """After an optimiser step, `done` (0..1) of the training behind it: the slow copy follows."""
        start, end = self.settings.decay
        follow(self.target, self.encoder, decay=decay_at(round(1e6 * done), 10**6, start=start, end=end))

    def _block(self, context: Tensor, seen: Int[Tensor, " n"], block: Bool[Tensor, "row col"]) -> Tensor:
        """One pass of the predictor: what was seen, and a mask token at each patch of the block."""
        wanted = block.flatten().nonzero()[:, 0]
        x = torch.cat([context, self.mask_token.expand(len(context), len(wanted), -1)], 1)
        at = torch.cat([seen.new_zeros(1), seen + 1, wanted + 1])
        bucket = buckets(block.shape[0], block.shape[1], x.device)[at][:, at]
        for layer in self.blocks:
            x = layer(x, bucket)
        return self.after(self.norm(x[:, -len(wanted) :]))


def _standardised(
    vectors: Float[Tensor, "b patch dim"], use: Bool[Tensor, "b patch dim"]
) -> Float[Tensor, "b patch dim"]:
    """Mean 0 and variance 1 in every dimension over the vectors in use; 0 elsewhere."""
    n = use.sum((0, 1)).clamp_min(1)
    centred = torch.where(use, vectors - torch.where(use, vectors, 0.0).sum((0, 1)) / n, 0.0)
    return centred / (centred.square().sum((0, 1)) / n).sqrt().clamp_min(1e-6)
