"""Multi-head self-attention whose scores know relative position, and the transformer block around it.

The relative term enters `scaled_dot_product_attention` as an additive mask: one fused kernel does the rest.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from sarcast.errors import ShapeError
from sarcast.nn.linear import Linear
from sarcast.nn.relative_position import RelativePositionOnKeys

EPS = 1e-6
"""Of every LayerNorm in the encoder and the predictor."""


class Attention(nn.Module):
    """softmax(q k / sqrt(d) + relative term) v, over all tokens of a row."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ShapeError(f"expected a width in multiples of {heads} heads, found {dim}")
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)
        self.rpe_k = RelativePositionOnKeys(dim // heads)

    def forward(
        self, x: Float[Tensor, "b n dim"], bucket: Int[Tensor, "*own n n"]
    ) -> Float[Tensor, "b n dim"]:
        """Mixed tokens."""
        q, k, v = self._split(x)
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=self.rpe_k(q, bucket))
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def maps(
        self, x: Float[Tensor, "b n dim"], bucket: Int[Tensor, "*own n n"]
    ) -> Float[Tensor, "b head n n"]:
        """How much each token (row) looks at each other (column); rows sum to 1."""
        q, k, _ = self._split(x)
        scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5 + self.rpe_k(q, bucket)
        return scores.softmax(3)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v (b, head, n, dim / heads)."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v


class Mlp(nn.Module):
    """Two linear maps with a GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "b n dim"]) -> Float[Tensor, "b n dim"]:
        """Each token by itself."""
        return self.fc2(self.fc1.with_gelu(x))


class Block(nn.Module):
    """Pre-norm transformer block: attention, then an MLP, each added to what came in."""

    def __init__(self, dim: int, heads: int, ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, int(dim * ratio))

    def forward(
        self, x: Float[Tensor, "b n dim"], bucket: Int[Tensor, "*own n n"]
    ) -> Float[Tensor, "b n dim"]:
        """One block on."""
        x = x + self.attn(self.norm1(x), bucket)
        return x + self.mlp(self.norm2(x))


@torch.no_grad()
def initialise(module: nn.Module, *, rng: torch.Generator) -> None:
    """Draw all weights from `rng`: Xavier for linear maps, 0.02 for tables and tokens, zero biases."""
    for name, parameter in module.named_parameters():
        kind = name.rpartition(".")[2]
        if kind in ("lookup_table_weight", "cls_token", "mask_token"):
            nn.init.normal_(parameter, std=0.02, generator=rng)
        elif parameter.dim() >= 2:
            nn.init.xavier_uniform_(parameter.view(len(parameter), -1), generator=rng)
        else:
            parameter.fill_(float(kind == "weight"))
