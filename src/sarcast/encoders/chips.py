"""A vision transformer over chips: one vector a token, read through windows of the size it was trained on."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from sarcast.errors import DataError
from sarcast.nn.card import scaled, scaled_db
from sarcast.nn.fill import fill
from sarcast.nn.pretrained import Pretrained
from sarcast.nn.vit import ViT

Unit = Literal["picture", "db", "power", "amplitude"]
"""What a chip's numbers are. picture: 0 to 1, given to the network as is; others go through its card."""


def untrained(encoder: Pretrained, *, seed: int) -> Pretrained:
    """A network of the same size with random weights: the control that training must beat."""
    vit = encoder.vit
    rng = torch.Generator().manual_seed(seed)
    other = ViT(vit.size, patch=vit.patch, channels=vit.channels, ratio=vit.ratio, rng=rng).eval()
    return Pretrained(vit=other, card=encoder.card, window=encoder.window)


def chip_tokens(
    encoder: Pretrained, pixels: np.ndarray, valid: np.ndarray, *, unit: Unit, batch: int = 64
) -> np.ndarray:
    """Vectors of all tokens, float32 (chip, row, col, dim); of a one-channel network, channel after channel.

    Args:
        encoder: The network and its scaling.
        pixels: float32 (chip, channel, y, x), square; the side a multiple of the network's patch.
        valid: bool (chip, y, x).
        unit: What the numbers are.
        batch: Windows at once.

    Raises:
        DataError: Another number of channels than the network's, or a side its patches do not divide.
    """
    vit, (channels, side) = encoder.vit, pixels.shape[1:3]
    if side % vit.patch or vit.channels not in (1, channels):
        raise DataError(
            f"expected {vit.channels} channels and a side that is a multiple of {vit.patch} px as the "
            f"network has, found {channels} and {side} px"
        )
    groups = np.split(pixels, channels, 1) if vit.channels == 1 else [pixels]
    return np.concatenate([_tokens(encoder, part, valid, unit, batch) for part in groups], -1)


def _tokens(encoder: Pretrained, pixels: np.ndarray, valid: np.ndarray, unit: Unit, batch: int) -> np.ndarray:
    patch, count = encoder.vit.patch, pixels.shape[-1] // encoder.vit.patch
    window = min(encoder.window, count)
    starts = sorted({min(first, count - window) for first in range(0, count, window)})
    found = np.zeros((len(pixels), count, count, encoder.vit.size.dim), np.float32)
    for top in starts:
        for left in starts:
            y, x = (slice(first * patch, (first + window) * patch) for first in (top, left))
            for first in range(0, len(pixels), batch):
                some = slice(first, first + batch)
                tokens = _run(encoder, pixels[some, :, y, x], valid[some, y, x], unit)
                found[some, top : top + window, left : left + window] = tokens
    return found


def _run(encoder: Pretrained, pixels: np.ndarray, valid: np.ndarray, unit: Unit) -> np.ndarray:
    device = encoder.vit.cls_token.device
    values = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
    ok = torch.from_numpy(np.ascontiguousarray(valid)).to(device)
    every = ok[:, None].expand_as(values)
    if unit == "db":
        values = scaled_db(values, encoder.card, every)
    elif unit != "picture":
        values = scaled(values**2 if unit == "amplitude" else values, encoder.card, every)
    with torch.inference_mode():
        filled, _ = fill(values, ok, encoder.vit.patch)
        return np.asarray(encoder.vit(filled).float().cpu().numpy())
