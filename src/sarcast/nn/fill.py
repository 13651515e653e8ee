"""Pixels that were lost, filled in from those around them, so that what lies under a mask reaches nothing."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sarcast.nn.patch import patchify, unpatchify


def fill(
    pixels: Float[Tensor, "b c y x"], valid: Bool[Tensor, "b *channel y x"], patch: int
) -> tuple[Float[Tensor, "b c y x"], Float[Tensor, "b row col"]]:
    """Invalid pixels become the mean of their patch's valid ones, or of the image's where it has none.

    `valid` is (b, y, x), the same for all channels, or (b, c, y, x).

    Returns:
        (pixels, share of valid pixels in every patch). An image without a valid pixel becomes 0.
    """
    ok = each_channel(valid, pixels)
    kept = torch.where(ok, pixels, 0.0)
    number = ok.sum((2, 3), keepdim=True)
    image = (kept.sum((2, 3), keepdim=True) / number.clamp_min(1))[:, None, None, :, :, 0]
    parts = patchify(kept, patch).unflatten(3, (pixels.shape[1], -1))
    use = patchify(ok, patch).unflatten(3, (pixels.shape[1], -1))
    count = use.sum(4, keepdim=True)
    mean = torch.where(count > 0, parts.sum(4, keepdim=True) / count.clamp_min(1), image)
    filled = unpatchify(torch.where(use, parts, mean).flatten(3), patch)
    return filled, use.flatten(3).float().mean(3) if valid.ndim == 4 else use[:, :, :, 0].float().mean(3)


def each_channel(
    valid: Bool[Tensor, "b *channel y x"] | None, pixels: Float[Tensor, "b c y x"]
) -> Bool[Tensor, "b c y x"]:
    """Where every channel counts: (b, y, x) is for all of them, None means everywhere."""
    if valid is None:
        return torch.ones_like(pixels, dtype=torch.bool)
    return (valid[:, None] if valid.ndim == 3 else valid).expand_as(pixels)
