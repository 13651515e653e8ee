"""A light decoder on frozen tokens: an answer for every pixel, so that it may be finer than they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from pydantic import Field

from sarcast.probes.descent import Descent, ask, teach
from sarcast.probes.goals import Goal

if TYPE_CHECKING:
    import torch


class Decode(Descent):
    """How the decoder is trained; the encoder stays frozen."""

    learning_rate: float = Field(1e-2, gt=0)
    """Highest of the schedule: a straight rise, then a half cosine. With a tenth of it 200 steps are too few
    (docs/log.md)."""


def decode(
    maps: np.ndarray,
    goal: Goal,
    judge: np.ndarray,
    *,
    rng: Generator,
    device: torch.device,
    settings: Decode = Decode(),  # noqa: B008
) -> np.ndarray:
    """Class or number of every pixel of `judge`, (chip, y, x).

    Args:
        maps: Tokens of labelled chips (chip, row, col, dim), standardised.
        goal: Their labels, of every pixel.
        judge: Tokens of the chips to judge, likewise.
        rng: Source of the decoder's weights and of batches.
        device: Where to train it.
        settings: Of the training.

    Raises:
        DataError: No pixel has a label.
    """
    import torch

    from sarcast.probes.heads import Decoder

    network = Decoder(
        maps.shape[-1],
        width=settings.width,
        outputs=goal.outputs,
        token=goal.labels.shape[1] // maps.shape[1],
        rng=torch.Generator().manual_seed(int(rng.integers(2**62))),
    ).to(device)
    known, asked = (
        torch.from_numpy(np.ascontiguousarray(one.transpose(0, 3, 1, 2), np.float32)) for one in (maps, judge)
    )
    teach(network, known, goal, settings, rng=rng)
    return ask(network, asked, goal)
