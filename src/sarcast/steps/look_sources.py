"""What sarcast look looks at: dates of stacks, chips, seasonal tiles, each as a stack the network can read.

A chip becomes a stack of one date whose bands are the network's channels, in linear power, so that chips and
scenes go through one code. A picture of 0 to 1 becomes the power that the card scales back to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sarcast.errors import ArtefactError, ProductError, SettingsError
from sarcast.nn.card import Card
from sarcast.nn.pretrained import Pretrained
from sarcast.readers.chip_files import SUFFIXES, ChipFile, Images
from sarcast.readers.chip_files import Image as Stored
from sarcast.readers.chip_sources import ROLES
from sarcast.readers.seasonal_tiles import is_seasonal, read_seasons
from sarcast.runtime.artefact import content_hash, file_hash, require
from sarcast.sar.channels import in_channels
from sarcast.sar.numbers import Unit, to_power
from sarcast.sar.seasons import CHANNELS
from sarcast.stack.seasonal import seasonal
from sarcast.stack.store import NAME as STACK
from sarcast.stack.store import read_stack
from sarcast.steps.sources import stack_paths
from sarcast.values import Stack, Times

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from sarcast.sar.seasons import SeasonalStack
    from sarcast.steps.look import Look

TIFFS = (".tif", ".tiff")
_USUAL = {1: ("image",), 2: ("VV", "VH")}
"""Names of a chip's channels where nobody says."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """One date of one place, not read yet."""

    name: str
    """For files: the place, and the date where it has one."""
    place: str
    """Stack or chip."""
    facts: dict[str, str]
    """What is known of it: platform, orbit, class; absent where unknown."""
    time: np.datetime64
    """NaT where unknown."""
    load: Callable[[], tuple[Stack, int]]
    """The stack, and which of its dates."""
    labels: Path | None
    """Label image of the same grid."""
    content: str
    """Hash of what is read."""
    picture: bool = False
    """Numbers are grey levels, not power."""


def images_of(settings: Look, network: Pretrained) -> list[Image]:
    """Every image of the source, places by name, dates in order.

    Raises:
        ArtefactError: A stack is missing or unfinished.
        ProductError: There are no chips, or one has no label.
        SettingsError: Settings do not go with the source.
    """
    source = settings.source
    if source.name == STACK or (source / "stacks").is_dir():
        if settings.labels:
            raise SettingsError(f"expected --labels with a folder of chips, found stacks, in {source}")
        return [one for path in stack_paths(source) for one in _dates(path, network.card)]
    return _chips(settings, network.card)


def as_seen(network: Pretrained, unit: str) -> Pretrained:
    """The network with a card that has an inverse, which pictures need: each image's own limits have none."""
    if unit != "picture" or network.card.name != "minmax_patch":
        return network
    card = Card(low_db=network.card.low_db, high_db=network.card.high_db)
    return replace(network, card=card)


def unit_of(settings: Look) -> Unit:
    """What the numbers of chips are; PNG and JPEG are pictures, TIFF must be told. `power` for stacks.

    Raises:
        SettingsError: TIFF does not tell.
    """
    source = settings.source
    if source.name == STACK or (source / "stacks").is_dir():
        return "power"
    tiffs = [path for path in _files(source) if path.suffix.lower() in TIFFS and not is_seasonal(path)]
    if settings.unit is None and tiffs:
        raise SettingsError(
            f"expected --unit (db, power, amplitude or picture) for TIFF, which does not tell, found none, "
            f"for {tiffs[0]}"
        )
    return settings.unit or "picture"


def _dates(path: Path, card: Card) -> list[Image]:
    """Every date of a stack; its seasons as one image where the card has seasons."""
    if not path.exists():
        raise ArtefactError(f"expected a run folder or a {STACK}, found none, in {path.parent}")
    require(path)
    stack, content = read_stack(path), content_hash(path)
    if card.channels and set(card.channels) <= set(CHANNELS):
        return [
            Image(
                name=stack.name,
                place=stack.name,
                facts={},
                time=np.datetime64("NaT"),
                load=partial(_of_seasons, stack, card),
                labels=None,
                content=content,
            )
        ]
    days = [str(np.datetime64(time, "D")) for time in stack.times.time]
    return [
        Image(
            name=f"{stack.name}_{day}" if days.count(day) == 1 else f"{stack.name}_{day}_{t}",
            place=stack.name,
            facts=_facts(stack.times, t),
            time=stack.times.time[t],
            load=partial(_of_date, stack, t, card),
            labels=None,
            content=content,
        )
        for t, day in enumerate(days)
    ]


def _facts(times: Times, t: int) -> dict[str, str]:
    orbit = " ".join(one for one in (times.orbit_direction[t], times.relative_orbit[t]) if one != "unknown")
    found = {"platform": times.platform[t], "orbit": orbit or "unknown"}
    return {name: said for name, said in found.items() if said != "unknown"}


def _of_seasons(stack: Stack, card: Card) -> tuple[Stack, int]:
    return _of_tile(seasonal(stack), card), 0


def _of_date(stack: Stack, t: int, card: Card) -> tuple[Stack, int]:
    """The stack itself, or that date of it as the ratios the card has."""
    if not card.channels or set(card.channels) <= set(stack.bands):
        return stack, t
    amplitude = np.asarray(stack.amplitude[t], np.float32)
    valid = np.broadcast_to(np.asarray(stack.valid[t]), amplitude.shape)
    times = stack.times.take(np.array([t]))
    return _stack(amplitude**2, valid, stack.bands, stack.geobox, stack.name, card, times), 0


def _of_tile(tile: SeasonalStack, card: Card) -> Stack:
    power = np.where(tile.valid, 10 ** (tile.db / 10), 0).astype(np.float32)
    return _stack(power, tile.valid, CHANNELS, tile.geobox, tile.name, card)


def _stack(
    power: np.ndarray,
    valid: np.ndarray,
    bands: tuple[str, ...],
    geobox: GeoBox,
    name: str,
    card: Card,
    times: Times | None = None,
) -> Stack:
    """One date of the card's channels; where one of several is not valid, it has what the card makes 0.

    `power` and `valid` are (band, y, x).
    """
    if card.channels and not set(card.channels) <= set(bands):
        power, valid = in_channels(power, valid, bands, card.channels)
        bands = card.channels
    if card.channels:
        order = [bands.index(channel) for channel in card.channels]
        power, valid, bands = power[order], valid[order], card.channels
        neutral = 10 ** (np.array(card.zero_db, np.float32) / 10)
        power = np.where(valid, power, neutral[:, None, None])
    known = np.asarray(valid.any(0) if card.channels else valid.all(0))
    return Stack(
        amplitude=np.where(known, np.sqrt(power), 0).astype(np.float32)[None],
        valid=known[None],
        times=times or _unknown(name),
        bands=tuple(bands),
        geobox=geobox,
        name=name,
    )


def _unknown(name: str) -> Times:
    return Times(
        time=np.array(["NaT"], "datetime64[ns]"),
        scene_id=(name,),
        incidence_deg=np.full(1, np.nan, np.float32),
        platform=("unknown",),
        look_side=("unknown",),
        orbit_direction=("unknown",),
        relative_orbit=("unknown",),
    )


def _files(source: Path) -> list[Path]:
    """Chips of a folder; of the folders in it, where it has none itself."""
    for pattern in ("*", "**/*"):
        found = sorted(p for p in source.glob(pattern) if p.is_file() and p.suffix.lower() in SUFFIXES)
        if found:
            return found
    raise ProductError(f"expected stacks, or chips as PNG, JPEG or TIFF, found none, in {source}")


def _chips(settings: Look, card: Card) -> list[Image]:
    source, unit = settings.source, unit_of(settings)
    paths = _files(source)
    names = ["_".join(path.relative_to(source).with_suffix("").parts) for path in paths]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ProductError(f"expected chips of different names, found {twice[0]} twice, in {source}")
    return [
        Image(
            name=name,
            place=name,
            facts=_class_of(path.relative_to(source).parts[:-1]),
            time=np.datetime64("NaT"),
            load=partial(_of_chip, path, card, unit, settings.channels),
            labels=_labels(settings.labels, path.relative_to(source)),
            content=file_hash(path),
            picture=unit == "picture" and not (path.suffix.lower() in TIFFS and is_seasonal(path)),
        )
        for path, name in zip(paths, names, strict=True)
    ]


def _class_of(folders: tuple[str, ...]) -> dict[str, str]:
    """The class a chip's folders tell, as CLASS or ROLE/CLASS; nothing where they tell none."""
    named = [name for name in folders if name.lower() not in ROLES]
    return {"class": named[-1]} if named else {}


def _labels(folder: Path | None, name: Path) -> Path | None:
    if folder is None:
        return None
    if not (folder / name).is_file():
        raise ProductError(
            f"expected a label of the same name for each chip, found none for {name}, in {folder}"
        )
    return folder / name


def _of_chip(path: Path, card: Card, unit: Unit, channels: tuple[str, ...]) -> tuple[Stack, int]:
    if path.suffix.lower() in TIFFS and is_seasonal(path):
        return _of_tile(read_seasons(path), card), 0
    with Images() as images:
        stored = images.read(ChipFile(path=path))
    values = stored.values.astype(np.float32) / np.float32(stored.full)
    names = channels or _USUAL.get(len(values)) or tuple(f"channel {i}" for i in range(len(values)))
    if len(names) != len(values):
        raise SettingsError(f"expected {len(names)} channels, as told, found {len(values)}, in {path}")
    seen = card.channels or names
    if unit == "picture" and len(seen) != len(values):
        raise SettingsError(f"expected {len(seen)} channels as the card has, found {len(values)}, in {path}")
    power = _power(np.where(stored.valid, values, 0), unit, card)
    valid = np.broadcast_to(stored.valid, power.shape)
    return _stack(power, valid, seen if unit == "picture" else names, _geobox(stored), path.stem, card), 0


def _power(values: np.ndarray, unit: Unit, card: Card) -> np.ndarray:
    """Linear power of a chip's numbers (channel, y, x); of a picture, what the card scales back to it."""
    valid = np.ones(values.shape, bool)
    if unit != "picture" or card.name == "picture":
        return to_power(values, valid, unit)
    limits = (card.zero_db or (card.low_db,), card.one_db or (card.high_db,))
    zero, one = (np.array(limit, np.float32)[:, None, None] for limit in limits)
    return to_power(zero + values * (one - zero), valid, "db")


def _geobox(stored: Stored) -> GeoBox:
    """The chip's grid; one of pixels, rows downward, where it has none."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    if stored.grid is None:
        return GeoBox(stored.valid.shape, Affine(1, 0, 0, 0, -1, 0), None)
    return GeoBox(stored.valid.shape, Affine(*stored.grid[1:]), stored.grid[0])
