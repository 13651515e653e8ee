"""Label fractions on simulated seasonal tiles: what pretraining is worth from 1 to 100 % of the labels.

    python -m benchmarks.label_fractions [--seeds 0 1 2 3 4] [--work DIR] [--as-is] [--quick] [--train-only]
        [--epochs N] [--objectives NAME ...] [--out FILE.md] [--figure FILE.png]

Four objectives at one budget of images, from the same weights, on the train tiles of a region without their
labels; a seed draws a region, weights, masks and labels anew. Frozen, encoders are judged beside the network
they began as, the pixels and hand-made statistics; then, as they are, on regions of two other climates.
Checkpoints and figures stay under --work: a second call goes on from them, and only reads what was judged
with the same settings (by whatever code). With --out the files are written again after every seed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.label_fractions_data import (
    CLIMATES,
    TOKEN,
    Land,
    Region,
    Seen,
    by_encoder,
    by_pixels,
    by_statistics,
    region,
    together,
    without_texture,
)
from benchmarks.label_fractions_found import Found, Spent, load, place_of, save
from benchmarks.label_fractions_judge import Curves, Judging, curves
from benchmarks.label_fractions_plot import draw_curves
from benchmarks.label_fractions_text import CONTROLS, RANDOM, as_text
from benchmarks.pretrained import Start, Trained, pretrained
from benchmarks.tables import objective, training
from sarcast.objectives.local_masked_gradient import LocalMaskedGradient
from sarcast.objectives.mae import Mae
from sarcast.sar.seasons import CHANNELS
from sarcast.train.loop import Training

HOME, *ELSEWHERE = CLIMATES
PIXELS, STATISTICS = CONTROLS
WITHOUT_TEXTURE = f"{STATISTICS} without texture"
SPAN_DB = 4.0
"""dB from the mean of a channel to a standard deviation more, about: what ratios are taken with."""

LAND, ABROAD = Land(), Land(tiles=(32, 32), held_out=1)
TABLE = "label-fractions"
ROWS = {"mae": "MAE", "dino": "DINO", "sar-jepa": "SAR-JEPA", "gradient-jepa": "gradient-JEPA"}
"""Recipe -> name in the table."""
TRAINING = training(TABLE, "mae")
JUDGING = Judging()
JUDGING_ABROAD = Judging(fractions=(0.05, 0.25, 1.0), draws=5, cover_draws=1)


def objectives() -> dict[str, Any]:
    """Name in the table -> settings: the papers' ideas on 8 x 8 tokens, with light predictors."""
    return {
        name: objective(TABLE, row, **({"channels": CHANNELS} if row == "dino" else {}))
        for row, name in ROWS.items()
    }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all seeds have in common."""

    land: Land = LAND
    abroad: Land = ABROAD
    """In other climates, where no training is."""
    training: Training = TRAINING
    size: str = "micro"
    judging: Judging = JUDGING
    elsewhere: Judging = JUDGING_ABROAD
    """In other climates."""
    objectives: dict[str, Any] = field(default_factory=objectives)

    def start(self, seed: int) -> Start:
        """The network all objectives of a seed begin as."""
        return Start(size=self.size, patch=TOKEN, channels=len(CHANNELS), seed=seed)


QUICK = Plan(
    land=Land(tiles=(10, 10), side=32, bands=5, buffer_m=0, held_out=4),
    abroad=Land(tiles=(8, 8), side=32, bands=5, buffer_m=0, held_out=1),
    training=Training(epochs=1, steps=2, batch=4, device="cpu"),
    judging=Judging(fractions=(0.1, 1.0), draws=2, cover_draws=1, steps=10),
    elsewhere=Judging(fractions=(1.0,), draws=1, cover_draws=1, steps=10),
    objectives={
        "MAE": Mae(predictor_dim=12, predictor_depth=1, predictor_heads=3),
        "SAR-JEPA": LocalMaskedGradient(
            window=(3, 3),
            windows=1,
            radii=(2,),
            span_db=SPAN_DB,
            predictor_dim=12,
            predictor_depth=1,
            predictor_heads=3,
        ),
    },
)


def main() -> None:
    """Train what is not trained yet, judge, print, and write table and figure where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="a region each")
    parser.add_argument("--work", type=Path, default=None, help="keeps checkpoints; else a scratch folder")
    parser.add_argument("--epochs", type=int, default=None, help="of 100 steps; more than the table has")
    parser.add_argument("--objectives", nargs="+", choices=objectives(), default=None, help="only these")
    parser.add_argument("--as-is", action="store_true", help="judge the checkpoints there are, train none")
    parser.add_argument("--train-only", action="store_true", help="judge nothing")
    parser.add_argument("--quick", action="store_true", help="a few steps and tiles: figures mean nothing")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the tables to")
    parser.add_argument("--figure", type=Path, default=None, help="PNG file to draw the curves to")
    told = parser.parse_args()
    torch.set_num_threads(1)
    plan = limited(QUICK if told.quick else Plan(), told.epochs, told.objectives)
    with tempfile.TemporaryDirectory() as scratch:
        work, every = told.work or Path(scratch), []
        for seed in told.seeds:
            every.append(of_seed(plan, seed, work, as_is=told.as_is, judge=not told.train_only))
            if not told.train_only:
                write(plan, every, out=told.out, figure=told.figure)
    if not told.train_only:
        print(as_text(plan, every))


def limited(plan: Plan, epochs: int | None, names: Sequence[str] | None) -> Plan:
    """The plan with so many epochs and with only the objectives of these names, where told."""
    training = plan.training.model_copy(update={"epochs": epochs} if epochs else {})
    some = {name: one for name, one in plan.objectives.items() if names is None or name in names}
    return replace(plan, training=training, objectives=some)


def write(plan: Plan, every: list[Found], *, out: Path | None, figure: Path | None) -> None:
    """Table and figure of the seeds so far, where asked for."""
    if out is not None:
        out.write_text(as_text(plan, every) + "\n", encoding="utf-8")
    if figure is not None:
        draw_curves(figure, plan.judging.fractions, [one.home for one in every], tuple(plan.objectives))


def of_seed(plan: Plan, seed: int, work: Path, *, as_is: bool = False, judge: bool = True) -> Found:
    """Everything of one seed: trainings, figures at home, and elsewhere; read where it was found before."""
    path = place_of(work, plan, seed)
    if path.exists():
        return load(path)
    home = region(HOME, seed, plan.land)
    images = home.images(size=plan.training.batch)
    trained = {
        name: pretrained(name, objective, plan.start(seed), images, plan.training, work=work, as_is=as_is)
        for name, objective in plan.objectives.items()
    }
    if not judge:
        return Found(seed=seed)
    seen = ways(plan, seed, trained, home, home)
    found = Found(
        seed=seed,
        home={name: curves(one, home, plan.judging) for name, one in (seen | why(seen)).items()},
        elsewhere={climate: _elsewhere(plan, seed, trained, home, climate) for climate in ELSEWHERE},
        spent={name: Spent.of(one) for name, one in trained.items()},
        tiles={"train": len(home.train.db), "test": len(home.test.db)},
    )
    save(path, found)
    return found


def ways(plan: Plan, seed: int, trained: dict[str, Trained], home: Region, where: Region) -> dict[str, Seen]:
    """Name -> what is seen of `where`: controls, then encoders, with the scaling of `home`."""
    found = {PIXELS: by_pixels(where), STATISTICS: by_statistics(where)}
    found[RANDOM] = by_encoder(plan.start(seed).network()[0], home.card, where)
    return found | {name: by_encoder(one.vit, home.card, where) for name, one in trained.items()}


def why(seen: dict[str, Seen]) -> dict[str, Seen]:
    """What statistics are without texture, and whether encoders know what statistics do not."""
    statistics = seen[STATISTICS]
    encoders = [name for name in seen if name not in (PIXELS, STATISTICS)]
    found = {f"{name} with {STATISTICS}": together(seen[name], statistics) for name in encoders[:2]}
    return {WITHOUT_TEXTURE: without_texture(statistics, channels=len(CHANNELS)), **found}


def _elsewhere(
    plan: Plan, seed: int, trained: dict[str, Trained], home: Region, climate: str
) -> dict[str, Curves]:
    where = region(climate, seed, plan.abroad)
    every = ways(plan, seed, trained, home, where)
    return {name: curves(seen, where, plan.elsewhere) for name, seen in every.items()}


if __name__ == "__main__":
    main()
