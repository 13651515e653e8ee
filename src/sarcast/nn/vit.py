"""The encoder of SAR-JEPA: a vision transformer that knows position only as distance (Li et al., 2024).

Plain ViT (arXiv 2010.11929) without absolute position; each block adds a relative term to its scores
(`relative_position`), so one set of weights serves a 7 x 7 window, a 14 x 14 image and any rectangle.
Parameters have the names of the public SAR-JEPA checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sarcast.errors import SettingsError, ShapeError
from sarcast.nn.attention import EPS, Block, initialise
from sarcast.nn.patch import PatchEmbed, grid_of
from sarcast.nn.relative_position import buckets


@dataclass(frozen=True, kw_only=True)
class Size:
    """Width, number of blocks and heads of an encoder."""

    dim: int
    depth: int
    heads: int


SIZES = {
    "micro": Size(dim=96, depth=4, heads=3),
    "tiny": Size(dim=192, depth=12, heads=3),
    "small": Size(dim=384, depth=12, heads=6),
    "base": Size(dim=768, depth=12, heads=12),
    "large": Size(dim=1024, depth=24, heads=16),
}


class ViT(nn.Module):
    """Images in, one vector per patch out."""

    def __init__(
        self, size: Size, *, patch: int = 16, channels: int = 1, ratio: float = 4.0, rng: torch.Generator
    ) -> None:
        """Weights drawn from `rng`; `ratio` is the hidden width of the MLPs over the width."""
        super().__init__()
        self.size, self.patch, self.channels, self.ratio = size, patch, channels, ratio
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.dim))
        self.patch_embed = PatchEmbed(patch=patch, channels=channels, dim=size.dim)
        self.blocks = nn.ModuleList(Block(size.dim, size.heads, ratio) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.dim, eps=EPS)
        initialise(self, rng=rng)

    @classmethod
    def named(cls, size: str, *, patch: int = 16, channels: int = 1, rng: torch.Generator) -> ViT:
        """The encoder of a size in `SIZES`.

        Raises:
            SettingsError: No such size.
        """
        if size not in SIZES:
            raise SettingsError(f"expected a size in {', '.join(SIZES)}, found {size!r}")
        return cls(SIZES[size], patch=patch, channels=channels, rng=rng)

    def forward(self, pixels: Float[Tensor, "b c y x"]) -> Float[Tensor, "b row col dim"]:
        """One vector a patch, after the last norm; the class token is left out."""
        embedded = self.patch_embed(pixels)
        return self.encode(embedded)[:, 1:].unflatten(1, embedded.shape[1:3])

    def pooled(self, pixels: Float[Tensor, "b c y x"]) -> Float[Tensor, "b dim"]:
        """One vector an image: the mean of its patches' vectors (a whole patch of the paper as one cell)."""
        return self(pixels).mean((1, 2))

    def tokens(self, pixels: Float[Tensor, "b c y x"]) -> Float[Tensor, "b n dim"]:
        """All vectors, class token first, then patches row by row."""
        return self.encode(self.patch_embed(pixels))

    def encode(self, embedded: Float[Tensor, "b row col dim"]) -> Float[Tensor, "b n dim"]:
        """From embedded (or masked) patches of any grid to all vectors, class token first."""
        x, bucket = self._begin(embedded)
        for block in self.blocks:
            x = block(x, bucket)
        return self.norm(x)

    def encode_some(
        self, embedded: Float[Tensor, "b row col dim"], patch: Int[Tensor, "*own p"]
    ) -> Float[Tensor, "b n dim"]:
        """Vectors of the class token and some patches (numbered row by row), which see only each other.

        `patch` is (p,), the same for all images, or (b, p), for each its own.
        """
        x, bucket = self._begin(embedded)
        keep = torch.cat([patch.new_zeros((*patch.shape[:-1], 1)), patch + 1], -1)
        if patch.ndim == 1:
            x, bucket = x[:, keep], bucket[keep][:, keep]
        else:
            x = x.gather(1, keep[..., None].expand(-1, -1, x.shape[2]))
            bucket = bucket[keep[:, :, None], keep[:, None, :]][:, None]
        for block in self.blocks:
            x = block(x, bucket)
        return self.norm(x)

    def attention(self, pixels: Float[Tensor, "b c y x"], *, block: int = -1) -> Float[Tensor, "b head n n"]:
        """Attention map of one block (rows sum to 1; token 0 is the class token).

        Raises:
            ShapeError: No such block.
        """
        depth = len(self.blocks)
        if not -depth <= block < depth:
            raise ShapeError(f"expected a block in {-depth}..{depth - 1}, found {block}")
        x, bucket = self._begin(self.patch_embed(pixels))
        for before in self.blocks[: block % depth]:
            x = before(x, bucket)
        wanted = cast(Block, self.blocks[block])
        return wanted.attn.maps(wanted.norm1(x), bucket)

    def class_attention(
        self, pixels: Float[Tensor, "b c y x"], *, block: int = -1
    ) -> Float[Tensor, "b row col head"]:
        """How much the class token looks at each patch in one block; 1 is what an even look would give.

        Raises:
            ShapeError: No such block.
        """
        looks = self.attention(pixels, block=block)[:, :, 0]
        patches = looks[..., 1:] * looks.shape[2]
        return patches.unflatten(2, grid_of(pixels, self.patch)).permute(0, 2, 3, 1)

    def inside(
        self, pixels: Float[Tensor, "b c y x"], *, block: int = -1
    ) -> tuple[Float[Tensor, "b row col head"], Float[Tensor, "b row col"], Float[Tensor, "b row col dim"]]:
        """(class attention of one block, rollout, vectors) of each patch, in one walk through the blocks.

        The rollout follows attention from the class token down to the input: of every block the mean over
        heads, half of it the identity for the skip connection, multiplied (Abnar and Zuidema, 2020, arXiv
        2005.00928). Attention and rollout are 1 where a look is even.

        Raises:
            ShapeError: No such block.
        """
        depth, grid = len(self.blocks), grid_of(pixels, self.patch)
        if not -depth <= block < depth:
            raise ShapeError(f"expected a block in {-depth}..{depth - 1}, found {block}")
        x, bucket = self._begin(self.patch_embed(pixels))
        means: list[Tensor] = []
        for number, one in enumerate(cast("list[Block]", list(self.blocks))):
            maps = one.attn.maps(one.norm1(x), bucket)
            if number == block % depth:
                heads = maps[:, :, 0, 1:] * maps.shape[2]
            means.append(maps.mean(1))
            x = one(x, bucket)
        flow = torch.eye(1, x.shape[1], dtype=x.dtype, device=x.device).expand(len(x), 1, -1)
        for mean in reversed(means):
            flow = (flow @ mean + flow) / 2
        rollout = flow[:, 0, 1:] * x.shape[1]
        return (
            heads.transpose(1, 2).unflatten(1, grid),
            rollout.unflatten(1, grid),
            self.norm(x)[:, 1:].unflatten(1, grid),
        )

    def _begin(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        rows, cols = embedded.shape[1:3]
        x = torch.cat([self.cls_token.expand(embedded.shape[0], -1, -1), embedded.flatten(1, 2)], 1)
        return x, buckets(rows, cols, x.device)
