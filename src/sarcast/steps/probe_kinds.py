"""The kinds of probes in sarcast probe: on vectors, on maps of tokens, and on the chips themselves.

Each is asked alike: a way to see chips, a probe, the labelled chips and the draw; it answers with a guess for
each test chip, or each token, or each pixel of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.random import Generator

from sarcast.errors import DataError, SettingsError
from sarcast.probes import CHIP_PROBES, MAP_PROBES, PROBES
from sarcast.probes.scaling import standardised
from sarcast.steps.probe_chips import RANDOM, Role, chip_views, token_goal, token_views

if TYPE_CHECKING:
    import torch

    from sarcast.nn.pretrained import Pretrained
    from sarcast.steps.probe import Probe

_FIT, _TOKENS = 3, 4


class Kind(Protocol):
    """What a kind of probe is fitted on."""

    @property
    def names(self) -> Sequence[str]:
        """Ways to see chips."""
        ...

    def guess(self, name: str, probe: str, some: np.ndarray, draw: int) -> np.ndarray:
        """What `probe` says of the test role, by way `name`, taught with the labels of chips `some`."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """Train and test chips, and every way to see them; nothing is computed before it is asked for."""

    settings: Probe
    train: Role
    test: Role
    encoders: dict[str, Pretrained]
    unit: Any
    """Of the pixels; None without encoders."""
    token: int | None
    """Side of a token, pixels; None where chips have one label each."""
    device: torch.device | None
    """Where networks are taught; None where there are none."""

    def kind(self, probe: str) -> Kind:
        """The kind that a probe is of."""
        if probe in CHIP_PROBES:
            return _Chips(seen=self)
        return _Maps(seen=self) if probe in MAP_PROBES else _Vectors(seen=self)

    def rng(self, draw: int) -> Generator:
        """Source of a fit's draws, the same for every row."""
        return np.random.default_rng([self.settings.seed, _FIT, draw])

    @cached_property
    def vectors(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Way to see -> vectors of both roles, standardised: (chip, dim), or (chip, row, col, dim)."""
        levels = self.train.levels
        if self.token is None:
            side = self.settings.pixel_side
            views = [
                chip_views(role, self.encoders, self.unit, pixel_side=side, levels=levels)
                for role in (self.train, self.test)
            ]
        else:
            views = [
                token_views(role, self.encoders, self.unit, token=self.token, levels=levels)
                for role in (self.train, self.test)
            ]
        return {name: _scaled(views[0][name], views[1][name], together=name == "pixels") for name in views[0]}

    @cached_property
    def tokens(self) -> tuple[np.ndarray, np.ndarray]:
        """Chip and label of the train role's tokens that have one: which (3, token), labels (token,)."""
        goal = token_goal(self.train.goal, self.token or 1)
        at = np.stack(np.nonzero(goal.known))
        return at, goal.labels[goal.known]

    @cached_property
    def inputs(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Encoder -> chips of both roles as it takes them."""
        from sarcast.encoders.chips import chip_input

        roles = (self.train, self.test)
        return {
            name: tuple(chip_input(one, r.pixels, r.valid, unit=self.unit).cpu() for r in roles)  # type: ignore[misc]
            for name, one in self.encoders.items()
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Vectors:
    """Probes of vectors, one a chip, or one a token with the token's label."""

    seen: Seen

    @property
    def names(self) -> Sequence[str]:
        return list(self.seen.vectors)

    def guess(self, name: str, probe: str, some: np.ndarray, draw: int) -> np.ndarray:
        settings, role = self.seen.settings, self.seen.train
        few = {"neighbours": settings.neighbours}
        options: dict[str, Any] = {"knn": few, "knn_plain": few, "linear": {"settings": settings.linear}}
        learn, judge = self.seen.vectors[name]
        if self.seen.token is None:
            x, y, groups = learn[some], role.goal.labels[some], role.groups[some]
        else:
            at, labels = self.seen.tokens
            own = self._own(some, draw)
            x, y, groups = learn[tuple(at[:, own])], labels[own], role.groups[at[0, own]]
            judge = judge.reshape(-1, judge.shape[-1])
        return np.asarray(
            PROBES[probe](x, y, judge, groups=groups, rng=self.seen.rng(draw), **options.get(probe, {}))
        )

    def _own(self, chips: np.ndarray, draw: int) -> np.ndarray:
        """Numbers of the labelled tokens of some chips, at most `tokens` of them."""
        settings = self.seen.settings
        own = np.flatnonzero(np.isin(self.seen.tokens[0][0], chips))
        if len(own) == 0:
            raise DataError(f"expected labelled pixels in the {len(chips)} labelled chips, found none")
        if len(own) <= settings.tokens:
            return own
        rng = np.random.default_rng([settings.seed, _TOKENS, draw])
        return np.sort(rng.choice(own, settings.tokens, replace=False))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Maps:
    """Probes of maps of frozen tokens, which answer for every pixel."""

    seen: Seen

    @property
    def names(self) -> Sequence[str]:
        return list(self.seen.vectors)

    def guess(self, name: str, probe: str, some: np.ndarray, draw: int) -> np.ndarray:
        learn, judge = self.seen.vectors[name]
        return np.asarray(
            MAP_PROBES[probe](
                learn[some],
                self.seen.train.goal[some],
                judge,
                rng=self.seen.rng(draw),
                device=self.seen.device,
                settings=self.seen.settings.decoder,
            )
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Chips:
    """Probes of the chips themselves, which train an encoder further."""

    seen: Seen

    @property
    def names(self) -> Sequence[str]:
        return list(self.seen.encoders)

    def guess(self, name: str, probe: str, some: np.ndarray, draw: int) -> np.ndarray:
        learn, judge = self.seen.inputs[name]
        return np.asarray(
            CHIP_PROBES[probe](
                self.seen.encoders[name].vit,
                learn[some],
                self.seen.train.goal[some],
                judge,
                rng=self.seen.rng(draw),
                device=self.seen.device,
                settings=self.seen.settings.finetune,
                scratch=name.endswith(RANDOM),
            )
        )


def device_of(name: str) -> torch.device:
    """Where networks run; auto: on CUDA where there is one.

    Raises:
        SettingsError: There is none, but it is asked for.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise SettingsError("expected a CUDA device, found none, in --device")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _scaled(learn: np.ndarray, judge: np.ndarray, *, together: bool) -> tuple[np.ndarray, np.ndarray]:
    """Standardised over the train role, whatever axes come before the last."""
    flat = [one.reshape(-1, one.shape[-1]) for one in (learn.astype(np.float64), judge)]
    x, y = standardised(*flat, together=together)
    return x.reshape(learn.shape), y.reshape(judge.shape)
