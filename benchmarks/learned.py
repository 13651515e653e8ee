"""What learning adds: random, pretrained and adapted encoders beside statistics, alone and fused.

    python -m benchmarks.learned [--weights sarcast-tiny] [--seeds 0 1 2 3 4] [--set weak|all] [--out FILE.md]

Scenes, judging and pooling are those of benchmarks/events.py. Every encoder meets both detectors. `random` is
the network of the weights with other values drawn for them: what training is worth is the difference from it.
`adapted` went on learning from each scene's own history (stage 1), never from a judged date; `on one's own
place` in brackets is what that cost. A fused score is the sum of -log10 p of two ways, each calibrated on the
scene's history, and calibrated there once more.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.events import SCENES, Judged, by_kind, figures, p_values, pool
from sarcast.decide.calibrate import learn_null
from sarcast.detectors.transformer import Transformer
from sarcast.detectors.z_score import ZScore
from sarcast.encoders.gradients import Gradients
from sarcast.encoders.statistics import Statistics
from sarcast.encoders.vit import Vit
from sarcast.evaluate.bootstrap import paired_difference
from sarcast.evaluate.curves import average_precision, roc_auc
from sarcast.evaluate.onset import cell_cover, onset_cells, onset_index
from sarcast.nn.pretrained import Pretrained, find_weights, load_encoder, save_encoder
from sarcast.nn.vit import ViT
from sarcast.runtime.artefact import writing
from sarcast.sar.simulate import SimulateScene, simulate
from sarcast.stack.split import split_history
from sarcast.stack.store import Header, StackWriter
from sarcast.steps.adapt import Adapt, adapt
from sarcast.train.loop import Training
from sarcast.values import Stack

DETECTORS = {"z_score": ZScore(), "transformer": Transformer()}
LEARNED = ("random", "pretrained", "adapted")
SINGLE = ("statistics", "gradients", *LEARNED)
FUSED = ("gradients", *LEARNED)
BASE = "statistics"
ADAPT = Training(epochs=3, steps=200, batch=32, learning_rate=3e-4, warm_up=0.1, device="cpu")


def main() -> None:
    """Run, print, and write the tables where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path("sarcast-tiny"), help="folder, or shipped name")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--set", choices=sorted(SCENES), default="weak", help="weak events, or all kinds")
    parser.add_argument("--draws", type=int, default=500, help="resamples")
    parser.add_argument("--quick", action="store_true", help="leave the transformers out")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the tables to")
    told = parser.parse_args()
    detectors = ("z_score",) if told.quick else tuple(DETECTORS)
    work = partial(judge, SCENES[told.set], weights=told.weights, detectors=detectors)
    with ProcessPoolExecutor(told.jobs, mp_context=get_context("spawn")) as many:
        found = list(many.map(work, told.seeds))
    scenes = [one for one, _ in found]
    text = tables(scenes, detectors=detectors, draws=told.draws)
    text += costs([seconds for _, seconds in found])
    print(text)
    if told.out is not None:
        about = load_encoder(find_weights(told.weights)).about
        head = f"# What learning adds, set {told.set}\n\n`python -m benchmarks.learned --set {told.set}`, "
        head += f"weights {told.weights.name} ({about.get('images', 0):,} training images); "
        head += f"seeds {told.seeds}.\n\n"
        told.out.write_text(head + text, encoding="utf-8")


def judge(
    settings: SimulateScene, seed: int, *, weights: Path, detectors: tuple[str, ...]
) -> tuple[Judged, dict[str, float]]:
    """One scene in every way: what was judged, and CPU seconds an encoder took."""
    torch.set_num_threads(1)
    simulated = simulate(settings, rng=np.random.default_rng(seed))
    stack = simulated.stack
    split = split_history(stack.times.time, np.ones(len(stack.times), bool))
    surprise: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    seen, grid = np.ones(1, bool), None
    with tempfile.TemporaryDirectory() as folder:
        makers = encoders(stack, weights, Path(folder), seed=seed)
        for name, make in makers.items():
            started = time.process_time()
            features = make().encode(stack)
            seconds[name] = time.process_time() - started
            grid = features.grid
            for detector in detectors:
                p, valid, _ = p_values(features, DETECTORS[detector], split, seed=seed)
                surprise[f"{name}, {detector}"] = np.where(valid, -np.log10(p), 0)
                seen = seen & valid
    for detector in detectors:
        for other in FUSED:
            parts = [surprise[f"{name}, {detector}"] for name in (BASE, other)]
            surprise[f"{BASE} + {other}, {detector}"] = fused(parts, seen, split.fit)
    assert grid is not None
    cover = cell_cover(simulated.masks, grid)
    onset = np.array([onset_index(stack.times.time, label.onset) for label in simulated.labels.labels])
    cells = onset_cells(cover, onset, valid=seen, judged=split.judge)
    judged = Judged(
        surprise={name: s.ravel()[cells.index] for name, s in surprise.items()},
        labels=cells.labels,
        events=cells.event_ids,
        blocks=cells.block_ids,
        kinds=tuple(label.kind for label in simulated.labels.labels),
        skill={},
    )
    return judged, seconds


def encoders(stack: Stack, weights: Path, folder: Path, *, seed: int) -> dict[str, Callable[[], Any]]:
    """Makers of the encoders of the table; the adapted one is trained when it is made."""
    start = find_weights(weights)

    def random() -> Vit:
        own = load_encoder(start)
        vit = ViT(own.vit.size, patch=own.vit.patch, rng=torch.Generator().manual_seed(seed))
        save_encoder(folder / "random", Pretrained(vit=vit, card=own.card, window=own.window))
        return Vit(weights=folder / "random")

    def adapted() -> Vit:
        path = write_stack(stack, folder / "run" / "stacks" / "site" / "stack.zarr")
        told = Adapt(
            source=(path,), out=folder / "adapted", weights=start, objective="across_dates",
            options={"predictor_depth": 0, "hidden": 0.05}, training=ADAPT, seed=seed,
        )  # fmt: skip
        return Vit(weights=adapt(told))

    return {
        BASE: Statistics,
        "gradients": Gradients,
        "random": random,
        "pretrained": lambda: Vit(weights=start),
        "adapted": adapted,
    }


def write_stack(stack: Stack, path: Path) -> Path:
    """A stack as a run folder holds it."""
    header = Header(
        name=stack.name, bands=stack.bands, geobox=stack.geobox, radiometry=stack.radiometry, attributes={}
    )
    with writing(path, settings={}, inputs={}) as partial_path:
        writer = StackWriter(partial_path, header)
        writer.lay_out(stack.times)
        for t, scene in enumerate(stack.times.scene_id):
            writer.write_block(scene, (0, 0), np.asarray(stack.amplitude[t]), np.asarray(stack.valid[t]))
    return path


def fused(surprises: list[np.ndarray], seen: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """-log10 p of the sum, calibrated on what history's sums are; 0 where not seen by all."""
    total = np.sum(surprises, axis=0)
    null = learn_null(total[fit][seen[fit]])
    return np.where(seen, -np.log10(null.p_value(total)), 0)


def tables(scenes: list[Judged], *, detectors: tuple[str, ...], draws: int) -> str:
    """The figures of every detector, what training adds to the fused score, and the kinds of events."""
    lines = [
        f"{int(sum(s.labels.sum() for s in scenes))} positive of {sum(len(s.labels) for s in scenes)} judged "
        f"cells; {draws} resamples of events and of blocks of negatives; in brackets 95 % intervals.",
    ]
    for detector in detectors:
        some = [keep(scene, detector) for scene in scenes]
        pooled = pool(some)
        lines += ["", *figures(pooled, some, draws=draws, title=f"All events, {detector}")]
        lines += ["", *differences(pooled, detector, draws=draws)]
        if "texture" in pooled.kinds:
            alone = [s for s in (scene.only({"texture"}) for scene in some) if s.labels.any()]
            lines += ["", *figures(pool(alone), alone, draws=draws, title=f"Texture-only events, {detector}")]
        lines += ["", *by_kind(pooled)]
    return "\n".join(lines) + "\n"


def keep(scene: Judged, detector: str) -> Judged:
    """The ways of one detector, statistics first."""
    ways = {n.removesuffix(f", {detector}"): s for n, s in scene.surprise.items() if n.endswith(detector)}
    return replace(scene, surprise=ways)


def differences(pooled: Judged, detector: str, *, draws: int) -> list[str]:
    """Paired differences that answer the question: does training add to the fused score?"""
    fuse = f"{BASE} + "
    pairs = [
        (f"{fuse}random", BASE),
        (f"{fuse}pretrained", BASE),
        (f"{fuse}adapted", BASE),
        (f"{fuse}pretrained", f"{fuse}gradients"),
        (f"{fuse}pretrained", f"{fuse}random"),
        (f"{fuse}adapted", f"{fuse}pretrained"),
        ("pretrained", "random"),
    ]
    lines = [f"## What is gained, {detector}", "", "| this | less that | ROC-AUC | AP |", "|---|---|---|---|"]
    told = {"draws": draws, "seed": 0, "block_ids": pooled.blocks}
    for this, that in pairs:
        found = paired_difference(
            pooled.surprise[this], pooled.surprise[that], pooled.labels, pooled.events,
            statistics={"AUC": roc_auc, "AP": average_precision}, **told,
        )  # fmt: skip
        cells = [f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]" for e in (found["AUC"], found["AP"])]
        lines.append(f"| {this} | {that} | {' | '.join(cells)} |")
    return lines


def costs(seconds: list[dict[str, float]]) -> str:
    """CPU seconds of encoding a scene; the adapted encoder's with its training."""
    mean = {name: np.mean([s[name] for s in seconds]) for name in seconds[0]}
    told = ", ".join(f"{name} {value:.0f}" for name, value in mean.items())
    return f"\nCPU seconds to encode one scene on one core (adapted: training too): {told}.\n"


if __name__ == "__main__":
    main()
