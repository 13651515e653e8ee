"""What a network sees at once of a stack's bands: each by itself, or its card's channels made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sarcast.errors import DataError, SettingsError
from sarcast.nn.pretrained import Pretrained
from sarcast.sar.channels import bands_of, in_channels
from sarcast.sar.seasons import CHANNELS
from sarcast.values import Stack

Views = Callable[[np.ndarray], Sequence[np.ndarray]]
"""Power of some rows (band, y, x) -> (channel, y, x) of everything the network sees at once."""


def views(network: Pretrained, stack: Stack) -> tuple[list[str], Views]:
    """(names of what the network sees, one after the other; how it comes from the stack's bands).

    Ratios (VV-VH) are made of their bands in power, unless the stack has them. Bands without a channel are
    left out.

    Raises:
        SettingsError: A band of the card is not there, or the card is of seasons.
        DataError: The network sees another number of bands, and no card says which.
    """
    card, where = network.card, f"stack {stack.name}"
    ratios = any("-" in channel for channel in card.channels)
    if network.vit.channels == 1 and not ratios:
        for band in stack.bands if card.channels else ():
            card.check((band,), where=where)
        return [band.lower() for band in stack.bands], lambda power: power[:, None]
    if not card.channels and network.vit.channels != len(stack.bands):
        count = network.vit.channels
        raise DataError(f"expected {count} bands, as the network sees, found {len(stack.bands)}, in {where}")
    there = set(stack.bands)
    if not there.issuperset(card.channels) and there.issuperset(bands_of(card.channels)):
        return ["bands"], lambda power: [_made(power, stack.bands, card.channels)]
    if not there.issuperset(card.channels) and set(CHANNELS).issuperset(card.channels):
        raise SettingsError(
            f"expected weights for bands of one date, found a card of seasons, for {where}: seasonal tiles, "
            "as sarcast.stack.seasonal makes of it, go through sarcast look or probe"
        )
    order = card.order(stack.bands, where=where)
    return ["bands"], lambda power: [power[order]]


def _made(power: np.ndarray, bands: Sequence[str], channels: Sequence[str]) -> np.ndarray:
    return in_channels(power, np.ones(power.shape, bool), bands, channels)[0]
