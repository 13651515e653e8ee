"""Channels seen together: bands of one look, and ratios of two of them, made after augmentation.

A channel is named as a card names it: a band (VV), of a season where there are seasons (VV DJF), or a ratio
of two of one season (VV-VH DJF). Speckle and gain are drawn for the bands, so that a ratio has those of its
bands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sarcast.errors import SettingsError

_SMALLEST = 1e-12


def bands_of(channels: Sequence[str]) -> tuple[str, ...]:
    """Bands that channels are made of, each once, in order of need."""
    return tuple(dict.fromkeys(band for channel in channels for band in parts(channel)))


def in_channels(
    power: np.ndarray, valid: np.ndarray, bands: Sequence[str], channels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """(power or ratio, validity) of `channels`, (..., channel, y, x), from those of `bands`.

    Raises:
        SettingsError: A band is not there.
    """
    missing = [band for band in bands_of(channels) if band not in bands]
    if missing:
        raise SettingsError(
            f"expected bands {', '.join(bands_of(channels))} for the channels of the card, found "
            f"{', '.join(bands)}"
        )
    shape = (*power.shape[:-3], len(channels), *power.shape[-2:])
    value, ok = np.zeros(shape, np.float32), np.zeros(shape, bool)
    for number, channel in enumerate(channels):
        at = [bands.index(band) for band in parts(channel)]
        one, seen = power[..., at[0], :, :], valid[..., at, :, :].all(-3)
        if len(at) == 2:
            one = one / np.maximum(power[..., at[1], :, :], _SMALLEST)
        value[..., number, :, :], ok[..., number, :, :] = np.where(seen, one, 0), seen
    return value, ok


def parts(channel: str) -> list[str]:
    """The band that a channel is, or the two of a ratio."""
    kind, space, season = channel.partition(" ")
    return [f"{band}{space}{season}" for band in kind.split("-")]
