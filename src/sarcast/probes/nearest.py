"""k nearest neighbours by cosine: a vote of the labelled vectors most alike, weighed as in DINO or plain.

Weighed, a neighbour has exp(cosine / temperature) votes (Wu et al., 2018, arXiv 1805.01978; Caron et al.,
2021, arXiv 2104.14294, with 20 neighbours and temperature 0.07). Plain, it has one; of classes with as many
votes the more alike wins.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.random import Generator

NEIGHBOURS, TEMPERATURE = 20, 0.07
_AT_ONCE = 1024


def nearest(
    x: np.ndarray,
    y: np.ndarray,
    judge: np.ndarray,
    *,
    neighbours: int = NEIGHBOURS,
    temperature: float | None = TEMPERATURE,
    **_: Generator | np.ndarray,
) -> np.ndarray:
    """Class of each vector of `judge`, int (vector,).

    Args:
        x: Labelled vectors (vector, dim).
        y: Their classes.
        judge: Vectors (vector, dim).
        neighbours: How many vote; all where there are fewer.
        temperature: Of the weights; None: one vote each.
    """
    known, asked = _unit(x), _unit(judge)
    classes, own = np.unique(y, return_inverse=True)
    k = min(neighbours, len(known))
    found = [
        _vote(part @ known.T, own, len(classes), k, temperature)
        for part in np.split(asked, range(_AT_ONCE, len(asked), _AT_ONCE))
    ]
    return classes[np.concatenate(found)]


plain = partial(nearest, temperature=None)
"""The same with one vote each."""


def _vote(cosine: np.ndarray, own: np.ndarray, classes: int, k: int, temperature: float | None) -> np.ndarray:
    """Number of the class with most votes, (judged,); of neighbours equally far the first counts."""
    best = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    alike = np.take_along_axis(cosine, best, 1)
    if temperature is None:
        weight = 1 + (1 + alike) / 2 / (k + 1)
    else:
        weight = np.exp((alike - alike[:, :1]) / temperature)
    rows = np.arange(len(cosine))[:, None]
    votes = np.bincount((rows * classes + own[best]).ravel(), weight.ravel(), minlength=len(cosine) * classes)
    return np.asarray(votes.reshape(len(cosine), classes).argmax(1))


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
