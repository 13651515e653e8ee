"""What every objective promises."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from sarcast.nn.vit import ViT


class Module(Protocol):
    """An encoder and what it needs to learn: a `torch.nn.Module` whose call gives the loss."""

    encoder: ViT

    def __call__(self, pixels: Tensor, valid: Tensor | None = None, *, rng: torch.Generator) -> Tensor:
        """Loss of a batch (b, c, y, x); `rng` draws what is hidden. `valid` is (b, y, x) or (b, c, y, x).

        An objective whose settings have a field `dates` = 2 is also called with pixels and valid of a second
        date of the same places.
        """
        ...

    def targets(self, pixels: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(what is to be predicted (b, patch, value), where it counts).

        Where the module has `distribution` = True these are probabilities, and its loss a cross-entropy.
        """
        ...

    def stepped(self, done: float) -> None:
        """Called after each optimiser step, `done` (0..1) of the training behind it."""
        ...


class Objective(Protocol):
    """Settings of an objective; it joins an encoder with what learning needs."""

    def module(self, encoder: ViT, *, rng: torch.Generator) -> nn.Module:
        """A `Module` around `encoder`, which is shared, not copied."""
        ...
