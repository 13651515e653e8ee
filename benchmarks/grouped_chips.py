"""Real chips of aircraft (SAR-ACD) and ships (OpenSARShip), with the groups that must not be torn apart."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from sarcast.errors import DataError
from sarcast.readers.chip_files import ChipFile, Images
from sarcast.readers.chip_sources import from_manifest
from sarcast.readers.labelled_chips import LabelledChips
from sarcast.sar.decibel import to_db

MIDDLE, WHOLE = 32, 64
SHIPS = ("Cargo", "Tanker")
BRIGHT = 99.5
"""Percentile of a ship's pixels that becomes 1 in a picture, about as MSTAR's pictures were stretched."""
Image = np.ndarray
"""float32 (y, x)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupedChips:
    """Chips of one size, what each shows, and which belong together."""

    words: str
    """What was done to them."""
    pictures: np.ndarray
    """float32 (chip, 1, side, side) in [0, 1]."""
    db: np.ndarray | None
    """The same in dB, where calibrated."""
    classes: np.ndarray
    """int (chip,)."""
    class_names: tuple[str, ...]
    groups: np.ndarray
    """int (chip,): copies of one target, or ships of one scene."""
    sizes: np.ndarray
    """float (chip, 2): rows and columns as stored."""
    folds: int | None
    """Parts that are left out in turn, whole groups together; None: each group by itself."""
    even: bool = False
    """Learn from as many chips of each class, drawn anew for every draw, and count classes alike."""

    def __getitem__(self, some: np.ndarray) -> GroupedChips:
        return replace(
            self,
            pictures=self.pictures[some],
            db=None if self.db is None else self.db[some],
            classes=self.classes[some],
            groups=np.unique(self.groups[some], return_inverse=True)[1],
            sizes=self.sizes[some],
        )


def sar_acd(shared: Path) -> list[GroupedChips]:
    """Six kinds of aircraft (Gaofen-3, 8 bits), by 704 groups of copies: their middle, and whole chips.

    Raises:
        ProductError: The archive is missing or another.
        DataError: One content is in two groups.
    """
    archive = shared / "data" / "sar_acd" / "chips.zip"
    listed = from_manifest(
        ChipFile(path=archive, member="sar_acd/groups.csv"),
        side=MIDDLE,
        label="class",
        group="group",
        prefix="sar_acd/",
    )
    pixels = [image.astype(np.float32) / 255 for image in _images(listed)]
    found = _grouped(listed, np.arange(len(listed)), pixels, _middle, folds=5)
    whole = _grouped(listed, np.arange(len(listed)), pixels, _resized, folds=5)
    return [
        replace(found, words=f"middle {MIDDLE} px, so that no size is seen"),
        replace(whole, words=f"whole chips, resized to {WHOLE} px, as published: sizes are lost, shapes not"),
    ]


def opensarship(shared: Path) -> list[GroupedChips]:
    """Cargo ships and tankers on calibrated Sentinel-1 GRD, VV, by scene, where chips are large enough.

    Raises:
        ProductError: The folder is missing or another.
        DataError: One content is in two scenes.
    """
    manifest = shared / "data" / "opensarship" / "manifest.csv"
    listed = from_manifest(
        manifest, side=MIDDLE, label="ais_type", group_in_path="^[^/]+", only={"product": "GRD"}
    )
    images = _images(listed)
    named = np.isin(np.array(listed.class_names)[listed.labels], SHIPS)
    large = np.array([min(image.shape) >= MIDDLE for image in images])
    some = np.flatnonzero(named & large)
    found = _grouped(listed, some, [images[i] for i in some], _middle, folds=None)
    power = found.pictures
    words = (
        f"VV, middle {MIDDLE} px (320 m); {int((named & ~large).sum())} of {int(named.sum())} chips are "
        f"smaller and left out; pictures are amplitudes, each from its minimum to its {BRIGHT} % quantile"
    )
    return [replace(found, words=words, pictures=_stretched(np.sqrt(power)), db=to_db(power), even=True)]


DATA: dict[str, Callable[[Path], list[GroupedChips]]] = {"sar-acd": sar_acd, "opensarship": opensarship}


def _images(listed: LabelledChips) -> list[Image]:
    """The last channel of each chip (VV), as stored."""
    with Images() as images:
        return [images.read(file).values[-1] for file in listed.files]


def _grouped(
    listed: LabelledChips,
    some: np.ndarray,
    images: list[Image],
    cut: Callable[[Image], Image],
    *,
    folds: int | None,
) -> GroupedChips:
    chips = listed[some]
    pixels = np.stack([cut(image) for image in images])[:, None].astype(np.float32)
    names = [listed.class_names[i] for i in chips.labels]
    class_names, classes = np.unique(names, return_inverse=True)
    groups = np.unique(chips.groups, return_inverse=True)[1]
    _check_apart(pixels, groups, chips)
    return GroupedChips(
        words="",
        pictures=pixels,
        db=None,
        classes=classes,
        class_names=tuple(str(name) for name in class_names),
        groups=groups,
        sizes=np.array([image.shape for image in images], float),
        folds=folds,
    )


def _check_apart(pixels: np.ndarray, groups: np.ndarray, chips: LabelledChips) -> None:
    """Raise where one content is in two groups."""
    seen: dict[str, set[int]] = defaultdict(set)
    for image, group in zip(pixels, groups, strict=True):
        seen[hashlib.sha256(image.tobytes()).hexdigest()].add(int(group))
    shared = sum(len(some) > 1 for some in seen.values())
    if shared:
        raise DataError(f"expected every content in one group, found {shared} in two, in {chips.where}")


def _middle(image: Image) -> Image:
    top, left = ((n - MIDDLE) // 2 for n in image.shape)
    return image[top : top + MIDDLE, left : left + MIDDLE]


def _resized(image: Image) -> Image:
    """(WHOLE, WHOLE), bilinear, widened against aliasing."""
    found = interpolate(
        torch.from_numpy(np.ascontiguousarray(image))[None, None],
        size=(WHOLE, WHOLE),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )
    return found[0, 0].numpy()


def _stretched(amplitude: np.ndarray) -> np.ndarray:
    low = amplitude.min((2, 3), keepdims=True)
    high = np.percentile(amplitude, BRIGHT, axis=(2, 3), keepdims=True)
    return ((amplitude - low) / np.maximum(high - low, 1e-12)).clip(0, 1).astype(np.float32)
