"""Every image once through a network: attention, rollout, vectors of its tokens, on disk until drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sarcast.encoders.base import make_grid
from sarcast.encoders.vit import Vit
from sarcast.nn.pretrained import Pretrained
from sarcast.publish.figures import mean_power
from sarcast.sar.decibel import to_db
from sarcast.steps.look_sources import Image
from sarcast.values import PatchGrid, Stack

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from sarcast.steps.look import Look

_SCORES = 2**26
"""Attention scores of a block in memory at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """What a network did with one image."""

    looks: np.ndarray
    """float32 (row, col, map): heads and rollout of each band; 1 is an even look."""
    vectors: np.ndarray
    """float32 (row, col, dim); of a one-channel network, band after band."""
    level_db: np.ndarray
    """float32 (row, col, band): mean power of each token."""
    valid: np.ndarray
    """bool (row, col)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """An image and where its tokens are."""

    image: Image
    path: Path
    grid: PatchGrid
    geobox: GeoBox
    bands: tuple[str, ...]
    maps: tuple[str, ...]
    """Names of `Tokens.looks`."""

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(row, col) of tokens."""
        return self.grid.shape

    def tokens(self) -> Tokens:
        """Read from disk."""
        with np.load(self.path) as found:
            return Tokens(**{name: found[name] for name in ("looks", "vectors", "level_db", "valid")})


def see(settings: Look, network: Pretrained, images: Sequence[Image], folder: Path) -> list[Seen]:
    """Run the network over every image; one image's tokens in memory at a time.

    Raises:
        DataError: The network sees another number of channels, or an image is smaller than a token.
        SettingsError: The card does not go with the image's channels, or the halo leaves nothing of a window.
        ShapeError: No such block.
    """
    folder.mkdir()
    found = []
    for number, image in enumerate(images):
        stack, time = image.load()
        grid = make_grid(stack, network.vit.patch, None)
        window = min(settings.window or network.window, max(grid.shape) + 1)
        scores = network.vit.size.heads * (window**2 + 1) ** 2
        encoder = Vit(
            window=settings.window, halo=settings.halo, batch=int(np.clip(_SCORES // scores, 1, 32))
        )
        features = encoder.inside(stack, [time], network=network, block=settings.block)
        maps = [i for i, name in enumerate(features.names) if "_mean_" not in name]
        rest = [i for i, name in enumerate(features.names) if "_mean_" in name]
        path = folder / f"{number}.npz"
        np.savez(
            path,
            looks=features.values[0][..., maps],
            vectors=features.values[0][..., rest],
            level_db=level_db(stack, time, grid),
            valid=features.valid[0],
        )
        found.append(
            Seen(
                image=image,
                path=path,
                grid=grid,
                geobox=stack.geobox,
                bands=stack.bands,
                maps=tuple(features.names[i] for i in maps),
            )
        )
    return found


def level_db(stack: Stack, time: int, grid: PatchGrid) -> np.ndarray:
    """Mean power of the valid pixels of each cell in dB, float32 (row, col, band); 0 where there are none."""
    rows, cols = grid.image
    found = []
    for band in range(len(stack.bands)):
        power, valid = mean_power(stack, [time], band, ((0, rows), (0, cols)), max_side=max(rows, cols))
        total, count = (_under(x, grid) for x in (power, valid.astype(float)))
        found.append(np.where(count > 0, to_db(total / np.maximum(count, 1)), 0))
    return np.stack(found, -1).astype(np.float32)


def sample(seen: Sequence[Seen], count: int, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """About `count` valid tokens, as many of each image: (vectors (n, dim), int (n, 3) image, row, col)."""
    each = -(-count // len(seen))
    vectors, places = [], []
    for number, one in enumerate(seen):
        tokens = one.tokens()
        at = np.argwhere(tokens.valid)
        at = at[np.sort(rng.permutation(len(at))[:each])]
        vectors.append(tokens.vectors[at[:, 0], at[:, 1]])
        places.append(np.column_stack([np.full(len(at), number), at]))
    return np.concatenate(vectors), np.concatenate(places)


def pooled(seen: Sequence[Seen]) -> np.ndarray:
    """Mean vector of each image's valid tokens, float32 (image, dim); 0 where there are none."""
    found = []
    for one in seen:
        tokens = one.tokens()
        found.append(tokens.vectors[tokens.valid].sum(0) / max(1, int(tokens.valid.sum())))
    return np.stack(found)


def _under(image: np.ndarray, grid: PatchGrid) -> np.ndarray:
    """Sums (row, col) of `image` under each cell, cells that overlap included."""
    for axis, starts in ((0, grid.tops), (1, grid.lefts)):
        ends = [(1, 0) if i == axis else (0, 0) for i in range(2)]
        total = np.pad(np.cumsum(image, axis), ends)
        image = total.take(starts + grid.patch, axis) - total.take(starts, axis)
    return image
