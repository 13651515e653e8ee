"""sarcast demo: simulate a place with known events, run the main job, print the table against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sarcast.runtime.settings import Settings
from sarcast.sar.simulate import SimulateScene
from sarcast.steps.encode import Encode, encode
from sarcast.steps.evaluate import Evaluate, evaluate
from sarcast.steps.judge_text import cell
from sarcast.steps.run import Run, run
from sarcast.steps.score import Score, score
from sarcast.steps.simulate import PRODUCTS, Simulate, simulate

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
    """Simulate, run, compare two detectors on three encoders, and judge them all.

    Returns:
        What `sarcast evaluate` says of it, `table` in the order of `PAIRS`, and `report`, its path.
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
    for stack in sorted((settings.out / "stacks").glob("*/stack.zarr")):
        for pair in PAIRS[1:]:
            _compare(stack, pair, settings.seed)
    found = evaluate(Evaluate(run=settings.out, seed=settings.seed))
    rows = {(row["encoder"], row["detector"]): row for row in found["table"]}
    return {**found, "table": [rows[pair] for pair in PAIRS], "report": str(report)}


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
        cells = [cell(row[name]) for name in ("roc_auc", "average_precision", "recall")]
        mark = " (default)" if (row["encoder"], row["detector"]) == DEFAULT else ""
        lines.append(f"{row['encoder']:<12}{row['detector']:<13}{cells[0]:<23}{cells[1]:<23}{cells[2]}{mark}")
    lines += ["", f"report: {found['report']}"]
    return "\n".join(lines)


def _compare(stack: Path, pair: tuple[str, str], seed: int) -> None:
    """Scores of one encoder-detector pair, under compare/."""
    encoder, detector = pair
    folder = stack.parent / "compare" / f"{encoder}-{detector}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("quality.json",):
        (folder / name).write_bytes(stack.with_name(name).read_bytes())
    features = encode(Encode(stack=stack, out=folder / "features.zarr", encoder=encoder))
    score(Score(features=features, detector=detector, seed=seed))
