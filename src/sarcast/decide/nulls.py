"""Other ways from scores to p-values: shares of history itself, of cells alike in noise, or cell by cell.

How noisy a cell is, is the mean of its history's scores (the highest thousandth cut off), shrunk towards that
of all cells as far as means differ by no more than chance (empirical Bayes). A date of history is never in
its own cell's mean. How far scores lie from the mean may grow with it, as where noise is a factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from sarcast.decide.calibrate import Null, learn_null

How = Literal["tail", "pooled", "cell", "conformal"]
"""`tail`: all cells together, a generalised Pareto tail above their 95 % point. `pooled`: the share of all of
history's scores that are as high, (1 + k) / (1 + n). `conformal`: the same among cells about as noisy.
`cell`: as `tail`, each cell's scores first made comparable by its own history."""

_CUT = 1e-3
_EXACT = 5000
_GROUPS, _PER_GROUP = 5, 1000


class Calibrated(Protocol):
    """A null distribution of a stack's scores."""

    @property
    def pooled(self) -> Null:
        """That of all cells together."""
        ...

    def p_values(self, scores: np.ndarray, valid: np.ndarray, held: np.ndarray, /) -> np.ndarray:
        """float64 (time, row, col) in (0, 1]; 1 where not valid.

        Args:
            scores: (time, row, col).
            valid: bool (time, row, col).
            held: bool (time,): dates of history, each judged without itself.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Tail:
    """All cells together, with a fitted tail."""

    pooled: Null

    def p_values(self, scores: np.ndarray, valid: np.ndarray, _held: np.ndarray, /) -> np.ndarray:
        """As promised; a date of history changes nothing among thousands of scores."""
        return np.where(valid, self.pooled.p_value(scores), 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Noise:
    """How noisy each cell is: its mean score in history."""

    pooled: Null
    usual: float
    """Mean score of all cells."""
    total: np.ndarray
    """float64 (row, col): sum of the cell's scores less the usual one."""
    count: np.ndarray
    """int64 (row, col)."""
    prior: float
    """Dates of the usual score that a cell's mean counts besides its own."""

    def excess(self, scores: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Scores less the usual one, the highest cut off; 0 where not valid."""
        return np.where(valid, np.minimum(scores, self.pooled.score_at(_CUT)) - self.usual, 0)

    def level(self, scores: np.ndarray, valid: np.ndarray, held: np.ndarray) -> np.ndarray:
        """float64 (time, row, col): the cell's mean, of history's dates without the date itself."""
        own = valid & held[:, None, None]
        mean = (self.total - self.excess(scores, own)) / (self.count - own + self.prior)
        return np.asarray(self.usual + mean)


@dataclass(frozen=True, kw_only=True, eq=False)
class PerCell:
    """Each cell's scores less its own level, over how far they usually lie from it, with a fitted tail."""

    noise: Noise
    spread: tuple[float, float]
    """Mean absolute residual of a cell of the usual level, and how much it grows with the level."""
    residual: Null
    """Of what remains."""

    @property
    def pooled(self) -> Null:
        """That of all cells together."""
        return self.noise.pooled

    def p_values(self, scores: np.ndarray, valid: np.ndarray, held: np.ndarray, /) -> np.ndarray:
        """As promised."""
        level = self.noise.level(scores, valid, held)
        return np.where(valid, self.residual.p_value(_residual(scores, level, self.noise, self.spread)), 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Conformal:
    """(1 + k) / (1 + n): k of the n scores of history's cells about as noisy are as high (Vovk, 2003)."""

    noise: Noise
    edges: np.ndarray
    """float64, ascending: levels between groups of cells; none for one group."""
    knots: tuple[np.ndarray, ...]
    """Per group, descending: scores of history, all of the highest and some of the others."""
    ranks: tuple[np.ndarray, ...]
    """Per group: how many scores of history are at least the knot, by order."""
    counts: tuple[int, ...]
    """Per group: scores of history."""

    @property
    def pooled(self) -> Null:
        """That of all cells together, with a fitted tail."""
        return self.noise.pooled

    def p_values(self, scores: np.ndarray, valid: np.ndarray, held: np.ndarray, /) -> np.ndarray:
        """As promised; never under 1 / (1 + n), and rounded up between knots."""
        group = self._group(scores, valid, held)
        found = np.ones(scores.shape)
        for g, (knots, ranks, count) in enumerate(zip(self.knots, self.ranks, self.counts, strict=True)):
            here = valid & (group == g)
            below = np.searchsorted(-knots, -np.asarray(scores[here], np.float64), side="right")
            higher = np.append(ranks - 1, count)[below]
            found[here] = (1 + higher) / (1 + count)
        return found

    def _group(self, scores: np.ndarray, valid: np.ndarray, held: np.ndarray) -> np.ndarray:
        if not len(self.edges):
            return np.zeros(scores.shape, int)
        return np.searchsorted(self.edges, self.noise.level(scores, valid, held))


def learn(values: np.ndarray, valid: np.ndarray, *, how: How) -> Calibrated:
    """The null distribution of a stack.

    Args:
        values: (time, row, col) scores of history by what left them out.
        valid: bool (time, row, col).
        how: See `How`.

    Raises:
        DataError: Fewer than 100 valid scores, or all alike.
    """
    pooled = learn_null(values[valid])
    if how == "tail":
        return Tail(pooled=pooled)
    noise = _noise(values, valid, pooled)
    held = np.ones(len(values), bool)
    if how == "cell":
        level = noise.level(values, valid, held)
        spread = _spread(values[valid], level[valid], noise.usual)
        residual = _residual(values, level, noise, spread)[valid]
        return PerCell(noise=noise, spread=spread, residual=learn_null(residual))
    groups = 1 if how == "pooled" else int(np.clip(valid.sum() // _PER_GROUP, 1, _GROUPS))
    return _conformal(values, valid, noise, groups)


def _noise(values: np.ndarray, valid: np.ndarray, pooled: Null) -> Noise:
    usual = float(np.minimum(values[valid], pooled.score_at(_CUT)).mean())
    blank = np.zeros(values.shape[1:])
    excess = Noise(pooled=pooled, usual=usual, total=blank, count=blank, prior=0.0).excess(values, valid)
    count = valid.sum(0)
    mean = excess.sum(0) / np.maximum(count, 1)
    often = count > 1
    square = np.where(valid, excess - mean, 0) ** 2
    within = float(square[:, often].sum() / max(1, (count[often] - 1).sum()))
    chance = within * float((1 / count[often]).mean()) if often.any() else 1.0
    between = float(mean[often].var()) - chance if often.any() else 0.0
    prior = within / max(between, 1e-6 * within + 1e-12)
    return Noise(pooled=pooled, usual=usual, total=excess.sum(0), count=count, prior=prior)


def _spread(scores: np.ndarray, level: np.ndarray, usual: float) -> tuple[float, float]:
    """Mean absolute residual at the usual level, and its slope over the level, by least squares."""
    size = np.abs(scores - level)
    beside = level - usual
    variance = float((beside**2).mean())
    slope = float((beside * (size - size.mean())).mean()) / variance if variance > 1e-12 else 0.0
    return max(float(size.mean()), 1e-9), max(slope, 0.0)


def _residual(scores: np.ndarray, level: np.ndarray, noise: Noise, spread: tuple[float, float]) -> np.ndarray:
    usual, slope = spread
    return np.asarray((scores - level) / np.maximum(usual + slope * (level - noise.usual), 0.1 * usual))


def _conformal(values: np.ndarray, valid: np.ndarray, noise: Noise, groups: int) -> Conformal:
    level = noise.level(values, valid, np.ones(len(values), bool))
    edges = np.unique(np.quantile(level[valid], np.arange(1, groups) / groups))
    group = np.searchsorted(edges, level)
    parts = [np.sort(values[valid & (group == g)].astype(np.float64))[::-1] for g in range(len(edges) + 1)]
    kept = [_kept(len(part)) for part in parts]
    return Conformal(
        noise=noise,
        edges=edges,
        knots=tuple(part[rank] for part, rank in zip(parts, kept, strict=True)),
        ranks=tuple(rank + 1 for rank in kept),
        counts=tuple(len(part) for part in parts),
    )


def _kept(count: int) -> np.ndarray:
    """Which of `count` ordered scores to keep: all of the first, some of the rest, the last."""
    if count <= 2 * _EXACT:
        return np.arange(count)
    rest = np.linspace(_EXACT, count - 1, _EXACT).astype(int)
    return np.unique(np.concatenate([np.arange(_EXACT), rest]))
