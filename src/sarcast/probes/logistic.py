"""Logistic regression on frozen vectors, its strength chosen on the labelled ones alone."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.random import Generator

from sarcast.probes.draws import folds

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""C, from the strongest penalty to the weakest."""
FOLDS = 3


def logistic(
    x: np.ndarray, y: np.ndarray, judge: np.ndarray, *, groups: np.ndarray, rng: Generator
) -> np.ndarray:
    """Class of each vector of `judge`, int (vector,).

    C is the one of `STRENGTHS` with the best accuracy over folds of the labelled vectors, the strongest
    penalty of those alike. The multinomial loss has one answer, so nothing else is drawn.

    Args:
        x: Labelled vectors (vector, dim), standardised.
        y: Their classes.
        judge: Vectors (vector, dim).
        groups: Of the labelled vectors: those of one are never on both sides of a fold.
        rng: Source of the folds.
    """
    known, asked = in_span(x, judge)
    fold = folds(groups, FOLDS, rng=rng)
    scores = [0.0] * len(STRENGTHS)
    for one in range(int(fold.max()) + 1):
        kept, out = fold != one, fold == one
        if not kept.any():
            continue
        for i, strength in enumerate(STRENGTHS):
            scores[i] += float(np.sum(fitted(known[kept], known[out], y[kept], strength) == y[out]))
    return fitted(known, asked, y, STRENGTHS[int(np.argmax(scores))])


def in_span(x: np.ndarray, judge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in the span of `x`, where the weights lie: the same regression, on fewer numbers."""
    span = np.linalg.qr(x.T)[0]
    return x @ span, judge @ span


def fitted(x: np.ndarray, judge: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    """Class of each vector of `judge` by regression on (x, y) with C = `strength`.

    A fit that has not converged in 300 steps is judged as it is.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(y)) == 1:
        return np.full(len(judge), y[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=strength, max_iter=300, tol=1e-3).fit(x, y)
    return np.asarray(model.predict(judge))
