"""What stands on an encoder's tokens: one answer a chip, or a light decoder with one a pixel."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate

from sarcast.nn.attention import EPS, initialise
from sarcast.nn.vit import ViT


class Pooled(nn.Module):
    """LayerNorm of the tokens' mean, then a linear layer that starts at zero."""

    def __init__(self, dim: int, *, outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.said = nn.Linear(dim, outputs)
        nn.init.zeros_(self.said.weight)
        nn.init.zeros_(self.said.bias)

    def forward(self, tokens: Float[Tensor, "b dim row col"]) -> Float[Tensor, "b out"]:
        """One answer a chip."""
        return self.said(self.norm(tokens.mean((2, 3))))


class Decoder(nn.Module):
    """LayerNorm, 1 x 1, twice bilinear to double rows and columns and 3 x 3, then an answer for every pixel.

    The last layer is linear, starts at zero, and nothing comes after it but the bilinear way to pixels: the
    published head ends in BatchNorm and ReLU, so that no logit is under 0.
    """

    def __init__(self, dim: int, *, width: int, outputs: int, token: int, rng: torch.Generator) -> None:
        """For tokens of `token` pixels a side; weights are drawn from `rng`."""
        super().__init__()
        self.token = token
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.enter = nn.Conv2d(dim, width, 1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.said = nn.Conv2d(width, outputs, 1)
        initialise(self, rng=rng)
        nn.init.zeros_(self.said.weight)

    def forward(self, tokens: Float[Tensor, "b dim row col"]) -> Float[Tensor, "b out y x"]:
        """One answer a pixel."""
        rows, cols = tokens.shape[2:]
        x = gelu(self.enter(self.norm(tokens.movedim(1, -1)).movedim(-1, 1)))
        for number, block in enumerate(self.blocks):
            finer = min(2 ** (number + 1), self.token)
            x = gelu(block(_to(x, (rows * finer, cols * finer))))
        return _to(self.said(x), (rows * self.token, cols * self.token))


class Tuned(nn.Module):
    """An encoder and a head, trained together; of a one-channel encoder, channel after channel."""

    def __init__(self, vit: ViT, head: nn.Module) -> None:
        super().__init__()
        self.vit, self.head = vit, head

    def forward(self, pixels: Float[Tensor, "b c y x"]) -> Tensor:
        """What the head says of all tokens of each chip."""
        own = self.vit.channels
        tokens = self.vit(pixels.unflatten(1, (-1, own)).flatten(0, 1))
        tokens = tokens.unflatten(0, (len(pixels), -1)).permute(0, 1, 4, 2, 3).flatten(1, 2)
        return self.head(tokens)


def layer_shares(depth: int, decay: float) -> dict[str, float]:
    """Beginning of a parameter's name in `Tuned` -> share of the learning rate: decay^(depth - block).

    Block 0 comes first; patch embedding and class token are one further down, the last norm and the head
    have 1 (Bao et al., 2022, arXiv 2106.08254; Clark et al., 2020, arXiv 2003.10555).

    Args:
        depth: Blocks of the encoder.
        decay: Over 0, at most 1; 1: all alike.
    """
    lowest = decay ** (depth + 1)
    return {
        "vit.patch_embed.": lowest,
        "vit.cls_token": lowest,
        **{f"vit.blocks.{block}.": decay ** (depth - block) for block in range(depth)},
    }


def _to(image: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(image, size=size, mode="bilinear", align_corners=False)
