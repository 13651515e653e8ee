"""What the context length K and the time encoding are worth: the transformer, K = 3 to 9, three encodings.

    python -m benchmarks.ablation [--weights FOLDER] [--seeds 0 1] [--contexts 3 5 7 9] [--out FILE.md]

The paper's two ablations (arXiv 2606.05700), made together, and judged by what is found besides by loss: all
ways on the same cells of later dates, after training on history alone. Scenes and protocol are those of
`events`, set weak. Features are the statistics of cells, or tokens of --weights, an encoder from pretrain,
adapt or finetune. Other settings of the detector are those of the recipe t-sar-jepa-tiny.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import events
from sarcast.detectors.transformer import Transformer
from sarcast.encoders.statistics import Statistics
from sarcast.encoders.vit import Vit
from sarcast.runtime.settings import build, read_yaml
from sarcast.sar.simulate import SimulateScene

CONTEXTS = (3, 5, 7, 9)
ENCODINGS = ("sinusoidal", "ctlpe", "linear")
RECIPE = Path(__file__).parent.parent / "src/sarcast/recipes/t-sar-jepa-tiny.yaml"


def main() -> None:
    """Run, print, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path, default=None, help="encoder/ folder; else statistics")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--contexts", type=int, nargs="+", default=list(CONTEXTS))
    parser.add_argument("--draws", type=int, default=500, help="resamples")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the table to")
    told = parser.parse_args()
    torch.set_num_threads(1)
    encoder = Statistics() if told.weights is None else Vit(weights=told.weights)
    rows = ways(encoder, told.contexts)
    scenes = []
    for seed in told.seeds:
        scenes.append(events.judge(events.SCENES["weak"], rows, seed=seed))
        print(f"scene {seed}: {len(set(scenes[-1].events)) - 1} events judged", flush=True)
    what = "statistics" if told.weights is None else told.weights.name
    text = table(scenes, features=what, settings=events.SCENES["weak"], seeds=told.seeds, draws=told.draws)
    print(text)
    if told.out is not None:
        told.out.write_text(f"# Context length and time encoding\n\n{text}", encoding="utf-8")


def ways(
    encoder: Any, contexts: Sequence[int], options: dict[str, Any] | None = None
) -> dict[str, events.Way]:
    """The recipe's detector first, then every other K and encoding."""
    options = read_yaml(RECIPE)["detector_options"] if options is None else options
    own = build(Transformer, options, where=RECIPE.name)
    made = [own.model_copy(update={"context": k, "time_encoding": e}) for e in ENCODINGS for k in contexts]
    order = [own, *(one for one in made if one != own)]
    return {
        f"K = {one.context}, {one.time_encoding}": events.Way(encoder=encoder, detector=one) for one in order
    }


def table(
    scenes: list[events.Judged], *, features: str, settings: SimulateScene, seeds: list[int], draws: int
) -> str:
    """Detection with intervals, and skill, as Markdown."""
    pooled = events.pool(scenes)
    lines = [
        f"Features: {features}. Scenes: SimulateScene(kinds={settings.kinds},",
        f"strength_db={settings.strength_db}, shape={settings.shape}, dates={settings.dates});",
        f"seeds {seeds}; {draws} resamples of events and of 8 x 8 blocks of negatives;",
        f"{int(pooled.labels.sum())} positive of {len(pooled.labels)} judged cells.",
        "In brackets 95 % intervals. The first row is the recipe's: differences in AP are from it.",
        "",
        *events.figures(pooled, scenes, draws=draws, title="All events"),
        "",
        "## Skill of the forecaster",
        "",
        "1 - loss / loss of the simple forecast, mean over scenes [lowest, highest]. History: cells not",
        "trained on; later: judged dates, cells without events.",
        "",
        "| way | history: against context mean | against persistence | later: against context mean "
        "| against persistence |",
        "|---|---|---|---|---|",
    ]
    for name in pooled.surprise:
        found = np.array([scene.skill[name] for scene in scenes])
        row = [f"{v.mean():+.3f} [{v.min():+.3f}, {v.max():+.3f}]" for v in found.T]
        lines.append(f"| {name} | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
