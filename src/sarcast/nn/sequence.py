"""A pre-norm transformer layer over short sequences; every step sees every other (Vaswani et al., 2017).

Parameters have the names of `torch.nn.TransformerEncoderLayer`; the products run on oneDNN (`linear`).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import dropout, scaled_dot_product_attention

from sarcast.nn.linear import Linear, linear


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = Linear(dim, dim)

    def forward(
        self, x: Float[Tensor, "b t dim"], hidden: Bool[Tensor, "b t"] | None = None, *, drop: float = 0.0
    ) -> Float[Tensor, "b t dim"]:
        """Mixed steps; those `hidden` are looked at by none. `drop` is the share of weights dropped."""
        q, k, v = self._split(x)
        seen = None if hidden is None else ~hidden[:, None, None]
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=drop)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def maps(self, x: Float[Tensor, "b t dim"]) -> Float[Tensor, "b head t t"]:
        """How much each step (row) looks at each other (column); rows sum to 1."""
        q, k, _ = self._split(x)
        return (q @ k.transpose(2, 3) * q.shape[3] ** -0.5).softmax(3)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v (b, head, t, dim / heads)."""
        every = linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = every.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v


class Layer(nn.Module):
    """Attention, then an MLP with a GELU, each added to what came in."""

    def __init__(self, dim: int, heads: int, feedforward: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.self_attn = SelfAttention(dim, heads)
        self.linear1 = Linear(dim, feedforward)
        self.linear2 = Linear(feedforward, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(
        self, x: Float[Tensor, "b t dim"], hidden: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t dim"]:
        """One layer on; steps `hidden` are looked at by none."""
        drop = self.dropout if self.training else 0.0
        x = x + dropout(self.self_attn(self.norm1(x), hidden, drop=drop), drop, self.training)
        inner = dropout(self.linear1.with_gelu(self.norm2(x)), drop, self.training)
        return x + dropout(self.linear2(inner), drop, self.training)
