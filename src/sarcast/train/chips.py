"""Chips: small images cut from stacks once, kept in memory, and drawn from at every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.nn.card import Card, scaled
from sarcast.train.augment import Augment, augment
from sarcast.train.places import Area
from sarcast.values import Stack

TRIES = 4
"""Draws per chip wanted, before places without enough valid pixels make them fewer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chips:
    """Images of one band each, all of one size; of one date, or of the same number of dates."""

    power: np.ndarray
    """float32 (chip, y, x) or (chip, date, y, x), linear; 0 where not valid."""
    valid: np.ndarray
    """bool, of that shape."""

    def __post_init__(self) -> None:
        if self.power.ndim not in (3, 4) or self.power.shape != self.valid.shape:
            raise ShapeError(
                f"expected chips (chip, y, x) or (chip, date, y, x), found {self.power.shape} and "
                f"{self.valid.shape}"
            )

    def __len__(self) -> int:
        return len(self.power)

    @classmethod
    def of(cls, parts: list[Chips]) -> Chips:
        """All chips of several cuts."""
        return cls(
            power=np.concatenate([p.power for p in parts]), valid=np.concatenate([p.valid for p in parts])
        )


def cut(
    stack: Stack,
    dates: np.ndarray,
    where: Area,
    *,
    count: int,
    side: int,
    rng: Generator,
    together: int | None = None,
    min_valid: float = 0.5,
) -> Chips:
    """`count` chips of random dates, bands and places; fewer where too little is valid.

    Args:
        stack: Lazy or not: only the chips are read.
        dates: Indices of the dates to take them from.
        where: Where in the scene, from `sarcast.train.places`.
        count: Chips wanted.
        side: Of a chip, pixels.
        rng: Source of all draws.
        together: Different dates a chip has, for chips (chip, date, y, x); None: one, without that axis.
        min_valid: Share of a chip's pixels that must be valid, on every date.

    Raises:
        DataError: There are too few dates, no room, or no place has enough valid pixels.
    """
    if len(dates) < (together or 1):
        raise DataError(
            f"expected {together or 1} dates or more to learn from, found {len(dates)}, in stack {stack.name}"
        )
    bands = rng.integers(len(stack.bands), size=TRIES * count)
    corners = where.draw(TRIES * count, side=side, rng=rng)
    power, valid = [], []
    for band, (row, col) in zip(bands, corners, strict=True):
        box = (slice(row, row + side), slice(col, col + side))
        some = rng.choice(np.asarray(dates), together or 1, replace=False)
        ok = np.stack([np.asarray(stack.valid[t, *box]) for t in some])
        if ok.mean((1, 2)).min() < min_valid:
            continue
        amplitude = np.stack([np.asarray(stack.amplitude[t, band, *box], np.float32) for t in some])
        power.append(np.where(ok, amplitude * amplitude, 0))
        valid.append(ok)
        if len(power) == count:
            break
    if not power:
        raise DataError(
            f"expected places with {min_valid:.0%} valid pixels, found none, in stack {stack.name}"
        )
    found = Chips(power=np.stack(power).astype(np.float32), valid=np.stack(valid))
    return found if together else Chips(power=found.power[:, 0], valid=found.valid[:, 0])


def batch(
    chips: Chips, card: Card, settings: Augment, *, size: int, crop: int, rng: Generator
) -> tuple[Tensor, ...]:
    """`size` chips drawn and augmented, as `as_input` gives them; of several dates two are drawn."""
    some = rng.integers(len(chips), size=size)
    power, valid = chips.power[some], chips.valid[some]
    if power.ndim == 4:
        rows = np.arange(size)[:, None]
        pair = rng.random(power.shape[:2]).argsort(1)[:, :2]
        power, valid = power[rows, pair], valid[rows, pair]
    return as_input(*augment(power, valid, settings, crop=crop, rng=rng), card)


def as_input(power: np.ndarray, valid: np.ndarray, card: Card) -> tuple[Tensor, ...]:
    """Power and validity (b, y, x) as a network takes them: (b, 1, y, x) scaled, and valid (b, y, x).

    Of (b, date, y, x) the first two dates, one after the other: four tensors.

    Raises:
        SettingsError: The card names channels, but bands are seen one at a time.
    """
    if card.channels:
        raise SettingsError(
            f"expected a card without channels for bands seen one at a time, found {', '.join(card.channels)}"
        )
    ok = torch.from_numpy(np.ascontiguousarray(valid))
    pixels = scaled(torch.from_numpy(np.ascontiguousarray(power)), card, ok)
    if pixels.ndim == 3:
        return pixels[:, None], ok
    return pixels[:, :1], ok[:, 0], pixels[:, 1:2], ok[:, 1]
