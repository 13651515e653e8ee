"""MSTAR chips of two roles, cut to their middle, and other looks at them.

Chips are cut to their middle 128 px first, since their sizes tell classes apart.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample

from sarcast.errors import ArtefactError, DataError, ProductError
from sarcast.readers.chip_files import ChipFile
from sarcast.readers.chip_sources import from_manifest
from sarcast.readers.labelled_chips import LabelledChips
from sarcast.train.loop import Batch

DATASET = Path("data") / "mstar_soc" / "chips.zip"
CUT, SIDE = 128, 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Chips:
    """Chips of one role."""

    pixels: torch.Tensor
    """float32 (chip, 1, CUT, CUT) in [0, 1]."""
    classes: np.ndarray
    """int (chip,)."""
    single: np.ndarray
    """bool (chip,): belongs to the convention with one serial of BMP2 and of T72."""

    def __getitem__(self, some: np.ndarray) -> Chips:
        return Chips(pixels=self.pixels[some], classes=self.classes[some], single=self.single[some])


def read(path: Path, *, most: int | None = None) -> tuple[Chips, Chips]:
    """Chips of the train role and of the test role, cut to their middle; at most `most` of a class and role.

    Raises:
        ArtefactError: The archive is missing, or another thing, or a chip is in both roles.
    """
    listed = partial(
        from_manifest,
        ChipFile(path=path, member="mstar_soc/manifest.csv"),
        side=CUT,
        label="class",
        role="split",
        prefix="mstar_soc/",
    )
    try:
        every, single = listed(), set(listed(only={"std_single_serial": "1"}).ids)
        if most is not None:
            every = every[_first(every, single, most)]
        parts = every.parts()
        return _chips(parts["train"], single), _chips(parts["test"], single)
    except (ProductError, DataError) as error:
        raise ArtefactError(f"expected the MSTAR chips, found: {error}") from None


def _first(chips: LabelledChips, single: set[str], most: int) -> np.ndarray:
    """Indices of the first `most` chips of each class and role, of one serial."""
    count: Counter[tuple[str, int]] = Counter()
    found = []
    for i, name in enumerate(chips.ids):
        key = chips.roles[i], int(chips.labels[i])
        if name in single and count[key] < most:
            count[key] += 1
            found.append(i)
    return np.array(found)


def _chips(chips: LabelledChips, single: set[str]) -> Chips:
    pixels, _ = chips.pixels()
    return Chips(
        pixels=torch.from_numpy(pixels),
        classes=chips.labels,
        single=np.array([name in single for name in chips.ids]),
    )


def shrunk(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """(chip, 1, side, side): means over squares of CUT / side pixels."""
    return avg_pool2d(pixels, CUT // side)


def augmented(pixels: torch.Tensor, *, rng: np.random.Generator) -> torch.Tensor:
    """Other looks at chips: a square of .2 to 1 of the area, mirrored or not, contrast x .5 to 1.5."""
    b = len(pixels)
    scale = np.sqrt(rng.uniform(0.2, 1, b))
    shift = rng.uniform(-1, 1, (2, b)) * (1 - scale)
    cut = sampled(pixels, scale=scale, shift=shift, mirrored=rng.random(b) < 0.5)
    contrast = torch.from_numpy(rng.uniform(0.5, 1.5, (b, 1, 1, 1)).astype(np.float32))
    mean = cut.mean((1, 2, 3), keepdim=True)
    return (mean + contrast * (cut - mean)).clamp(0, 1)


def sampled(
    pixels: torch.Tensor, *, scale: np.ndarray, shift: np.ndarray, mirrored: np.ndarray
) -> torch.Tensor:
    """(b, 1, SIDE, SIDE): squares of `scale` (b,) times the side, moved by `shift` (x and y, b) half sides.

    Bilinear; a whole chip gives means over 2 x 2 px, as `shrunk` does.
    """
    look = np.zeros((len(pixels), 2, 3), np.float32)
    look[:, 0, 0] = scale * np.where(mirrored, -1, 1)
    look[:, 1, 1] = scale
    look[:, :, 2] = shift.T
    grid = affine_grid(torch.from_numpy(look), [len(pixels), 1, SIDE, SIDE], align_corners=False)
    return grid_sample(pixels, grid, align_corners=False, padding_mode="reflection")


def whole(pixels: torch.Tensor) -> Batch:
    """A batch without invalid pixels."""
    return pixels, torch.ones_like(pixels[:, 0], dtype=torch.bool)
