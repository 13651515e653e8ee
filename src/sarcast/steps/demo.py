"""sarcast demo: simulate a place with known events, run the main job, print the table against the truth."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import DataError
from sarcast.runtime.artefact import content_hash, locked, up_to_date, write_json, writing
from sarcast.runtime.settings import Settings, as_json
from sarcast.sar.simulate import SimulateScene
from sarcast.steps.encode import Encode, encode
from sarcast.steps.run import Run, run
from sarcast.steps.score import Score, score
from sarcast.steps.simulate import PRODUCTS, TRUTH, Simulate, simulate

if TYPE_CHECKING:
    from sarcast.evaluate.onset import JudgedCells
    from sarcast.values import Estimate, Labels, Scores

ESTIMATES = "estimates.json"
PAIRS = tuple((e, d) for e in ("statistics", "gradients", "vit") for d in ("z_score", "transformer"))
DEFAULT = ("statistics", "z_score")


class Demo(Settings):
    """The embedded default: a simulated Capella-like stack with known events, and everything done on it."""

    out: Path = Path("sarcast-demo")
    """Folder to write."""
    scene: SimulateScene = SimulateScene()
    """What to simulate."""
    seed: int = 0
    """Of every random generator."""


def demo(settings: Demo) -> dict[str, Any]:
    """Simulate, run, compare two detectors on three encoders, and give the figures.

    Returns:
        `table`: rows of encoder, detector and three estimates; `report`, `estimates`: paths; `planted`,
        `judged_events`, `cells`: how many events there were, and on how many cells and events was judged.
    """
    simulate(Simulate(out=settings.out, scene=settings.scene, seed=settings.seed))
    report = run(
        Run(
            source=settings.out / PRODUCTS,
            out=settings.out,
            encoder=DEFAULT[0],
            detector=DEFAULT[1],
            title="sarcast demo: a simulated place with known events",
            seed=settings.seed,
        )
    )
    target = settings.out / ESTIMATES
    stacks = sorted((settings.out / "stacks").glob("*/stack.zarr"))
    scores = {pair: [_compare(path, pair, settings.seed) for path in stacks] for pair in PAIRS}
    told, inputs = as_json(settings), {f"{e}-{d}": content_hash(scores[e, d][0]) for e, d in PAIRS}
    if not up_to_date(target, settings=told, inputs=inputs):
        found = _estimate(settings, scores)
        with (
            locked(settings.out),
            writing(target, settings=told, inputs=inputs, seed=settings.seed) as partial,
        ):
            write_json(partial, found)
    found = json.loads(target.read_text(encoding="utf-8"))
    return {**found, "report": str(report), "estimates": str(target)}


def as_text(found: dict[str, Any]) -> str:
    """The table for people."""
    lines = [
        f"{found['planted']} events planted, {found['judged_events']} of them judged at their onset on "
        f"{found['cells']:,} cells; 95 % intervals over events",
        "",
        f"{'encoder':<12}{'detector':<13}{'ROC-AUC':<23}{'average precision':<23}"
        "recall at 1 false alarm per 1,000",
    ]
    for row in found["table"]:
        cells = [_cell(row[name]) for name in ("roc_auc", "average_precision", "recall")]
        mark = " (default)" if (row["encoder"], row["detector"]) == DEFAULT else ""
        lines.append(f"{row['encoder']:<12}{row['detector']:<13}{cells[0]:<23}{cells[1]:<23}{cells[2]}{mark}")
    lines += ["", f"report: {found['report']}"]
    return "\n".join(lines)


def judged_cells(scores: Scores, labels: Labels, folder: Path) -> JudgedCells:
    """Positives and negatives of one stack: cells an event covers at its onset, cells nothing touched."""
    from rasterio.features import geometry_mask

    from sarcast.evaluate.onset import cell_cover, onset_cells, onset_index
    from sarcast.steps.learn import split_of

    split, usable = split_of(scores.times, folder)
    shape, transform = tuple(scores.geobox.shape), scores.geobox.transform
    masks = [
        geometry_mask([label.geometry], out_shape=shape, transform=transform, invert=True)
        for label in labels.labels
    ]
    cover = np.stack([cell_cover(mask, scores.grid) for mask in masks])
    onset = np.array([onset_index(scores.times.time, label.onset) for label in labels.labels])
    return onset_cells(cover, onset, valid=scores.valid, judged=split.judge & usable)


def _compare(stack: Path, pair: tuple[str, str], seed: int) -> Path:
    """Scores of one encoder-detector pair: the run's own for the default, else under compare/."""
    encoder, detector = pair
    if pair == DEFAULT:
        return stack.with_name("scores.zarr")
    folder = stack.parent / "compare" / f"{encoder}-{detector}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("quality.json",):
        (folder / name).write_bytes(stack.with_name(name).read_bytes())
    features = encode(Encode(stack=stack, out=folder / "features.zarr", encoder=encoder))
    return score(Score(features=features, detector=detector, seed=seed))


def _estimate(settings: Demo, scores: dict[tuple[str, str], list[Path]]) -> dict[str, Any]:
    from sarcast.stack.cells import read_scores
    from sarcast.steps.products import read_labels

    labels = read_labels(settings.out / TRUTH)
    if not labels.labels:
        raise DataError(f"expected planted events to judge, found none, in {settings.out / TRUTH}")
    rows, judged = [], None
    for (encoder, detector), paths in scores.items():
        found = read_scores(paths[0])
        judged = judged_cells(_common(found, scores), labels, paths[0].parent)
        rows.append({"encoder": encoder, "detector": detector, **_figures(found, judged, settings.seed)})
    assert judged is not None
    return {
        "table": rows,
        "planted": len(labels.labels),
        "judged_events": len(labels.labels) - len(judged.missed),
        "cells": len(judged),
        "protocol": "planted events at their onset; negatives: untouched cells; times after history",
        "seed": settings.seed,
    }


def _common(found: Scores, scores: dict[tuple[str, str], list[Path]]) -> Scores:
    """The same scores, valid only where every pair has a score, so that all are judged on the same cells."""
    from dataclasses import replace

    from sarcast.stack.cells import read_scores

    valid = np.logical_and.reduce([read_scores(paths[0]).valid for paths in scores.values()])
    return replace(found, valid=valid)


def _figures(scores: Scores, judged: JudgedCells, seed: int) -> dict[str, Any]:
    from sarcast.evaluate.bootstrap import event_bootstrap
    from sarcast.evaluate.curves import average_precision, recall_at_false_alarms, roc_auc

    found: dict[str, Estimate] = event_bootstrap(
        scores.values.ravel()[judged.index],
        judged.labels,
        judged.event_ids,
        statistics={
            "roc_auc": roc_auc,
            "average_precision": average_precision,
            "recall": recall_at_false_alarms,
        },
        block_ids=judged.block_ids,
        seed=seed,
    )
    return {name: _without_nan(asdict(estimate)) for name, estimate in found.items()}


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN: an interval that cannot be had (one event, say) is null."""
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()}


def _cell(estimate: dict[str, Any]) -> str:
    if estimate["low"] is None:
        return f"{estimate['value']:.3f} [too few events]"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"
