"""A network taught on a few labelled chips: AdamW, warm-up and half a cosine, a fixed number of steps.

The same seed gives the same numbers to the last digit: on a CPU as it is, on CUDA by deterministic kernels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

from sarcast.errors import DataError
from sarcast.probes.goals import Goal
from sarcast.runtime.settings import Settings

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Flips = Literal["none", "azimuth", "both"]
_JUDGED = 32


class Descent(Settings):
    """Settings that all probes taught by descent have; abstract."""

    steps: int = Field(200, ge=1)
    """Of the optimiser: as many for few labels as for many."""
    batch: int = Field(16, ge=1)
    """Chips a step; all labelled ones where there are fewer."""
    learning_rate: float = Field(1e-3, gt=0)
    """Highest of the schedule: a straight rise, then a half cosine."""
    warm_up: float = Field(0.1, ge=0, lt=1)
    """Share of the steps spent rising."""
    weight_decay: float = Field(0.05, ge=0)
    """Of matrices; biases, norms, tables and tokens are not decayed."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of a class label that is spread over all classes."""
    loss: Literal["mse", "rmse"] = "mse"
    """Of numbers: the squared error of a step's labels, or its root, which weighs steps alike."""
    width: int = Field(32, ge=1)
    """Channels of the decoder, where pixels are told apart."""


def teach(
    network: nn.Module,
    x: Tensor,
    goal: Goal,
    settings: Descent,
    *,
    shares: Mapping[str, float] | None = None,
    flips: Flips = "none",
    rng: Generator,
) -> None:
    """Train `network` in place, on its device.

    Args:
        network: (b, c, y, x) -> (b, output), or (b, output, y, x) where pixels have labels.
        x: (chip, c, y, x).
        goal: Of these chips; those without a label are left out.
        settings: How.
        shares: Beginning of a parameter's name -> its share of the learning rate; all others have 1.
        flips: Of chips and label images: azimuth, up and down; both, left and right too.
        rng: Source of batches and flips.

    Raises:
        DataError: No chip has a label, or the loss is no longer finite.
    """
    import torch

    from sarcast.train.schedule import groups, rate

    some, device = goal.with_labels(), next(network.parameters()).device
    parameters = groups(network, weight_decay=settings.weight_decay, shares=shares)
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate)
    drawn = _batches([x[some], *_tensors(goal[some])], settings, flips, rng)
    with repeatable(device):
        for step, given in enumerate(drawn):
            now = rate(step, settings.steps, peak=settings.learning_rate, warm_up=settings.warm_up)
            for group in optimiser.param_groups:
                group["lr"] = now * group["share"]
            pixels, wanted, known = (one.to(device) for one in given)
            loss = loss_of(network(pixels), wanted, known, settings, classes=goal.classes)
            if not torch.isfinite(loss):
                raise DataError(
                    f"expected a finite loss, found {loss.item()}, in step {step}; try a smaller rate"
                )
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
            optimiser.step()


def ask(network: nn.Module, x: Tensor, goal: Goal) -> np.ndarray:
    """What a taught network says of chips: classes, int64, or numbers, float64; (chip,) or (chip, y, x).

    Args:
        network: As in `teach`.
        x: (chip, c, y, x).
        goal: What it was taught, whose scale numbers have.
    """
    import torch

    device = next(network.parameters()).device
    found = []
    with repeatable(device), torch.inference_mode():
        for part in x.split(_JUDGED):
            said = network(part.to(device))
            found.append((said.argmax(1) if goal.classes else said[:, 0]).cpu().numpy())
    guess = np.concatenate(found)
    if goal.classes:
        return guess
    mean, spread = goal.scale()
    return mean + spread * guess.astype(np.float64)


def loss_of(said: Tensor, wanted: Tensor, known: Tensor, settings: Descent, *, classes: int) -> Tensor:
    """Cross-entropy of classes, or (root) mean squared error of numbers, over all known labels of a batch.

    Args:
        said: (b, output) or (b, output, y, x).
        wanted: (b,) or (b, y, x).
        known: bool, of that shape.
        settings: Which loss, and how smooth the labels are.
        classes: 0 for numbers.
    """
    from torch.nn.functional import cross_entropy

    each = said.movedim(1, -1)[known]
    if classes:
        return cross_entropy(each, wanted[known], label_smoothing=settings.label_smoothing)
    error = (each[:, 0] - wanted[known]).square().mean()
    return error if settings.loss == "mse" else (error + 1e-12).sqrt()


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Deterministic kernels on CUDA, which are slower; a CPU's are so anyway."""
    import torch

    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _tensors(goal: Goal) -> tuple[Tensor, Tensor]:
    """Labels as a network learns them, and which are known."""
    import torch

    known = torch.from_numpy(np.ascontiguousarray(goal.known))
    if goal.classes:
        return torch.from_numpy(np.where(goal.known, goal.labels, 0).astype(np.int64)), known
    mean, spread = goal.scale()
    scaled = np.where(goal.known, (goal.labels - mean) / spread, 0)
    return torch.from_numpy(scaled.astype(np.float32)), known


def _batches(images: list[Tensor], settings: Descent, flips: Flips, rng: Generator) -> Iterator[list[Tensor]]:
    """Some chips and their labels for each step; all come once before one comes again."""
    count = -(-len(images[0]) // settings.batch)
    for step in range(settings.steps):
        if step % count == 0:
            parts = np.array_split(rng.permutation(len(images[0])), count)
        yield _turned([one[parts[step % count]] for one in images], flips, rng)


def _turned(images: list[Tensor], flips: Flips, rng: Generator) -> list[Tensor]:
    """Every chip and its label image turned or not; labels of whole chips stay."""
    import torch

    axes = {"none": (), "azimuth": (-2,), "both": (-2, -1)}[flips]
    for axis in axes:
        turned = torch.from_numpy(rng.random(len(images[0])) < 0.5)
        images = [
            torch.where(turned.view(-1, *(1,) * (one.ndim - 1)), one.flip(axis), one) if one.ndim > 1 else one
            for one in images
        ]
    return images
