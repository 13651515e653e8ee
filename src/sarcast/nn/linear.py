"""A linear map that runs on oneDNN's matrix kernels on CPUs, forwards and backwards.

PyTorch sends float32 products on x86 CPUs to MKL, which does without AVX-512 on processors of some makers;
oneDNN, which PyTorch also carries, uses it (figures: docs/log.md). The same products in the same precision;
elsewhere (CUDA, autocast, while a graph is traced) this is `torch.nn.Linear`.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.functional import gelu


class Linear(nn.Linear):
    """x W^T + b, with the parameters of `torch.nn.Linear`."""

    def forward(self, input: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """One vector for each."""
        return linear(input, self.weight, self.bias)

    def with_gelu(self, input: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """GELU (exact) of the map: in one kernel where nothing is learned."""
        if torch.is_grad_enabled() or not on_onednn(input, self.weight):
            return gelu(self(input))
        return _product(input, self.weight, self.bias, then="gelu")


def linear(
    x: Float[Tensor, "*b in"], weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None = None
) -> Float[Tensor, "*b out"]:
    """The product x W^T + b, differentiable, on the kernels this module is for."""
    if not on_onednn(x, weight):
        return functional.linear(x, weight, bias)
    if torch.is_grad_enabled():
        return _OneDNNLinear.apply(x, weight, bias)
    return _product(x, weight, bias)


def on_onednn(input: Tensor, weight: Tensor) -> bool:
    """Whether a product of these runs on oneDNN's kernels here."""
    return (
        input.device.type == "cpu"
        and input.dtype == weight.dtype == torch.float32
        and input.numel() > 0
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


class _OneDNNLinear(torch.autograd.Function):
    """y = x W^T + b; dx = dy W, dW = dy^T x, db = sum of dy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        rows = dy.reshape(-1, len(weight))
        return (
            _product(dy, weight.t()) if for_x else None,
            _product(rows.t(), x.reshape(-1, weight.shape[1]).t()) if for_weight else None,
            rows.sum(0) if for_bias else None,
        )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, then: str = "none") -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none" if then == "gelu" else "")
