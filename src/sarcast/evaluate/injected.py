"""How well planted changes are found in chips: means over chips, pooled, paired, with intervals.

A chip is one place with one draw of masks. Ellipses are drawn with replacement within their chip, blocks of
negatives within their place, the same for all chips of a place: its pixels are the same in all of them. The
chips are kept as they are, so an interval says how sure a figure is on these places, not on others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sarcast.errors import ShapeError
from sarcast.evaluate.grouped import GroupedCurve
from sarcast.values import Estimate

FIGURES = ("mean AUC", "mean AP", "pooled AUC", "pooled AP")
_RESAMPLED = "ellipse and block of negatives"


@dataclass(frozen=True, kw_only=True, eq=False)
class Chips:
    """Every judged pixel of every chip, flat."""

    chip: np.ndarray
    """int (n,): which chip, 0 up."""
    event: np.ndarray
    """int (n,): which ellipse, 0 up over all chips; -1 for negatives."""
    block: np.ndarray
    """int (n,): which block of pixels, 0 up over all places, the same in all chips of a place."""
    place: np.ndarray
    """int (chip,): place of each chip."""

    def __post_init__(self) -> None:
        if not self.chip.shape == self.event.shape == self.block.shape:
            raise ShapeError(
                f"Chips: lengths differ: {self.chip.shape}, {self.event.shape}, {self.block.shape}"
            )

    def kept(self, valid: np.ndarray) -> Chips:
        """The pixels where `valid` (n,) is True."""
        return Chips(
            chip=self.chip[valid], event=self.event[valid], block=self.block[valid], place=self.place
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """A row's figures as they are, and on every resample."""

    value: np.ndarray
    """(figure,), in the order of `FIGURES`."""
    draws: np.ndarray
    """(figure, draw)."""

    events: int
    """How many ellipses there are."""

    def estimates(self, *, seed: int) -> dict[str, Estimate]:
        """Figures with 95 % intervals; `seed` is that of the resamples, for the record."""
        found = {}
        for name, value, drawn in zip(FIGURES, self.value, self.draws, strict=True):
            low, high = np.quantile(drawn, [0.025, 0.975])
            found[name] = Estimate(
                name=name, value=float(value), low=float(low), high=float(high), n=self.events,
                resampled=_RESAMPLED, seed=seed,
            )  # fmt: skip
        return found

    def less(self, other: Drawn) -> Drawn:
        """The paired difference: on the same resamples."""
        return Drawn(value=self.value - other.value, draws=self.draws - other.draws, events=self.events)


def figures(
    chips: Chips,
    rows: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    draws: int = 500,
    seed: int,
) -> dict[str, Drawn]:
    """Every row's figures on the same resamples.

    Args:
        chips: The judged pixels.
        rows: Name -> (scores, surprise), both (n,): within a chip scores are compared, between chips
            calibrated surprise.
        draws: Resamples.
        seed: Of the resamples.
    """
    events, blocks = _resamples(chips, draws, np.random.default_rng(seed))
    groups = events.shape[1], blocks.shape[1]
    cells = [np.flatnonzero(chips.chip == one) for one in range(len(chips.place))]
    count = len(np.unique(chips.event[chips.event >= 0]))
    found = {}
    for name, (scores, surprise) in rows.items():
        each = [_curve(chips, scores, index, groups).figures(events, blocks) for index in cells]
        pooled = _curve(chips, surprise, np.arange(len(chips.chip)), groups).figures(events, blocks)
        every = np.stack([*np.mean(each, axis=0), *pooled])
        found[name] = Drawn(value=every[:, 0], draws=every[:, 1:], events=count)
    return found


def _curve(chips: Chips, scores: np.ndarray, index: np.ndarray, groups: tuple[int, int]) -> GroupedCurve:
    event = chips.event[index]
    return GroupedCurve.of(scores[index], event >= 0, event, chips.block[index], groups=groups)


def _resamples(chips: Chips, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How often each event and block counts, (1 + draw, group); the first is once each."""
    positive = chips.event >= 0
    event_of = _owner(chips.event[positive], chips.chip[positive])
    block_of = _owner(chips.block, chips.place[chips.chip])
    return _drawn(event_of, draws, rng), _drawn(block_of, draws, rng)


def _owner(group: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Owner of each group (its chip or place); -1 for groups that do not occur."""
    found = np.full(int(group.max()) + 1, -1)
    found[group] = owner
    return found


def _drawn(owner: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(1 + draw, group): groups of each owner drawn with replacement, as many as it has."""
    count = np.ones((1 + draws, len(owner)))
    for one in np.unique(owner[owner >= 0]):
        of = np.flatnonzero(owner == one)
        count[1:, of] = rng.multinomial(len(of), np.full(len(of), 1 / len(of)), size=draws)
    return count
