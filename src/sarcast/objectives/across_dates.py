"""Across dates: say from one look what another look at the same place shows, as gradients and level.

Two acquisitions of one place have the same ground under independent speckle, so the best forecast of the
one from the other is the ground itself: noise2noise (Lehtinen et al., 2018), as SAR2SAR (Dalsasso et al.,
2021) uses it on SAR time series, here in the domain of ratio gradients and of the local log-mean. Few or
no tokens are hidden: a token keeps what is at its own place, which a detector of small changes needs.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from sarcast.nn.attention import EPS, Block, initialise
from sarcast.nn.fill import fill
from sarcast.nn.gradient import ratio_gradients, standardised
from sarcast.nn.patch import grid_of, patchify
from sarcast.nn.relative_position import buckets
from sarcast.nn.vit import ViT
from sarcast.runtime.settings import Settings


class AcrossDates(Settings):
    """Predict the gradients and level of a place on another date."""

    dates: int = 2
    """Looks at one place an image has, when there are as many: the first is seen, the last predicted."""
    hidden: float = Field(0.05, ge=0, lt=1)
    """Share of the tokens hidden from the encoder."""
    radii: tuple[int, ...] = Field((2, 4, 8), min_length=1)
    """Radii of the ratio gradients, pixels."""
    offset: float = Field(1e-2, gt=0)
    """Added to pixels before ratios, in the input's unit."""
    predictor_dim: int = Field(128, ge=1)
    """Width of the predictor."""
    predictor_depth: int = Field(0, ge=0)
    """Blocks of the predictor; 0 is a linear map, so that tokens themselves say what is there."""
    predictor_heads: int = Field(4, ge=1)
    """Attention heads of the predictor; divides its width."""

    def module(self, encoder: ViT, *, rng: torch.Generator) -> AcrossDatesPredictor:
        """`encoder` (shared, not copied) with a predictor whose weights are drawn from `rng`."""
        return AcrossDatesPredictor(encoder, self, rng=rng)


class AcrossDatesPredictor(nn.Module):
    """An encoder and a predictor; called with images of one or two dates, it gives the loss."""

    def __init__(self, encoder: ViT, settings: AcrossDates, *, rng: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        deep = settings.predictor_depth > 0
        dim = settings.predictor_dim if deep else encoder.size.dim
        scales = encoder.channels * (len(settings.radii) + 1)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 1, encoder.size.dim))
        self.enter = nn.Linear(encoder.size.dim, dim) if deep else nn.Identity()
        self.blocks = nn.ModuleList(
            Block(dim, settings.predictor_heads, encoder.ratio) for _ in range(settings.predictor_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.head = nn.Linear(dim, scales * encoder.patch**2)
        initialise(self, rng=rng)
        self.encoder = encoder

    def forward(
        self,
        pixels: Float[Tensor, "b c y x"],
        valid: Bool[Tensor, "b *channel y x"] | None = None,
        other: Float[Tensor, "b c y x"] | None = None,
        other_valid: Bool[Tensor, "b *channel y x"] | None = None,
        *,
        rng: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean squared error of the standardised gradients and level, over patches with a valid pixel.

        Args:
            pixels: The date that is seen; not negative.
            valid: Where pixels count; None means everywhere. Others reach neither input nor target.
            other: The same place on the date to be predicted; the same date when None.
            other_valid: Where those count.
            rng: Draws what is hidden, on the CPU.

        Raises:
            ShapeError: The image is not whole patches, or smaller than the largest radius.
        """
        goal = (pixels, valid) if other is None else (other, other_valid)
        value, counts = self.targets(*goal)
        grid = grid_of(pixels, self.encoder.patch)
        hidden = torch.rand((len(pixels), *grid), generator=rng).to(pixels.device) < self.settings.hidden
        if valid is not None:
            pixels, share = fill(pixels, valid, self.encoder.patch)
            hidden = hidden | (share == 0)
            counts = counts & (share > 0).flatten(1)[..., None]
        seen = torch.where(hidden[..., None], self.mask_token, self.encoder.patch_embed(pixels))
        error = (self._predicted(self.encoder.encode(seen), grid) - value).square()
        return torch.where(counts, error, 0.0).sum() / counts.sum().clamp_min(1)

    def _predicted(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """(b, patch, value) from all tokens, class token first."""
        x, bucket = self.enter(tokens), buckets(*grid, tokens.device)
        for block in self.blocks:
            x = block(x, bucket)
        return self.head(self.norm(x))[:, 1:].float()

    def targets(
        self, pixels: Float[Tensor, "b c y x"], valid: Bool[Tensor, "b *channel y x"] | None = None
    ) -> tuple[Float[Tensor, "b patch value"], Bool[Tensor, "b patch value"]]:
        """(values to predict, where they count): gradients of every radius, then level, standardised."""
        s = self.settings
        found = ratio_gradients(pixels, radii=s.radii, offset=s.offset, valid=valid, level=True)
        value, counts = standardised(*found), found[1]
        value, counts = (patchify(x.flatten(1, 2), self.encoder.patch).flatten(1, 2) for x in (value, counts))
        return value, counts

    def stepped(self, done: float) -> None:
        """After an optimiser step: nothing here follows the encoder."""
