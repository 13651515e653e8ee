"""Simulated regions of labelled seasonal tiles, split by place, for `benchmarks.label_fractions`.

Train tiles are learned from without labels and give the card; what is labelled is drawn from them as well.
Held-out tiles, for the diagnostics alone, are those of the val role. Test tiles are judged only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from benchmarks.pretrained import Images
from benchmarks.tables import augmentation
from sarcast.encoders.chips import chip_tokens
from sarcast.nn.card import Card
from sarcast.nn.cards import measured_card
from sarcast.nn.pretrained import Pretrained
from sarcast.nn.vit import ViT
from sarcast.probes.hand_made import LAGS, cell_edges, cell_means, cell_statistics
from sarcast.sar.simulate import LabelledTile, SimulateSeasons, simulate_seasons
from sarcast.stack.bands import split_bands
from sarcast.train.augment import Augment
from sarcast.train.chips import Chips, as_input, batch, of_seasons
from sarcast.train.loop import Batch

CLIMATES = ("temperate", "boreal", "tropical")
TOKEN = 8
"""Side of a token, pixels."""
AUGMENT = augmentation("label-fractions", "mae")
_TILES, _BATCHES = range(2)


@dataclass(frozen=True, kw_only=True)
class Land:
    """A region, and how it is split."""

    tiles: tuple[int, int] = (48, 48)
    """Rows and columns of tiles."""
    side: int = 64
    """Of a tile, pixels of 10 m."""
    bands: int = 10
    """Oblique bands over the region: three times train, once test, once val, over and over."""
    buffer_m: float = 640.0
    """Least distance between tiles of different roles."""
    held_out: int = 64
    """Tiles of the val role for the diagnostics of a training, at most."""
    augment: Augment = AUGMENT
    """What may differ between two looks at a tile; the simulation has no look direction that flips turn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Role:
    """Tiles of one role, and what is true of them."""

    db: np.ndarray
    """float32 (tile, channel, y, x), the 12 seasonal channels."""
    cover: np.ndarray
    """int64 (tile, y, x), class of each pixel."""
    numbers: dict[str, np.ndarray]
    """Name -> mean of each tile, float64 (tile,): vegetation and built %, biomass t/ha."""
    class_names: tuple[str, ...]

    @property
    def valid(self) -> np.ndarray:
        """All true, (tile, y, x): simulated tiles have no gaps."""
        return np.ones_like(self.cover, dtype=bool)

    @cached_property
    def token_labels(self) -> np.ndarray:
        """Commonest class of every token's pixels, int (tile, row, col)."""
        n, side = self.cover.shape[:2]
        count = side // TOKEN
        blocks = self.cover.reshape(n, count, TOKEN, count, TOKEN).swapaxes(2, 3)
        votes = [(blocks == one).sum((3, 4)) for one in range(len(self.class_names))]
        return np.argmax(votes, axis=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """Tiles to learn from and to judge on."""

    climate: str
    seed: int
    train: Role
    test: Role
    card: Card
    """The z-score of each channel over the train tiles."""
    chips: Chips
    """The train tiles, to pretrain on."""
    held_out: Batch
    """Some val tiles, as a network sees them."""
    land: Land

    def images(self, *, size: int) -> Images:
        """Batches of `size` train tiles, augmented; the same for every objective."""

        def draw(step: int, part: int) -> Batch:
            rng = np.random.default_rng([self.seed, _BATCHES, step, part])
            cut = partial(batch, size=size, crop=self.land.side, rng=rng)
            return cut(self.chips, self.card, self.land.augment)

        return Images(draw=draw, held_out=self.held_out)


def region(climate: str, seed: int, land: Land) -> Region:
    """A region of its own for every climate and seed; all of it is drawn from them."""
    settings = SimulateSeasons(climate=climate, tiles=land.tiles, side=land.side)
    rng = np.random.default_rng([seed, _TILES, CLIMATES.index(climate)])
    tiles = list(simulate_seasons(settings, rng=rng))
    roles = split_bands([tile.image.geobox for tile in tiles], bands=land.bands, buffer_m=land.buffer_m)
    by_role = {
        role: [tile for tile, own in zip(tiles, roles, strict=True) if own == role]
        for role in ("train", "test", "val")
    }
    images = [tile.image for tile in by_role["train"]]
    card = measured_card(images, constants=f"simulated-{climate}-{seed}/1")
    val = of_seasons(tile.image for tile in by_role["val"][: land.held_out])
    return Region(
        climate=climate,
        seed=seed,
        train=_role(by_role["train"]),
        test=_role(by_role["test"]),
        card=card,
        chips=of_seasons(images),
        held_out=as_input(val.power, val.valid, card, bands=val.bands),
        land=land,
    )


def _role(tiles: Sequence[LabelledTile]) -> Role:
    return Role(
        db=np.stack([tile.image.db for tile in tiles]),
        cover=np.stack([tile.land_cover for tile in tiles]).astype(np.int64),
        numbers={
            "vegetation": np.array([100 * tile.vegetation.mean(dtype=np.float64) for tile in tiles]),
            "built": np.array([100 * tile.built.mean(dtype=np.float64) for tile in tiles]),
            "biomass": np.array([tile.biomass.mean(dtype=np.float64) for tile in tiles]),
        },
        class_names=tiles[0].class_names,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """One way to see the tiles of a region: vectors of the train and test role."""

    tiles: tuple[np.ndarray, np.ndarray]
    """float (tile, dim) each."""
    tokens: tuple[np.ndarray, np.ndarray]
    """float (tile, row, col, dim) each."""


def by_encoder(vit: ViT, card: Card, where: Region) -> Seen:
    """Tokens of a frozen encoder; a tile is their mean and their spread."""
    known = Pretrained(vit=vit.eval(), card=card, window=where.land.side // vit.patch)
    tokens = [chip_tokens(known, role.db, role.valid, unit="db") for role in (where.train, where.test)]
    tiles = [np.concatenate([one.mean((1, 2)), one.std((1, 2))], 1) for one in tokens]
    return Seen(tiles=(tiles[0], tiles[1]), tokens=(tokens[0], tokens[1]))


def by_pixels(where: Region) -> Seen:
    """Means of the channels over a tile; all pixels of a token."""
    count = where.land.side // TOKEN

    def raw(role: Role) -> np.ndarray:
        n, channels = role.db.shape[:2]
        blocks = role.db.reshape(n, channels, count, TOKEN, count, TOKEN)
        return blocks.transpose(0, 2, 4, 1, 3, 5).reshape(n, count, count, -1)

    return _seen(where, _whole(cell_means, where), raw)


def by_statistics(where: Region) -> Seen:
    """Level, spread and texture of every channel, of a tile and of a token (and of 3 x 3 tokens)."""
    edges = cell_edges(where.land.side, where.land.side // TOKEN)
    return _seen(
        where,
        _whole(cell_statistics, where),
        lambda role: cell_statistics(role.db, role.valid, edges),
    )


def without_texture(statistics: Seen, *, channels: int) -> Seen:
    """Level and spread of hand-made statistics, of a tile, of a token and of 3 x 3: no differences."""
    each = channels * (2 + len(LAGS))

    def kept(vectors: np.ndarray) -> np.ndarray:
        return vectors[..., np.arange(vectors.shape[-1]) % each < 2 * channels]

    a, b = (tuple(map(kept, some)) for some in (statistics.tiles, statistics.tokens))
    return Seen(tiles=(a[0], a[1]), tokens=(b[0], b[1]))


def together(one: Seen, other: Seen) -> Seen:
    """Vectors of both ways, one after the other."""
    tiles, tokens = (
        [np.concatenate(pair, -1) for pair in zip(a, b, strict=True)]
        for a, b in ((one.tiles, other.tiles), (one.tokens, other.tokens))
    )
    return Seen(tiles=(tiles[0], tiles[1]), tokens=(tokens[0], tokens[1]))


def _whole(of_cells: Callable[..., np.ndarray], where: Region) -> Callable[[Role], np.ndarray]:
    """The same over whole tiles, (tile, dim)."""
    edges = cell_edges(where.land.side, 1)
    return lambda role: of_cells(role.db, role.valid, edges).reshape(len(role.db), -1)


def _seen(where: Region, tiles: Callable[[Role], np.ndarray], tokens: Callable[[Role], np.ndarray]) -> Seen:
    return Seen(
        tiles=(tiles(where.train), tiles(where.test)), tokens=(tokens(where.train), tokens(where.test))
    )
