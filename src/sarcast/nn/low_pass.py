"""A Gaussian low-pass of images of which some pixels are unknown: weighted means of the known ones."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import conv2d, pad


def low_pass(
    pixels: Float[Tensor, "b c y x"], counts: Bool[Tensor, "b c y x"], *, sigma: float
) -> Float[Tensor, "b c y x"]:
    """Mean of the known pixels around each, weighted by a Gaussian; 0 where a pixel is not known itself.

    Args:
        pixels: Anything where they do not count.
        counts: Where pixels are known.
        sigma: Of the Gaussian, pixels; it ends at three of them. Beyond the borders nothing is known.
    """
    reach = math.ceil(3 * sigma)
    at = torch.arange(-reach, reach + 1, device=pixels.device, dtype=torch.float32)
    weight = torch.exp(-at.square() / (2 * sigma**2))
    total = _along(torch.where(counts, pixels.float(), 0.0), weight)
    number = _along(counts.float(), weight)
    return torch.where(counts, total / number.clamp_min(1e-12), 0.0)


def _along(images: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums over rows, then columns, every channel by itself."""
    reach = len(weight) // 2
    one = pad(images.flatten(0, 1)[:, None], (reach,) * 4)
    found = conv2d(conv2d(one, weight[None, None, :, None]), weight[None, None, None])
    return found.view(images.shape)
