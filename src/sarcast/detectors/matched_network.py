"""The matched filter and a network beside it that learned on this place's history to find planted changes.

Both read the same standardised deviations from history. The filter averages them in fixed ways; the network
is taught by changes planted into history (`planted`), so it learns what the place's own speckle, season and
neighbourhoods look like when nothing happened. Their surprises are added: each finds what the other misses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

from sarcast.detectors.cross_fit import fold_of
from sarcast.detectors.directions import along
from sarcast.detectors.matched import Averaging, Deviations
from sarcast.detectors.surprise import Surprise
from sarcast.runtime.model import load_model, save_model
from sarcast.values import Features, Scores, Split

if TYPE_CHECKING:
    import torch

    from sarcast.detectors.planted import History
    from sarcast.nn.change_net import ChangeNet


class MatchedNetwork(Averaging):
    """The surprise of the matched filter plus that of a network taught by planted changes."""

    steps: int = Field(400, ge=1)
    """Gradient steps of each of the two networks."""
    batch: int = Field(16, ge=1)
    """Crops a step."""
    crop: int = Field(48, ge=4)
    """Side of a crop, cells; smaller stacks are taken whole."""
    width: int = Field(16, ge=4)
    """Channels of the network at full resolution."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak of the one-cycle schedule."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""

    def fit(self, features: Features, split: Split, *, rng: Generator) -> MatchedNetworkScorer:
        """Two networks, each taught on half of history's dates: each scores the other half."""
        from sarcast.detectors.planted import train

        learned = Deviations.learn(self, features, split, rng=rng)
        past = _History.of(learned, along(features, learned.directions), np.flatnonzero(split.fit))
        device = _device(self)
        half = learned.history_fold % 2
        first, second = (train(past.some(half == h), self, rng=rng, device=device) for h in (0, 1))
        scorer = MatchedNetworkScorer(
            settings=self,
            deviations=learned,
            networks=(first, second),
            usual=Surprise.learn(np.zeros(0)),
        )
        return scorer.measured(past)


@dataclass(frozen=True, kw_only=True, eq=False)
class MatchedNetworkScorer:
    """What is normal, two networks, and what they say of history."""

    settings: MatchedNetwork
    deviations: Deviations
    networks: tuple[ChangeNet, ChangeNet]
    """Taught on the even and on the odd folds of history."""
    usual: Surprise
    """Of the logits of history, each by the network that was not taught on it."""

    @property
    def directions(self) -> np.ndarray:
        """float32 (dim, direction): what features are reduced to; no columns where they are not."""
        return self.deviations.directions

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Scores of all times, or of those with the given indices; history by what was not taught on it."""

        def more(scene_id: str, z: np.ndarray, seen: np.ndarray) -> np.ndarray:
            return self.usual.of(self._logits(scene_id, z, seen))

        return self.deviations.scored(features, times, detector="matched_network", more=more)

    def measured(self, past: _History) -> MatchedNetworkScorer:
        """The same scorer, knowing what its networks say of the history they were not taught on."""
        said = [
            self._logits(scene, z, seen)[seen]
            for scene, z, seen in zip(past.scene_ids, past.softened, past.seen, strict=True)
        ]
        return replace(self, usual=Surprise.learn(np.concatenate(said)))

    def _logits(self, scene_id: str, z: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """(row, col): by the network not taught on this date, or the mean of both."""
        from sarcast.detectors.planted import apply

        fold = fold_of(self.deviations.history_ids, self.deviations.history_fold, scene_id)
        asked = self.networks if fold is None else (self.networks[1 - fold % 2],)
        return np.mean([apply(network, z, seen) for network in asked], axis=0)

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        arrays = self.deviations.arrays()
        for i, network in enumerate(self.networks):
            arrays |= {f"network{i}.{k}": v.cpu().numpy() for k, v in network.state_dict().items()}
        arrays |= {"usual": self.usual.quantiles, "usual_excess": np.array([self.usual.excess])}
        config = {
            "detector": "matched_network",
            "settings": self.settings.model_dump(mode="json"),
            "history_ids": list(self.deviations.history_ids),
        }
        save_model(folder, config=config, arrays=arrays)

    @classmethod
    def from_pretrained(cls, folder: Path) -> MatchedNetworkScorer:
        """Load what `save` wrote."""
        from sarcast.detectors.planted import load

        config, arrays = load_model(folder)
        settings = MatchedNetwork(**config["settings"])
        first, second = (
            load(
                {k[9:]: v for k, v in arrays.items() if k.startswith(f"network{i}.")},
                device=_device(settings),
            )
            for i in (0, 1)
        )
        return cls(
            settings=settings,
            deviations=Deviations.from_arrays(settings, tuple(config["history_ids"]), arrays),
            networks=(first, second),
            usual=Surprise(quantiles=arrays["usual"], excess=float(arrays["usual_excess"][0])),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _History:
    """History's deviations by the model that left each date out."""

    scene_ids: tuple[str, ...]
    softened: np.ndarray
    """float32 (time, row, col, dim)."""
    seen: np.ndarray
    """bool (time, row, col)."""
    unit: np.ndarray
    """float32 (row, col, dim)."""
    soft: float

    @classmethod
    def of(cls, learned: Deviations, features: Features, dates: np.ndarray) -> _History:
        shape = features.grid.shape
        found = [learned.of(features, int(t)) for t in dates]
        scale = learned.models[0].scale
        return cls(
            scene_ids=tuple(features.times.scene_id[t] for t in dates),
            softened=np.stack([z for z, _ in found]).astype(np.float32).reshape(len(dates), *shape, -1),
            seen=np.stack([seen for _, seen in found]).reshape(len(dates), *shape),
            unit=(np.median(scale, axis=0) / scale).astype(np.float32).reshape(*shape, -1),
            soft=learned.settings.soft,
        )

    def some(self, which: np.ndarray) -> History:
        """Those dates, no longer softened."""
        from sarcast.detectors.planted import History

        z = self.soft * np.sinh(self.softened[which] / self.soft)
        return History(deviations=z.astype(np.float32), seen=self.seen[which], unit=self.unit)


def _device(settings: MatchedNetwork) -> torch.device:
    import torch

    if settings.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(settings.device)
