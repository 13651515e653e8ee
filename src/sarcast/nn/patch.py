"""Patches: images to tokens and pixels of patches, and back; any channels, any rectangular grid."""

from __future__ import annotations

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sarcast.errors import ShapeError


class PatchEmbed(nn.Module):
    """One linear map of every patch's pixels (Dosovitskiy et al., 2021, arXiv 2010.11929)."""

    def __init__(self, *, patch: int, channels: int, dim: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch)

    def forward(self, pixels: Float[Tensor, "b c y x"]) -> Float[Tensor, "b row col dim"]:
        """One vector a patch.

        Raises:
            ShapeError: The image is not whole patches, or has other channels.
        """
        if pixels.shape[1] != self.proj.in_channels:
            raise ShapeError(f"expected {self.proj.in_channels} channels, found {pixels.shape[1]}")
        grid_of(pixels, self.patch)
        return self.proj(pixels).permute(0, 2, 3, 1)


def grid_of(pixels: Shaped[Tensor, "*b y x"], patch: int) -> tuple[int, int]:
    """(rows, cols) of whole patches in an image.

    Raises:
        ShapeError: A side is not a multiple of `patch`.
    """
    y, x = pixels.shape[-2:]
    if y % patch or x % patch or not y or not x:
        raise ShapeError(f"expected image sides in multiples of {patch} px, found {y} x {x}")
    return y // patch, x // patch


def patchify(pixels: Shaped[Tensor, "b c y x"], patch: int) -> Shaped[Tensor, "b row col pixel"]:
    """Pixels of every patch, channel by channel, each row by row: `pixel` = c * patch * patch.

    Raises:
        ShapeError: A side is not a multiple of `patch`.
    """
    rows, cols = grid_of(pixels, patch)
    split = pixels.unflatten(3, (cols, patch)).unflatten(2, (rows, patch))
    return split.permute(0, 2, 4, 1, 3, 5).flatten(3)


def unpatchify(patches: Shaped[Tensor, "b row col pixel"], patch: int) -> Shaped[Tensor, "b c y x"]:
    """The image `patchify` took apart.

    Raises:
        ShapeError: A vector does not hold whole patches.
    """
    if patches.shape[3] % patch**2:
        raise ShapeError(f"expected vectors of a multiple of {patch**2}, found {patches.shape[3]}")
    split = patches.unflatten(3, (patches.shape[3] // patch**2, patch, patch))
    return split.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
