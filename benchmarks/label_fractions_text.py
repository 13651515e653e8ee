"""The tables of `benchmarks.label_fractions`: means over seeds and paired differences, with intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t as student

from benchmarks.label_fractions_found import Found
from benchmarks.label_fractions_judge import Curves
from sarcast.nn.vit import SIZES

if TYPE_CHECKING:
    from benchmarks.label_fractions import Plan

CONTROLS = ("pixels", "statistics")
RANDOM = "random init"
FIGURES = {
    "vegetation_rmse": ("Vegetation, RMSE, points of tree cover", "{:.2f}", "{:+.2f}"),
    "cover_miou": ("Land cover, mIoU", "{:.3f}", "{:+.3f}"),
    "vegetation_r2": ("Vegetation, R2", "{:.2f}", "{:+.2f}"),
    "built_rmse": ("Built share, RMSE, points", "{:.2f}", "{:+.2f}"),
    "biomass_rmse": ("Biomass, RMSE, t/ha", "{:.1f}", "{:+.1f}"),
}
"""Figure -> title, how a value and a difference are written."""
MAIN = ("vegetation_rmse", "cover_miou")


def limits(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Mean over seeds and its 95 % interval by Student's t; NaN for the limits of one seed."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return mean, float("nan"), float("nan")
    half = float(student.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def as_text(plan: Plan, every: Sequence[Found]) -> str:
    """All tables, and what they stand on."""
    rows = [*CONTROLS, RANDOM, *plan.objectives]
    more = [name for name in every[0].home if name not in rows]
    fractions = plan.judging.fractions
    parts = [heading(plan, every), "", *_spent(plan, every)]
    for figure in FIGURES:
        home = [one.home for one in every]
        parts += ["", f"## {FIGURES[figure][0]}", "", *_values(figure, rows, fractions, home)]
        others = (RANDOM, CONTROLS[1]) if figure in MAIN else (RANDOM,)
        parts += ["", *_differences(figure, tuple(plan.objectives), others, fractions, home)]
    parts += ["", "## Why statistics are hard to beat", ""]
    for figure in MAIN:
        parts += [*_values(figure, [CONTROLS[1], *more], fractions, [one.home for one in every]), ""]
    parts += ["## Pretrained in one climate, judged in another", "", *_elsewhere(plan, every)]
    return "\n".join(parts)


def heading(plan: Plan, every: Sequence[Found]) -> str:
    """What was done, in words and settings."""
    land, how, t = plan.land, plan.judging, plan.training
    size = SIZES[plan.size]
    steps = t.epochs * t.steps
    tiles = {
        role: f"{min(one.tiles[role] for one in every)} to {max(one.tiles[role] for one in every)}"
        for role in ("train", "test")
    }
    words = f"""`python -m benchmarks.label_fractions`, {len(every)} seeds ({
        ", ".join(str(one.seed) for one in every)
    }). Each seed has a simulated temperate region of its own ({land.tiles[0]} x {land.tiles[1]} tiles
        of {land.side} px of 10 m, 12 channels), split by place in {land.bands} oblique bands, 60/20/20, with
        {land.buffer_m:g} m between roles: {tiles["train"]} train tiles, {tiles["test"]} test tiles. Encoder
        `{plan.size}` ({size.depth} blocks, width {
        size.dim
    }), tokens of 8 px; pretrained on the train tiles without
        labels, {steps} steps of {t.batch} images for every objective, AdamW, peak rate {
        t.learning_rate:g}, flips,
        gain of {land.augment.gain_db:g} dB and speckle of {
        land.augment.looks:g} looks. Objectives of a seed begin
        with the same weights, which also are its `{
        RANDOM
    }`, and see the same images; channels are z-scores over
        the train tiles. Frozen: a tile is mean and spread of its token vectors, standardised over the train
        role. Numbers by ridge regression, its strength from folds of the labelled tiles, mean over {
        how.draws
    }
        draws of labels; land cover by a linear layer with BatchNorm on tokens ({how.steps} steps, at most
        {how.tokens} tokens), one confusion matrix over all test pixels, mean over {how.cover_draws} draws.
        `pixels` are channel means of a tile, and all pixels of a token; `statistics` level, spread and
        texture. Values: mean over seeds [95 %, Student's t over seeds]; differences are paired by seed. No
        figure here chose a setting: those come from a pilot region of another seed."""
    paragraph = textwrap.fill(" ".join(words.split()), 110)
    return f"# Label fractions on simulated seasonal tiles\n\n{paragraph}"


def _spent(plan: Plan, every: Sequence[Found]) -> list[str]:
    """What each training took, medians over seeds, and whether one collapsed."""
    images = plan.training.epochs * plan.training.steps * plan.training.batch
    lines = [
        "| objective | images | CPU s, one thread | error/variance, held out | rank, before to after |",
        "|---|---|---|---|---|",
    ]
    for name in plan.objectives:
        some = [one.spent[name] for one in every]
        seconds, error, first, last = (
            float(np.median([value(one) for one in some]))
            for value in (
                lambda one: one.cpu_seconds,
                lambda one: one.last.normalised_error,
                lambda one: one.first.rank,
                lambda one: one.last.rank,
            )
        )
        lines.append(f"| {name} | {images} | {seconds:.0f} | {error:.2f} | {first:.0f} to {last:.0f} |")
    wrong = [
        f"- {name}, seed {one.seed}: {one.spent[name].trouble}"
        for one in every
        for name in plan.objectives
        if one.spent[name].trouble
    ]
    return [*lines, *(["", *wrong] if wrong else [])]


def _values(
    figure: str, rows: Sequence[str], fractions: Sequence[float], every: Sequence[dict[str, Curves]]
) -> list[str]:
    title, form, _ = FIGURES[figure]
    head = " | ".join(f"{100 * one:g} %" for one in fractions)
    lines = [f"| {title.partition(',')[2].strip() or title} | {head} |", "|---" * (len(fractions) + 1) + "|"]
    for row in rows:
        cells = [_cell([seed[row][figure][i] for seed in every], form) for i in range(len(fractions))]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return lines


def _differences(
    figure: str,
    rows: Sequence[str],
    others: Sequence[str],
    fractions: Sequence[float],
    every: Sequence[dict[str, Curves]],
) -> list[str]:
    form = FIGURES[figure][2]
    head = " | ".join(f"{100 * one:g} %" for one in fractions)
    lines = [f"| difference | {head} |", "|---" * (len(fractions) + 1) + "|"]
    for other in others:
        for row in rows:
            cells = [
                _cell([seed[row][figure][i] - seed[other][figure][i] for seed in every], form)
                for i in list(range(len(fractions)))
            ]
            lines.append(f"| {row} less {other} | {' | '.join(cells)} |")
    return lines


def _elsewhere(plan: Plan, every: Sequence[Found]) -> list[str]:
    """What pretraining gains over random init at home and in other climates, and the difference of gains."""
    fractions = plan.elsewhere.fractions
    known = [plan.judging.fractions.index(one) for one in fractions]
    words = """The same frozen encoders, with the scaling of their own region; random init too. Gain: share of
        random init's RMSE that pretraining saves, and points of mIoU over it. `less home`: the gain
        there less the gain at home, paired by seed; over 0, pretraining is worth more elsewhere."""
    lines = [textwrap.fill(" ".join(words.split()), 110)]
    head = " | ".join(f"{100 * one:g} %" for one in fractions)
    for figure, title in (("vegetation_rmse", "vegetation, % of RMSE saved"), ("cover_miou", "mIoU, points")):
        lines += ["", f"| gain: {title} | {head} |", "|---" * (len(fractions) + 1) + "|"]
        for row in plan.objectives:
            home = np.array([_gains(one.home, figure, row, known) for one in every])
            lines.append(f"| {row}, home | {' | '.join(_cells(home))} |")
            for where in every[0].elsewhere:
                own = [
                    _gains(one.elsewhere[where], figure, row, list(range(len(fractions)))) for one in every
                ]
                lines.append(f"| {row}, {where} | {' | '.join(_cells(np.array(own)))} |")
                lines.append(f"| {row}, {where} less home | {' | '.join(_cells(np.array(own) - home))} |")
    return [*lines, *_elsewhere_values(plan, every)]


def _elsewhere_values(plan: Plan, every: Sequence[Found]) -> list[str]:
    """The figures themselves in other climates."""
    lines: list[str] = []
    for where in every[0].elsewhere:
        found = [one.elsewhere[where] for one in every]
        for figure in MAIN:
            lines += ["", f"{where}, {FIGURES[figure][0]}:", ""]
            rows = [*CONTROLS, RANDOM, *plan.objectives]
            lines += _values(figure, rows, plan.elsewhere.fractions, found)
    return lines


def _gains(found: dict[str, Curves], figure: str, row: str, at: Sequence[int]) -> list[float]:
    """Of `row` over random init at some fractions; see `_elsewhere`."""
    own, plain = (np.array(found[name][figure])[at] for name in (row, RANDOM))
    gain = 100 * (plain - own) / plain if figure.endswith("rmse") else 100 * (own - plain)
    return [float(one) for one in gain]


def _cells(every: np.ndarray) -> list[str]:
    return [_cell(one, "{:+.1f}") for one in every.T]


def _cell(values: Sequence[float] | np.ndarray, form: str) -> str:
    mean, low, high = limits(values)
    written: Callable[[float], str] = form.format
    return written(mean) if np.isnan(low) else f"{written(mean)} [{written(low)}, {written(high)}]"
