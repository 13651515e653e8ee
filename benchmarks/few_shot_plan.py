"""What all few-shot trainings on MSTAR have in common, and how they are judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.mstar import SIDE, augmented, shrunk, whole
from benchmarks.pretrained import Images, Start, Trained
from benchmarks.pretrained import pretrained as trained
from benchmarks.tables import objective, training
from sarcast.runtime.settings import Settings
from sarcast.train.loop import Batch, Training

SHOTS, CHOICE = 3, 4
_HELD_OUT, _BATCHES = 1, 2
TABLE = "few-shot-mstar"
ROWS = {
    "gradients": "local-masked-gradients",
    "pixels": "local-masked-pixels",
    "mae": "mae-pixels",
    "mae_gradients": "mae-gradients",
    "gradient_jepa": "gradient-jepa",
    "dino": "dino",
}
"""Name of an objective -> its recipe."""
TRAINING = training(TABLE, ROWS["gradients"])
OBJECTIVES = {
    "gradients": "local masked, gradients",
    "pixels": "local masked, pixels",
    "mae": "MAE, pixels",
    "mae_gradients": "MAE, gradients",
    "gradient_jepa": "gradient JEPA",
    "dino": "DINO",
}
"""Name of an objective -> the words of its row."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One seed of all trainings, and how they are judged."""

    training: Training = TRAINING
    size: str = "micro"
    token: int = 4
    """Side of a token, pixels."""
    radii: tuple[int, ...] = (1, 3, 4, 5)
    """5, 9, 13 and 17 px at 224 px, as published, at SIDE px."""
    held_out: int = 256
    """Chips of the train role kept for the diagnostics."""
    shots: tuple[int, ...] = (10, 20, 40)
    """Labelled chips a class."""
    draws: int = 10
    """Of labelled chips."""
    choice: tuple[int, int] = (20, 5)
    """(labelled chips a class, draws) by which pooling and C are chosen, on the train role alone."""
    seed: int = 0
    """Of weights, crops and masks; what is labelled does not depend on it."""

    def objective(self, name: str) -> Settings:
        """Settings of one of `OBJECTIVES`: as published, but predictor, head and crops are small.

        Pixels are linear magnitudes, so ratios are of the pixels as they are (span_db 0).
        """
        return objective(TABLE, ROWS[name])

    @property
    def start(self) -> Start:
        """The encoder before it has learned."""
        return Start(size=self.size, patch=self.token, seed=self.seed)


QUICK = Plan(
    training=Training(epochs=1, steps=2, batch=4, device="cpu"),
    held_out=4,
    shots=(2,),
    draws=2,
    choice=(2, 1),
)


def pretrained(name: str, chips: torch.Tensor, plan: Plan, work: Path, *, as_is: bool = False) -> Trained:
    """The encoder trained with an objective, from its checkpoint under `work` where there is one.

    `as_is` trains it no further: it is what the checkpoint holds.

    Raises:
        ArtefactError: `as_is`, and there is no checkpoint of this training.
    """
    return trained(
        name,
        plan.objective(name),
        plan.start,
        images(chips, plan),
        plan.training,
        work=work,
        as_is=as_is,
    )


def images(chips: torch.Tensor, plan: Plan) -> Images:
    """Other looks at the chips of the train role, some of them held out."""
    order = np.random.default_rng([plan.seed, _HELD_OUT]).permutation(len(chips))
    held_out, seen = chips[order[: plan.held_out]], chips[order[plan.held_out :]]

    def draw(step: int, part: int) -> Batch:
        drawn = np.random.default_rng([plan.seed, _BATCHES, step, part])
        some = drawn.integers(len(seen), size=plan.training.batch)
        return whole(augmented(seen[some], rng=drawn))

    return Images(draw=draw, held_out=whole(shrunk(held_out, SIDE)))
