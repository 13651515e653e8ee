"""Ratio gradients as training targets: `sarcast.sar.gradient` on tensors, for whole batches, on any device.

Magnitudes are those SAR-JEPA learns to predict (Li et al., 2024): at radius k the halves of a (2k+1) window
share their centre line; gx = ln(left / right), gy = ln(top / bottom), sqrt(gx^2 + gy^2). One float64 integral
image serves every radius. Beside them the local level ln(mean), to which gradients are blind.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from sarcast.errors import ShapeError

RADII = (5, 9, 13, 17)
"""The four radii of SAR-JEPA, pixels."""


@torch.no_grad()
def ratio_gradients(
    image: Float[Tensor, "b c y x"],
    *,
    radii: Sequence[int] = RADII,
    offset: float = 1e-2,
    valid: Bool[Tensor, "b *channel y x"] | None = None,
    level: bool = False,
    share: float = 0.5,
) -> tuple[Float[Tensor, "b c scale y x"], Bool[Tensor, "b c scale y x"]]:
    """Magnitudes at every radius and, where asked, the local level as one more scale.

    Args:
        image: Not negative; mirrored at its borders.
        radii: Half widths of the windows, pixels.
        offset: Added to every pixel first.
        valid: Where pixels count, (b, y, x) or (b, c, y, x); None means everywhere.
        level: Add ln of the mean over the smallest radius's window as the last scale.
        share: A result is valid when its pixel is and each half holds at least this share of valid pixels.

    Returns:
        (value, valid): float32, 0 where not valid. No gradient flows through them.

    Raises:
        ShapeError: A radius is under 1 or larger than the image side - 1, or `valid` has another shape.
    """
    if not radii or min(radii) < 1 or max(radii) > min(image.shape[2:]) - 1:
        raise ShapeError(
            f"expected radii of 1 to the image side - 1, found {tuple(radii)}, image {tuple(image.shape[2:])}"
        )
    if valid is not None and valid.shape not in ((len(image), *image.shape[2:]), image.shape):
        raise ShapeError(f"expected valid (b, y, x) of {tuple(image.shape)}, found {tuple(valid.shape)}")
    whole = valid is None or bool(valid.all())
    mask = None if whole or valid is None else valid[:, None] if valid.ndim == 3 else valid
    shifted = image.double() + offset
    border = max(radii)
    total = _integral(shifted if mask is None else torch.where(mask, shifted, 0.0), border)
    number = None if mask is None else _integral(mask.double(), border)
    scales = [_magnitude(total, number, mask, radius, border, share) for radius in radii]
    if level:
        scales.append(_level(total, number, mask, min(radii), border, share))
    values = torch.stack([value for value, _ in scales], 2)
    seen = torch.stack([ok.expand_as(value) for value, ok in scales], 2)
    return values, seen


def _magnitude(
    total: Tensor, number: Tensor | None, mask: Tensor | None, radius: int, border: int, share: float
) -> tuple[Tensor, Tensor]:
    top, bottom, left, right = _halves(total, radius, border)
    if number is None or mask is None:
        gy, gx = (top / bottom).float().log_(), (left / right).float().log_()
        return torch.hypot(gy, gx), torch.ones((), dtype=torch.bool, device=total.device)
    counts = _halves(number, radius, border)
    enough = share * (radius + 1) * (2 * radius + 1) - 1e-9
    ok = mask & torch.stack([n >= enough for n in counts]).all(0)
    top, bottom, left, right = (
        torch.where(ok, half / n.clamp_min(1), 1.0)
        for half, n in zip((top, bottom, left, right), counts, strict=True)
    )
    return torch.hypot((top / bottom).float().log_(), (left / right).float().log_()), ok


def _level(
    total: Tensor, number: Tensor | None, mask: Tensor | None, radius: int, border: int, share: float
) -> tuple[Tensor, Tensor]:
    inside, size = _box(total, radius, border), (2 * radius + 1) ** 2
    if number is None or mask is None:
        return (inside / size).log().float(), torch.ones((), dtype=torch.bool, device=total.device)
    count = _box(number, radius, border)
    ok = mask & (count >= share * size - 1e-9)
    return torch.where(ok, inside / count.clamp_min(1), 1.0).log().float(), ok


def _integral(image: Tensor, border: int) -> Tensor:
    """Sums over all pixels above and to the left, of the mirrored image; first row and column are 0."""
    mirrored = pad(image, (border,) * 4, mode="reflect")
    return pad(mirrored.cumsum(2).cumsum_(3), (1, 0, 1, 0))


def _halves(total: Tensor, radius: int, border: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums over the top, bottom, left and right half of every pixel's window, centre line in both."""
    y, x = (side - 2 * border - 1 for side in total.shape[2:])
    low, here, high = border - radius, border, border + radius + 1
    wide = total[..., high : high + x] - total[..., low : low + x]
    tall = total[..., high : high + y, :] - total[..., low : low + y, :]
    top = wide[..., here + 1 : here + 1 + y, :] - wide[..., low : low + y, :]
    bottom = wide[..., high : high + y, :] - wide[..., here : here + y, :]
    left = tall[..., here + 1 : here + 1 + x] - tall[..., low : low + x]
    right = tall[..., high : high + x] - tall[..., here : here + x]
    return top, bottom, left, right


def _box(total: Tensor, radius: int, border: int) -> Tensor:
    """Sums over the whole window of every pixel."""
    y, x = (side - 2 * border - 1 for side in total.shape[2:])
    low, high = border - radius, border + radius + 1
    wide = total[..., high : high + x] - total[..., low : low + x]
    return wide[..., high : high + y, :] - wide[..., low : low + y, :]


def standardised(
    value: Float[Tensor, "b c scale y x"], counts: Bool[Tensor, "b c scale y x"]
) -> Float[Tensor, "b c scale y x"]:
    """Mean 0 and variance 1 for each scale of each channel over the batch; 0 where it does not count."""
    axes = (0, 3, 4)
    n = counts.sum(axes, keepdim=True).clamp_min(1)
    mean = value.sum(axes, keepdim=True) / n
    centred = torch.where(counts, value - mean, 0.0)
    spread = (centred.square().sum(axes, keepdim=True) / n).sqrt()
    return centred / spread.clamp_min(1e-6)
