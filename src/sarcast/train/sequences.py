"""Sequences: images of one place on dates in a row, cut from stacks once, drawn from at every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from sarcast.errors import DataError, ShapeError
from sarcast.nn.card import Card, scaled
from sarcast.train.augment import Augment, augment
from sarcast.train.chips import TRIES
from sarcast.train.places import Area
from sarcast.values import Stack

Places = tuple[Tensor, Tensor, Tensor]
"""(pixels (b, t, c, y, x), valid (b, t, y, x), days (b, t))."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequences:
    """Images of one place on several dates each, all of one size."""

    power: np.ndarray
    """float32 (sequence, time, channel, y, x), linear; 0 where not valid."""
    valid: np.ndarray
    """bool (sequence, time, y, x)."""
    days: np.ndarray
    """float32 (sequence, time), from the sequence's first date on."""

    def __post_init__(self) -> None:
        n, t, _, y, x = self.power.shape
        if self.valid.shape != (n, t, y, x) or self.days.shape != (n, t):
            raise ShapeError(
                f"expected sequences alike in power, valid and days, found {self.power.shape}, "
                f"{self.valid.shape}, {self.days.shape}"
            )

    def __len__(self) -> int:
        return len(self.power)

    @classmethod
    def of(cls, parts: list[Sequences]) -> Sequences:
        """All sequences of several cuts."""
        return cls(
            power=np.concatenate([p.power for p in parts]),
            valid=np.concatenate([p.valid for p in parts]),
            days=np.concatenate([p.days for p in parts]),
        )


def cut_sequences(
    stack: Stack,
    dates: np.ndarray,
    where: Area,
    *,
    count: int,
    length: int,
    side: int,
    channels: int,
    rng: Generator,
    min_valid: float = 0.5,
) -> Sequences:
    """`count` sequences of random places, first dates and bands; fewer where too little is valid.

    Args:
        stack: Lazy or not: only the sequences are read.
        dates: Indices of the dates to take them from, ascending; a sequence takes `length` in a row.
        where: Where in the scene, from `sarcast.train.places`.
        count: Sequences wanted.
        length: Dates of a sequence.
        side: Of an image, pixels.
        channels: 1: one band at a time; else all bands of the stack, which must be as many.
        rng: Source of all draws.
        min_valid: Share of a sequence's pixels that must be valid.

    Raises:
        DataError: Too few dates, another number of bands, or no place has enough valid pixels.
    """
    bands = len(stack.bands)
    if len(dates) < length:
        raise DataError(f"expected at least {length} dates, found {len(dates)}, in stack {stack.name}")
    if channels not in (1, bands):
        raise DataError(
            f"expected {channels} bands, as the network sees, found {bands}, in stack {stack.name}"
        )
    tries = TRIES * count
    firsts, drawn = rng.integers(len(dates) - length + 1, size=tries), rng.integers(bands, size=tries)
    corners = where.draw(tries, side=side, rng=rng)
    power, valid, days = [], [], []
    for first, band, (row, col) in zip(firsts, drawn, corners, strict=True):
        some = np.asarray(dates)[first : first + length]
        box = (slice(row, row + side), slice(col, col + side))
        ok = np.stack([np.asarray(stack.valid[t, *box]) for t in some])
        if ok.mean() < min_valid:
            continue
        shown = slice(band, band + 1) if channels == 1 else slice(None)
        amplitude = np.stack([np.asarray(stack.amplitude[t, shown, *box], np.float32) for t in some])
        power.append(np.where(ok[:, None], amplitude * amplitude, 0))
        valid.append(ok)
        days.append(stack.times.days[some] - stack.times.days[some[0]])
        if len(power) == count:
            break
    if not power:
        raise DataError(
            f"expected places with {min_valid:.0%} valid pixels, found none, in stack {stack.name}"
        )
    return Sequences(
        power=np.stack(power).astype(np.float32),
        valid=np.stack(valid),
        days=np.stack(days).astype(np.float32),
    )


def draw_places(
    sequences: Sequences, card: Card, settings: Augment, *, size: int, crop: int, rng: Generator
) -> Places:
    """`size` sequences drawn and augmented, all dates of one in the same way, as the card scales them."""
    some = rng.integers(len(sequences), size=size)
    power, valid = augment(sequences.power[some], sequences.valid[some], settings, crop=crop, rng=rng)
    return as_places(Sequences(power=power, valid=valid, days=sequences.days[some]), card)


def as_places(sequences: Sequences, card: Card) -> Places:
    """Sequences as a network takes them."""
    ok = torch.from_numpy(np.ascontiguousarray(sequences.valid))
    power = torch.from_numpy(np.ascontiguousarray(sequences.power))
    pixels = scaled(power, card, ok[:, :, None].expand_as(power))
    return pixels, ok, torch.from_numpy(np.ascontiguousarray(sequences.days))
