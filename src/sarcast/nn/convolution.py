"""A temporal convolutional forecaster: dilated causal convolutions over the context (Bai et al., 2018).

Layer i looks back 2 times 2**i steps. Acquisitions on which the cell was not seen count as padding; the last
step is what is known of the target.
"""

from __future__ import annotations

import math

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from sarcast.nn.tokens import Correction, StepByStep, Tokens, drawn_from

_KERNEL = 3


class Convolutional(StepByStep):
    """Context and what is known of the target -> the context mean plus a correction to it."""

    def __init__(
        self, dim: int, *, width: int, layers: int, encoding: str, geometry: int = 0, seed: int
    ) -> None:
        """`geometry` values are known of every acquisition; parameters are drawn from `seed`."""
        super().__init__()
        with drawn_from(seed):
            self.tokens = Tokens(dim, width=width, encoding=encoding, geometry=geometry)
            self.layers = nn.ModuleList(CausalLayer(width, dilation=2**i) for i in range(layers))
            self.correction = Correction(width, dim)

    def states(
        self, tokens: Float[Tensor, "b t width"], valid: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t width"]:
        """The last layer's vector at every step."""
        for layer in self.layers:
            tokens = layer(tokens, valid)
        return tokens


class CausalLayer(nn.Module):
    """A convolution over a step and two earlier ones, `dilation` apart, added to what came in."""

    def __init__(self, width: int, *, dilation: int) -> None:
        super().__init__()
        self.reach = (_KERNEL - 1) * dilation
        self.norm = nn.LayerNorm(width)
        self.convolve = nn.Conv1d(width, width, _KERNEL, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(
        self, tokens: Float[Tensor, "b t width"], valid: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t width"]:
        """One layer on; steps that are not valid are seen by none."""
        seen = (self.norm(tokens) * valid[..., None]).transpose(1, 2)
        return tokens + self.mix(gelu(self.convolve(pad(seen, (self.reach, 0))))).transpose(1, 2)


def layers_to_see(steps: int) -> int:
    """The fewest layers whose last step sees `steps` steps, itself included: 1 + 2 (2**layers - 1)."""
    return max(1, math.ceil(math.log2((steps - 1) / (_KERNEL - 1) + 1)))
