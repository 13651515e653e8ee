"""The rows of sarcast probe: every way to see chips, with every probe, at every amount of labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import DataError, SettingsError
from sarcast.probes import PROBES
from sarcast.probes.draws import labelling_order, share_of, shots
from sarcast.probes.intervals import Judged, Measure, judged, told
from sarcast.probes.measures import class_figures, confusion, number_figures, squares
from sarcast.probes.scaling import standardised
from sarcast.readers.labelled_chips import LabelledChips
from sarcast.steps.probe import MAIN, USUAL
from sarcast.steps.probe_chips import (
    CONTROLS,
    Role,
    chip_views,
    encoders_of,
    read_roles,
    token_labels,
    token_views,
    unit_of,
)

if TYPE_CHECKING:
    from sarcast.steps.probe import Probe

_LABELS, _FIT, _TOKENS, _RESAMPLES = 2, 3, 4, 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """What a probe is fitted on: a row a chip, or a token."""

    labels: np.ndarray
    """Of each."""
    chip: np.ndarray
    """Which chip each is, or is of."""
    groups: np.ndarray
    """Of each."""
    train: dict[str, np.ndarray]
    """Way to see -> vectors (sample, dim)."""
    test: dict[str, np.ndarray]
    """Way to see -> vectors to judge (sample, dim)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """The test role's labels, and what is made of guesses."""

    role: Role
    class_names: tuple[str, ...]
    """Empty for numbers."""
    token: int | None
    """Side of a token, pixels; None where a guess is a chip's."""

    @property
    def parts(self) -> int:
        """Number of groups."""
        return int(self.role.groups.max()) + 1

    @property
    def measure(self) -> Measure:
        """Sums of counts -> figures."""
        return partial(class_figures, class_names=self.class_names) if self.class_names else number_figures

    def counts(self, guess: np.ndarray) -> np.ndarray:
        """Counts of each group, from a guess for each sample."""
        truth, part = self.role.labels, self.role.groups
        if not self.class_names:
            return squares(truth, guess, part, parts=self.parts)
        if self.token is not None:
            rows = truth.shape[1] // self.token
            guess = guess.reshape(-1, rows, rows).repeat(self.token, 1).repeat(self.token, 2)
            part = np.broadcast_to(part[:, None, None], truth.shape)
        return confusion(truth, guess, part, classes=len(self.class_names), parts=self.parts)


def estimates(settings: Probe, chips: LabelledChips) -> dict[str, Any]:
    """Plain values of all rows, and of what each encoder has over the controls."""
    train, test = read_roles(chips)
    dense = settings.task == "segmentation"
    encoders = encoders_of(settings.weights, settings.channels, seed=settings.seed)
    unit = unit_of(settings, chips) if encoders else None
    token = _token(settings, encoders) if dense else None
    if token is None:
        views = [chip_views(settings, role, encoders, unit) for role in (train, test)]
        samples = _chip_samples(train, *views)
    else:
        views = [token_views(role, encoders, unit, token=token) for role in (train, test)]
        labels = token_labels(train.labels, token, len(chips.class_names))
        samples = _token_samples(train, labels, *views)
    judge = Judge(role=test, class_names=chips.class_names, token=token)
    found = {
        key: _judged(settings, samples, judge, *key[:2], some)
        for key, some in _keys(settings, samples, train)
    }
    return {
        "task": settings.task,
        "main": MAIN[settings.task],
        "draws": settings.draws,
        "chips": {"train": len(train.groups), "test": len(test.groups), "test_groups": judge.parts},
        "classes": list(chips.class_names),
        "token": token,
        "ceiling": None if token is None else _ceiling(judge, token),
        "rows": [_row(*key, *one) for key, one in found.items()],
        "differences": _differences(settings, {key: one[0] for key, one in found.items()}, list(encoders)),
    }


def _token(settings: Probe, encoders: dict[str, Any]) -> int:
    token = next(iter(encoders.values())).vit.patch if encoders else settings.token
    if settings.side % token:
        raise SettingsError(
            f"expected a side that tokens of {token} px divide, found {settings.side}, in --side"
        )
    return int(token)


def _chip_samples(train: Role, seen: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> Samples:
    index = np.arange(len(train.labels))
    return _samples(train.labels, index, train.groups, seen, other)


def _token_samples(
    train: Role, labels: np.ndarray, seen: dict[str, np.ndarray], other: dict[str, np.ndarray]
) -> Samples:
    """Tokens with a label, and all tokens to judge."""
    kept = labels >= 0
    if not kept.any():
        raise DataError("expected labelled pixels in the train chips, found none")
    chip = np.nonzero(kept)[0]
    vectors = {name: values[kept] for name, values in seen.items()}
    flat = {name: values.reshape(-1, values.shape[-1]) for name, values in other.items()}
    return _samples(labels[kept], chip, train.groups[chip], vectors, flat)


def _samples(
    labels: np.ndarray,
    chip: np.ndarray,
    groups: np.ndarray,
    seen: dict[str, np.ndarray],
    other: dict[str, np.ndarray],
) -> Samples:
    pairs = {
        name: standardised(values.astype(np.float64), other[name], together=name == "pixels")
        for name, values in seen.items()
    }
    return Samples(
        labels=labels,
        chip=chip,
        groups=groups,
        train={name: pair[0] for name, pair in pairs.items()},
        test={name: pair[1] for name, pair in pairs.items()},
    )


def _keys(
    settings: Probe, samples: Samples, train: Role
) -> Iterator[tuple[tuple[str, str, str], list[np.ndarray]]]:
    """(way to see, probe, amount of labels) and the labelled samples of each draw, alike for all rows."""
    amounts = _amounts(settings, train)
    if settings.task == "segmentation":
        amounts = {
            amount: [_some_tokens(settings, samples, some, draw) for draw, some in enumerate(every)]
            for amount, every in amounts.items()
        }
    for probe in settings.probes or USUAL[settings.task]:
        for name in samples.train:
            for amount, every in amounts.items():
                yield (name, probe, amount), every


def _amounts(settings: Probe, train: Role) -> dict[str, list[np.ndarray]]:
    """Amount of labels, in words -> the labelled chips of each draw."""
    if settings.shots:
        return {
            f"{count} a class": [
                shots(train.labels, count, rng=np.random.default_rng([settings.seed, _LABELS, count, draw]))
                for draw in range(settings.draws)
            ]
            for count in settings.shots
        }
    by_class = settings.task == "classification"
    classes = train.labels if by_class else np.zeros(len(train.groups), int)
    orders = [
        labelling_order(classes, rng=np.random.default_rng([settings.seed, _LABELS, draw]))
        for draw in range(settings.draws)
    ]
    least = len(np.unique(classes)) if by_class else 2
    return {
        f"{100 * fraction:g} %": [share_of(order, fraction, least=least) for order in orders]
        for fraction in settings.fractions
    }


def _some_tokens(settings: Probe, samples: Samples, chips: np.ndarray, draw: int) -> np.ndarray:
    own = np.flatnonzero(np.isin(samples.chip, chips))
    if len(own) == 0:
        raise DataError(f"expected labelled pixels in the {len(chips)} labelled chips, found none")
    if len(own) <= settings.tokens:
        return own
    rng = np.random.default_rng([settings.seed, _TOKENS, draw])
    return np.sort(rng.choice(own, settings.tokens, replace=False))


def _judged(
    settings: Probe,
    samples: Samples,
    judge: Judge,
    name: str,
    probe: str,
    every: list[np.ndarray],
) -> tuple[Judged, int]:
    """Figures over the draws, and how many chips were labelled."""
    few = {"neighbours": settings.neighbours}
    options: dict[str, Any] = {"knn": few, "knn_plain": few, "linear": {"settings": settings.linear}}
    counts = []
    for draw, some in enumerate(every):
        guess = PROBES[probe](
            samples.train[name][some],
            samples.labels[some],
            samples.test[name],
            groups=samples.groups[some],
            rng=np.random.default_rng([settings.seed, _FIT, draw]),
            **options.get(probe, {}),
        )
        counts.append(judge.counts(guess))
    seed = settings.seed + _RESAMPLES
    found = judged(np.stack(counts), judge.measure, resamples=settings.resamples, seed=seed)
    return found, len(np.unique(samples.chip[every[0]]))


def _row(name: str, probe: str, amount: str, found: Judged, count: int) -> dict[str, Any]:
    figures = {
        figure: {
            **told(values, found.resampled[figure]),
            "by_draw": [float(one) if np.isfinite(one) else None for one in values],
        }
        for figure, values in found.by_draw.items()
    }
    return {"features": name, "probe": probe, "labels": amount, "count": count, "figures": figures}


def _differences(
    settings: Probe, found: dict[tuple[str, str, str], Judged], encoders: list[str]
) -> list[dict[str, Any]]:
    """The main figure of each encoder less each control's: the same draws, the same resamples."""
    main = MAIN[settings.task]
    rows = []
    for (name, probe, amount), own in found.items():
        if name not in encoders[::2]:
            continue
        for control in (*CONTROLS, f"{name}, random weights"):
            other = found.get((control, probe, amount))
            if other is None:
                continue
            by_draw = own.by_draw[main] - other.by_draw[main]
            difference = told(by_draw, own.resampled[main] - other.resampled[main])
            rows.append({"features": name, "less": control, "probe": probe, "labels": amount, **difference})
    return rows


def _ceiling(judge: Judge, token: int) -> float:
    """The main figure of guesses that are right for most pixels of every token."""
    labels = token_labels(judge.role.labels, token, len(judge.class_names))
    counts = judge.counts(np.maximum(labels, 0).ravel())
    return float(judge.measure(counts.sum(0))[MAIN["segmentation"]])
