"""Histograms of oriented gradients (Dalal and Triggs, 2005), as masked features (MaskFeat, arXiv 2112.09133).

In each cell, a histogram of the gradients' unsigned directions, weighted by their size, of length 1. Given
decibels, or numbers straight in them, a gradient is a log-ratio, and does not depend on brightness.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import one_hot, pad

from sarcast.errors import ShapeError


def oriented_gradients(
    pixels: Float[Tensor, "b c y x"],
    counts: Bool[Tensor, "b c y x"],
    *,
    bins: int = 9,
    cell: int = 8,
) -> tuple[Float[Tensor, "b channel row col"], Bool[Tensor, "b channel row col"]]:
    """(histograms, `channel` is channel times bin, a number a cell; where more than half of a cell is known).

    Args:
        pixels: Anything where they do not count. A gradient is the difference of both neighbours, mirrored at
            the borders, and known where all four are.
        counts: Where pixels are known.
        bins: Directions, 0 to 180 degrees.
        cell: Side of a cell, pixels.

    Raises:
        ShapeError: The image is not whole cells.
    """
    if pixels.shape[2] % cell or pixels.shape[3] % cell:
        raise ShapeError(f"expected image sides in multiples of {cell} px, found {tuple(pixels.shape[2:])}")
    image = pad(torch.where(counts, pixels.float(), 0.0), (1,) * 4, mode="reflect")
    known = pad(counts.float(), (1,) * 4, mode="reflect") > 0
    down, right = image[..., 2:, 1:-1] - image[..., :-2, 1:-1], image[..., 1:-1, 2:] - image[..., 1:-1, :-2]
    around = known[..., 2:, 1:-1] & known[..., :-2, 1:-1] & known[..., 1:-1, 2:] & known[..., 1:-1, :-2]
    use = counts & around
    angle = torch.atan2(down, right) / math.pi * bins
    number = angle.floor().long() % bins
    size = torch.where(use, torch.hypot(down, right), 0.0)
    votes = one_hot(number, bins) * size[..., None]
    total = _in_cells(votes.movedim(-1, 2).flatten(1, 2), cell).unflatten(1, (-1, bins))
    length = total.square().sum(2, keepdim=True).sqrt()
    enough = (_in_cells(use.float(), cell) > cell**2 / 2)[:, :, None].expand_as(total)
    value = torch.where(enough, total / (length + 1e-6), 0.0)
    return value.flatten(1, 2), enough.flatten(1, 2)


def _in_cells(images: Tensor, cell: int) -> Tensor:
    """Sums over cells, (b, channel, row, col)."""
    rows, cols = images.shape[2] // cell, images.shape[3] // cell
    return images.unflatten(3, (cols, cell)).unflatten(2, (rows, cell)).sum((3, 5))
