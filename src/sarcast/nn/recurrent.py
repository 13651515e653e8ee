"""Recurrent forecasters: LSTM (Hochreiter and Schmidhuber, 1997) or GRU (Cho et al., 2014) over a context.

Every step knows its real days before the target. A step on which the cell was not seen leaves the state as it
was; the last step is what is known of the target.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sarcast.nn.tokens import Correction, StepByStep, Tokens, drawn_from


class Recurrent(StepByStep):
    """Context and what is known of the target -> the context mean plus a correction to it."""

    def __init__(
        self,
        dim: int,
        *,
        cell: Literal["lstm", "gru"],
        width: int,
        layers: int,
        encoding: str,
        geometry: int = 0,
        seed: int,
    ) -> None:
        """`geometry` values are known of every acquisition; parameters are drawn from `seed`."""
        super().__init__()
        kind = nn.LSTMCell if cell == "lstm" else nn.GRUCell
        with drawn_from(seed):
            self.tokens = Tokens(dim, width=width, encoding=encoding, geometry=geometry)
            self.cells = nn.ModuleList(kind(width, width) for _ in range(layers))
            self.correction = Correction(width, dim)

    def states(
        self, tokens: Float[Tensor, "b t width"], valid: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t width"]:
        """The hidden state of the last layer after every step."""
        for cell in self.cells:
            tokens = _run(cell, tokens, valid)
        return tokens


def _run(cell: nn.Module, tokens: Tensor, valid: Tensor) -> Tensor:
    """One layer's hidden states; a step that is not valid changes neither hidden nor cell state."""
    memory = torch.zeros_like(tokens[:, 0])
    state: tuple[Tensor, ...] = (memory, memory) if isinstance(cell, nn.LSTMCell) else (memory,)
    found = []
    for t in range(tokens.shape[1]):
        now = cell(tokens[:, t], state if len(state) > 1 else state[0])
        after = now if isinstance(now, tuple) else (now,)
        state = tuple(torch.where(valid[:, t, None], new, old) for new, old in zip(after, state, strict=True))
        found.append(state[0])
    return torch.stack(found, 1)
