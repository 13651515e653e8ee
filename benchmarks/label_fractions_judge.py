"""Curves over label fractions for `benchmarks.label_fractions`: ridge for numbers, linear for classes.

Labelled tiles are drawn from the train role, the same for every way to see; the labels at 1 % are among those
at 2 %. Figures are of all test tiles at once; land cover's from one confusion matrix over all their pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.label_fractions_data import TOKEN, Region, Seen
from sarcast.probes.draws import labelling_order, share_of
from sarcast.probes.linear import Linear, linear
from sarcast.probes.measures import class_figures, confusion, number_figures, squares
from sarcast.probes.ridge import ridge
from sarcast.probes.scaling import standardised

_LABELS, _FIT, _TOKENS = range(3)
Curves = dict[str, list[float]]
"""Figure, such as vegetation_rmse -> its mean over draws of labels at every fraction."""


@dataclass(frozen=True, kw_only=True)
class Judging:
    """How frozen vectors are judged."""

    fractions: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
    """Shares of the train tiles that are labelled."""
    draws: int = 6
    """Of labelled tiles, for numbers."""
    cover_draws: int = 2
    """Of labelled tiles, for land cover: the first of those for numbers."""
    tokens: int = 20_000
    """Most tokens the linear layer learns from."""
    steps: int = 200
    """Of the linear layer."""

    def labelled(self, where: Region, fraction: float, draw: int) -> np.ndarray:
        """Indices of the labelled train tiles; two at least."""
        rng = np.random.default_rng([where.seed, _LABELS, draw])
        order = labelling_order(np.zeros(len(where.train.db), int), rng=rng)
        return share_of(order, fraction, least=2)


def curves(seen: Seen, where: Region, how: Judging) -> Curves:
    """Figures of one way to see at every fraction."""
    return {**number_curves(seen, where, how), **cover_curves(seen, where, how)}


def number_curves(seen: Seen, where: Region, how: Judging) -> Curves:
    """RMSE and R2 of a tile's vegetation, built share and biomass, by ridge regression."""
    learn, judge = standardised(seen.tiles[0].astype(np.float64), seen.tiles[1])
    found: Curves = {}
    for name, truth in where.test.numbers.items():
        every: dict[str, list[float]] = {"rmse": [], "r2": []}
        for fraction in how.fractions:
            some = [
                _number(learn, judge, where, how.labelled(where, fraction, draw), name, truth, draw)
                for draw in range(1 if fraction == 1 else how.draws)
            ]
            for figure in every:
                every[figure].append(float(np.mean([one[figure] for one in some])))
        found |= {f"{name}_{figure}": values for figure, values in every.items()}
    return found


def _number(
    learn: np.ndarray,
    judge: np.ndarray,
    where: Region,
    some: np.ndarray,
    name: str,
    truth: np.ndarray,
    draw: int,
) -> dict[str, float]:
    known = where.train.numbers[name][some]
    rng = np.random.default_rng([where.seed, _FIT, draw])
    guess = ridge(learn[some], known, judge, groups=some, rng=rng)
    sums = squares(truth, guess, np.zeros(len(truth), int), parts=1)
    return {figure: float(value[0]) for figure, value in number_figures(sums).items()}


def cover_curves(seen: Seen, where: Region, how: Judging) -> Curves:
    """Land cover: mIoU and accuracy over all test pixels, each token's guess for all its pixels."""
    learn, judge = (one.reshape(-1, one.shape[-1]) for one in seen.tokens)
    learn, judge = standardised(learn.astype(np.float64), judge)
    every: Curves = {"miou": [], "accuracy": []}
    for fraction in how.fractions:
        some = [
            _cover(learn, judge, where, how, fraction, draw)
            for draw in range(1 if fraction == 1 else how.cover_draws)
        ]
        for figure, values in every.items():
            values.append(float(np.mean([one[figure] for one in some])))
    return {f"cover_{figure}": values for figure, values in every.items()}


def _cover(
    learn: np.ndarray, judge: np.ndarray, where: Region, how: Judging, fraction: float, draw: int
) -> dict[str, float]:
    labels = where.train.token_labels.reshape(len(where.train.db), -1)
    tiles, each = how.labelled(where, fraction, draw), labels.shape[1]
    own = (tiles[:, None] * each + np.arange(each)).ravel()
    if len(own) > how.tokens:
        own = np.random.default_rng([where.seed, _TOKENS, draw]).choice(own, how.tokens, replace=False)
    rng = np.random.default_rng([where.seed, _FIT, draw])
    guess = linear(learn[own], labels.ravel()[own], judge, rng=rng, settings=Linear(steps=how.steps))
    return cover_figures(guess, where)


def cover_figures(guess: np.ndarray, where: Region) -> dict[str, float]:
    """Figures of a class for every test token, (tile * row * col,), against every test pixel."""
    truth, names = where.test.cover, where.test.class_names
    rows = truth.shape[1] // TOKEN
    said = guess.reshape(-1, rows, rows).repeat(TOKEN, 1).repeat(TOKEN, 2)
    counts = confusion(truth, said, np.zeros_like(truth), classes=len(names), parts=1)[0]
    found = class_figures(counts, names)
    return {figure: float(found[figure]) for figure in ("miou", "accuracy")}
