"""The linear probe of self-supervised learning: BatchNorm without parameters, then a linear layer.

As in MAE (He et al., 2022, arXiv 2111.06377, A.1), by SGD or AdamW. In training each batch is normalised by
itself; afterwards the mean and variance of all labelled vectors serve, where running averages would still
hold some of their start. The weights start at zero. Written in numpy: the same numbers at every call.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

from sarcast.runtime.settings import Settings

_SMALLEST = 1e-12
_BETA, _SQUARE_BETA, _ADAM = 0.9, 0.999, 1e-8


class Linear(Settings):
    """How the linear layer is trained."""

    optimiser: Literal["sgd", "adamw"] = "sgd"
    """sgd has momentum 0.9."""
    learning_rate: float = Field(0.1, gt=0)
    """At the start; it falls to 0 along a cosine. For adamw, 0.001 is usual."""
    weight_decay: float = Field(0.0, ge=0)
    """Share of the weights taken off at each step, times the rate; biases keep theirs."""
    steps: int = Field(500, ge=1)
    """Of the optimiser: as many for few labels as for many."""
    batch: int = Field(256, ge=2)
    """Vectors a step."""


def linear(
    x: np.ndarray,
    y: np.ndarray,
    judge: np.ndarray,
    *,
    rng: Generator,
    settings: Linear = Linear(),  # noqa: B008
    **_: np.ndarray,
) -> np.ndarray:
    """Class of each vector of `judge`, int (vector,).

    Args:
        x: Labelled vectors (vector, dim).
        y: Their classes.
        judge: Vectors (vector, dim).
        rng: Source of the batches.
        settings: Of the training.
    """
    x, judge = np.asarray(x, np.float64), np.asarray(judge, np.float64)
    classes, own = np.unique(y, return_inverse=True)
    weights = _trained(x, np.eye(len(classes))[own], settings, rng)
    return classes[np.argmax(_with_one(_normalised(judge, x)) @ weights, axis=1)]


def _trained(x: np.ndarray, wanted: np.ndarray, settings: Linear, rng: Generator) -> np.ndarray:
    """Weights (dim + 1, class), the bias last."""
    batches = -(-len(x) // settings.batch)
    parts: list[np.ndarray] = []
    weights = np.zeros((x.shape[1] + 1, wanted.shape[1]))
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    decayed = np.ones((len(weights), 1))
    decayed[-1] = 0
    for step in range(settings.steps):
        if step % batches == 0:
            parts = np.array_split(rng.permutation(len(x)), batches)
        some = parts[step % batches]
        rate = settings.learning_rate * (1 + np.cos(np.pi * step / settings.steps)) / 2
        seen = _with_one(_normalised(x[some], x[some]))
        gradient = seen.T @ (_softmax(seen @ weights) - wanted[some]) / len(some)
        weights = weights * (1 - rate * settings.weight_decay * decayed)
        if settings.optimiser == "sgd":
            first = _BETA * first + gradient
            weights = weights - rate * first
            continue
        first = _BETA * first + (1 - _BETA) * gradient
        second = _SQUARE_BETA * second + (1 - _SQUARE_BETA) * gradient**2
        size = np.sqrt(second / (1 - _SQUARE_BETA ** (step + 1))) + _ADAM
        weights = weights - rate * first / (1 - _BETA ** (step + 1)) / size
    return weights


def _normalised(x: np.ndarray, by: np.ndarray) -> np.ndarray:
    return (x - by.mean(0)) / np.sqrt(by.var(0) + _SMALLEST)


def _with_one(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones((len(x), 1))], 1)


def _softmax(logits: np.ndarray) -> np.ndarray:
    power = np.exp(logits - logits.max(1, keepdims=True))
    return power / power.sum(1, keepdims=True)
