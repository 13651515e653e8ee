"""Chips: small images cut from stacks once, kept in memory, and drawn from at every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from sarcast.errors import DataError, ShapeError
from sarcast.nn.card import Card, scaled
from sarcast.train.augment import Augment, augment
from sarcast.values import Stack

TRIES = 4
"""Draws per chip wanted, before places without enough valid pixels make them fewer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chips:
    """Images of one band and date each, all of one size."""

    power: np.ndarray
    """float32 (chip, y, x), linear; 0 where not valid."""
    valid: np.ndarray
    """bool (chip, y, x)."""

    def __post_init__(self) -> None:
        if self.power.ndim != 3 or self.power.shape != self.valid.shape:
            raise ShapeError(f"expected chips (chip, y, x), found {self.power.shape} and {self.valid.shape}")

    def __len__(self) -> int:
        return len(self.power)

    @classmethod
    def of(cls, parts: list[Chips]) -> Chips:
        """All chips of several cuts."""
        return cls(
            power=np.concatenate([p.power for p in parts]), valid=np.concatenate([p.valid for p in parts])
        )


def places(stack: Stack, *, side: int, held_out: float) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """(where to learn, where to validate): the right-hand part, at least `side` wide, is held out.

    Raises:
        DataError: There is no room for both.
    """
    y, x = stack.geobox.shape
    strip = max(side, round(held_out * x))
    if y < side or x - strip < side:
        raise DataError(
            f"expected an image of at least {side} x {2 * side} px, to learn from one part and validate on "
            f"another, found {y} x {x}, in stack {stack.name}"
        )
    return (slice(0, y), slice(0, x - strip)), (slice(0, y), slice(x - strip, x))


def cut(
    stack: Stack,
    dates: np.ndarray,
    where: tuple[slice, slice],
    *,
    count: int,
    side: int,
    rng: Generator,
    min_valid: float = 0.5,
) -> Chips:
    """`count` chips of random dates, bands and places; fewer where too little is valid.

    Args:
        stack: Lazy or not: only the chips are read.
        dates: Indices of the dates to take them from.
        where: Rows and columns to stay within.
        count: Chips wanted.
        side: Of a chip, pixels.
        rng: Source of all draws.
        min_valid: Share of a chip's pixels that must be valid.

    Raises:
        DataError: There are no dates, or no place has enough valid pixels.
    """
    if not len(dates):
        raise DataError(f"expected dates to learn from, found none, in stack {stack.name}")
    (top, bottom), (left, right) = ((s.start, s.stop) for s in where)
    tries = TRIES * count
    drawn = np.stack(
        [
            rng.choice(np.asarray(dates), tries),
            rng.integers(len(stack.bands), size=tries),
            rng.integers(top, bottom - side + 1, tries),
            rng.integers(left, right - side + 1, tries),
        ],
        1,
    )
    power, valid = [], []
    for t, band, row, col in drawn:
        box = (slice(row, row + side), slice(col, col + side))
        ok = np.asarray(stack.valid[t, *box])
        if ok.mean() < min_valid:
            continue
        amplitude = np.asarray(stack.amplitude[t, band, *box], np.float32)
        power.append(np.where(ok, amplitude * amplitude, 0))
        valid.append(ok)
        if len(power) == count:
            break
    if not power:
        raise DataError(
            f"expected places with {min_valid:.0%} valid pixels, found none, in stack {stack.name}"
        )
    return Chips(power=np.stack(power).astype(np.float32), valid=np.stack(valid))


def batch(
    chips: Chips, card: Card, settings: Augment, *, size: int, crop: int, rng: Generator
) -> tuple[Tensor, Tensor]:
    """`size` chips drawn and augmented: (pixels (b, 1, y, x) as the card scales them, valid (b, y, x))."""
    some = rng.integers(len(chips), size=size)
    power, valid = augment(chips.power[some], chips.valid[some], settings, crop=crop, rng=rng)
    return as_input(power, valid, card)


def as_input(power: np.ndarray, valid: np.ndarray, card: Card) -> tuple[Tensor, Tensor]:
    """(b, y, x) power and validity as a network takes them: (b, 1, y, x) scaled, and valid."""
    ok = torch.from_numpy(np.ascontiguousarray(valid))
    return scaled(torch.from_numpy(np.ascontiguousarray(power)), card, ok)[:, None], ok
