"""Surprise on the judged cells of simulated scenes with planted events, one scene or several pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Scores of one scene, or of several pooled, on the judged cells."""

    surprise: dict[str, np.ndarray]
    """Row -> -log10 p (n,)."""
    labels: np.ndarray
    """bool (n,)."""
    events: np.ndarray
    """int (n,): index into `kinds`; -1 for negatives."""
    blocks: np.ndarray
    """int (n,)."""
    kinds: tuple[str, ...]
    """Kind of every event; texture-only ones are named texture."""
    skill: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Forecaster -> skill against context mean and persistence in history, and against context mean later."""

    def only(self, kinds: set[str]) -> Judged:
        """The same with no other events."""
        kept = ~self.labels | np.isin(np.array(self.kinds)[self.events], list(kinds))
        return replace(
            self,
            surprise={name: s[kept] for name, s in self.surprise.items()},
            labels=self.labels[kept],
            events=self.events[kept],
            blocks=self.blocks[kept],
        )


def pool(scenes: Sequence[Judged]) -> Judged:
    """Several scenes as one, events and blocks kept apart."""
    events: list[np.ndarray] = []
    blocks: list[np.ndarray] = []
    kinds: tuple[str, ...] = ()
    for scene in scenes:
        events.append(np.where(scene.labels, scene.events + len(kinds), -1))
        blocks.append(scene.blocks + (0 if not blocks else int(blocks[-1].max()) + 1))
        kinds += scene.kinds
    return Judged(
        surprise={
            name: np.concatenate([scene.surprise[name] for scene in scenes]) for name in scenes[0].surprise
        },
        labels=np.concatenate([scene.labels for scene in scenes]),
        events=np.concatenate(events),
        blocks=np.concatenate(blocks),
        kinds=kinds,
    )
