"""Chips: small images cut from stacks once, kept in memory, and drawn from at every step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from sarcast.errors import DataError, SettingsError, ShapeError, StackError
from sarcast.nn.card import Card, scaled
from sarcast.sar.channels import bands_of, in_channels
from sarcast.sar.seasons import CHANNELS, SeasonalStack
from sarcast.train.augment import Augment, augment
from sarcast.train.places import Area
from sarcast.values import Stack

TRIES = 4
"""Draws per chip wanted, before places without enough valid pixels make them fewer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chips:
    """Images of one band or several, all of one size; of one date, or of the same number of dates."""

    power: np.ndarray
    """float32 (chip, y, x) or (chip, date, y, x), linear, and before y a band where there are `bands`; 0
    where not valid."""
    valid: np.ndarray
    """bool, of that shape."""
    bands: tuple[str, ...] = ()
    """Names of the bands of every chip; none: each chip is one band, whichever."""

    def __post_init__(self) -> None:
        axes = self.power.ndim - bool(self.bands)
        if axes not in (3, 4) or self.power.shape != self.valid.shape:
            raise ShapeError(
                f"expected chips (chip, y, x) or (chip, date, y, x), found {self.power.shape} and "
                f"{self.valid.shape}"
            )
        if self.bands and self.power.shape[-3] != len(self.bands):
            raise ShapeError(f"expected {len(self.bands)} bands before y, found {self.power.shape}")

    @property
    def dated(self) -> bool:
        """Whether there is an axis of dates."""
        return self.power.ndim - bool(self.bands) == 4

    def __len__(self) -> int:
        return len(self.power)

    def __getitem__(self, some: np.ndarray) -> Chips:
        return Chips(power=self.power[some], valid=self.valid[some], bands=self.bands)

    def take(self, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(power, valid) of chips by number."""
        return self.power[some], self.valid[some]

    @classmethod
    def of(cls, parts: list[Chips]) -> Chips:
        """All chips of several cuts, of the same bands.

        Raises:
            ShapeError: They have other bands, or other sizes.
        """
        if len({(p.bands, p.power.shape[1:]) for p in parts}) != 1:
            raise ShapeError("expected chips of the same bands and size")
        return cls(
            power=np.concatenate([p.power for p in parts]),
            valid=np.concatenate([p.valid for p in parts]),
            bands=parts[0].bands,
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
    bands: tuple[str, ...] = (),
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
        bands: Those that every chip has, before y; none: each chip has one, whichever.
        min_valid: Share of a chip's pixels that must be valid, on every date.

    Raises:
        StackError: The stack lacks one of the bands.
        DataError: There are too few dates, no room, or no place has enough valid pixels.
    """
    if len(dates) < (together or 1):
        raise DataError(
            f"expected {together or 1} dates or more to learn from, found {len(dates)}, in stack {stack.name}"
        )
    wanted = _numbers(stack, bands, count, rng)
    corners = where.draw(TRIES * count, side=side, rng=rng)
    power, valid = [], []
    for band, (row, col) in zip(wanted, corners, strict=True):
        box = (slice(row, row + side), slice(col, col + side))
        some = rng.choice(np.asarray(dates), together or 1, replace=False)
        ok = np.stack([np.asarray(stack.valid[t, *box]) for t in some])
        if ok.mean((1, 2)).min() < min_valid:
            continue
        power.append(_power(stack, some, band, box, ok))
        valid.append(np.broadcast_to(ok[:, None], power[-1].shape))
        if len(power) == count:
            break
    if not power:
        raise DataError(
            f"expected places with {min_valid:.0%} valid pixels, found none, in stack {stack.name}"
        )
    kept = np.s_[:, slice(None) if together else 0]
    one, seen = (np.stack(x) if bands else np.stack(x)[:, :, 0] for x in (power, valid))
    return Chips(power=one[kept], valid=seen[kept], bands=bands)


def of_seasons(tiles: Iterable[SeasonalStack], *, side: int | None = None, min_valid: float = 0.0) -> Chips:
    """Seasonal tiles as chips of VV and VH of every season, from which a card's 12 channels are made.

    Args:
        tiles: All of one size, read one after the other.
        side: Of a chip, pixels: each tile is cut into as many as fit side by side; None keeps tiles whole.
        min_valid: Share of a chip's values that must be valid.

    Raises:
        DataError: There is no tile, or none as large as a chip with enough valid values.
        ShapeError: Tiles have different sizes.
    """
    bands = bands_of(CHANNELS)
    found = []
    for tile in tiles:
        power, ok = power_of(tile)
        length = side or min(ok.shape[1:])
        tops, lefts = (range(0, n - length + 1, length) for n in ok.shape[1:])
        for top in tops:
            for left in lefts:
                box = np.s_[:, top : top + length, left : left + length]
                if ok[box].mean() < min_valid:
                    continue
                found.append(Chips(power=power[box][None], valid=ok[box][None], bands=bands))
    if not found:
        raise DataError(
            f"expected seasonal tiles with room for a chip and {min_valid:.0%} valid values, found none"
        )
    return Chips.of(found)


class Images(Protocol):
    """What batches are drawn from: `Chips`, or images read when they are drawn."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Of every image; none: each is one band, whichever."""
        ...

    @property
    def dated(self) -> bool:
        """Whether there is an axis of dates."""
        ...

    def __len__(self) -> int: ...

    def take(self, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(power, valid) of images by number."""
        ...


def power_of(tile: SeasonalStack) -> tuple[np.ndarray, np.ndarray]:
    """(power, valid) of VV and VH of every season, float32 and bool (band, y, x)."""
    at = [CHANNELS.index(band) for band in bands_of(CHANNELS)]
    ok = tile.valid[at]
    return np.where(ok, 10.0 ** (tile.db[at] / 10), 0).astype(np.float32), ok


def batch(
    chips: Images, card: Card, settings: Augment, *, size: int, crop: int, rng: Generator
) -> tuple[Tensor, ...]:
    """`size` chips drawn and augmented, as `as_input` gives them; of several dates two are drawn."""
    some = rng.integers(len(chips), size=size)
    power, valid = chips.take(some)
    if chips.dated:
        rows = np.arange(size)[:, None]
        pair = rng.random(power.shape[:2]).argsort(1)[:, :2]
        power, valid = power[rows, pair], valid[rows, pair]
    return as_input(*augment(power, valid, settings, crop=crop, rng=rng), card, bands=chips.bands)


def as_input(
    power: np.ndarray, valid: np.ndarray, card: Card, *, bands: tuple[str, ...] = ()
) -> tuple[Tensor, ...]:
    """Power and validity (b, y, x) as a network takes them: (b, 1, y, x) scaled, and valid (b, y, x).

    Of (b, date, y, x) the first two dates, one after the other: four tensors. With `bands` before y the
    card's channels are made of them, and `valid` becomes (b, channel, y, x).

    Raises:
        SettingsError: The card names channels, but bands are seen one at a time, or the other way round, or
            a band that its channels need is not there.
    """
    if bands:
        if not card.channels:
            raise SettingsError(f"expected a card with channels for {', '.join(bands)}, found none")
        value, seen = in_channels(power, valid, bands, card.channels)
        ok = torch.from_numpy(seen)
        pixels = scaled(torch.from_numpy(value), card, ok)
        if pixels.ndim == 4:
            return pixels, ok
        return pixels[:, 0], ok[:, 0], pixels[:, 1], ok[:, 1]
    if card.channels:
        raise SettingsError(
            f"expected a card without channels for bands seen one at a time, found {', '.join(card.channels)}"
        )
    ok = torch.from_numpy(np.ascontiguousarray(valid))
    pixels = scaled(torch.from_numpy(np.ascontiguousarray(power)), card, ok)
    if pixels.ndim == 3:
        return pixels[:, None], ok
    return pixels[:, :1], ok[:, 0], pixels[:, 1:2], ok[:, 1]


def _numbers(stack: Stack, bands: tuple[str, ...], count: int, rng: Generator) -> list[list[int]]:
    """Which of a stack's bands to take in every try: one, whichever, or all `bands`."""
    if not bands:
        return [[int(band)] for band in rng.integers(len(stack.bands), size=TRIES * count)]
    if not set(bands) <= set(stack.bands):
        raise StackError(
            f"expected bands {', '.join(bands)}, found {', '.join(stack.bands)}, in stack {stack.name}"
        )
    return [[stack.bands.index(band) for band in bands]] * (TRIES * count)


def _power(
    stack: Stack, dates: np.ndarray, bands: list[int], box: tuple[slice, slice], valid: np.ndarray
) -> np.ndarray:
    """float32 (date, band, y, x); 0 where not `valid` (date, y, x)."""
    amplitude = np.stack(
        [[np.asarray(stack.amplitude[t, b, *box], np.float32) for b in bands] for t in dates]
    )
    return np.where(valid[:, None], amplitude * amplitude, 0).astype(np.float32)
