"""Local masked gradients: say how brightness changes where you cannot see (SAR-JEPA, Li et al., 2024).

An image is seen through windows of patches (LoMaR); most of a window's patches are replaced by a mask token
before the encoder, and a small transformer predicts their ratio gradients at four radii. Loss: mean squared
error over hidden patches. A ratio of means is steady under speckle, but blind to level: `level` adds that.
`target="pixels"` predicts the hidden pixels themselves, as LoMaR and MAE (arXiv 2111.06377), to compare with.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from sarcast.nn.attention import EPS, Block, initialise
from sarcast.nn.fill import each_channel, fill
from sarcast.nn.gradient import RADII, ratio_gradients, standardised
from sarcast.nn.masks import Views, views
from sarcast.nn.patch import grid_of, patchify
from sarcast.nn.relative_position import buckets
from sarcast.nn.vit import Size, ViT
from sarcast.runtime.settings import Settings


class LocalMaskedGradient(Settings):
    """Predict ratio gradients (or pixels) of hidden patches inside local windows."""

    target: Literal["gradients", "pixels"] = "gradients"
    """What is predicted of a hidden patch: its ratio gradients, or its own pixels as the card scales
    them; `radii`, `offset` and `span_db` are for gradients alone."""
    window: tuple[int, int] = (7, 7)
    """Patches in a window (rows, cols)."""
    windows: int = Field(4, ge=1)
    """Windows an image and step."""
    hidden: float = Field(0.8, gt=0, lt=1)
    """Share of a window's patches that is hidden."""
    radii: tuple[int, ...] = Field(RADII, min_length=1)
    """Radii of the ratio gradients, pixels."""
    offset: float = Field(1e-2, gt=0)
    """Added to pixels (amplitudes, with `span_db`) before ratios, in their unit."""
    span_db: float = Field(0.0, ge=0)
    """dB between pixel values 0 and 1, undone before ratios, as a card without a lower limit needs it; 0:
    ratios of the pixels as they are (SAR-JEPA)."""
    standardise: bool = False
    """Give every scale mean 0 and variance 1 over the batch, so that none weighs more."""
    level: bool = False
    """Predict the local log-mean too, to which gradients are blind."""
    predictor_dim: int = Field(512, ge=1)
    """Width of the predictor."""
    predictor_depth: int = Field(8, ge=1)
    """Blocks of the predictor."""
    predictor_heads: int = Field(16, ge=1)
    """Attention heads of the predictor; divides its width."""

    @model_validator(mode="after")
    def _level_beside_gradients(self) -> LocalMaskedGradient:
        if self.level and self.target == "pixels":
            raise ValueError("level goes with target gradients: pixels tell the level themselves")
        return self

    @property
    def scales(self) -> int:
        """Numbers predicted for a pixel of one channel."""
        return 1 if self.target == "pixels" else len(self.radii) + self.level

    def module(self, encoder: ViT, *, rng: torch.Generator) -> MaskedGradientPredictor:
        """`encoder` (shared, not copied) with a predictor whose weights are drawn from `rng`."""
        return MaskedGradientPredictor(encoder, self, rng=rng)


class MaskedGradientPredictor(nn.Module):
    """An encoder, a mask token and a predictor; called with images, it gives the loss."""

    def __init__(self, encoder: ViT, settings: LocalMaskedGradient, *, rng: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        size = Size(
            dim=settings.predictor_dim, depth=settings.predictor_depth, heads=settings.predictor_heads
        )
        self.mask_token = nn.Parameter(torch.zeros(1, 1, encoder.size.dim))
        self.encoder_pred = nn.Linear(encoder.size.dim, size.dim)
        self.decoder_blocks = nn.ModuleList(
            Block(size.dim, size.heads, encoder.ratio) for _ in range(size.depth)
        )
        self.decoder_norm = nn.LayerNorm(size.dim, eps=EPS)
        self.decoder_pred = nn.Linear(size.dim, encoder.channels * settings.scales * encoder.patch**2)
        initialise(self, rng=rng)
        self.encoder = encoder

    def forward(
        self,
        pixels: Float[Tensor, "b c y x"],
        valid: Bool[Tensor, "b *channel y x"] | None = None,
        *,
        rng: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean squared error over hidden patches, through all windows of every image.

        Args:
            pixels: As the card scales them; without `span_db` not negative, SAR-JEPA: in [0, 1].
            valid: Where pixels count; None means everywhere. Others reach neither input nor target.
            rng: Draws windows and what is hidden, on its own device.

        Raises:
            ShapeError: The image is not whole patches, or smaller than a window or the largest radius, or
                `valid` has another shape.
        """
        s = self.settings
        seen = views(
            grid_of(pixels, self.encoder.patch),
            batch=len(pixels),
            window=s.window,
            count=s.windows,
            share=s.hidden,
            rng=rng,
        )
        target, counts = self.targets(pixels, valid)
        return self.loss(self.predict(pixels, seen, valid), target, counts, seen)

    def predict(
        self,
        pixels: Float[Tensor, "b c y x"],
        seen: Views,
        valid: Bool[Tensor, "b *channel y x"] | None = None,
    ) -> Float[Tensor, "view p value"]:
        """Predicted values of all patches of every view; `value` is scales x pixels of a patch."""
        image, hidden = seen.image.to(pixels.device), seen.hidden.to(pixels.device)
        patch = seen.patch.to(pixels.device)
        if valid is not None:
            pixels, share = fill(pixels, valid, self.encoder.patch)
            hidden = hidden | (share == 0).flatten(1)[image[:, None], patch]
        embedded = self.encoder.patch_embed(pixels).flatten(1, 2)[image[:, None], patch]
        masked = torch.where(hidden[..., None], self.mask_token, embedded)
        x = self.encoder_pred(self.encoder.encode(masked.unflatten(1, seen.window)))
        bucket = buckets(*seen.window, x.device)
        for block in self.decoder_blocks:
            x = block(x, bucket)
        return self.decoder_pred(self.decoder_norm(x))[:, 1:]

    def targets(
        self, pixels: Float[Tensor, "b c y x"], valid: Bool[Tensor, "b *channel y x"] | None = None
    ) -> tuple[Float[Tensor, "b patch value"], Bool[Tensor, "b patch value"]]:
        """(values to predict, where they count) for every patch of every image; scales after each other."""
        s = self.settings
        value, counts = (
            _own(pixels, valid)
            if s.target == "pixels"
            else ratio_gradients(
                self._amplitude(pixels, valid), radii=s.radii, offset=s.offset, valid=valid, level=s.level
            )
        )
        if s.standardise:
            value = standardised(value, counts)
        side = self.encoder.patch
        value, counts = (patchify(x.flatten(1, 2), side).flatten(1, 2) for x in (value, counts))
        return value, counts

    def loss(
        self,
        predicted: Float[Tensor, "view p value"],
        target: Float[Tensor, "b patch value"],
        counts: Bool[Tensor, "b patch value"],
        seen: Views,
    ) -> Float[Tensor, ""]:
        """Mean squared error over hidden patches, where the target counts; 0 if it does nowhere."""
        image, patch = seen.image[:, None].to(target.device), seen.patch.to(target.device)
        used = counts[image, patch] & seen.hidden[..., None].to(target.device)
        error = (predicted.float() - target[image, patch]).square()
        return torch.where(used, error, 0.0).sum() / used.sum().clamp_min(1)

    def stepped(self, done: float) -> None:
        """After an optimiser step: nothing here follows the encoder."""

    def _amplitude(self, pixels: Tensor, valid: Tensor | None) -> Tensor:
        """What ratios are taken of."""
        if not self.settings.span_db:
            return pixels
        known = torch.where(each_channel(valid, pixels), pixels, 0.0)
        return torch.pow(10.0, known * (self.settings.span_db / 20))


def _own(
    pixels: Float[Tensor, "b c y x"], valid: Bool[Tensor, "b *channel y x"] | None
) -> tuple[Float[Tensor, "b c 1 y x"], Bool[Tensor, "b c 1 y x"]]:
    """(pixels, 0 where they do not count; where they count), as one scale."""
    ok = each_channel(valid, pixels)
    return torch.where(ok, pixels, 0.0)[:, :, None], ok[:, :, None]
