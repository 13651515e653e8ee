"""What each choice is worth: K, time encoding, stage-1 target, pooling, cell, window; one table.

    python -m benchmarks ablation [--axes context time_encoding target pooling cell window] [--cross]
        [--weights FOLDER] [--detector z_score|transformer] [--seeds 0 1] [--side 512] [--out FILE.md]

Every axis is varied alone, its first value the one sarcast uses; differences are from that one, on the same
cells of later dates, after training on history alone. `context` and `time_encoding` are the paper's ablations
(arXiv 2606.05700): the transformer of the recipe t-sar-jepa-tiny on the statistics of cells, or on tokens of
--weights; with --cross they are made together, K by encoding. `target`, `pooling`, `cell` and `window` vary
the encoder before --detector: `target` trains a new micro network on each place's history, beside an
untrained one; the others read sarcast-tiny or --weights. Scenes and protocol are those of `events`, set weak.
Rows of an axis are judged on the same cells; those of `cell` on the smallest, where larger ones mix an event
with what is around it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import events
from benchmarks.learned import write_stack
from sarcast.detectors.forecasting import ForecastScorer
from sarcast.detectors.transformer import Transformer
from sarcast.detectors.z_score import ZScore
from sarcast.encoders.statistics import Statistics
from sarcast.encoders.vit import Vit
from sarcast.evaluate.bootstrap import event_bootstrap, paired_difference
from sarcast.evaluate.curves import average_precision
from sarcast.evaluate.onset import cell_cover, onset_cells, onset_index
from sarcast.runtime.settings import build, read_yaml
from sarcast.sar.simulate import Simulated, SimulateScene, simulate
from sarcast.stack.split import split_history
from sarcast.steps.pretrain import Pretrain, pretrain
from sarcast.train.loop import Training
from sarcast.values import Features, PatchGrid, Split, Stack

CONTEXTS = (7, 3, 5, 9)
ENCODINGS = ("sinusoidal", "ctlpe", "linear")
CELLS = (16, 8, 32)
WINDOWS = (None, 4, 8)
RECIPE = Path(__file__).parent.parent / "src/sarcast/recipes/t-sar-jepa-tiny.yaml"
AXES = ("context", "time_encoding", "target", "pooling", "cell", "window")
TRAINING = Training(epochs=2, steps=100, batch=16, learning_rate=5e-4, warm_up=0.1, device="cpu")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A micro network trained on the history of the stack it encodes, or left as it was drawn."""

    target: str | None
    """gradients or pixels; None trains nothing."""
    seed: int
    training: Training = TRAINING

    def encode(self, stack: Stack) -> Features:
        """Train, then encode."""
        if self.target is None:
            return Vit(random_init="micro", token=8, seed=self.seed).encode(stack)
        with tempfile.TemporaryDirectory() as folder:
            source = write_stack(stack, Path(folder) / "run" / "stacks" / "site" / "stack.zarr")
            told = Pretrain(
                source=(source,), out=Path(folder) / "made", objective="local_masked_gradient", size="micro",
                options={"target": self.target}, chips=500, held_out=16, training=self.training,
                seed=self.seed,
            )  # fmt: skip
            return Vit(weights=pretrain(told)).encode(stack)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """One scene judged in every way, and what that took."""

    judged: dict[str, events.Judged]
    """Axis -> its rows."""
    seconds: dict[str, float]
    """Row -> CPU seconds of encoding, fitting and scoring; 0 where another row had done it."""


def main() -> None:
    """Run, print, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--axes", choices=AXES, nargs="+", default=list(AXES))
    parser.add_argument("--cross", action="store_true", help="context and time_encoding together")
    parser.add_argument("--weights", type=Path, default=None, help="encoder/ folder")
    parser.add_argument("--detector", choices=("z_score", "transformer"), default="z_score")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--side", type=int, default=512, help="of a scene, pixels")
    parser.add_argument("--draws", type=int, default=500, help="resamples")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the table to")
    told = parser.parse_args()
    torch.set_num_threads(1)
    detector = ZScore() if told.detector == "z_score" else _recipe()
    rows = ways(told.axes, weights=told.weights, detector=detector, cross=told.cross)
    settings = events.SCENES["weak"].model_copy(update={"shape": (told.side, told.side)})
    scenes = []
    for seed in told.seeds:
        scenes.append(judge(settings, rows, seed=seed))
        print(f"scene {seed} done", flush=True)
    text = table(scenes, settings=settings, seeds=told.seeds, draws=told.draws)
    print(text)
    if told.out is not None:
        said = f"--axes {' '.join(told.axes)} --seeds {' '.join(map(str, told.seeds))} --side {told.side}"
        head = f"# Ablation: {', '.join(told.axes)}\n\n`python -m benchmarks ablation {said}`\n\n"
        told.out.write_text(head + text, encoding="utf-8")


def ways(
    axes: Sequence[str],
    *,
    weights: Path | None = None,
    detector: Any,
    cross: bool = False,
    options: dict[str, Any] | None = None,
    seed: int = 0,
) -> dict[tuple[str, str], events.Way]:
    """(axis, value) -> way; the first value of an axis is what the others are compared with.

    Args:
        axes: Of `AXES`.
        weights: Encoder to read instead of sarcast-tiny, and instead of statistics before the forecaster.
        detector: After the encoders of `target`, `pooling`, `cell` and `window`.
        cross: `context` and `time_encoding` are one axis of their product.
        options: Of the transformer; the recipe's when not given.
        seed: Of networks that are drawn.
    """
    own = _recipe(options)
    cells = Statistics() if weights is None else Vit(weights=weights)
    contexts = sorted({own.context, *CONTEXTS}, key=lambda k: (k != own.context, k))
    read = Vit(weights=weights)
    change = events.Way(encoder=read, detector=detector)
    made: dict[str, dict[str, events.Way]] = {
        "context": {f"K = {k}": _forecast(cells, own, context=k) for k in contexts},
        "time_encoding": {e: _forecast(cells, own, time_encoding=e) for e in ENCODINGS},
        "target": {
            t or "none: random weights": events.Way(encoder=Trained(target=t, seed=seed), detector=detector)
            for t in ("gradients", "pixels", None)
        },
        "pooling": {p: _read(change, pool=p) for p in ("mean_spread", "mean")},
        "cell": {f"{c} px": _read(change, patch=c) for c in CELLS},
        "window": {f"{w} tokens" if w else "as in training": _read(change, window=w) for w in WINDOWS},
    }
    if cross:
        made["context x time_encoding"] = {
            f"K = {k}, {e}": _forecast(cells, own, context=k, time_encoding=e)
            for e in ENCODINGS
            for k in contexts
        }
        axes = ["context x time_encoding", *(a for a in axes if a not in ("context", "time_encoding"))]
    return {(axis, value): way for axis in axes for value, way in made[axis].items()}


def judge(settings: SimulateScene, rows: dict[tuple[str, str], events.Way], *, seed: int) -> Scene:
    """Simulate one scene, score it in every way, and judge axis by axis."""
    simulated = simulate(settings, rng=np.random.default_rng(seed))
    stack = simulated.stack
    split = split_history(stack.times.time, np.ones(len(stack.times), bool))
    known: dict[str, Features] = {}
    done: dict[str, Way] = {}
    seconds = {}
    for (axis, value), way in rows.items():
        began = time.process_time()
        if repr(way) not in done:
            features = known[repr(way.encoder)] = _encoded(known, way.encoder, stack)
            p, valid, scorer = events.p_values(features, way.detector, split, seed=seed)
            skill: tuple[float, ...] = ()
            if isinstance(scorer, ForecastScorer):
                skill = events.skills(scorer, features, split, events.untouched(simulated, features))
            done[repr(way)] = Way(surprise=-np.log10(p), valid=valid, grid=features.grid, skill=skill)
        seconds[f"{axis} = {value}"] = time.process_time() - began
    judged = {}
    for axis in dict.fromkeys(axis for axis, _ in rows):
        some = {f"{a} = {v}": done[repr(way)] for (a, v), way in rows.items() if a == axis}
        judged[axis] = _judged(some, simulated, split)
    return Scene(judged=judged, seconds=seconds)


@dataclass(frozen=True, kw_only=True, eq=False)
class Way:
    """What one row made of a scene."""

    surprise: np.ndarray
    """-log10 p (time, row, col)."""
    valid: np.ndarray
    grid: PatchGrid
    skill: tuple[float, ...]
    """Of a forecaster; empty for others."""


def _judged(ways: dict[str, Way], simulated: Simulated, split: Split) -> events.Judged:
    """Rows of one axis on the smallest cells that one of them has, where all of them have a score."""
    grid = min((way.grid for way in ways.values()), key=lambda g: g.patch)
    times, known = simulated.stack.times.time, simulated.labels.labels
    onset = np.array([onset_index(times, label.onset) for label in known])
    valid = np.logical_and.reduce([on(way.valid, way.grid, grid) for way in ways.values()])
    block = max(1, 128 // grid.stride)
    cover = cell_cover(simulated.masks, grid)
    cells = onset_cells(cover, onset, valid=valid, judged=split.judge, block=block)
    return events.Judged(
        surprise={n: on(w.surprise, w.grid, grid).ravel()[cells.index] for n, w in ways.items()},
        labels=cells.labels,
        events=cells.event_ids,
        blocks=cells.block_ids,
        kinds=tuple(label.kind for label in known),
        skill={name: way.skill for name, way in ways.items() if way.skill},
    )


def on(values: np.ndarray, grid: PatchGrid, fine: PatchGrid) -> np.ndarray:
    """Values (time, row, col) of cells, on smaller cells: each has that of the cell its centre is in."""
    row = np.clip((fine.tops + fine.patch // 2) // grid.stride, 0, grid.shape[0] - 1)
    col = np.clip((fine.lefts + fine.patch // 2) // grid.stride, 0, grid.shape[1] - 1)
    return values[:, row[:, None], col]


def table(scenes: list[Scene], *, settings: SimulateScene, seeds: Sequence[int], draws: int) -> str:
    """One row a value: pooled figures with intervals, difference from the first of its axis, cost, skill."""
    lines = [
        f"Scenes: SimulateScene(kinds={settings.kinds},",
        f"strength_db={settings.strength_db}, shape={settings.shape}, dates={settings.dates});",
        f"seeds {list(seeds)}; {draws} resamples of events and of blocks of negatives of 128 x 128 px.",
        "In brackets 95 % intervals. Differences in AP are from the first row of the axis. Skill is",
        "1 - loss / loss of the context mean on later dates, cells without events, mean over scenes.",
        "Seconds are CPU seconds a scene; a row another one had done already costs 0. Axes with cells of",
        "other sizes have other positives: compare rows within an axis.",
        "",
        "| axis | value | ROC-AUC | AP | recall at 1e-3 | AP less the first's | skill later | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for axis in scenes[0].judged:
        pooled = events.pool([scene.judged[axis] for scene in scenes])
        first = next(iter(pooled.surprise))
        found = len(set(pooled.events[pooled.labels]))
        counts = f"{found} events; {int(pooled.labels.sum())} of {len(pooled.labels)} cells positive"
        for name in pooled.surprise:
            row = " | ".join(_row(pooled, scenes, axis, name, None if name == first else first, draws))
            title = f"{axis} ({counts})" if name == first else axis
            lines.append(f"| {title} | {name.removeprefix(f'{axis} = ')} | {row} |")
    return "\n".join(lines) + "\n"


def _row(
    pooled: events.Judged, scenes: list[Scene], axis: str, name: str, first: str | None, draws: int
) -> list[str]:
    told = {"draws": draws, "seed": 0, "block_ids": pooled.blocks}
    found = event_bootstrap(
        pooled.surprise[name], pooled.labels, pooled.events, statistics=events.FIGURES, **told
    )
    row = [str(found[figure]) for figure in events.FIGURES]
    if first is None:
        row.append("–")
    else:
        better = paired_difference(
            pooled.surprise[name], pooled.surprise[first], pooled.labels, pooled.events,
            statistics={"AP": average_precision}, **told,
        )["AP"]  # fmt: skip
        row.append(f"{better.value:+.3f} [{better.low:+.3f}, {better.high:+.3f}]")
    some = [scene.judged[axis].skill for scene in scenes]
    skills = [skill[name][2] for skill in some if name in skill]
    row.append(f"{np.mean(skills):+.3f}" if skills else "")
    return [*row, f"{np.mean([scene.seconds[name] for scene in scenes]):.0f}"]


def _recipe(options: dict[str, Any] | None = None) -> Transformer:
    options = read_yaml(RECIPE)["detector_options"] if options is None else options
    return build(Transformer, options, where=RECIPE.name)


def _forecast(encoder: Any, own: Transformer, **changes: Any) -> events.Way:
    return events.Way(encoder=encoder, detector=own.model_copy(update=changes))


def _read(way: events.Way, **changes: Any) -> events.Way:
    return events.Way(encoder=way.encoder.model_copy(update=changes), detector=way.detector)


def _encoded(known: dict[str, Features], encoder: Any, stack: Stack) -> Features:
    return known[repr(encoder)] if repr(encoder) in known else encoder.encode(stack)


if __name__ == "__main__":
    main()
