"""Which chips are labelled: a few of each class, a share of all, and folds to choose a strength by."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from sarcast.errors import DataError


def shots(classes: np.ndarray, count: int, *, rng: Generator) -> np.ndarray:
    """Indices of `count` samples of every class.

    Raises:
        DataError: A class has fewer.
    """
    least = int(np.unique(classes, return_counts=True)[1].min())
    if count > least:
        raise DataError(f"expected {count} samples of every class to label, found {least} of one")
    return np.concatenate(
        [rng.choice(np.flatnonzero(classes == c), count, replace=False) for c in np.unique(classes)]
    )


def labelling_order(classes: np.ndarray, *, rng: Generator) -> np.ndarray:
    """Indices of all samples in an order whose every beginning has about the share of each class.

    One of each class comes first. So the labels at 1 % are among those at 2 %, and a curve over label
    fractions is one of growing sets.

    Args:
        classes: int (sample,); zeros where there are no classes.
        rng: Source of the draws.
    """
    key = np.zeros(len(classes))
    for one in np.unique(classes):
        own = rng.permutation(np.flatnonzero(classes == one))
        key[own] = (np.arange(len(own)) + rng.random()) / len(own)
        key[own[0]] -= 2
    return np.argsort(key, kind="stable")


def share_of(order: np.ndarray, fraction: float, *, least: int) -> np.ndarray:
    """The beginning of an order: `fraction` (0 to 1] of it, at least `least` samples."""
    return order[: min(len(order), max(least, round(fraction * len(order))))]


def folds(groups: np.ndarray, count: int, *, rng: Generator) -> np.ndarray:
    """Number of each sample's fold, int (sample,); a group is in one. Fewer folds where groups are few."""
    names, own = np.unique(groups, return_inverse=True)
    return np.asarray(rng.permutation(len(names))[own] % max(1, min(count, len(names))))
