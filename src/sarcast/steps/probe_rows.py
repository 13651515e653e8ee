"""The rows of sarcast probe: every way to see chips, with every probe, at every amount of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import SettingsError
from sarcast.probes.draws import labelling_order, share_of, shots
from sarcast.probes.intervals import Judged, judged, told
from sarcast.readers.labelled_chips import LabelledChips
from sarcast.steps.probe import DENSE, MAIN, USUAL
from sarcast.steps.probe_chips import CONTROLS, RANDOM, Role, channels_of, encoders_of, read_roles, unit_of
from sarcast.steps.probe_judge import Judge
from sarcast.steps.probe_kinds import Kind, Seen, device_of

if TYPE_CHECKING:
    from sarcast.steps.probe import Probe

_LABELS, _RESAMPLES = 2, 5


def estimates(settings: Probe, chips: LabelledChips) -> dict[str, Any]:
    """Plain values of all rows, and of what each encoder has over the controls."""
    dense = settings.task in DENSE
    train, test = read_roles(chips, dense=dense)
    encoders = encoders_of(settings.weights, channels_of(settings, chips), seed=settings.seed)
    probes = settings.probes or USUAL[settings.task]
    device = device_of(settings.device) if encoders or "decoder" in probes else None
    for one in encoders.values():
        one.vit.to(device)
    token = _token(settings, encoders) if dense else None
    unit = unit_of(settings, chips) if encoders else None
    seen = Seen(
        settings=settings, train=train, test=test, encoders=encoders, unit=unit, token=token, device=device
    )
    judge = Judge(role=test, class_names=chips.class_names, token=token)
    found = {
        (name, probe, amount): (_judged(settings, kind, judge, name, probe, every), _count(train, every[0]))
        for probe in probes
        for kind in (seen.kind(probe),)
        for name in kind.names
        for amount, every in _amounts(settings, train).items()
    }
    return {
        "task": settings.task,
        "main": MAIN[settings.task],
        "draws": settings.draws,
        "chips": {"train": len(train.groups), "test": len(test.groups), "test_groups": judge.parts},
        "classes": list(chips.class_names),
        "token": token,
        "ceiling": judge.ceiling(MAIN[settings.task]),
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


def _amounts(settings: Probe, train: Role) -> dict[str, list[np.ndarray]]:
    """Amount of labels, in words -> the labelled chips of each draw."""
    if settings.shots:
        return {
            f"{count} a class": [
                shots(
                    train.goal.labels, count, rng=np.random.default_rng([settings.seed, _LABELS, count, draw])
                )
                for draw in range(settings.draws)
            ]
            for count in settings.shots
        }
    by_class = settings.task == "classification"
    classes = train.goal.labels if by_class else np.zeros(len(train.groups), int)
    orders = [
        labelling_order(classes, rng=np.random.default_rng([settings.seed, _LABELS, draw]))
        for draw in range(settings.draws)
    ]
    least = len(np.unique(classes)) if by_class else 2
    return {
        f"{100 * fraction:g} %": [share_of(order, fraction, least=least) for order in orders]
        for fraction in settings.fractions
    }


def _judged(
    settings: Probe, kind: Kind, judge: Judge, name: str, probe: str, every: list[np.ndarray]
) -> Judged:
    """Figures over the draws of labelled chips."""
    counts = [judge.counts(kind.guess(name, probe, some, draw)) for draw, some in enumerate(every)]
    seed = settings.seed + _RESAMPLES
    return judged(np.stack(counts), judge.measure, resamples=settings.resamples, seed=seed)


def _count(train: Role, some: np.ndarray) -> int:
    """How many of the chips have a label."""
    return int(train.goal.known[some].reshape(len(some), -1).any(1).sum())


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
        if name not in encoders or name.endswith(RANDOM):
            continue
        for control in (*CONTROLS, name + RANDOM):
            other = found.get((control, probe, amount))
            if other is None:
                continue
            by_draw = own.by_draw[main] - other.by_draw[main]
            difference = told(by_draw, own.resampled[main] - other.resampled[main])
            rows.append({"features": name, "less": control, "probe": probe, "labels": amount, **difference})
    return rows
