"""Where pretraining finds its images: stacks, folders of seasonal tiles, or sets of chips."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from sarcast.errors import ProductError, SettingsError
from sarcast.nn.pretrained import Pretrained
from sarcast.readers.chip_files import SUFFIXES, ChipFile
from sarcast.readers.chip_sources import ROLES, from_manifest, manifest_in, members, unlabelled
from sarcast.readers.labelled_chips import LabelledChips
from sarcast.readers.labelled_chips import unit_of as numbers_of
from sarcast.readers.seasonal_tiles import is_seasonal, read_header
from sarcast.runtime.artefact import file_hash
from sarcast.runtime.settings import Settings
from sarcast.sar.numbers import Unit
from sarcast.stack.store import NAME as STACK
from sarcast.steps.sources import Source, inputs_of, room_of, sources_of

if TYPE_CHECKING:
    from sarcast.steps.pretrain import Pretrain

CROP = 8
"""Side of a training image where neither settings nor weights say, tokens."""
LOG = logging.getLogger("sarcast.pretrain")
_TIFF = (".tif", ".tiff")


class ChipSettings(Settings):
    """How chips are read: those of a folder, listed in a CSV file, or in a ZIP archive."""

    side: int = Field(128, ge=2)
    """Every chip is cut to its middle of so many pixels."""
    unit: Unit | None = None
    """Of their numbers; PNG and JPEG are pictures (amplitude of 0 to 1), TIFF must be told."""
    channels: tuple[str, ...] = ()
    """Names of their channels, for an encoder that sees them together; one at a time when not given."""
    path: str = "path"
    """Column of the CSV file with the image's path."""
    prefix: str = ""
    """What a path in the CSV lacks in front."""
    role: str | None = None
    """Column with the role: only chips of the role train are learned from."""
    only: dict[str, str] | None = None
    """Column -> text of the lines that count."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sources:
    """What there is to learn from; nothing of it read but stacks' coordinates."""

    stacks: list[Source]
    tiles: list[Path]
    """Seasonal tiles."""
    chips: LabelledChips | None
    seasonal: bool
    """Images are seasonal tiles: of files, of stacks, or simulated."""
    names: list[str]
    """Of stacks, and of folders of tiles or chips."""

    def inputs(self, weights: Path | None) -> dict[str, str]:
        """Hashes of all that is learned from, and of the weights gone on from."""
        found = inputs_of(self.stacks, weights)
        found |= {f"tile {number} {path.name}": file_hash(path) for number, path in enumerate(self.tiles)}
        if self.chips is not None:
            found |= {
                f"chip {name}": own for name, own in zip(self.chips.ids, self.chips.hashes, strict=True)
            }
        return found


def find(settings: Pretrain) -> Sources:
    """The sources, by kind.

    Raises:
        SettingsError: There is nothing to learn from, or kinds that do not go together.
        ArtefactError: A run folder has no finished stack.
        ProductError: Chips cannot be read.
    """
    stacks, tiles, listed, names = [], [], [], []
    for source in settings.source:
        if source.name == STACK or (source / "stacks").is_dir() or not source.exists():
            stacks.append(source)
            continue
        files = _images(source)
        if source.is_dir() and files and files[0].suffix.lower() in _TIFF and is_seasonal(files[0]):
            tiles += files
        else:
            listed.append(_chips(source, files, settings.images))
        names.append(source.name)
    found = sources_of(stacks, dates=settings.dates)
    kinds = {
        "stacks": bool(found or settings.simulated) and not settings.seasonal,
        "seasonal tiles": bool(tiles or settings.simulated_seasons or (found and settings.seasonal)),
        "chips": bool(listed),
    }
    if sum(kinds.values()) != 1 or len(listed) > 1 or (settings.seasonal and settings.simulated):
        said = " and ".join(kind for kind, there in kinds.items() if there) or "nothing"
        raise SettingsError(
            f"expected a source or simulated images to learn from, of one kind (stacks, seasonal tiles, or "
            f"one set of chips), found {said}"
        )
    return Sources(
        stacks=found,
        tiles=tiles,
        chips=listed[0] if listed else None,
        seasonal=kinds["seasonal tiles"],
        names=[s.stack.name for s in found] + names,
    )


def unit_of(settings: Pretrain, listed: LabelledChips) -> Unit:
    """What the numbers of chips are: as told, or picture for PNG and JPEG.

    Raises:
        SettingsError: TIFF does not tell.
    """
    return numbers_of(listed, settings.images.unit, flag="--images.unit")


def crop_of(settings: Pretrain, start: Pretrained | None, sources: Sources) -> int:
    """Tokens a side of a training image: as asked, else as the weights or all images have room for."""
    if settings.crop is not None:
        return settings.crop
    token = start.vit.patch if start else settings.token
    wanted = start.window if start else CROP
    if sources.chips is not None:
        return max(2, min(wanted, sources.chips.side // token))
    if sources.tiles or settings.simulated_seasons:
        sides = [min(read_header(path).geobox.shape) for path in sources.tiles[:1]]
        sides += [settings.region.side] if settings.simulated_seasons else []
        return max(2, min(wanted, min(sides) // token))
    shapes = [tuple(one.stack.geobox.shape) for one in sources.stacks]
    shapes += [settings.scene.shape] if settings.simulated else []
    return max(2, min(wanted, room_of(shapes) // token))


def _images(source: Path) -> list[Path]:
    """Images in a folder, however deep; only those of train where its folders are roles."""
    if not source.is_dir():
        return []
    tops = [one for one in source.iterdir() if one.is_dir()]
    train = [one for one in tops if one.name.lower() == "train"]
    if train and all(one.name.lower() in ROLES for one in tops):
        LOG.info("%s has roles: only its train images are learned from", source)
        tops = train
    else:
        tops = [source]
    return sorted(p for top in tops for p in top.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES)


def _chips(source: Path, files: list[Path], told: ChipSettings) -> LabelledChips:
    """A set of chips; of those that have roles, the ones to train on."""
    if source.is_dir():
        if not files:
            raise ProductError(f"expected stacks, seasonal tiles or images of chips, found none, in {source}")
        names = [path.relative_to(source).as_posix() for path in files]
        return unlabelled([ChipFile(path=path) for path in files], names, side=told.side, where=source)
    if source.suffix.lower() == ".zip" and not (told.role or told.only):
        found = members(source, SUFFIXES)
        if not found:
            raise ProductError(f"expected images of chips, found none, in {source}")
        return unlabelled(
            [ChipFile(path=source, member=one) for one in found], found, side=told.side, where=source
        )
    manifest = manifest_in(source)
    every = from_manifest(
        manifest,
        side=told.side,
        label=told.path,
        path=told.path,
        role=told.role,
        prefix=told.prefix,
        only=told.only,
    )
    if not told.role:
        return every
    train = every[np.array([role.lower() == "train" for role in every.roles])]
    if not len(train):
        said = ", ".join(sorted(set(every.roles)))
        raise ProductError(f"expected lines of role train in column {told.role}, found {said}, in {manifest}")
    return train
