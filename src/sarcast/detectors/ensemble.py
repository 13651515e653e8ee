"""Several detectors at once: the mean over them of how seldom their own history scored as high.

Every member is fitted by itself; its scores become surprises (-log10 of the share of its left-out history
that scored as high, see `surprise`), which have one scale, and their mean is the score. It is no p-value:
members agree with each other, so it is calibrated on history like any other score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from numpy.random import Generator
from pydantic import Field, field_validator, model_validator

from sarcast.detectors import DETECTORS, SCORERS
from sarcast.detectors.base import Detector, Scorer, scores_of
from sarcast.detectors.directions import along, directions
from sarcast.detectors.surprise import Surprise
from sarcast.runtime.model import load_model, save_model
from sarcast.runtime.settings import Settings, build
from sarcast.values import Features, Scores, Split


class Member(Settings):
    """One detector of an ensemble."""

    detector: str
    """Its name."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Its settings."""

    def built(self) -> Any:
        """The detector itself.

        Raises:
            SettingsError: There is none of that name, or it has no such setting.
        """
        return build(DETECTORS[self.detector], self.options, where=f"member {self.detector}")


class Ensemble(Settings):
    """Mean surprise of several detectors."""

    members: tuple[Member, ...] = Field(
        (Member(detector="z_score"), Member(detector="transformer")), min_length=1
    )
    """Detectors, each a name or {detector: name, options: {...}}."""
    directions: int | None = Field(None, ge=0)
    """Principal components of history that wide features are reduced to for all members; 0 for none. When not
    given, 16 where there are more than 32 features."""

    @field_validator("members", mode="before")
    @classmethod
    def _named(cls, members: Any) -> Any:
        if not isinstance(members, list | tuple):
            return members
        return tuple({"detector": each} if isinstance(each, str) else each for each in members)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for member in self.members:
            member.built()
        return self

    @property
    def neighbours(self) -> int:
        """The fewest alike cells that a member centres each date on; 0 where one centres on none."""
        return min(int(getattr(member.built(), "neighbours", 0)) for member in self.members)

    def fit(self, features: Features, split: Split, *, rng: Generator) -> EnsembleScorer:
        """Every member, one after the other, and what its scores of history mean."""
        matrix = directions(features, split.fit, wanted=self.directions)
        features = along(features, matrix)
        history = features.take(np.flatnonzero(split.fit))
        scorers, surprises = [], []
        for member in self.members:
            detector: Detector = member.built()
            scorer = detector.fit(features, split, rng=rng)
            past = scorer.score(history)
            scorers.append(scorer)
            surprises.append(Surprise.learn(past.values[past.valid]))
        return EnsembleScorer(
            settings=self, directions=matrix, scorers=tuple(scorers), surprises=tuple(surprises)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class EnsembleScorer:
    """Fitted members, and what a score of each means."""

    settings: Ensemble
    directions: np.ndarray
    """float32 (dim, direction): what features are reduced to; no columns where they are not."""
    scorers: tuple[Scorer, ...]
    surprises: tuple[Surprise, ...]

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Mean surprise at all times, or at those with the given indices; valid where every member's is."""
        index = list(range(len(features.times))) if times is None else list(times)
        reduced = along(features, self.directions)
        shape = (len(index), *features.grid.shape)
        total, valid = np.zeros(shape), np.ones(shape, bool)
        for scorer, surprise in zip(self.scorers, self.surprises, strict=True):
            found = scorer.score(reduced, index)
            total += surprise.of(found.values)
            valid &= found.valid
        return scores_of(features, index, total / len(self.scorers), valid, detector="ensemble")

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        arrays, configs = {"directions": self.directions}, []
        for i, (scorer, surprise) in enumerate(zip(self.scorers, self.surprises, strict=True)):
            with TemporaryDirectory() as own:
                scorer.save(Path(own))
                config, some = load_model(Path(own))
            arrays |= {f"{i}/{name}": array for name, array in some.items()}
            arrays |= {f"{i}/{_QUANTILES}": surprise.quantiles}
            configs.append({"config": config, "excess": surprise.excess})
        told = self.settings.model_dump(mode="json")
        save_model(
            folder, config={"detector": "ensemble", "settings": told, "members": configs}, arrays=arrays
        )

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Load what `save` wrote."""
        config, arrays = load_model(folder)
        scorers, surprises = [], []
        for i, member in enumerate(config["members"]):
            some = {k.removeprefix(f"{i}/"): v for k, v in arrays.items() if k.startswith(f"{i}/")}
            surprises.append(Surprise(quantiles=some.pop(_QUANTILES), excess=member["excess"]))
            with TemporaryDirectory() as own:
                save_model(Path(own), config=member["config"], arrays=some)
                scorers.append(SCORERS[member["config"]["detector"]].from_pretrained(Path(own)))
        return cls(
            settings=Ensemble(**config["settings"]),
            directions=arrays["directions"],
            scorers=tuple(scorers),
            surprises=tuple(surprises),
        )


_QUANTILES = "surprise"
