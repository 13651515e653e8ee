"""Few labels on real targets (MSTAR): gradient targets against pixel targets, same budget, with pixel floors.

    python -m benchmarks.few_shot [--shared FOLDER] [--work DIR] [--train TARGET] [--quick] [--out FILE.md]

Two encoders are pretrained without labels on the chips of the train role, alike in everything (weights at the
start, images, crops, masks, steps) but the target of `local_masked_gradient`. Frozen, they are judged on the
test role by logistic regression on 10, 20 and 40 labelled chips a class. Chips are cut to their middle 128 px
first, since their sizes tell classes apart. Test chips are neither trained on nor chosen by. Checkpoints stay
under --work: a second call goes on from them, or judges only. Neither they nor the chips go anywhere else.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student
from sklearn.neighbors import KNeighborsClassifier
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

from benchmarks import pretrained as pretraining
from sarcast.errors import ArtefactError, DataError, ProductError
from sarcast.nn.gradient import ratio_gradients
from sarcast.nn.vit import SIZES, ViT
from sarcast.objectives.local_masked_gradient import LocalMaskedGradient
from sarcast.probes.draws import shots
from sarcast.probes.logistic import STRENGTHS, fitted, in_span
from sarcast.probes.scaling import standardised
from sarcast.readers.chip_files import ChipFile
from sarcast.readers.chip_sources import from_manifest
from sarcast.readers.labelled_chips import LabelledChips
from sarcast.train.checkpoint import History
from sarcast.train.loop import Batch, Training

DATASET = Path("data") / "mstar_soc" / "chips.zip"
CUT, SIDE, TOKEN, FLOOR = 128, 64, 4, 32
TARGETS = ("gradients", "pixels")
RANDOM = "random weights"
TRAINING = Training(epochs=30, steps=100, batch=32, learning_rate=1e-3, warm_up=0.1, device="cpu")
_HELD_OUT, _BATCHES, _SHOTS, _CHOICE = range(1, 5)
Classifier = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True, eq=False)
class Chips:
    """Chips of one role."""

    pixels: torch.Tensor
    """float32 (chip, 1, CUT, CUT) in [0, 1]."""
    classes: np.ndarray
    """int (chip,)."""
    single: np.ndarray
    """bool (chip,): belongs to the convention with one serial of BMP2 and of T72."""

    def __getitem__(self, some: np.ndarray) -> Chips:
        return Chips(pixels=self.pixels[some], classes=self.classes[some], single=self.single[some])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What both trainings have in common, and how they are judged."""

    training: Training = TRAINING
    size: str = "micro"
    radii: tuple[int, ...] = (1, 3, 4, 5)
    """5, 9, 13 and 17 px at 224 px, as published, at SIDE px."""
    held_out: int = 256
    """Chips of the train role kept for the diagnostics."""
    shots: tuple[int, ...] = (10, 20, 40)
    """Labelled chips a class."""
    draws: int = 10
    """Of labelled chips."""
    choice: tuple[int, int] = (20, 5)
    """(labelled chips a class, draws) by which pooling and C are chosen, on the train role alone."""
    seed: int = 0
    """Of weights, crops and masks; what is labelled does not depend on it."""

    def objective(self, target: str) -> LocalMaskedGradient:
        """Windows of 7 x 7 tokens, 80 % hidden, 4 an image, as published; a small predictor."""
        return LocalMaskedGradient(
            target=target, radii=self.radii, predictor_dim=48, predictor_depth=2, predictor_heads=3
        )

    @property
    def start(self) -> pretraining.Start:
        """The encoder before it has learned."""
        return pretraining.Start(size=self.size, patch=TOKEN, seed=self.seed)


QUICK = Plan(
    training=Training(epochs=1, steps=2, batch=4, device="cpu"),
    held_out=4,
    shots=(2,),
    draws=2,
    choice=(2, 1),
)


def main() -> None:
    """Train what is not trained yet, judge, print, and write the table where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shared", type=Path, default=os.environ.get("SARCAST_SHARED"), help="real data")
    parser.add_argument(
        "--work", type=Path, default=None, help="keeps checkpoints; a scratch folder if not told"
    )
    parser.add_argument(
        "--train", choices=TARGETS, default=None, help="train this target only, judge nothing"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="a pair of encoders each")
    parser.add_argument(
        "--as-is", action="store_true", help="judge the checkpoints under --work, train no further"
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
        if told.train:
            for plan in plans:
                pretrained(told.train, roles[0].pixels, plan, work)
            return
        text = compared(*roles, plans, work, as_is=told.as_is)
    print(text)
    if told.out is not None:
        told.out.write_text(text + "\n", encoding="utf-8")


def read(path: Path, *, most: int | None = None) -> tuple[Chips, Chips]:
    """Chips of the train role and of the test role, cut to their middle; at most `most` of a class and role.

    Raises:
        ArtefactError: The archive is missing, or another thing, or a chip is in both roles.
    """
    listed = partial(
        from_manifest,
        ChipFile(path=path, member="mstar_soc/manifest.csv"),
        side=CUT,
        label="class",
        role="split",
        prefix="mstar_soc/",
    )
    try:
        every, single = listed(), set(listed(only={"std_single_serial": "1"}).ids)
        if most is not None:
            every = every[_first(every, single, most)]
        parts = every.parts()
        return _chips(parts["train"], single), _chips(parts["test"], single)
    except (ProductError, DataError) as error:
        raise ArtefactError(f"expected the MSTAR chips, found: {error}") from None


def _first(chips: LabelledChips, single: set[str], most: int) -> np.ndarray:
    """Indices of the first `most` chips of each class and role, of one serial."""
    count: Counter[tuple[str, int]] = Counter()
    found = []
    for i, name in enumerate(chips.ids):
        key = chips.roles[i], int(chips.labels[i])
        if name in single and count[key] < most:
            count[key] += 1
            found.append(i)
    return np.array(found)


def _chips(chips: LabelledChips, single: set[str]) -> Chips:
    pixels, _ = chips.pixels()
    return Chips(
        pixels=torch.from_numpy(pixels),
        classes=chips.labels,
        single=np.array([name in single for name in chips.ids]),
    )


def shrunk(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """(chip, 1, side, side): means over squares of CUT / side pixels."""
    return avg_pool2d(pixels, CUT // side)


def augmented(pixels: torch.Tensor, *, rng: np.random.Generator) -> torch.Tensor:
    """Other looks at chips: a square of .2 to 1 of the area, mirrored or not, contrast x .5 to 1.5."""
    b = len(pixels)
    scale = np.sqrt(rng.uniform(0.2, 1, b))
    shift = rng.uniform(-1, 1, (2, b)) * (1 - scale)
    cut = sampled(pixels, scale=scale, shift=shift, mirrored=rng.random(b) < 0.5)
    contrast = torch.from_numpy(rng.uniform(0.5, 1.5, (b, 1, 1, 1)).astype(np.float32))
    mean = cut.mean((1, 2, 3), keepdim=True)
    return (mean + contrast * (cut - mean)).clamp(0, 1)


def sampled(
    pixels: torch.Tensor, *, scale: np.ndarray, shift: np.ndarray, mirrored: np.ndarray
) -> torch.Tensor:
    """(b, 1, SIDE, SIDE): squares of `scale` (b,) times the side, moved by `shift` (x and y, b) half sides.

    Bilinear; a whole chip gives means over 2 x 2 px, as `shrunk` does.
    """
    look = np.zeros((len(pixels), 2, 3), np.float32)
    look[:, 0, 0] = scale * np.where(mirrored, -1, 1)
    look[:, 1, 1] = scale
    look[:, :, 2] = shift.T
    grid = affine_grid(torch.from_numpy(look), [len(pixels), 1, SIDE, SIDE], align_corners=False)
    return grid_sample(pixels, grid, align_corners=False, padding_mode="reflection")


def pretrained(
    target: str, chips: torch.Tensor, plan: Plan, work: Path, *, as_is: bool = False
) -> tuple[ViT, History]:
    """The encoder trained on `target`, from its checkpoint under `work` where there is one.

    `as_is` trains it no further: it is what the checkpoint holds.

    Raises:
        ArtefactError: `as_is`, and there is no checkpoint of this training.
    """
    found = pretraining.pretrained(
        target,
        plan.objective(target),
        plan.start,
        images(chips, plan),
        plan.training,
        work=work,
        as_is=as_is,
    )
    return found.vit, found.history


def images(chips: torch.Tensor, plan: Plan) -> pretraining.Images:
    """Other looks at the chips of the train role, some of them held out."""
    order = np.random.default_rng([plan.seed, _HELD_OUT]).permutation(len(chips))
    held_out, seen = chips[order[: plan.held_out]], chips[order[plan.held_out :]]

    def draw(step: int, part: int) -> Batch:
        drawn = np.random.default_rng([plan.seed, _BATCHES, step, part])
        some = drawn.integers(len(seen), size=plan.training.batch)
        return whole(augmented(seen[some], rng=drawn))

    return pretraining.Images(draw=draw, held_out=whole(shrunk(held_out, SIDE)))


def whole(pixels: torch.Tensor) -> Batch:
    """A batch without invalid pixels."""
    return pixels, torch.ones_like(pixels[:, 0], dtype=torch.bool)


@torch.no_grad()
def poolings(vit: ViT, pixels: torch.Tensor) -> dict[str, np.ndarray]:
    """Way of pooling -> float32 (chip, dim), from the tokens of whole chips, encoded once."""
    vit.eval()
    found: dict[str, list[torch.Tensor]] = {}
    for some in shrunk(pixels, SIDE).split(64):
        every = vit.tokens(some)
        tokens = every[:, 1:].unflatten(1, (SIDE // TOKEN, SIDE // TOKEN)).permute(0, 3, 1, 2)
        ways = {
            "mean": tokens.mean((2, 3)),
            "class token": every[:, 0],
            "mean, spread": torch.cat([tokens.mean((2, 3)), tokens.std((2, 3))], 1),
            "4 x 4 means": avg_pool2d(tokens, 4).flatten(1),
            "8 x 8 means": avg_pool2d(tokens, 2).flatten(1),
        }
        for name, vectors in ways.items():
            found.setdefault(name, []).append(vectors)
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


def vectors(vit: ViT, roles: tuple[Chips, Chips], work: Path) -> list[dict[str, np.ndarray]]:
    """`poolings` of both roles, kept under `work` by the encoder's weights."""
    weights = hashlib.sha256(b"".join(x.numpy().tobytes() for x in vit.state_dict().values())).hexdigest()
    found = []
    for role, chips in zip(("learn", "judge"), roles, strict=True):
        path = work / f"{weights[:16]}-{role}-{len(chips.classes)}.npz"
        if not path.exists():
            np.savez(path, **poolings(vit, chips.pixels))
        with np.load(path) as held:
            found.append(dict(held))
    return found


def logistic(strength: float) -> Classifier:
    """Logistic regression, `strength` C: (vectors, classes, vectors to judge) -> classes."""
    return lambda x, y, judge: fitted(*in_span(x, judge), y, strength)


def nearest(x: np.ndarray, y: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Class of the nearest neighbour."""
    return KNeighborsClassifier(1).fit(x, y).predict(judged)


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One way to see chips, and what it is judged with."""

    name: str
    learn: np.ndarray
    """float32 (chip, dim) of the train role."""
    judge: np.ndarray
    """float32 (chip, dim) of the test role."""
    classify: Classifier
    said: str
    """What was chosen for it on the train role, or fixed beforehand."""
    score: float = 0.0
    """Accuracy by which it was chosen."""


def floors(learn: Chips, judge: Chips, plan: Plan) -> list[Row]:
    """Pixels alone, with settings fixed beforehand; and the ratio gradients themselves."""
    pixels = [_unit(_resized(role.pixels).flatten(1).numpy()) for role in (learn, judge)]
    gradients = [
        ratio_gradients(shrunk(role.pixels, SIDE), radii=plan.radii)[0][:, 0] for role in (learn, judge)
    ]
    ways = [
        {f"{n} x {n} means": avg_pool2d(g, SIDE // n).flatten(1).numpy() for n in (8, 16, 32)}
        for g in gradients
    ]
    name = f"pixels, {FLOOR} x {FLOOR}"
    return [
        Row(name=f"{name}, 1-NN", learn=pixels[0], judge=pixels[1], classify=nearest, said="–"),
        Row(name=f"{name}, logistic", learn=pixels[0], judge=pixels[1], classify=logistic(30.0), said="C 30"),
        chosen("ratio gradients, not learned", ways, learn.classes, plan)[0],
    ]


def _resized(pixels: torch.Tensor) -> torch.Tensor:
    """(chip, 1, FLOOR, FLOOR), as image libraries make it: bilinear, widened against aliasing."""
    return interpolate(pixels, size=(FLOOR, FLOOR), mode="bilinear", antialias=True, align_corners=False)


def _unit(x: np.ndarray) -> np.ndarray:
    """Every chip with mean 0 and norm 1."""
    centred = x - x.mean(1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def chosen(name: str, roles: list[dict[str, np.ndarray]], classes: np.ndarray, plan: Plan) -> list[Row]:
    """A row for every pooling, best first, its C the one that does best on the train role alone.

    Args:
        name: Of the rows.
        roles: Pooling -> vectors, of the train role and of the test role.
        classes: Of the train role: some of it is labelled, the rest judged.
        plan: How often, and how many are labelled.
    """
    learn, judge = roles
    rows = []
    for pooling, vectors in learn.items():
        x, other = standardised(vectors, judge[pooling])
        score, strength = max(zip(_scores(x, classes, plan), STRENGTHS, strict=True))
        rows.append(
            Row(
                name=name,
                learn=x,
                judge=other,
                classify=logistic(strength),
                said=f"{pooling}, C {strength:g}",
                score=score,
            )
        )
    return sorted(rows, key=lambda row: -row.score)


def _scores(x: np.ndarray, classes: np.ndarray, plan: Plan) -> list[float]:
    """Mean accuracy for each of `STRENGTHS`, on the train role."""
    count, draws = plan.choice
    found = np.zeros((draws, len(STRENGTHS)))
    for draw in range(draws):
        some = shots(classes, count, rng=np.random.default_rng([_CHOICE, draw]))
        rest = np.setdiff1d(np.arange(len(classes)), some)
        known, asked = in_span(x[some], x[rest])
        for i, strength in enumerate(STRENGTHS):
            found[draw, i] = np.mean(fitted(known, asked, classes[some], strength) == classes[rest])
    return found.mean(0).tolist()


def judged(row: Row, learn: Chips, judge: Chips, plan: Plan, *, single: bool) -> np.ndarray:
    """Accuracy (shots, draw) on the test role, per cent; draws are the same for every row."""
    own = np.flatnonzero(learn.single) if single else np.arange(len(learn.classes))
    other = np.flatnonzero(judge.single) if single else np.arange(len(judge.classes))
    found = np.zeros((len(plan.shots), plan.draws))
    for i, count in enumerate(plan.shots):
        for draw in range(plan.draws):
            rng = np.random.default_rng([_SHOTS, count, draw])
            some = own[shots(learn.classes[own], count, rng=rng)]
            guess = row.classify(row.learn[some], learn.classes[some], row.judge[other])
            found[i, draw] = 100 * np.mean(guess == judge.classes[other])
    return found


def compared(learn: Chips, judge: Chips, plans: list[Plan], work: Path, *, as_is: bool = False) -> str:
    """All tables, and what they stand on."""
    groups = {row.name: [row] for row in floors(learn, judge, plans[0])}
    lines, every = [], []
    for plan in plans:
        ways, told = {RANDOM: plan.start.network()[0]}, {}
        for target in TARGETS:
            ways[f"{target} predicted"], told[target] = pretrained(
                target, learn.pixels, plan, work, as_is=as_is
            )
        steps = {target: len(history.losses) for target, history in told.items()}
        if len(set(steps.values())) > 1:
            raise ArtefactError(f"expected as many steps of both targets, found {steps}, in {work}")
        lines += [_trained(target, plan, history) for target, history in told.items()]
        for name, vit in ways.items():
            every.append(chosen(name, vectors(vit, (learn, judge), work), learn.classes, plan))
            groups.setdefault(name, []).append(every[-1][0])
    parts = [heading(plans, len(learn.classes), len(judge.classes)), *lines]
    for single in (False, True):
        sizes = [int(role.single.sum()) if single else len(role.classes) for role in (learn, judge)]
        found = {
            name: np.stack([judged(row, learn, judge, plans[0], single=single) for row in some])
            for name, some in groups.items()
        }
        title = "One serial of BMP2 and of T72" if single else "All serials"
        parts += ["", f"## {title} ({sizes[0]} / {sizes[1]} chips)", "", *_accuracies(found, groups, plans)]
        parts += ["", *_differences(found, plans)]
    few = replace(plans[0], shots=plans[0].choice[:1])
    parts += ["", f"## By pooling, seed {plans[0].seed}, all serials, {few.shots[0]} a class", ""]
    return "\n".join([*parts, *_by_pooling(every[: len(TARGETS) + 1], learn, judge, few)])


def heading(plans: list[Plan], learn: int, judge: int) -> str:
    """What was done, in words and settings."""
    plan, t = plans[0], plans[0].training
    size, o = SIZES[plan.size], plan.objective("gradients")
    steps = t.epochs * t.steps
    seeds = ", ".join(str(p.seed) for p in plans)
    words = f"""`python -m benchmarks.few_shot`, pretraining seeds {seeds}.
        Ten vehicles, 8-bit magnitude; chips cut to their middle {CUT} px, then means of {CUT // SIDE} x
        {CUT // SIDE}: {SIDE} px, tokens of {TOKEN} px. Encoder `{plan.size}` ({size.depth} blocks, width
        {size.dim}), predictor {o.predictor_depth} x {o.predictor_dim}. Pretrained on the train role without
        labels ({learn} chips, {plan.held_out} of them for the diagnostics only): a schedule of {steps} steps
        of {t.batch} images ({steps * t.batch / learn:.0f} times all chips), {o.windows} windows of
        {o.window[0]} x {o.window[1]} tokens, {o.hidden:.0%} hidden, radii
        {", ".join(map(str, o.radii))} px, AdamW, peak rate
        {t.learning_rate:g}, warm-up {t.warm_up:.0%}; squares of .2 to 1 of the area, mirrored, contrast x .5
        to 1.5. Both targets have the same weights at the start, images, crops and masks. Frozen vectors are
        standardised over the train role; pooling and C are chosen for every row on the train role alone
        ({plan.choice[0]} labelled chips a class, {plan.choice[1]} draws, the rest judged). All are judged on
        the test role ({judge} chips), {plan.draws} draws of labelled chips, the same for every row. Intervals
        are over those draws: another pretraining seed is another encoder."""
    paragraph = textwrap.fill(" ".join(words.split()), 110)
    return f"# Few labels on MSTAR: gradient targets against pixel targets\n\n{paragraph}\n"


def _trained(target: str, plan: Plan, history: History) -> str:
    first, last = history.epochs[0], history.epochs[-1]
    return (
        f"- {target}, seed {plan.seed}, after {last.step} steps: held-out loss {first.held_out:.4f} to "
        f"{last.held_out:.4f}, over variance {last.normalised_error:.2f}; effective rank {first.rank:.0f} to "
        f"{last.rank:.0f}; learning rate {last.learning_rate:.1g}."
    )


def _accuracies(found: dict[str, np.ndarray], groups: dict[str, list[Row]], plans: list[Plan]) -> list[str]:
    """Accuracy, mean and standard deviation over draws (and seeds of the encoder)."""
    counts = " | ".join(f"{count} a class" for count in plans[0].shots)
    lines = [f"| accuracy, % (mean +- std) | {counts} | chosen |", "|---" * (len(plans[0].shots) + 2) + "|"]
    for name, values in found.items():
        cells = " | ".join(
            f"{values[:, i].mean():.1f} +- {values[:, i].std(ddof=1):.1f}" for i in range(values.shape[1])
        )
        lines.append(f"| {name} | {cells} | {'; '.join(row.said for row in groups[name])} |")
    return lines


def _differences(found: dict[str, np.ndarray], plans: list[Plan]) -> list[str]:
    """Paired differences, with 95 % intervals over draws of labelled chips; each encoder's seed by itself."""
    ours, pixels = (f"{target} predicted" for target in TARGETS)
    counts = " | ".join(f"{count} a class" for count in plans[0].shots)
    lines = [f"| difference, points [95 %] | {counts} |", "|---" * (len(plans[0].shots) + 1) + "|"]
    for number, plan in enumerate(plans):
        for other in (pixels, RANDOM):
            gained = found[ours][number] - found[other][number]
            cells = " | ".join(interval(one) for one in gained)
            lines.append(f"| {ours} less {other}, seed {plan.seed} | {cells} |")
    return lines


def _by_pooling(every: list[list[Row]], learn: Chips, judge: Chips, plan: Plan) -> list[str]:
    """Accuracy of every pooling, its C chosen as above."""
    lines = [f"| pooling | {' | '.join(rows[0].name for rows in every)} |", "|---" * (len(every) + 1) + "|"]
    pools = [row.said.rpartition(", C ")[0] for row in every[-1]]
    for pool in pools:
        cells = []
        for rows in every:
            row = next(row for row in rows if row.said.startswith(f"{pool}, C "))
            values = judged(row, learn, judge, plan, single=False)
            cells.append(f"{values.mean():.1f} +- {values.std(ddof=1):.1f} ({row.said.rpartition(', ')[2]})")
        lines.append(f"| {pool} | {' | '.join(cells)} |")
    return lines


def interval(differences: np.ndarray) -> str:
    """Mean and 95 % interval of Student's t over the draws."""
    n, mean = len(differences), float(np.mean(differences))
    half = float(student.ppf(0.975, n - 1) * np.std(differences, ddof=1) / np.sqrt(n))
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


if __name__ == "__main__":
    main()
