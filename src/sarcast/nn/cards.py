"""Published constants for Sentinel-1, by name and version, and cards measured on tiles of one's own.

An encoder trained by others expects the scaling it was trained with; a wrong one goes unnoticed. Constants of
batches (CROMA) are no card: the same image would be scaled otherwise in other company.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from sarcast.errors import DataError, SettingsError
from sarcast.nn.card import SMALLEST, Card
from sarcast.sar.decibel import to_db
from sarcast.sar.seasons import CHANNELS, SeasonalStack

_POLARISATIONS = ("VV", "VH")


def _two_sigma(name: str, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Card:
    """Mean less and plus two standard deviations become 0 and 1."""
    pairs = list(zip(mean, deviation, strict=True))
    return Card(
        name="db_channels",
        channels=_POLARISATIONS,
        zero_db=tuple(m - 2 * d for m, d in pairs),
        one_db=tuple(m + 2 * d for m, d in pairs),
        constants=name,
        sensor="sentinel1",
    )


def _z_score(name: str, mean: tuple[float, ...], deviation: tuple[float, ...], **known: str) -> Card:
    """The mean becomes 0, a standard deviation more 1."""
    return Card(
        name="db_channels",
        channels=_POLARISATIONS,
        zero_db=mean,
        one_db=tuple(m + d for m, d in zip(mean, deviation, strict=True)),
        clipped=False,
        constants=name,
        sensor="sentinel1",
        **known,  # type: ignore[arg-type]
    )


CARDS: Mapping[str, Card] = MappingProxyType(
    {
        card.constants or "": card
        for card in (
            _two_sigma("ssl4eo-s12/1", (-12.548, -20.192), (5.257, 5.912)),
            _z_score("terramind-s1grd/1", (-12.599, -20.293), (5.195, 5.890)),
            _z_score("terramind-s1rtc/1", (-10.93, -17.329), (4.391, 4.459), unit="gamma0"),
            _two_sigma("olmoearth/1", (-11.649, -17.745), (10.84, 10.216)),
            _z_score("presto/1", (-25.0, -25.0), (25.0, 25.0)),
        )
    }
)
"""Name/version -> card of VV and VH, in this order. ssl4eo-s12 also is FG-MAE's, which rounds to 8 bits as we
do not; presto is (dB + 25) / 25."""


def named_card(name: str) -> Card:
    """The card of published constants, such as `terramind-s1rtc/1`.

    Raises:
        SettingsError: No such name and version.
    """
    if name not in CARDS:
        raise SettingsError(f"expected a card in {', '.join(CARDS)}, found {name!r}")
    return CARDS[name]


def measured_card(tiles: Iterable[SeasonalStack], *, constants: str) -> Card:
    """The z-score of each of the 12 seasonal channels over tiles to train on, as M3LEO does for each region.

    Args:
        tiles: Of the train role only, a thousand or so, read one after the other.
        constants: Name and version to give them, such as europe/1.

    Raises:
        DataError: A channel has no valid value, or only one value.
    """
    count, total, square = (np.zeros(len(CHANNELS)) for _ in range(3))
    unit = set()
    for tile in tiles:
        values = np.where(tile.valid, tile.db, 0).astype(np.float64)
        count += tile.valid.sum((1, 2))
        total += values.sum((1, 2))
        square += (values * values).sum((1, 2))
        unit.add(tile.radiometry)
    return _of_sums(
        CHANNELS,
        count,
        total,
        square,
        constants=constants,
        unit=unit.pop() if len(unit) == 1 else None,
        sensor="sentinel1",
    )


def measured_channels(
    power: np.ndarray, valid: np.ndarray, channels: tuple[str, ...], *, constants: str
) -> Card:
    """The z-score in dB of each channel over images to train on.

    Args:
        power: (image, channel, y, x), linear.
        valid: bool, same shape.
        channels: Their names.
        constants: Name and version to give the constants.

    Raises:
        DataError: A channel has no valid value, or only one value.
    """
    db = np.where(valid, to_db(np.where(valid, power, 1), floor=SMALLEST), 0).astype(np.float64)
    axes = (0, 2, 3)
    sums = (valid.sum(axes), db.sum(axes), (db * db).sum(axes))
    return _of_sums(channels, *sums, constants=constants, unit=None, sensor=None)


def _of_sums(
    channels: tuple[str, ...],
    count: np.ndarray,
    total: np.ndarray,
    square: np.ndarray,
    *,
    constants: str,
    unit: str | None,
    sensor: str | None,
) -> Card:
    """Mean and deviation of each channel from sums over pixels, as a card."""
    mean = total / np.maximum(count, 1)
    deviation = np.sqrt(np.maximum(square / np.maximum(count, 1) - mean * mean, 0))
    flat = [name for name, spread in zip(channels, deviation, strict=True) if not spread > 1e-3]
    if flat:
        raise DataError(f"expected values that differ in every channel, found none in {', '.join(flat)}")
    return Card(
        name="db_channels",
        channels=channels,
        zero_db=tuple(mean.tolist()),
        one_db=tuple((mean + deviation).tolist()),
        clipped=False,
        constants=constants,
        unit=unit,  # type: ignore[arg-type]
        sensor=sensor,
    )
