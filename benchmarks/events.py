"""How well planted events are found: every encoder x detector beside simple baselines, with intervals.

    python -m benchmarks.events [--seeds 0 1 2 3 4] [--set weak|all] [--quick] [--classical]
                                [--detectors NAME ...] [--out FILE.md]

Simulated Capella-like scenes, one a seed; history is the first half of the dates. Judged as in the demo:
positives are cells an event covers at its onset, negatives cells no event has touched. Every way is judged on
the cells that all of them score. Scenes are pooled by -log10 p, p calibrated on each scene's own history, as
a user with several scenes would read them; intervals resample events and blocks of negatives over all scenes.
The means over scenes of AUC and AP, in which calibration plays no part, stand beside.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sarcast.decide.calibrate import learn_null
from sarcast.detectors import DETECTORS
from sarcast.detectors.coefficient_of_variation import CoefficientOfVariation
from sarcast.detectors.cusum import Cusum
from sarcast.detectors.directions import along
from sarcast.detectors.forecasting import Forecasting, ForecastScorer
from sarcast.detectors.log_ratio import LogRatio
from sarcast.detectors.mahalanobis import Mahalanobis
from sarcast.detectors.omnibus import Omnibus
from sarcast.detectors.probabilistic_transformer import ProbabilisticTransformer
from sarcast.detectors.series import Series, left_out, series_of, windows
from sarcast.detectors.transformer import Transformer
from sarcast.detectors.z_score import ZScore
from sarcast.encoders.gradients import Gradients
from sarcast.encoders.statistics import Statistics
from sarcast.evaluate.bootstrap import event_bootstrap, paired_difference
from sarcast.evaluate.curves import average_precision, recall_at_false_alarms, roc_auc
from sarcast.evaluate.onset import cell_cover, onset_cells, onset_index
from sarcast.evaluate.planted import Judged, pool
from sarcast.sar.simulate import Simulated, SimulateScene, simulate
from sarcast.stack.split import split_history
from sarcast.values import Features, Split

WEAK = ("wet", "burnt", "clearing", "texture", "excavation", "construction", "vehicles")
SCENES = {"weak": SimulateScene(kinds=WEAK, strength_db=(1.0, 4.0)), "all": SimulateScene()}
FIGURES = {"ROC-AUC": roc_auc, "AP": average_precision, "recall at 1e-3": recall_at_false_alarms}
DEFAULT = "statistics, z_score (l2)"
TARGET = "target: z_score on statistics reaches ROC-AUC .97 and AP .65 (mean over scenes, weak events)"


@dataclass(frozen=True, kw_only=True)
class Way:
    """What is looked at, and what is normal; detector None is |change of level| alone."""

    encoder: Any
    detector: Any


def ways() -> dict[str, Way]:
    """Every row of the table."""
    statistics, gradients = Statistics(), Gradients()
    return {
        DEFAULT: Way(encoder=statistics, detector=ZScore()),
        "statistics, z_score (max)": Way(encoder=statistics, detector=ZScore(norm="max")),
        "statistics, transformer": Way(encoder=statistics, detector=Transformer()),
        "gradients, z_score (l2)": Way(encoder=gradients, detector=ZScore()),
        "gradients, z_score (max)": Way(encoder=gradients, detector=ZScore(norm="max")),
        "gradients, transformer": Way(encoder=gradients, detector=Transformer()),
        "baseline: mean alone, z_score": Way(encoder=Statistics(groups=("mean",)), detector=ZScore()),
        "baseline: statistics, z_score without alike cells": Way(
            encoder=statistics, detector=ZScore(neighbours=0)
        ),
        "baseline: log-ratio to history's mean": Way(encoder=Statistics(groups=("mean",)), detector=None),
    }


def classical() -> dict[str, Way]:
    """Rows of the table of classical detectors, on `statistics`; all but cusum read its mean levels alone."""
    level = Statistics(groups=("mean",))
    rows = {
        DEFAULT: Way(encoder=Statistics(), detector=ZScore()),
        "baseline: mean alone, z_score": Way(encoder=level, detector=ZScore()),
    }
    for n in (60, 0):
        rows |= {
            f"log_ratio, {n} neighbours": Way(encoder=level, detector=LogRatio(neighbours=n)),
            f"log_ratio, last, {n} neighbours": Way(
                encoder=level, detector=LogRatio(reference="last", neighbours=n)
            ),
            f"mahalanobis, {n} neighbours": Way(encoder=level, detector=Mahalanobis(neighbours=n)),
            f"coefficient_of_variation, {n} neighbours": Way(
                encoder=level, detector=CoefficientOfVariation(neighbours=n)
            ),
            f"cusum, {n} neighbours": Way(encoder=Statistics(), detector=Cusum(neighbours=n)),
        }
    told: tuple[Literal["history", "last"], ...] = ("history", "last")
    return rows | {f"omnibus, {r}": Way(encoder=level, detector=Omnibus(reference=r)) for r in told}


def named(names: list[str]) -> dict[str, Way]:
    """Rows of detectors by name, as they come, on `statistics`, beside the default."""
    rows = {f"statistics, {name}": Way(encoder=Statistics(), detector=DETECTORS[name]()) for name in names}
    return {DEFAULT: Way(encoder=Statistics(), detector=ZScore()), **rows}


def main() -> None:
    """Run, print, and write the tables where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--set", choices=sorted(SCENES), default="weak", help="weak events, or all kinds")
    parser.add_argument("--draws", type=int, default=500, help="resamples")
    parser.add_argument("--quick", action="store_true", help="leave the networks out")
    parser.add_argument("--classical", action="store_true", help="the classical detectors instead")
    parser.add_argument("--detectors", nargs="+", choices=list(DETECTORS), help="only these, on statistics")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the tables to")
    told = parser.parse_args()
    torch.set_num_threads(1)
    every = classical() if told.classical else ways()
    every = named(told.detectors) if told.detectors else every
    rows = {n: w for n, w in every.items() if not (told.quick and isinstance(w.detector, Forecasting))}
    scenes = []
    for seed in told.seeds:
        scenes.append(judge(SCENES[told.set], rows, seed=seed))
        print(f"scene {seed}: {len(set(scenes[-1].events)) - 1} events judged", flush=True)
    text = tables(scenes, settings=SCENES[told.set], seeds=told.seeds, draws=told.draws)
    print(text)
    if told.out is not None:
        told.out.write_text(f"# Planted events, set {told.set}\n\n{text}", encoding="utf-8")


def judge(settings: SimulateScene, rows: dict[str, Way], *, seed: int) -> Judged:
    """Simulate one scene, score it in every way, and keep the judged cells."""
    simulated = simulate(settings, rng=np.random.default_rng(seed))
    stack = simulated.stack
    split = split_history(stack.times.time, np.ones(len(stack.times), bool))
    known: dict[str, Features] = {}
    surprise, skill = {}, {}
    valid = None
    for name, way in rows.items():
        key = repr(way.encoder)
        features = known.setdefault(key, known[key] if key in known else way.encoder.encode(stack))
        p, seen, scorer = p_values(features, way.detector, split, seed=seed)
        surprise[name] = -np.log10(p)
        valid = seen if valid is None else valid & seen
        if isinstance(scorer, ForecastScorer) and not isinstance(way.detector, ProbabilisticTransformer):
            skill[name] = skills(scorer, features, split, untouched(simulated, features))
    assert valid is not None
    cover = cell_cover(simulated.masks, features.grid)
    onset = np.array([onset_index(stack.times.time, label.onset) for label in simulated.labels.labels])
    cells = onset_cells(cover, onset, valid=valid, judged=split.judge)
    return Judged(
        surprise={name: s.ravel()[cells.index] for name, s in surprise.items()},
        labels=cells.labels,
        events=cells.event_ids,
        blocks=cells.block_ids,
        kinds=tuple(label.kind for label in simulated.labels.labels),
        skill=skill,
    )


def p_values(
    features: Features, detector: Any, split: Split, *, seed: int
) -> tuple[np.ndarray, np.ndarray, Any]:
    """p-values and validity (time, row, col), calibrated on history as the main job does; and the scorer."""
    if detector is None:
        scores, valid = log_ratio(features, split)
        scorer = None
    else:
        scorer = detector.fit(features, split, rng=np.random.default_rng(seed))
        found = scorer.score(features)
        scores, valid = found.values, found.valid
    null = learn_null(scores[split.fit][valid[split.fit]])
    return np.where(valid, null.p_value(scores), 1), valid, scorer


def log_ratio(features: Features, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """|level - mean level of history| in dB, history's own dates left out of their mean, and validity."""
    level, weight = features.values[..., 0].astype(float), features.valid & split.fit[:, None, None]
    count = weight.sum(0) - weight
    mean = ((level * weight).sum(0) - level * weight) / np.maximum(count, 1)
    valid = features.valid & (count >= 3)
    return np.where(valid, np.abs(level - mean), 0), valid


def untouched(simulated: Simulated, features: Features) -> np.ndarray:
    """Cells no event ever touches, bool (cell,)."""
    return ~(cell_cover(simulated.masks, features.grid) > 0).any(0).ravel()


def skills(
    scorer: ForecastScorer, features: Features, split: Split, quiet: np.ndarray
) -> tuple[float, float, float, float]:
    """1 - loss / loss of a simple forecast (smooth L1), the simple one seeing the same normalised features.

    Returns:
        History, on cells each model was not trained on (the epoch was chosen there): against the mean of the
        context, and against the last acquisition. Judged dates, on cells without events: the same two.
    """
    features = along(features, scorer.directions)
    dates, context = np.flatnonzero(split.fit), scorer.settings.context
    series, own = left_out(features, dates, scorer.history_fold, scorer.normals[1:], context=context)
    past_windows = windows(series, own, np.ones(len(scorer.halves), bool), context)
    mean, last = simple_losses(series, past_windows, context)
    past = float(np.mean(scorer.skill))
    index = [int(t) for t in np.flatnonzero(split.judge)]
    errors, valid = scorer.errors(features, index)
    valid &= quiet
    whole = series_of(features, np.arange(len(features.times)), scorer.normals[0])
    later = np.stack([np.array(index)[np.nonzero(valid)[0]], np.nonzero(valid)[1]], 1)
    later_mean, later_last = simple_losses(whole, later, context)
    ours = smooth_l1(errors[valid])
    return past, 1 - (1 - past) * mean / last, 1 - ours / later_mean, 1 - ours / later_last


def simple_losses(series: Series, windows: np.ndarray, context: int) -> tuple[float, float]:
    """Smooth-L1 loss of the context's mean and of its last valid acquisition, over windows (date, cell)."""
    values, valid = series.values, series.valid
    total, weight = np.zeros((len(windows), values.shape[-1])), np.zeros((len(windows), 1))
    last = np.zeros_like(total)
    target, cell = windows.T
    for back in range(context, 0, -1):
        at = target - back
        seen = (valid[np.maximum(at, 0), cell] & (at >= series.begin[target]))[:, None]
        value = values[np.maximum(at, 0), cell]
        total += value * seen
        weight += seen
        last = np.where(seen, value, last)
    truth = values[target, cell]
    return smooth_l1(truth - total / np.maximum(weight, 1)), smooth_l1(truth - last)


def smooth_l1(error: np.ndarray) -> float:
    """Mean over everything of error squared / 2 under 1, |error| - 1/2 over it."""
    size = np.abs(error)
    return float(np.where(size < 1, 0.5 * size**2, size - 0.5).mean())


def tables(scenes: list[Judged], *, settings: SimulateScene, seeds: list[int], draws: int) -> str:
    """Everything found, as Markdown."""
    pooled = pool(scenes)
    changed = {name: value for name, value in settings if value != SimulateScene.model_fields[name].default}
    shown = ", ".join(f"{name}={value}" for name, value in changed.items()) or "all defaults"
    lines = [
        f"Scene: SimulateScene({shown}); seeds {seeds}; {draws} resamples of events and of 8 x 8 blocks of",
        f"negatives; {int(pooled.labels.sum())} positive of {len(pooled.labels)} judged cells.",
        f"In brackets 95 % intervals. {TARGET}.",
        "",
        *figures(pooled, scenes, draws=draws, title="All events"),
    ]
    if "texture" in pooled.kinds:
        some = [scene for scene in scenes if scene.only({"texture"}).labels.any()]
        alone = [scene.only({"texture"}) for scene in some]
        lines += ["", *figures(pool(alone), alone, draws=draws, title="Texture-only events alone")]
    lines += ["", *by_kind(pooled), "", *skill_table(scenes, seeds)]
    return "\n".join(lines) + "\n"


def figures(pooled: Judged, scenes: list[Judged], *, draws: int, title: str) -> list[str]:
    """One row a way: pooled figures with intervals, means over scenes, difference in AP from the default."""
    count = len(set(pooled.events[pooled.labels]))
    lines = [
        f"## {title} ({count})",
        "",
        "| way | ROC-AUC | AP | recall at 1e-3 | AP less the default's | mean over scenes: AUC | AP |",
        "|---|---|---|---|---|---|---|",
    ]
    told = {"draws": draws, "seed": 0, "block_ids": pooled.blocks}
    base = next(iter(pooled.surprise))
    for name, surprise in pooled.surprise.items():
        found = event_bootstrap(surprise, pooled.labels, pooled.events, statistics=FIGURES, **told)
        row = [str(found[figure]) for figure in FIGURES]
        if name == base:
            row.append("–")
        else:
            better = paired_difference(
                surprise, pooled.surprise[base], pooled.labels, pooled.events,
                statistics={"AP": average_precision}, **told,
            )  # fmt: skip
            row.append(f"{better['AP'].value:+.3f} [{better['AP'].low:+.3f}, {better['AP'].high:+.3f}]")
        each = [
            (roc_auc(s.surprise[name], s.labels), average_precision(s.surprise[name], s.labels))
            for s in scenes
        ]
        row += [f"{value:.3f}" for value in np.mean(each, axis=0)]
        lines.append(f"| {name} | {' | '.join(row)} |")
    return lines


def by_kind(pooled: Judged) -> list[str]:
    """ROC-AUC / recall at 1e-3 of each kind by itself."""
    kinds = [kind for kind in sorted(set(pooled.kinds)) if pooled.only({kind}).labels.any()]
    lines = [
        "## By kind: ROC-AUC / recall at 1e-3",
        "",
        "| way | "
        + " | ".join(f"{kind} ({len(set(pooled.only({kind}).events)) - 1})" for kind in kinds)
        + " |",
        "|---" * (len(kinds) + 1) + "|",
    ]
    for name in pooled.surprise:
        row = []
        for kind in kinds:
            alone = pooled.only({kind})
            scores = alone.surprise[name], alone.labels
            row.append(f"{roc_auc(*scores):.2f} / {recall_at_false_alarms(*scores):.2f}")
        lines.append(f"| {name} | {' | '.join(row)} |")
    return lines


def skill_table(scenes: list[Judged], seeds: list[int]) -> list[str]:
    """Forecasting skill a scene."""
    if not any(scene.skill for scene in scenes):
        return []
    lines = [
        "## Skill of the forecaster",
        "",
        "1 - loss / loss of the simple forecast; history: cells not trained on; later: judged dates, cells",
        "without events.",
        "",
        "| way | seed | history: against context mean | against persistence | later: against context mean "
        "| against persistence |",
        "|---|---|---|---|---|---|",
    ]
    for name in scenes[0].skill:
        for seed, scene in zip(seeds, scenes, strict=True):
            row = " | ".join(f"{value:+.3f}" for value in scene.skill[name])
            lines.append(f"| {name} | {seed} | {row} |")
    return lines


if __name__ == "__main__":
    main()
