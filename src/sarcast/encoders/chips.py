"""A vision transformer over chips: one vector a token, read through windows of the size it was trained on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sarcast.errors import DataError
from sarcast.nn.card import scaled, scaled_db
from sarcast.nn.fill import fill
from sarcast.nn.pretrained import Pretrained
from sarcast.nn.vit import ViT
from sarcast.sar.numbers import Unit


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
        valid: bool (chip, y, x), or (chip, channel, y, x) where channels have gaps of their own.
        unit: What the numbers are.
        batch: Windows at once.

    Raises:
        DataError: Another number of channels than the network's, or a side its patches do not divide.
    """
    return np.concatenate([_tokens(encoder, *one, unit, batch) for one in _seen(encoder, pixels, valid)], -1)


def chip_input(encoder: Pretrained, pixels: np.ndarray, valid: np.ndarray, *, unit: Unit) -> Tensor:
    """Whole chips as the network takes them, float32 (chip, channel, y, x): scaled, gaps filled in.

    For training it further. Of a one-channel network all channels come, each scaled by itself. Arguments and
    errors are those of `chip_tokens`.
    """
    parts = [_scaled(encoder, *one, unit) for one in _seen(encoder, pixels, valid)]
    return torch.cat(parts, 1)


def _seen(encoder: Pretrained, pixels: np.ndarray, valid: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels and validity (chip, channel, y, x) of what the network sees at once, one after the other."""
    vit, (channels, side) = encoder.vit, pixels.shape[1:3]
    if side % vit.patch or vit.channels not in (1, channels):
        raise DataError(
            f"expected {vit.channels} channels and a side that is a multiple of {vit.patch} px as the "
            f"network has, found {channels} and {side} px"
        )
    ok = np.broadcast_to(valid if valid.ndim == 4 else valid[:, None], pixels.shape)
    parts = range(0, channels, vit.channels)
    return [(pixels[:, i : i + vit.channels], ok[:, i : i + vit.channels]) for i in parts]


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
                tokens = _run(encoder, pixels[some, :, y, x], valid[some, :, y, x], unit)
                found[some, top : top + window, left : left + window] = tokens
    return found


def _run(encoder: Pretrained, pixels: np.ndarray, valid: np.ndarray, unit: Unit) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(encoder.vit(_scaled(encoder, pixels, valid, unit)).float().cpu().numpy())


def _scaled(encoder: Pretrained, pixels: np.ndarray, valid: np.ndarray, unit: Unit) -> Tensor:
    """What the network takes, on its device."""
    device = encoder.vit.cls_token.device
    values = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
    ok = torch.from_numpy(np.array(valid)).to(device)
    if unit == "db":
        values = scaled_db(values, encoder.card, ok)
    elif unit != "picture":
        values = scaled(values**2 if unit == "amplitude" else values, encoder.card, ok)
    filled, _ = fill(values, ok, encoder.vit.patch)
    return filled
