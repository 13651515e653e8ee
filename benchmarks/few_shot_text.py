"""The tables of the few-shot benchmark, and what they stand on."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from benchmarks.few_shot_plan import OBJECTIVES, Plan
from benchmarks.few_shot_rows import FLOORS, Found
from benchmarks.mstar import CUT, SIDE
from benchmarks.pretrained import Trained
from sarcast.nn.vit import SIZES

RANDOM = "random weights"


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """What the rows of a table are."""

    plans: list[Plan]
    found: dict[str, list[Found]]
    """Name of a row -> what was found for each seed."""
    seeds: dict[str, list[int]]
    """Name of a row -> its seeds; floors have none."""

    def accuracy(self, convention: int) -> dict[str, np.ndarray]:
        """Name of a row -> (seed, shots, draw), per cent; 0 all serials, 1 one of BMP2 and T72."""
        return {
            name: np.stack([one.accuracy[convention] for one in some]) for name, some in self.found.items()
        }


def heading(plan: Plan, every: dict[str, dict[int, Trained]], learn: int, judge: int) -> str:
    """What was done, in words and settings."""
    t, size = plan.training, SIZES[plan.size]
    local, dino, mae = (plan.objective(name) for name in ("gradients", "dino", "mae"))
    steps, radii = t.epochs * t.steps, ", ".join(map(str, plan.radii))
    words = f"""`python -m benchmarks.few_shot`. Ten vehicles, 8-bit magnitude; chips cut to their middle
        {CUT} px, then means of {CUT // SIDE} x {CUT // SIDE}: {SIDE} px, tokens of {plan.token} px. Encoder
        `{plan.size}` ({size.depth} blocks, width {size.dim}), pretrained on the train role without labels
        ({learn} chips, {plan.held_out} of them for the diagnostics only): {steps} steps of {t.batch} images
        ({steps * t.batch / learn:.0f} times all chips), AdamW, peak rate {t.learning_rate:g}, warm-up
        {t.warm_up:.0%}; squares of .2 to 1 of the area, mirrored, contrast x .5 to 1.5. All objectives of a
        seed have the same weights at the start and the same images. Settings were fixed beforehand,
        none was tuned. Predictors {local.predictor_depth} x {local.predictor_dim}, radii of gradients
        {radii} px.
        Local masked: {local.windows} windows of {local.window[0]} x {local.window[1]} tokens,
        {local.hidden:.0%} hidden. MAE: {mae.hidden:.0%} hidden. DINO: 2 + {dino.locals} crops,
        {dino.prototypes} prototypes (no answer at all loses ln {dino.prototypes} =
        {math.log(dino.prototypes):.2f}). Frozen vectors are standardised over the train role; pooling and C
        are chosen for every row on the train role alone ({plan.choice[0]} labelled chips a class,
        {plan.choice[1]} draws, the rest judged). All are judged on the test role ({judge} chips),
        {plan.draws} draws of labelled chips, the same for every row. Intervals are over those draws, each
        encoder by itself: another pretraining seed is another encoder."""
    paragraph = textwrap.fill(" ".join(words.split()), 110)
    return f"# Few labels on MSTAR: {len(every)} objectives, one budget\n\n{paragraph}\n"


def trained(every: dict[str, dict[int, Trained]]) -> list[str]:
    """A table of the trainings: what each took, and whether it is healthy."""
    lines = [
        "| pretraining | seed | steps | CPU s | held-out loss | over variance | effective rank | trouble |",
        "|---" * 8 + "|",
    ]
    for name, some in every.items():
        for seed, one in some.items():
            first, last = one.history.epochs[0], one.history.epochs[-1]
            lines.append(
                f"| {OBJECTIVES[name]} | {seed} | {last.step} | {one.cpu_seconds:.0f} | "
                f"{first.held_out:.4f} to {last.held_out:.4f} | {last.normalised_error:.2f} | "
                f"{first.rank:.0f} to {last.rank:.0f} | {one.trouble or 'none'} |"
            )
    return lines


def accuracies(found: dict[str, np.ndarray], told: Told) -> list[str]:
    """Accuracy, mean and standard deviation over draws (and seeds of the encoder)."""
    shots = told.plans[0].shots
    counts = " | ".join(f"{count} a class" for count in shots)
    lines = [f"| accuracy, % (mean +- std) | {counts} | seeds | chosen |", "|---" * (len(shots) + 3) + "|"]
    for name, values in found.items():
        cells = " | ".join(
            f"{values[:, i].mean():.1f} +- {values[:, i].std(ddof=1):.1f}" for i in range(len(shots))
        )
        seeds = ", ".join(map(str, told.seeds.get(name, []))) or "–"
        chosen = "; ".join(dict.fromkeys(one.said for one in told.found[name]))
        lines.append(f"| {name} | {cells} | {seeds} | {chosen} |")
    return lines


def differences(found: dict[str, np.ndarray], told: Told) -> list[str]:
    """Paired differences, with 95 % intervals over draws of labelled chips; each encoder's seed by itself."""
    shots = told.plans[0].shots
    counts = " | ".join(f"{count} a class" for count in shots)
    lines = [f"| difference, points [95 %] | {counts} |", "|---" * (len(shots) + 1) + "|"]
    for ours, other in _pairs(told):
        for seed in told.seeds[ours]:
            if other in told.seeds and seed not in told.seeds[other]:
                continue
            number = told.seeds[other].index(seed) if other in told.seeds else 0
            gained = found[ours][told.seeds[ours].index(seed)] - found[other][number]
            cells = " | ".join(interval(one) for one in gained)
            lines.append(f"| {ours} less {other}, seed {seed} | {cells} |")
    return lines


def _pairs(told: Told) -> list[tuple[str, str]]:
    """What is compared: the two targets of each kind of masking, then all with random weights and floors."""
    names = [name for name in told.seeds if name != RANDOM]
    targets = [("gradients", "pixels"), ("mae_gradients", "mae"), ("gradients", "mae_gradients")]
    pairs = [(OBJECTIVES[one], OBJECTIVES[other]) for one, other in targets]
    found = [pair for pair in pairs if set(pair) <= set(names)]
    return [*found, *((name, other) for other in (RANDOM, FLOORS[1]) for name in names)]


def by_pooling(told: Told) -> list[str]:
    """Accuracy of every pooling of the first seed, its C chosen as above."""
    every = {name: some[0].pools for name, some in told.found.items() if name in told.seeds}
    lines = [f"| pooling | {' | '.join(every)} |", "|---" * (len(every) + 1) + "|"]
    for pool in next(iter(every.values())):
        cells = [f"{pools[pool].mean():.1f} +- {pools[pool].std(ddof=1):.1f}" for pools in every.values()]
        lines.append(f"| {pool} | {' | '.join(cells)} |")
    return lines


def interval(differences: np.ndarray) -> str:
    """Mean and 95 % interval of Student's t over the draws."""
    n, mean = len(differences), float(np.mean(differences))
    half = float(student.ppf(0.975, n - 1) * np.std(differences, ddof=1) / np.sqrt(n))
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"
