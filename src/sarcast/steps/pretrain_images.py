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

from sarcast.errors import DataError, SettingsError, StackError
from sarcast.nn.card import Card
from sarcast.nn.cards import measured_card, measured_channels
from sarcast.nn.pretrained import Pretrained
from sarcast.readers.labelled_chips import LabelledChips
from sarcast.readers.seasonal_tiles import SeasonalHeader, read_header, read_seasons
from sarcast.runtime.settings import as_json, build
from sarcast.sar.channels import bands_of
from sarcast.sar.numbers import to_power
from sarcast.sar.seasons import SeasonalStack
from sarcast.sar.simulate import simulate
from sarcast.sar.simulate.seasonal import simulate_seasons
from sarcast.stack.bands import band_index, footprints
from sarcast.stack.seasonal import tiles as tiles_of
from sarcast.steps.pretrain_sources import CROP, LOG, Sources, unit_of
from sarcast.steps.sources import units_of
from sarcast.train.chips import Chips, as_input, cut, of_seasons
from sarcast.train.loop import Batch
from sarcast.train.places import places
from sarcast.train.tiles import ChipImages, TileImages

if TYPE_CHECKING:
    from sarcast.steps.pretrain import Pretrain
    from sarcast.values import Stack

Tile = SeasonalStack | Path
PICTURE = Card(name="picture")
ANGLE_RAD = 0.9
"""Of the axis along which the last tiles of a region are held out; M3LEO's for Europe."""
_CHIPS, _SCENES, _REGIONS = 0, 1, 4
"""Streams of draws."""
_MIN_VALID = 0.5
"""Share of an image's values that must be valid."""
_FOR_CARD = 1000
"""Tiles the constants of a card are measured on, as M3LEO does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """What is learned from and what is not, and what it is."""

    chips: Chips | TileImages | ChipImages
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
    card = start.card if start else settings.card
    _check_alike([*learn, *other], card)
    if not card.channels and card != Card():
        raise SettingsError(f"expected a card with channels for seasonal tiles, found {card.name}")
    rng = np.random.default_rng([settings.seed, _CHIPS])
    learn = [learn[i] for i in rng.permutation(len(learn))]
    if start is None and not card.channels:
        card = measured_card((_tile(one) for one in learn[:_FOR_CARD]), constants="measured/1")
    few = [other[i] for i in rng.permutation(len(other))[: settings.held_out]]
    watched = of_seasons((_tile(one) for one in few), side=crop, min_valid=_MIN_VALID)
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
    centres, _ = footprints([_header(one).geobox for one in region])
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
    room = min(_header(tiles[0]).geobox.shape)
    side = min(2 * crop, room)
    wanted = -(-settings.chips // (room // side) ** 2)
    every = of_seasons((_tile(one) for one in tiles[:wanted]), side=side, min_valid=_MIN_VALID)
    LOG.info("images of %d of %d tiles are kept", min(wanted, len(tiles)), len(tiles))
    return every[rng.permutation(len(every))[: settings.chips]]


def _header(one: Tile) -> SeasonalStack | SeasonalHeader:
    """Grid and radiometry of a tile, from the file's header."""
    return read_header(one) if isinstance(one, Path) else one


def _check_alike(tiles: Sequence[Tile], card: Card) -> None:
    """Raise where tiles have different sizes, or calibrated and uncalibrated ones, or a card's, meet."""
    headers = [_header(one) for one in tiles]
    first = headers[0].geobox.shape
    for one, header in zip(tiles, headers, strict=True):
        if header.geobox.shape != first:
            name = one if isinstance(one, Path) else one.name
            rows, cols = header.geobox.shape
            raise DataError(
                f"expected tiles of {first[0]} x {first[1]} px as the first, found {rows} x {cols}, in {name}"
            )
    units = {header.radiometry for header in headers} | ({card.unit} if card.unit else set())
    if len(units) > 1 and "uncalibrated" in units:
        raise StackError(f"expected tiles all calibrated or all not, found {', '.join(sorted(units))}")


def _tile(one: Tile) -> SeasonalStack:
    return read_seasons(one) if isinstance(one, Path) else one


def _of_chips(
    settings: Pretrain, start: Pretrained | None, sources: Sources, listed: LabelledChips, crop: int
) -> Images:
    """Chips of a folder or archive, some of them held out."""
    if crop > listed.side:
        raise DataError(f"expected chips of {crop} px a side or more, found {listed.side}, in --images.side")
    if len(listed) < 2:
        raise DataError(f"expected two chips or more, found {len(listed)}, in {listed.where}")
    rng = np.random.default_rng([settings.seed, _CHIPS])
    order, few = rng.permutation(len(listed)), min(settings.held_out, max(1, len(listed) // 4))
    held = _chips(settings, listed[order[:few]])
    learn = listed[order[few:] if settings.streamed else order[few : few + settings.chips]]
    LOG.info("%d of %d chips are learned from", len(learn), len(listed) - few)
    chips: Chips | ChipImages
    if settings.streamed:
        if held.power.shape[0] != few:
            raise SettingsError(
                "expected chips of one channel, or of named ones, for --streamed, found others"
            )
        unit = unit_of(settings, listed)
        chips = ChipImages(chips=learn, unit=unit, bands=settings.images.channels)
        sample = _chips(settings, learn[np.arange(min(len(learn), _FOR_CARD))])
    else:
        chips = sample = _chips(settings, learn)
    card = _card_of_chips(settings, start, listed, sample)
    middle = slice((listed.side - crop) // 2, (listed.side - crop) // 2 + crop)
    seen = held.power[..., middle, middle], held.valid[..., middle, middle]
    return Images(
        chips=chips,
        held_out=as_input(*seen, card, bands=held.bands),
        card=card,
        crop=crop,
        names=sources.names,
    )


def _chips(settings: Pretrain, listed: LabelledChips) -> Chips:
    """Images with the channels' names, or each channel an image by itself."""
    names = settings.images.channels
    values, valid = listed.pixels()
    if names and len(names) != values.shape[1]:
        raise SettingsError(
            f"expected names for {values.shape[1]} channels, found {len(names)}, in --images.channels"
        )
    power = to_power(values, valid, unit_of(settings, listed))
    if names:
        return Chips(power=power, valid=valid, bands=names)
    return Chips(power=power.reshape(-1, *power.shape[2:]), valid=valid.reshape(-1, *power.shape[2:]))


def _card_of_chips(
    settings: Pretrain, start: Pretrained | None, listed: LabelledChips, sample: Chips
) -> Card:
    """Pictures are given as they are; the channels of others are measured where no card is told."""
    card = start.card if start else settings.card
    if unit_of(settings, listed) == "picture":
        if card.channels:
            raise SettingsError(
                f"expected weights of one channel for pictures, found {', '.join(card.channels)}, in "
                f"{settings.start or '--card'}"
            )
        if settings.images.channels or settings.card not in (Card(), PICTURE):
            raise SettingsError(
                "expected pictures, which networks are given as they are, without channels and card, found "
                f"{settings.images.channels or settings.card.name}"
            )
        return PICTURE
    if start is None and card == Card() and settings.images.channels:
        return measured_channels(sample.power, sample.valid, settings.images.channels, constants="measured/1")
    return card


def _card(card: Card, stacks: list[Stack], *, anew: bool) -> Card:
    """The card with what all that was ever learned from is; what differs stays unknown."""
    units = units_of(stacks)
    if card.unit and anew:
        return card
    units |= {card.unit} if card.unit else set()
    unit = units.pop() if len(units) == 1 else None
    return build(Card, {**as_json(card), "unit": unit}, where="the stacks")
