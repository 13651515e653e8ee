"""Masked autoencoder: say what most of an image shows from the few patches left (He et al., 2022).

The encoder sees the patches that are left, and nothing else; a light decoder with mask tokens predicts the
hidden ones (arXiv 2111.06377). Loss: mean squared error over hidden patches. What is predicted is one flag:
pixels, low-passed pixels, histograms of oriented gradients (FG-MAE on SAR) or ratio gradients (SAR-JEPA).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from sarcast.errors import ShapeError
from sarcast.nn.attention import EPS, Block, initialise
from sarcast.nn.fill import each_channel, fill
from sarcast.nn.gradient import RADII, ratio_gradients
from sarcast.nn.hog import oriented_gradients
from sarcast.nn.low_pass import low_pass
from sarcast.nn.patch import grid_of, patchify
from sarcast.nn.relative_position import buckets
from sarcast.nn.vit import ViT
from sarcast.runtime.settings import Settings


class Mae(Settings):
    """Predict hidden patches from those left."""

    target: Literal["pixels", "low_pass", "hog", "gradients"] = "pixels"
    """What is predicted: the pixels as the card scales them, those under a Gaussian, histograms of oriented
    gradients, or ratio gradients at several radii."""
    hidden: float = Field(0.75, gt=0, lt=1)
    """Share of an image's patches that is hidden, rounded down."""
    norm_pix: bool = False
    """Give each channel of each patch mean 0 and variance 1 (pixels and low_pass): contrast, not level."""
    sigma: float = Field(2.0, gt=0)
    """Of the Gaussian, pixels (low_pass)."""
    bins: int = Field(9, ge=2)
    """Directions of a histogram (hog)."""
    cell: int = Field(8, ge=1)
    """Side of a histogram's cell, pixels; less where a patch is no multiple of it (hog)."""
    radii: tuple[int, ...] = Field(RADII, min_length=1)
    """Radii of the ratio gradients, pixels (gradients)."""
    offset: float = Field(1e-2, gt=0)
    """Added to amplitudes before ratios, where 1 is what the card scales to 0 (gradients)."""
    span_db: float = Field(40.0, ge=0)
    """dB between pixel values 0 and 1, undone before ratios; 0: ratios of the pixels as they are
    (gradients)."""
    predictor_dim: int = Field(512, ge=1)
    """Width of the decoder."""
    predictor_depth: int = Field(1, ge=1)
    """Blocks of the decoder; M3LEO has one, He et al. eight."""
    predictor_heads: int = Field(16, ge=1)
    """Attention heads of the decoder; divides its width."""

    @model_validator(mode="after")
    def _norm_of_pixels(self) -> Mae:
        if self.norm_pix and self.target not in ("pixels", "low_pass"):
            raise ValueError("norm_pix goes with target pixels or low_pass")
        return self

    def values(self, patch: int) -> int:
        """Numbers predicted of one channel of a patch of `patch` pixels a side."""
        if self.target == "hog":
            return self.bins * (patch // math.gcd(self.cell, patch)) ** 2
        return patch**2 * (len(self.radii) if self.target == "gradients" else 1)

    def module(self, encoder: ViT, *, rng: torch.Generator) -> MaskedAutoencoder:
        """`encoder` (shared, not copied) with a decoder whose weights are drawn from `rng`."""
        return MaskedAutoencoder(encoder, self, rng=rng)


class MaskedAutoencoder(nn.Module):
    """An encoder, a mask token and a decoder; called with images, it gives the loss."""

    def __init__(self, encoder: ViT, settings: Mae, *, rng: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        dim = settings.predictor_dim
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.before = nn.Linear(encoder.size.dim, dim)
        self.blocks = nn.ModuleList(
            Block(dim, settings.predictor_heads, encoder.ratio) for _ in range(settings.predictor_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.after = nn.Linear(dim, encoder.channels * settings.values(encoder.patch))
        initialise(self, rng=rng)
        self.encoder = encoder

    def forward(
        self,
        pixels: Float[Tensor, "b c y x"],
        valid: Bool[Tensor, "b *channel y x"] | None = None,
        *,
        rng: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean squared error over hidden patches.

        Args:
            pixels: As the card scales them.
            valid: Where pixels count; None means everywhere. Others reach neither input nor target.
            rng: Draws what is hidden, for each image its own, on its own device.

        Raises:
            ShapeError: The image is not whole patches, or too small for the share or the largest radius.
        """
        seen = self.draw(pixels, valid, rng=rng)
        target, counts = self.targets(pixels, valid)
        return self.loss(self.predict(pixels, seen, valid), target, counts, seen)

    def draw(
        self,
        pixels: Float[Tensor, "b c y x"],
        valid: Bool[Tensor, "b *channel y x"] | None = None,
        *,
        rng: torch.Generator,
    ) -> Int[Tensor, "b p"]:
        """Patches that are left to see, as many in every image; those without a valid pixel come last.

        Raises:
            ShapeError: None would be left, or none hidden.
        """
        rows, cols = grid_of(pixels, self.encoder.patch)
        left = rows * cols - int(rows * cols * self.settings.hidden)
        if not 0 < left < rows * cols:
            raise ShapeError(f"expected patches to hide and to see, found {rows} x {cols} of them")
        order = torch.rand(len(pixels), rows * cols, generator=rng, device=rng.device).to(pixels.device)
        if valid is not None:
            order = order + (fill(pixels, valid, self.encoder.patch)[1] == 0).flatten(1)
        return order.argsort(1)[:, :left].sort(1).values

    def predict(
        self,
        pixels: Float[Tensor, "b c y x"],
        seen: Int[Tensor, "b p"],
        valid: Bool[Tensor, "b *channel y x"] | None = None,
    ) -> Float[Tensor, "b patch value"]:
        """Predicted values of all patches from those `seen`."""
        grid = grid_of(pixels, self.encoder.patch)
        if valid is not None:
            pixels, _ = fill(pixels, valid, self.encoder.patch)
        known = self.before(self.encoder.encode_some(self.encoder.patch_embed(pixels), seen))
        at = torch.cat([seen.new_zeros(len(seen), 1), seen + 1], 1)[..., None].expand_as(known)
        x = self.mask_token.to(known.dtype).repeat(len(known), 1 + grid[0] * grid[1], 1)
        x, bucket = x.scatter(1, at, known), buckets(*grid, known.device)
        for block in self.blocks:
            x = block(x, bucket)
        return self.after(self.norm(x))[:, 1:]

    @torch.no_grad()
    def targets(
        self, pixels: Float[Tensor, "b c y x"], valid: Bool[Tensor, "b *channel y x"] | None = None
    ) -> tuple[Float[Tensor, "b patch value"], Bool[Tensor, "b patch value"]]:
        """(values to predict, where they count) of every patch; channels after each other."""
        s, side = self.settings, self.encoder.patch
        value, counts = self._values(pixels, each_channel(valid, pixels))
        if s.target == "hog":
            side //= math.gcd(s.cell, side)
        value, counts = (patchify(x, side).flatten(1, 2) for x in (value, counts))
        return (_normalised(value, counts, pixels.shape[1]) if s.norm_pix else value), counts

    def loss(
        self,
        predicted: Float[Tensor, "b patch value"],
        target: Float[Tensor, "b patch value"],
        counts: Bool[Tensor, "b patch value"],
        seen: Int[Tensor, "b p"],
    ) -> Float[Tensor, ""]:
        """Mean squared error over patches not seen, where the target counts; 0 if it does nowhere."""
        hidden = torch.ones(counts.shape[:2], dtype=torch.bool, device=counts.device).scatter(1, seen, False)
        used = counts & hidden[..., None]
        error = (predicted.float() - target).square()
        return torch.where(used, error, 0.0).sum() / used.sum().clamp_min(1)

    def stepped(self, done: float) -> None:
        """After an optimiser step: nothing here follows the encoder."""

    def _values(self, pixels: Tensor, ok: Tensor) -> tuple[Tensor, Tensor]:
        """What is predicted as images (b, channel, row, col), and where it counts."""
        s, known = self.settings, torch.where(ok, pixels, 0.0)
        if s.target == "pixels":
            return known, ok
        if s.target == "low_pass":
            return low_pass(known, ok, sigma=s.sigma), ok
        if s.target == "hog":
            return oriented_gradients(known, ok, bins=s.bins, cell=math.gcd(s.cell, self.encoder.patch))
        amplitude = torch.pow(10.0, known * (s.span_db / 20)) if s.span_db else known
        value, counts = ratio_gradients(amplitude, radii=s.radii, offset=s.offset, valid=ok)
        return value.flatten(1, 2), counts.flatten(1, 2)


def _normalised(
    value: Float[Tensor, "b patch value"], counts: Bool[Tensor, "b patch value"], channels: int
) -> Float[Tensor, "b patch value"]:
    """Mean 0 and variance 1 over the counted pixels of each channel of each patch; 0 elsewhere."""
    parts, use = (x.unflatten(2, (channels, -1)) for x in (value, counts))
    n = use.sum(3, keepdim=True).clamp_min(1)
    centred = torch.where(use, parts - torch.where(use, parts, 0.0).sum(3, keepdim=True) / n, 0.0)
    spread = (centred.square().sum(3, keepdim=True) / n + 1e-6).sqrt()
    return (centred / spread).flatten(2)
