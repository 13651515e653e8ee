"""What an encoder is pretrained on, read: images of stacks, seasonal tiles or chips, and some to watch it by.

What it is watched by is not learned from: blocks of every stack, tiles at one end of a region, or chips drawn
at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sarcast.errors import DataError, SettingsError
from sarcast.nn.card import Card
from sarcast.nn.cards import measured_card, measured_channels
from sarcast.nn.pretrained import Pretrained
from sarcast.readers.labelled_chips import LabelledChips
from sarcast.readers.seasonal_tiles import read_seasons
from sarcast.runtime.settings import as_json, build
from sarcast.sar.channels import bands_of
from sarcast.sar.seasons import SeasonalStack
from sarcast.sar.simulate import simulate
from sarcast.sar.simulate.seasonal import simulate_seasons
from sarcast.stack.bands import band_index, footprints
from sarcast.stack.seasonal import tiles as tiles_of
from sarcast.steps.pretrain_sources import CROP, Sources
from sarcast.steps.sources import units_of
from sarcast.train.chips import Chips, as_input, cut, of_seasons
from sarcast.train.loop import Batch
from sarcast.train.places import places
from sarcast.train.tiles import TileImages

if TYPE_CHECKING:
    from sarcast.steps.pretrain import Pretrain
    from sarcast.values import Stack

Tile = SeasonalStack | Path
ANGLE_RAD = 0.9
"""Of the axis along which the last tiles of a region are held out; M3LEO's for Europe."""
_CHIPS, _SCENES, _REGIONS = 0, 1, 4
"""Streams of draws."""
_FOR_CARD = 1000
"""Tiles the constants of a card are measured on, as M3LEO does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """What is learned from and what is not, and what it is."""

    chips: Chips | TileImages
    held_out: Batch
    card: Card
    crop: int
    """Side of a training image, pixels."""
    names: list[str]


def read(settings: Pretrain, start: Pretrained | None, sources: Sources, *, together: int | None) -> Images:
    """The images, in memory (streamed tiles apart); `together` dates each.

    Raises:
        SettingsError: The card or the objective does not go with the images.
        DataError: Too few dates, tiles or valid pixels, or images smaller than the crop.
        StackError: Calibrated and uncalibrated stacks are mixed, or a band is missing.
    """
    crop = (settings.crop or CROP) * (start.vit.patch if start else settings.token)
    plain = sources.chips is None and not sources.seasonal
    if together and not plain:
        raise SettingsError(
            f"expected an objective that needs one date (mae, dino, local_masked_gradient, gradient_jepa), "
            f"found {settings.objective}, for images without dates"
        )
    if sources.chips is not None:
        return _of_chips(settings, start, sources, sources.chips, crop)
    if not plain:
        return _of_tiles(settings, start, sources, crop)
    return _of_stacks(settings, start, sources, crop, together)


def _of_stacks(
    settings: Pretrain, start: Pretrained | None, sources: Sources, crop: int, together: int | None
) -> Images:
    """Chips of all stacks alike, and those of the held-out parts."""
    every = [(one.stack, one.dates) for one in sources.stacks]
    for number in range(settings.simulated):
        drawn = np.random.default_rng([settings.seed, _SCENES, number])
        stack = simulate(settings.scene, rng=drawn).stack
        every.append((stack, np.arange(len(stack.times))))
    stacks = [stack for stack, _ in every]
    parts = [
        places(
            *one,
            side=crop,
            held_out=settings.held_out_share,
            rng=np.random.default_rng([settings.seed, number]),
        )
        for number, one in enumerate(every)
    ]
    side = min(learn.block for learn, _ in parts)
    rng = np.random.default_rng([settings.seed, _CHIPS])
    each, few = (-(-count // len(every)) for count in (settings.chips, settings.held_out))
    card = _card(start.card if start else settings.card, stacks, anew=start is None)
    some = partial(cut, together=together, bands=bands_of(card.channels), rng=rng)
    kept = [
        (some(stack, dates, learn, count=each, side=side), some(stack, dates, other, count=few, side=crop))
        for (stack, dates), (learn, other) in zip(every, parts, strict=True)
    ]
    held_out = Chips.of([one for _, one in kept])
    return Images(
        chips=Chips.of([one for one, _ in kept]),
        held_out=as_input(held_out.power, held_out.valid, card, bands=held_out.bands),
        card=card,
        crop=crop,
        names=sources.names,
    )


def _of_tiles(settings: Pretrain, start: Pretrained | None, sources: Sources, crop: int) -> Images:
    """Seasonal tiles: of files, of stacks, and simulated; the last of each region are held out."""
    learn, other = [], []
    for region in _regions(settings, sources, crop):
        first, last = _held_out(region, settings.held_out_share)
        learn += first
        other += last
    if not learn:
        raise DataError(f"expected two seasonal tiles or more, found {len(other)}, in {sources.names}")
    rng = np.random.default_rng([settings.seed, _CHIPS])
    learn = [learn[i] for i in rng.permutation(len(learn))]
    card = start.card if start else settings.card
    if start is None and not card.channels:
        card = measured_card((_tile(one) for one in learn[:_FOR_CARD]), constants="measured/1")
    few = [other[i] for i in rng.permutation(len(other))[: settings.held_out]]
    watched = of_seasons((_tile(one) for one in few), side=crop)
    watched = watched[rng.permutation(len(watched))[: settings.held_out]]
    return Images(
        chips=_to_learn(settings, learn, crop, rng),
        held_out=as_input(watched.power, watched.valid, card, bands=watched.bands),
        card=card,
        crop=crop,
        names=sources.names,
    )


def _regions(settings: Pretrain, sources: Sources, crop: int) -> list[list[Tile]]:
    regions: list[list[Tile]] = [list(sources.tiles)] if sources.tiles else []
    if settings.seasonal:
        seen = partial(tiles_of, side=crop, statistic=settings.seasonal)
        regions += [list(seen(one.stack, dates=one.dates)) for one in sources.stacks]
    for number in range(settings.simulated_seasons):
        drawn = np.random.default_rng([settings.seed, _REGIONS, number])
        regions.append([tile.image for tile in simulate_seasons(settings.region, rng=drawn)])
    return regions


def _held_out(region: Sequence[Tile], share: float) -> tuple[list[Tile], list[Tile]]:
    """(tiles to learn from, tiles held out): the last along an oblique axis, at least one."""
    centres, _ = footprints([_tile(one).geobox for one in region])
    order = np.argsort(band_index(centres, angle_rad=ANGLE_RAD, bands=10 * len(region)), kind="stable")
    first = len(region) - max(1, round(share * len(region)))
    return [region[i] for i in order[:first]], [region[i] for i in order[first:]]


def _to_learn(
    settings: Pretrain, tiles: list[Tile], crop: int, rng: np.random.Generator
) -> Chips | TileImages:
    """Images to draw from, twice a training image wide where tiles have room, or whole tiles in files."""
    if settings.streamed:
        paths = tuple(one for one in tiles if isinstance(one, Path))
        if len(paths) < len(tiles):
            raise SettingsError("expected tiles in files for --streamed, found others")
        return TileImages(paths=paths)
    room = min(_tile(tiles[0]).db.shape[1:])
    side = min(2 * crop, room)
    wanted = -(-settings.chips // (room // side) ** 2)
    every = of_seasons((_tile(one) for one in tiles[:wanted]), side=side)
    return every[rng.permutation(len(every))[: settings.chips]]


def _tile(one: Tile) -> SeasonalStack:
    return read_seasons(one) if isinstance(one, Path) else one


def _of_chips(
    settings: Pretrain, start: Pretrained | None, sources: Sources, listed: LabelledChips, crop: int
) -> Images:
    """Chips of a folder or archive, some of them held out."""
    told = settings.images
    if crop > listed.side:
        raise DataError(f"expected chips of {crop} px a side or more, found {listed.side}, in --images.side")
    rng = np.random.default_rng([settings.seed, _CHIPS])
    some = rng.permutation(len(listed))[: settings.chips + settings.held_out]
    unit = _unit(settings, listed)
    values, valid = listed[some].pixels()
    valid = np.broadcast_to(valid if valid.ndim == 4 else valid[:, None], values.shape)
    chips = _channels(_power(values, valid, unit), valid, told.channels)
    few = min(settings.held_out, max(1, len(chips) // 4))
    card = start.card if start else settings.card
    if start is None and card == Card():
        if told.channels:
            card = measured_channels(
                chips.power[few:], chips.valid[few:], told.channels, constants="measured/1"
            )
        elif unit == "picture":
            card = Card(name="picture")
    middle = slice((listed.side - crop) // 2, (listed.side - crop) // 2 + crop)
    held = chips[np.arange(few)]
    return Images(
        chips=chips[np.arange(few, len(chips))],
        held_out=as_input(
            held.power[..., middle, middle], held.valid[..., middle, middle], card, bands=held.bands
        ),
        card=card,
        crop=crop,
        names=sources.names,
    )


def _unit(settings: Pretrain, listed: LabelledChips) -> str:
    names = [(file.member or file.path.name).lower() for file in listed.files]
    if settings.images.unit is None and any(name.endswith((".tif", ".tiff")) for name in names):
        raise SettingsError(
            "expected --images.unit (db, power, amplitude or picture) for TIFF, which does not tell, found "
            "none"
        )
    return settings.images.unit or "picture"


def _power(values: np.ndarray, valid: np.ndarray, unit: str) -> np.ndarray:
    """Linear power, float32; a picture is amplitude."""
    power = values if unit == "power" else 10 ** (values / 10) if unit == "db" else np.square(values)
    return np.where(valid, power, 0).astype(np.float32)


def _channels(power: np.ndarray, valid: np.ndarray, names: tuple[str, ...]) -> Chips:
    """Images (chip, channel, y, x) with names, or each channel an image by itself."""
    if names and len(names) != power.shape[1]:
        raise SettingsError(
            f"expected names for {power.shape[1]} channels, found {len(names)}, in --images.channels"
        )
    if names:
        return Chips(power=power, valid=valid, bands=names)
    return Chips(power=power.reshape(-1, *power.shape[2:]), valid=valid.reshape(-1, *power.shape[2:]))


def _card(card: Card, stacks: list[Stack], *, anew: bool) -> Card:
    """The card with what all that was ever learned from is; what differs stays unknown."""
    units = units_of(stacks)
    if card.unit and anew:
        return card
    units |= {card.unit} if card.unit else set()
    unit = units.pop() if len(units) == 1 else None
    return build(Card, {**as_json(card), "unit": unit}, where="the stacks")
