"""Several looks at parts of one image (multi-crop, SwAV and DINO), each with speckle and gain of its own.

Crops are cut, never resized: a pixel stays as many metres wide. They may be steered to where edges are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sarcast.nn.fill import fill
from sarcast.sar.channels import bands_of, parts


@dataclass(frozen=True, kw_only=True, eq=False)
class Crops:
    """Parts of the images of a batch, as many of each, all of one size."""

    pixels: Tensor
    """float32 (view, b, c, side, side); invalid ones filled in."""
    counts: Tensor
    """bool (view, b): there is a valid pixel."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What differs between two looks at one place, in dB."""

    gain_db: float
    """The level moves by up to this much up or down."""
    looks: int | None
    """Power is multiplied by gamma speckle of this many looks."""
    flips: bool
    """Half of the crops are turned upside down."""
    span_db: float
    """dB between pixel values 0 and 1."""
    channels: tuple[str, ...] = ()
    """Names of the channels, of which a ratio (VV-VH) gets what its bands get; none: all are bands."""


def crops(
    pixels: Float[Tensor, "b c y x"],
    valid: Bool[Tensor, "b *channel y x"] | None,
    how: Looks,
    *,
    side: int,
    count: int,
    patch: int,
    rng: torch.Generator,
    edges: Float[Tensor, "b y x"] | None = None,
    candidates: int = 1,
) -> Crops:
    """`count` crops of every image, at places of their own.

    Args:
        pixels: As the card scales them.
        valid: Where pixels count; None means everywhere.
        how: Speckle, gain and flips, drawn for every crop.
        side: Of a crop, pixels; at most that of the image.
        count: Crops an image.
        patch: Of the network, for filling in.
        rng: Source of all draws, on the CPU.
        edges: How much edge every pixel has, to choose by.
        candidates: Places drawn for a crop, of which the one with the most edge is taken.
    """
    found, counts = [], []
    for _ in range(count):
        at = places(pixels, side=side, rng=rng, edges=edges, candidates=candidates)
        turned = (torch.rand(len(pixels), generator=rng) < 0.5).to(pixels.device) & how.flips
        part = cut(pixels, *at, side, turned) + _change(pixels, how, side, rng)
        seen = torch.ones(len(pixels), dtype=torch.bool, device=pixels.device)
        if valid is not None:
            four = valid[:, None] if valid.ndim == 3 else valid
            ok = cut(four, *at, side, turned).expand_as(part)
            part, seen = fill(part, ok, patch)[0], ok.flatten(1).any(1)
        found.append(part)
        counts.append(seen)
    return Crops(pixels=torch.stack(found), counts=torch.stack(counts))


def places(
    pixels: Float[Tensor, "b c y x"],
    *,
    side: int,
    rng: torch.Generator,
    edges: Float[Tensor, "b y x"] | None = None,
    candidates: int = 1,
) -> tuple[Tensor, Tensor]:
    """First rows and columns of a crop of every image, int (b,) each."""
    b, _, y, x = pixels.shape
    tops, lefts = (
        torch.randint(n - side + 1, (candidates, b), generator=rng).to(pixels.device) for n in (y, x)
    )
    if edges is None or candidates == 1:
        return tops[0], lefts[0]
    still = torch.zeros(b, dtype=torch.bool, device=pixels.device)
    much = [
        cut(edges[:, None], top, left, side, still).sum((1, 2, 3))
        for top, left in zip(tops, lefts, strict=True)
    ]
    best = torch.stack(much).argmax(0)[None]
    return tops.gather(0, best)[0], lefts.gather(0, best)[0]


def cut(images: Tensor, tops: Tensor, lefts: Tensor, side: int, turned: Tensor) -> Tensor:
    """(b, c, side, side) at (tops, lefts) of every image (b, c, y, x), upside down where `turned`."""
    line = torch.arange(side, device=images.device)
    rows, cols = tops[:, None] + line, lefts[:, None] + line
    rows = torch.where(turned[:, None], rows.flip(1), rows)
    which = torch.arange(len(images), device=images.device)[:, None, None]
    return images.movedim(1, 3)[which, rows[:, :, None], cols[:, None, :]].movedim(3, 1)


def _change(pixels: Tensor, how: Looks, side: int, rng: torch.Generator) -> Tensor:
    """What a new look adds to each channel, in pixel values: gain of the image, speckle of pixel and band."""
    b, c = pixels.shape[:2]
    channels = how.channels or tuple(str(number) for number in range(c))
    bands = bands_of(channels)
    db = how.gain_db * (2 * torch.rand(b, 1, 1, 1, generator=rng) - 1)
    db = db.expand(-1, len(bands), -1, -1)
    if how.looks is not None:
        power = torch.empty(how.looks, b, len(bands), side, side).exponential_(generator=rng).mean(0)
        db = db + 10 * power.clamp_min(1e-6).log10()
    at = [[bands.index(band) for band in parts(channel)] for channel in channels]
    each = [db[:, one[0]] - db[:, one[1]] if len(one) == 2 else db[:, one[0]] for one in at]
    return (torch.stack(each, 1) / how.span_db).to(pixels.device)
