"""A vision transformer as encoder: tokens over the whole scene, pooled to cells.

A date is read through windows of tokens that lie on one lattice over the scene; a token is kept from the
window whose core it is in, so it always has its surroundings. A cell is the mean (and spread) of the tokens
it covers, each by how much of it the cell covers. Cells may be a whole window (the paper) or one token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from sarcast.encoders.base import Strip, encode_cells, make_grid
from sarcast.encoders.views import views
from sarcast.errors import SettingsError
from sarcast.nn.card import Card, scaled
from sarcast.nn.fill import fill
from sarcast.nn.pretrained import Pretrained, load_encoder, weight_files
from sarcast.nn.vit import ViT
from sarcast.runtime.settings import Settings
from sarcast.values import Features, PatchGrid, Stack

Read = Callable[[Tensor], Tensor]
"""Pixels (b, c, y, x) -> what is known of each token, (b, row, col, dim)."""
Run = Callable[[Iterator[tuple[np.ndarray, np.ndarray]]], Iterator[np.ndarray]]

DEFAULT = Path("sarcast-tiny")
"""Weights that are used when nothing else is asked for."""
RANDOM_WINDOW = 8
"""Tokens a side of a window of the random control."""


class Vit(Settings):
    """Tokens of a vision transformer: sarcast-tiny, which comes with sarcast, unless other weights are given.

    With `random_init` instead, a random network drawn from `seed` (`vit-random` in the features): the control
    that a trained encoder must beat.
    """

    weights: Path | None = None
    """Folder with config.json and model.safetensors (from pretrain, adapt, finetune), the name of one that
    comes with sarcast, or a .pth file in the public SAR-JEPA layout with `card`; sarcast-tiny when not given
    and no random network is asked for."""
    card: Card | None = None
    """Scaling of the pixels; a folder of weights has its own."""
    random_init: Literal["micro", "tiny", "small", "base", "large"] | None = None
    """Size of a random network; not used where weights are given."""
    token: int | None = Field(None, ge=2)
    """Side of a random network's patches, pixels; the cell's, at most 8, when not given."""
    seed: int = 0
    """Of the random network."""
    patch: int | None = Field(None, ge=2)
    """Side of a cell, pixels; by pixel size when not given."""
    stride: int | None = Field(None, ge=1)
    """Step between cells, pixels; cells lie side by side when not given."""
    pool: Literal["mean", "mean_spread"] | None = None
    """Of a cell's tokens; when not given, the spread too where a cell holds four tokens or more."""
    window: int | None = Field(None, ge=1)
    """Tokens a side of a window; as in training when not given."""
    halo: int | None = Field(None, ge=0)
    """Tokens at the border of a window that only serve as surroundings; a quarter of it when not given."""
    min_valid: float = Field(0.9, gt=0, le=1)
    """Share of a cell's pixels that must be valid."""
    batch: int = Field(32, ge=1)
    """Windows at once."""
    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda, cuda:1 ..."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """auto: bfloat16 on CUDA, 32 bits elsewhere."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files whose content decides the features."""
        return () if self.trained is None else weight_files(self.trained)

    @property
    def trained(self) -> Path | None:
        """Weights that are used; None for a random network."""
        return self.weights or (DEFAULT if self.random_init is None else None)

    def encode(self, stack: Stack, times: Sequence[int] | None = None) -> Features:
        """Features (time, row, col, dim): every band through a one-channel network, one after the other.

        One of several channels sees those of its card together: bands, and ratios of two (VV-VH).

        An encoder trained on judged dates of this very stack is named `vit-seen`, so that tables show it.

        Raises:
            ArtefactError: The weights are missing or do not fit.
            SettingsError: The halo leaves nothing of a window, or the card does not go with the weights, or
                not with the stack's bands.
            DataError: The image is smaller than a cell, or the network sees another number of bands.
        """
        grid = make_grid(stack, self.patch, self.stride)
        network = self.network(grid.patch)
        vit = network.vit
        spread = self.pool == "mean_spread" or (self.pool is None and grid.patch >= 2 * vit.patch)
        kinds = ("mean", "spread") if spread else ("mean",)
        names = [f"{kind}_{i}" for kind in kinds for i in range(vit.size.dim)]
        name = self._name(network, stack)
        return self._over(stack, grid, network, vit, names, name=name, spread=spread, times=times)

    def attention(self, stack: Stack, times: Sequence[int] | None = None, *, block: int = -1) -> Features:
        """How much each window's class token looks at each token: Features (time, row, col, band x head).

        Cells are the network's tokens. 1 is what an even look would give; a window's values (cores and halos,
        the class token's look at itself included) have mean 1. Stitched over the scene as tokens are.

        Raises:
            ShapeError: No such block.
            ArtefactError, SettingsError, DataError: As `encode`.
        """
        network = self.network(make_grid(stack, self.patch, self.stride).patch)
        vit = network.vit
        return self._over(
            stack,
            make_grid(stack, vit.patch, None),
            network,
            partial(vit.class_attention, block=block),
            [f"head_{i}" for i in range(vit.size.heads)],
            name="vit-attention",
            times=times,
        )

    def inside(
        self,
        stack: Stack,
        times: Sequence[int] | None = None,
        *,
        network: Pretrained,
        block: int = -1,
    ) -> Features:
        """What a network does with each token: Features (time, row, col, band x (heads, rollout, vector)).

        Heads are the class token's attention in one block, as `attention`; the rollout follows it through all
        (`ViT.inside`); the vector is the token's own. All in one pass; cells are the network's tokens.

        Raises:
            ShapeError: No such block.
            SettingsError, DataError: As `encode`.
        """
        size = network.vit.size
        names = [*(f"head_{i}" for i in range(size.heads)), "rollout"]
        names += [f"mean_{i}" for i in range(size.dim)]
        return self._over(
            stack,
            make_grid(stack, network.vit.patch, None),
            network,
            partial(_inside, network.vit, block=block),
            names,
            name="vit-inside",
            times=times,
        )

    def _over(
        self,
        stack: Stack,
        grid: PatchGrid,
        network: Pretrained,
        read: Read,
        names: Sequence[str],
        *,
        name: str,
        spread: bool = False,
        times: Sequence[int] | None,
    ) -> Features:
        """What `read` gives for each token, stitched from windows over the scene and pooled to cells."""
        vit, dim = network.vit, len(names) // (1 + spread)
        groups, seen = views(network, stack)
        window = self.window or network.window
        halo = window // 4 if self.halo is None else self.halo
        lattice = _Lattice.over(grid, vit.patch, window=window, halo=halo)
        run = partial(_run, network, read, batch=self.batch, bf16=self._bf16(vit))
        return encode_cells(
            stack,
            grid,
            lambda strip: np.concatenate(
                [
                    _pooled(strip, lattice, *_tokens(strip, part, lattice, run, dim), spread=spread)
                    for part in seen(strip.power)
                ],
                axis=-1,
            ),
            names=[f"{group}_{one}" for group in groups for one in names],
            encoder=name,
            halo=(lattice.shape[0] + 1) * vit.patch,
            min_valid=self.min_valid,
            times=times,
        )

    def _name(self, network: Pretrained, stack: Stack) -> str:
        """vit; vit-random for the control; vit-seen when it was trained on judged dates of this stack."""
        if self.trained is None:
            return "vit-random"
        seen = network.about.get("judged_dates_seen") and stack.name in network.about.get("stacks", ())
        return "vit-seen" if seen else "vit"

    def network(self, cell: int) -> Pretrained:
        """The network, loaded or drawn, on its device; `cell` pixels decide a random one's patches.

        Raises:
            ArtefactError: The weights are missing or do not fit.
            SettingsError: The card does not go with the weights.
        """
        device = torch.device(
            ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        )
        if self.trained is not None:
            found = load_encoder(self.trained, card=self.card)
        else:
            rng = torch.Generator().manual_seed(self.seed)
            card, side = self.card or Card(), self.token or min(cell, 8)
            channels = max(1, len(card.channels))
            vit = ViT.named(str(self.random_init), patch=side, channels=channels, rng=rng).eval()
            found = Pretrained(vit=vit, card=card, window=RANDOM_WINDOW)
        found.vit.to(device)
        return found

    def _bf16(self, vit: ViT) -> bool:
        return self.precision == "bf16" or (self.precision == "auto" and vit.cls_token.device.type == "cuda")


def _inside(vit: ViT, pixels: Tensor, *, block: int) -> Tensor:
    """(b, row, col, heads + 1 + dim): attention, rollout and vectors side by side."""
    heads, rollout, vectors = vit.inside(pixels, block=block)
    return torch.cat([heads, rollout[..., None], vectors], 3)


@dataclass(frozen=True, kw_only=True)
class _Lattice:
    """Where tokens and windows lie over the scene. All numbers count tokens from the upper left corner."""

    token: int
    """Side of a token, pixels."""
    scene: tuple[int, int]
    """(rows, cols) of tokens; the last ones may reach over the image's edge."""
    shape: tuple[int, int]
    """(rows, cols) of a window: smaller than asked only where the scene is."""
    step: int
    halo: int

    @classmethod
    def over(cls, grid: PatchGrid, token: int, *, window: int, halo: int) -> _Lattice:
        step = window - 2 * halo
        if step < 1:
            raise SettingsError(f"expected a window of more than two halos of {halo} tokens, found {window}")
        rows, cols = (-(-side // token) for side in grid.image)
        return cls(
            token=token,
            scene=(rows, cols),
            shape=(min(window, rows), min(window, cols)),
            step=step,
            halo=halo,
        )

    def windows(self, axis: int, first: int, last: int) -> list[tuple[int, int, int]]:
        """(start, core begin, core end) of the windows whose cores hold the tokens `first`..`last` - 1.

        At the scene's edges, where windows cannot move on with their cores, neighbours become one window.
        """
        size, whole = self.shape[axis], self.scene[axis]
        ends: dict[int, tuple[int, int]] = {}
        for core in range(first // self.step * self.step, last, self.step):
            start = min(max(core - self.halo, 0), whole - size)
            begin, _ = ends.get(start, (core, 0))
            ends[start] = begin, min(core + self.step, whole)
        return [(start, *core) for start, core in ends.items()]


def _tokens(strip: Strip, power: np.ndarray, lattice: _Lattice, run: Run, dim: int) -> tuple[np.ndarray, int]:
    """((row, col, dim + 1) vectors of the tokens under a strip's cells and their valid share, first row)."""
    side = lattice.token
    first = (strip.above + int(strip.tops[0])) // side
    last = -(-(strip.above + int(strip.tops[-1]) + strip.patch) // side)
    rows, cols = lattice.windows(0, first, last), lattice.windows(1, 0, lattice.scene[1])
    places = [(row, col) for row in rows for col in cols]
    base = rows[0][1]
    found = np.zeros((rows[-1][2] - base, lattice.scene[1], dim + 1), np.float32)
    cuts = _cuts(strip, power, lattice, places)
    for ((top, r0, r1), (left, c0, c1)), tokens in zip(places, run(cuts), strict=True):
        found[r0 - base : r1 - base, c0:c1] = tokens[r0 - top : r1 - top, c0 - left : c1 - left]
    return found, base


def _cuts(
    strip: Strip, power: np.ndarray, lattice: _Lattice, places: Sequence[tuple[tuple[int, ...], ...]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(power (c, y, x), valid (y, x)) of every window; pixels over the image's edge are not valid."""
    side, (high, wide) = lattice.token, lattice.shape
    below = max(0, max(row[0] + high for row, _ in places) * side - strip.above - power.shape[1])
    beside = lattice.scene[1] * side - power.shape[2]
    power = np.pad(power, ((0, 0), (0, below), (0, beside)))
    valid = np.pad(strip.valid, ((0, below), (0, beside)))
    for (top, *_), (left, *_) in places:
        y, x = top * side - strip.above, left * side
        box = (slice(y, y + high * side), slice(x, x + wide * side))
        yield power[:, *box], valid[box]


def _run(
    network: Pretrained,
    read: Read,
    cuts: Iterator[tuple[np.ndarray, np.ndarray]],
    *,
    batch: int,
    bf16: bool,
) -> Iterator[np.ndarray]:
    """(row, col, dim + 1) of every window: what `read` gives, and the share of each that is valid."""
    device = network.vit.cls_token.device
    while some := list(islice(cuts, batch)):
        power = torch.from_numpy(np.stack([p for p, _ in some])).to(device)
        valid = torch.from_numpy(np.stack([v for _, v in some])).to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            pixels = scaled(power, network.card, valid[:, None].expand_as(power))
            pixels, share = fill(pixels, valid, network.vit.patch)
            tokens = read(pixels).float()
            yield from torch.cat([tokens, share[..., None]], 3).cpu().numpy()


def _pooled(strip: Strip, lattice: _Lattice, tokens: np.ndarray, base: int, *, spread: bool) -> np.ndarray:
    """(row, col, dim or 2 dim): mean and spread of each cell's tokens, weighed by area and valid share."""
    side = lattice.token
    across = _overlap(strip.lefts, strip.patch, side, tokens.shape[1], 0)
    down = _overlap(strip.tops + strip.above, strip.patch, side, tokens.shape[0], base)
    found = []
    for row in down:
        some = np.flatnonzero(row)
        part = tokens[some[0] : some[-1] + 1].astype(np.float64)
        weight = row[some[0] : some[-1] + 1, None] * part[..., -1]
        total = (across @ weight.sum(0))[:, None]
        total = np.where(total > 0, total, 1)
        mean = across @ np.einsum("rc,rcd->cd", weight, part[..., :-1]) / total
        if spread:
            square = across @ np.einsum("rc,rcd->cd", weight, part[..., :-1] ** 2) / total
            mean = np.concatenate([mean, np.sqrt(np.maximum(square - mean**2, 0))], axis=-1)
        found.append(mean)
    return np.stack(found).astype(np.float32)


def _overlap(starts: np.ndarray, patch: int, side: int, count: int, base: int) -> np.ndarray:
    """(cell, token) pixels that cells (from `starts`) and tokens (from `base` on) share along one axis."""
    begin = side * (base + np.arange(count))
    low = np.maximum(starts[:, None], begin)
    high = np.minimum(starts[:, None] + patch, begin + side)
    return np.maximum(high - low, 0).astype(np.float64)
