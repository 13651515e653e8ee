"""What is hidden from a network: LoMaR windows for SAR-JEPA, blocks for JEPA. Masks are data, True = hidden.

LoMaR (Chen et al., 2022, arXiv 2206.00790) looks at an image through a few windows of patches, each a row of
its own. The published code repeats images in one order and windows in another, so that an image of a batch
divisible by the number of windows sees one window only; here every image is seen through all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sarcast.errors import SettingsError, ShapeError


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """Rows of a masked batch: which image each row shows, which of its patches, which are hidden."""

    image: Tensor
    """int64 (row,): index of the image in the batch."""
    patch: Tensor
    """int64 (row, p): patches of the window, numbered row by row over the image's grid."""
    hidden: Tensor
    """bool (row, p): True where the network does not see the patch."""
    window: tuple[int, int]
    """(rows, cols) of a window; p = rows * cols."""

    def __post_init__(self) -> None:
        rows, p = self.patch.shape
        if (
            self.image.shape != (rows,)
            or self.hidden.shape != (rows, p)
            or p != self.window[0] * self.window[1]
        ):
            raise ShapeError(
                f"expected image (row,), patch and hidden (row, {self.window[0] * self.window[1]}), found "
                f"{tuple(self.image.shape)}, {tuple(self.patch.shape)}, {tuple(self.hidden.shape)}"
            )


def views(
    grid: tuple[int, int],
    *,
    batch: int,
    window: tuple[int, int] = (7, 7),
    count: int = 4,
    share: float = 0.8,
    rng: torch.Generator,
) -> Views:
    """`count` windows of every image: row r shows image r // count through window r % count.

    The windows are drawn once for the batch; what is hidden in them is drawn for every row.

    Args:
        grid: (rows, cols) of patches in an image.
        batch: Number of images.
        window: (rows, cols) of patches in a window.
        count: Windows an image.
        share: Part of a window's patches that is hidden, rounded down.
        rng: Source of all draws; its device is where the result lives.

    Raises:
        ShapeError: The window does not fit into the grid.
        SettingsError: Nothing would be hidden, or nothing left to see.
    """
    patches = window[0] * window[1]
    hide = int(patches * share)
    if not 0 < hide < patches:
        raise SettingsError(
            f"expected some but not all of {patches} patches hidden, found {hide} (share {share})"
        )
    drawn = windows(grid, window=window, count=count, rng=rng)
    order = torch.rand(batch * count, patches, generator=rng, device=rng.device).argsort(1)
    return Views(
        image=torch.arange(batch, device=rng.device).repeat_interleave(count),
        patch=drawn.repeat(batch, 1),
        hidden=torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, :hide], True),
        window=window,
    )


def windows(
    grid: tuple[int, int], *, window: tuple[int, int], count: int, rng: torch.Generator
) -> Int[Tensor, "w p"]:
    """Patches (row by row) of `count` windows; where the grid allows, no two share a top row or left column.

    Raises:
        ShapeError: The window does not fit into the grid.
    """
    if not all(1 <= small <= large for small, large in zip(window, grid, strict=True)):
        raise ShapeError(f"expected a window within the grid {grid}, found {window}")
    top, left = (_distinct(large - small + 1, count, rng) for small, large in zip(window, grid, strict=True))
    down, right = (torch.arange(n, device=rng.device) for n in window)
    row, col = top[:, None, None] + down[:, None], left[:, None, None] + right
    return (row * grid[1] + col).flatten(1)


def blocks(
    grid: tuple[int, int], *, batch: int, count: int, side: tuple[int, int], rng: torch.Generator
) -> Bool[Tensor, "b row col"]:
    """True inside `count` rectangles of `side` (rows, cols) an image, anywhere they fit (they may overlap).

    Raises:
        ShapeError: The rectangle does not fit into the grid.
    """
    if not all(1 <= small <= large for small, large in zip(side, grid, strict=True)):
        raise ShapeError(f"expected a block within the grid {grid}, found {side}")
    rows, cols = (torch.arange(n, device=rng.device) for n in grid)
    top, left = (
        torch.randint(n - s + 1, (batch, count, 1), generator=rng, device=rng.device)
        for n, s in zip(grid, side, strict=True)
    )
    in_rows = (rows >= top) & (rows < top + side[0])
    in_cols = (cols >= left) & (cols < left + side[1])
    return (in_rows[..., :, None] & in_cols[..., None, :]).any(1)


def _distinct(places: int, count: int, rng: torch.Generator) -> Tensor:
    """`count` numbers under `places`; none twice before every one has come once."""
    rounds = [torch.randperm(places, generator=rng, device=rng.device) for _ in range(-(-count // places))]
    return torch.cat(rounds)[:count]
