"""Few labels on real targets (MSTAR): every objective at the same budget, with pixel floors.

    python -m benchmarks.few_shot [--shared FOLDER] [--work DIR] [--objectives NAME ...] [--seeds SEED ...]
                                  [--train] [--as-is] [--quick] [--out FILE.md]

Encoders are pretrained without labels on the chips of the train role, alike in everything (weights at the
start, images, batches, steps) but the objective. Frozen, they are judged on the test role by logistic
regression on 10, 20 and 40 labelled chips a class. Test chips are neither trained on nor chosen by.
Checkpoints stay under --work: a second call goes on from them, or judges only. So do the encoders, as folders
for `sarcast probe --weights` (work/seed-0/dino). Neither they nor the chips go anywhere else.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.few_shot_plan import OBJECTIVES, QUICK, Plan, pretrained
from benchmarks.few_shot_rows import floors, found, of_encoder
from benchmarks.few_shot_text import RANDOM, Told, accuracies, by_pooling, differences, heading, trained
from benchmarks.mstar import DATASET, SIDE, Chips, read
from benchmarks.pretrained import Trained
from sarcast.errors import ArtefactError
from sarcast.nn.card import Card
from sarcast.nn.pretrained import Pretrained, save_encoder


def main() -> None:
    """Train what is not trained yet, judge, print, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shared", type=Path, default=os.environ.get("SARCAST_SHARED"), help="real data")
    parser.add_argument("--work", type=Path, default=None, help="keeps checkpoints; scratch if not told")
    parser.add_argument("--objectives", nargs="+", choices=tuple(OBJECTIVES), default=list(OBJECTIVES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="an encoder an objective each")
    parser.add_argument("--train", action="store_true", help="train only, judge nothing")
    parser.add_argument(
        "--as-is",
        action="store_true",
        help="judge the checkpoints under --work, train no further; of each objective the seeds there are",
    )
    parser.add_argument("--quick", action="store_true", help="a few steps and chips: figures mean nothing")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the table to")
    told = parser.parse_args()
    if told.shared is None:
        parser.error(f"expected --shared (or SARCAST_SHARED), the folder that holds {DATASET}")
    torch.set_num_threads(1)
    roles = read(Path(told.shared) / DATASET, most=6 if told.quick else None)
    plans = [replace(QUICK if told.quick else Plan(), seed=seed) for seed in told.seeds]
    with tempfile.TemporaryDirectory() as scratch:
        work = told.work or Path(scratch)
        every = encoders(told.objectives, roles[0], plans, work, as_is=told.as_is)
        text = "" if told.train else compared(*roles, plans, every, work)
    print(text)
    if told.out is not None and text:
        told.out.write_text(text + "\n", encoding="utf-8")


def encoders(
    names: list[str], learn: Chips, plans: list[Plan], work: Path, *, as_is: bool = False
) -> dict[str, dict[int, Trained]]:
    """Objective -> seed -> encoder; `as_is`: those that have a checkpoint, at least one of each objective.

    Raises:
        ArtefactError: There is none of an objective, or one has been trained longer than another.
    """
    every: dict[str, dict[int, Trained]] = {name: {} for name in names}
    for plan in plans:
        for name in names:
            try:
                one = pretrained(name, learn.pixels, plan, work, as_is=as_is)
            except ArtefactError:
                if plan is plans[-1] and not every[name]:
                    raise
                continue
            every[name][plan.seed] = one
            _save(name, one, plan, work)
    steps = {(name, seed): len(x.history.losses) for name, some in every.items() for seed, x in some.items()}
    if len(set(steps.values())) > 1:
        raise ArtefactError(f"expected as many steps of every training, found {steps}, in {work}")
    return every


def _save(name: str, one: Trained, plan: Plan, work: Path) -> None:
    """The encoder as a folder; MSTAR's pictures go to it as 0 to 1, so its card is not used there."""
    about = {
        "objective": name,
        "steps": len(one.history.losses),
        "seed": plan.seed,
        "data": "MSTAR train role",
    }
    held = Pretrained(vit=one.vit, card=Card(), window=SIDE // one.vit.patch, about=about)
    save_encoder(work / f"seed-{plan.seed}" / name, held)


def compared(
    learn: Chips, judge: Chips, plans: list[Plan], every: dict[str, dict[int, Trained]], work: Path
) -> str:
    """All tables, and what they stand on."""
    plan = plans[0]
    ways = {RANDOM: {one.seed: one.start.network()[0] for one in plans}}
    ways |= {OBJECTIVES[name]: {seed: x.vit for seed, x in some.items()} for name, some in every.items()}
    each = {row.name: [found([row], learn, judge, plan)] for row in floors(learn, judge, plan)}
    for name, some in ways.items():
        each[name] = [of_encoder(name, vit, learn, judge, plan, work) for vit in some.values()]
    told = Told(plans=plans, found=each, seeds={name: list(some) for name, some in ways.items()})
    parts = [heading(plan, every, len(learn.classes), len(judge.classes)), *trained(every)]
    for number, title in enumerate(("All serials", "One serial of BMP2 and of T72")):
        sizes = [int(role.single.sum()) if number else len(role.classes) for role in (learn, judge)]
        accuracy = told.accuracy(number)
        parts += ["", f"## {title} ({sizes[0]} / {sizes[1]} chips)", "", *accuracies(accuracy, told)]
        parts += ["", *differences(accuracy, told)]
    parts += ["", f"## By pooling, seed {plan.seed}, all serials, {plan.choice[0]} a class", ""]
    return "\n".join([*parts, *by_pooling(told)])


if __name__ == "__main__":
    main()
