"""The preprocessing card: how linear power becomes the numbers a network sees, in training and after.

`db_clip` has fixed limits for every image: a bright place stays brighter than a dark one. `minmax_patch` is
the published way (T-SAR-JEPA): each image stretched by itself, so that level is lost; kept as its variant.
`db_channels` has limits of its own for each of several named channels, for networks that take them at once.
`picture` leaves amplitudes of 0 to 1 as they are, which is what chips of 8 bits hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from sarcast.errors import SettingsError
from sarcast.runtime.settings import Settings

Array = TypeVar("Array", np.ndarray, Tensor)
SMALLEST = 1e-12
"""Least power that is told apart."""


class Card(Settings):
    """What was done to pixels before the network, and what they were."""

    name: Literal["db_clip", "minmax_patch", "db_channels", "picture"] = "db_clip"
    """db_clip: fixed limits in dB; minmax_patch: dB, each image between its own minimum and maximum;
    db_channels: fixed limits in dB for each of `channels`; picture: amplitude as it is."""
    version: Literal[1] = 1
    """Of the scaling's definition."""
    low_db: float = -30.0
    """Becomes 0 (db_clip)."""
    high_db: float = 10.0
    """Becomes 1 (db_clip)."""
    channels: tuple[str, ...] = ()
    """Names of the channels, in the network's order (db_channels)."""
    zero_db: tuple[float, ...] = ()
    """What becomes 0 in each channel (db_channels); the mean, of a z-score."""
    one_db: tuple[float, ...] = ()
    """What becomes 1 in each channel (db_channels); mean plus standard deviation, of a z-score."""
    clipped: bool = True
    """Numbers under 0 become 0, over 1 become 1 (db_channels; the others always are)."""
    constants: str | None = None
    """Name and version of published or measured constants, such as terramind-s1rtc/1."""
    unit: Literal["sigma0", "gamma0", "beta0", "uncalibrated"] | None = None
    """Of the power the network was trained on, where known."""
    looks: float | None = Field(None, gt=0)
    """Equivalent number of looks it was trained on, where known."""
    sensor: str | None = None
    """Sensors it was trained on, where known."""

    @model_validator(mode="after")
    def _in_order(self) -> Card:
        if not self.low_db < self.high_db:
            raise ValueError("low_db must be under high_db")
        counts = {len(self.channels), len(self.zero_db), len(self.one_db)}
        if len(counts) > 1 or len(set(self.channels)) != len(self.channels):
            raise ValueError("zero_db and one_db must have a number for each of channels, all different")
        if (self.name == "db_channels") != bool(self.channels):
            raise ValueError("channels go with db_channels, and it with them")
        if not all(zero < one for zero, one in zip(self.zero_db, self.one_db, strict=True)):
            raise ValueError("zero_db must be under one_db")
        return self

    def check(self, channels: Sequence[str], *, where: str) -> None:
        """That images of these channels, in this order, are what the card is for.

        Raises:
            SettingsError: They are not; a card without channels takes only images of one.
        """
        if tuple(channels) != self.channels and (self.channels or len(channels) != 1):
            raise SettingsError(
                f"expected channels {', '.join(self.channels) or 'one at a time'} as the card has, found "
                f"{', '.join(channels)}, in {where}"
            )

    def order(self, bands: Sequence[str], *, where: str) -> list[int]:
        """Which of `bands` each channel is, so that images come to the network in its order.

        Raises:
            SettingsError: A channel is not there; a card without channels takes all bands as they come.
        """
        missing = [name for name in self.channels if name not in bands]
        if missing:
            raise SettingsError(
                f"expected channels {', '.join(self.channels)} as the card has, found {', '.join(bands)}, in "
                f"{where}"
            )
        return [bands.index(name) for name in self.channels or bands]


def scaled(power: Array, card: Card, valid: Array | None = None) -> Array:
    """Linear power as a network sees it; the one scaling of training and inference.

    Args:
        power: (..., y, x), linear; (..., channel, y, x) for a card with channels.
        card: Which scaling.
        valid: bool, shape of `power`, where pixels count; None means everywhere.

    Returns:
        float32 in [0, 1] (unless the card does not clip), of the kind (numpy or torch) of `power`; 0 where
        not valid.

    Raises:
        SettingsError: The card has another number of channels.
    """
    if isinstance(power, np.ndarray):
        return _of_numpy(power, card, valid, db=False)
    ok = torch.ones_like(power, dtype=torch.bool) if valid is None else valid
    return scaled_db(10 * torch.log10(torch.where(ok, power, 1.0).float().clamp_min(SMALLEST)), card, ok)


def scaled_db(db: Array, card: Card, valid: Array | None = None) -> Array:
    """The same from dB, which is what seasonal channels are in."""
    if isinstance(db, np.ndarray):
        return _of_numpy(db, card, valid, db=True)
    ok = torch.ones_like(db, dtype=torch.bool) if valid is None else valid
    db = torch.where(ok, db, 0.0).float()
    if card.name == "db_channels":
        unit = _by_channel(db, card)
        return torch.where(ok, unit.clamp(0, 1) if card.clipped else unit, 0.0)
    if card.name == "picture":
        unit = torch.pow(10.0, db / 20)
    elif card.name == "db_clip":
        unit = (db - card.low_db) / (card.high_db - card.low_db)
    else:
        low = torch.where(ok, db, torch.inf).amin((-2, -1), keepdim=True)
        high = torch.where(ok, db, -torch.inf).amax((-2, -1), keepdim=True)
        unit = (db - low) / (high - low).clamp_min(1e-6)
    return torch.where(ok, unit.clamp(0, 1), 0.0)


def _by_channel(db: Tensor, card: Card) -> Tensor:
    if db.ndim < 3 or db.shape[-3] != len(card.channels):
        raise SettingsError(
            f"expected {len(card.channels)} channels ({', '.join(card.channels)}) of the card, found images "
            f"of shape {tuple(db.shape)}"
        )
    zero, one = (db.new_tensor(limits)[:, None, None] for limits in (card.zero_db, card.one_db))
    return (db - zero) / (one - zero)


def _of_numpy(values: np.ndarray, card: Card, valid: np.ndarray | None, *, db: bool) -> np.ndarray:
    ok = None if valid is None else torch.from_numpy(np.ascontiguousarray(valid))
    scale = scaled_db if db else scaled
    found: np.ndarray = scale(torch.from_numpy(np.ascontiguousarray(values)), card, ok).numpy()
    return found
