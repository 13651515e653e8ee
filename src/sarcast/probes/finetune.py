"""Fine-tuning: the whole encoder and a head learn from the labelled chips, lower layers more slowly.

Random weights fine-tuned likewise are a training from scratch: what pretraining must beat. They have nothing
worth keeping, so all their layers learn at the full rate.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from pydantic import Field

from sarcast.probes.descent import Descent, Flips, ask, teach
from sarcast.probes.goals import Goal

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from sarcast.nn.vit import ViT


class FineTune(Descent):
    """How encoder and head are trained."""

    learning_rate: float = Field(3e-3, gt=0)
    """Highest of the schedule: a straight rise, then a half cosine. Found for networks 96 wide (docs/log.md);
    wider ones want less, ViT-B a tenth."""
    layer_decay: float = Field(0.75, gt=0, le=1)
    """The learning rate of each block over that of the next, from the head down; 1: all alike."""
    flips: Flips = "azimuth"
    """Of chips and label images, drawn anew in every step. azimuth: up and down; both: left and right too."""


def finetune(
    vit: ViT,
    x: Tensor,
    goal: Goal,
    judge: Tensor,
    *,
    rng: Generator,
    device: torch.device,
    settings: FineTune = FineTune(),  # noqa: B008
    scratch: bool = False,
) -> np.ndarray:
    """Class or number of each chip of `judge`, (chip,), or of every pixel, (chip, y, x).

    Args:
        vit: Where to start from; a copy is trained.
        x: Labelled chips as it takes them, (chip, channel, y, x); of a one-channel network, any channels.
        goal: Their labels.
        judge: Chips to judge, likewise.
        rng: Source of the head's weights, of batches and flips.
        device: Where to train.
        settings: Of the training.
        scratch: The weights are random: no layer decay.

    Raises:
        DataError: No chip has a label, or the loss is no longer finite.
    """
    import torch

    from sarcast.probes.heads import Decoder, Pooled, Tuned, layer_shares

    dim = vit.size.dim * (x.shape[1] // vit.channels)
    drawn = torch.Generator().manual_seed(int(rng.integers(2**62)))
    head: nn.Module
    if goal.dense:
        head = Decoder(dim, width=settings.width, outputs=goal.outputs, token=vit.patch, rng=drawn)
    else:
        head = Pooled(dim, outputs=goal.outputs)
    network = Tuned(copy.deepcopy(vit), head).to(device)
    shares = layer_shares(vit.size.depth, 1.0 if scratch else settings.layer_decay)
    teach(network, x, goal, settings, shares=shares, flips=settings.flips, rng=rng)
    return ask(network, judge, goal)
