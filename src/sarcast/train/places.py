"""Where to learn and where to validate: square blocks spread over the scene are held out, by place.

Neighbouring pixels are alike, so images held out at random would be known already. A training image never
overlaps a block, a validation image lies within one. Blocks lie on a lattice whose cells are at least as wide
as an image, so that every cell that is not held out has room for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sarcast.errors import DataError
from sarcast.values import Stack

MANY = 8
"""Cells twice an image wide that a scene must hold for blocks to be that wide."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Area:
    """Where images of a scene may lie: within its blocks, or clear of all of them."""

    shape: tuple[int, int]
    """(rows, cols) of the scene, pixels."""
    blocks: np.ndarray
    """int (block, 2): first row and column of each."""
    block: int
    """Side of a block, pixels; clear of the blocks there is room for images of that side."""
    within: bool
    """True: images lie within a block; False: they overlap none."""

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Area:
        """Anywhere in a scene."""
        return cls(shape=shape, blocks=np.zeros((0, 2), int), block=min(shape), within=False)

    def draw(self, count: int, *, side: int, rng: Generator) -> np.ndarray:
        """First rows and columns of `count` images of `side` pixels, int (count, 2); all as likely.

        Raises:
            DataError: There is no room for such an image.
        """
        if self.within:
            room = self.block - side + 1
            some = rng.integers(len(self.blocks), size=count)
            offset = rng.integers(max(room, 1), size=(count, 2))
            found, room = self.blocks[some] + offset, room * len(self.blocks)
        else:
            groups = self._clear(side)
            ends = np.cumsum([len(rows) * len(cols) for rows, cols in groups])
            room = int(ends[-1]) if len(ends) else 0
            number = rng.integers(max(room, 1), size=count)
            found = np.zeros((count, 2), int)
            for (rows, cols), end in zip(groups, ends, strict=True):
                size = len(rows) * len(cols)
                mine = (number >= end - size) & (number < end)
                row, col = np.divmod(number[mine] - (end - size), max(len(cols), 1))
                found[mine] = np.stack([rows[row], cols[col]], 1)
        if room < 1:
            raise DataError(
                f"expected room for images of {side} px, found none, in a scene of {self.shape[0]} x "
                f"{self.shape[1]} px"
            )
        return found

    def _clear(self, side: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """(rows, cols) where an image clear of all blocks may begin: any of the rows with any of the cols.

        Rows that meet the same blocks go together: there are few such groups, however large the scene.
        """
        rows, cols = (np.arange(max(0, length - side + 1), dtype=np.int32) for length in self.shape)
        tops = np.unique(self.blocks[:, 0])
        met = (tops < rows[:, None] + side) & (tops + self.block > rows[:, None])
        kinds, kind = np.unique(met, axis=0, return_inverse=True)
        found = []
        for number, one in enumerate(kinds):
            lefts = np.unique(self.blocks[np.isin(self.blocks[:, 0], tops[one]), 1])
            step = np.zeros(len(cols) + 1, int)
            np.add.at(step, np.clip(lefts - side + 1, 0, len(cols)), 1)
            np.add.at(step, np.clip(lefts + self.block, 0, len(cols)), -1)
            found.append((rows[kind.ravel() == number], cols[np.cumsum(step[:-1]) == 0]))
        return found


def places(
    stack: Stack, dates: Sequence[int] | np.ndarray, *, side: int, held_out: float, rng: Generator
) -> tuple[Area, Area]:
    """(where to learn, where to validate) in one scene.

    The same generator, side and share hold out the same places at every stage.

    Args:
        stack: Lazy or not: only the validity of single blocks is read.
        dates: Indices of the dates learned from.
        side: Of the smallest image wanted, pixels.
        held_out: Share of the scene in blocks; at least one block.
        rng: Draws the blocks, spread over the scene, where most pixels are valid.

    Raises:
        DataError: There is no room for an image to learn from beside one to validate on, or no date.
    """
    y, x = (int(length) for length in stack.geobox.shape)
    if min(y, x) < side or max(y, x) < 2 * side:
        raise DataError(
            f"expected an image of at least {side} x {2 * side} px, to learn from one part and validate on "
            f"another, found {y} x {x}, in stack {stack.name}"
        )
    if not len(dates):
        raise DataError(f"expected dates to learn from, found none, in stack {stack.name}")
    block = 2 * side if (y // (2 * side)) * (x // (2 * side)) >= MANY else side
    tops, lefts = (_starts(length, block) for length in (y, x))
    cells = np.stack(np.meshgrid(tops, lefts, indexing="ij"), -1).reshape(-1, 2)
    count = int(np.clip(round(held_out * y * x / block**2), 1, len(cells) - 1))
    looked_at = int(dates[len(dates) // 2])
    drawn = [_one(stack, looked_at, some, block, rng) for some in np.array_split(cells, count)]
    blocks = np.stack(drawn)
    learn, other = (Area(shape=(y, x), blocks=blocks, block=block, within=one) for one in (False, True))
    return learn, other


def _starts(length: int, block: int) -> np.ndarray:
    """Where as many blocks as fit side by side begin, spread from edge to edge."""
    fit = length // block
    return np.linspace(0, length - block, fit).astype(int) if fit > 1 else np.zeros(1, int)


def _one(stack: Stack, date: int, cells: np.ndarray, block: int, rng: Generator) -> np.ndarray:
    """One of the cells, the first in a drawn order that is mostly valid, else the most valid one."""
    shares = []
    order = rng.permutation(len(cells))
    for row, col in cells[order]:
        shares.append(float(np.mean(stack.valid[date, row : row + block, col : col + block])))
        if shares[-1] >= 0.5:
            break
    found: np.ndarray = cells[order[int(np.argmax(shares))]]
    return found
