"""Ways to see chips, and how well each tells classes apart from few labels: floors, and frozen encoders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch.nn.functional import avg_pool2d, interpolate

from benchmarks.few_shot_plan import CHOICE, SHOTS, Plan
from benchmarks.mstar import SIDE, Chips, shrunk
from sarcast.nn.gradient import ratio_gradients
from sarcast.nn.vit import ViT
from sarcast.probes.draws import shots
from sarcast.probes.logistic import STRENGTHS, fitted, in_span
from sarcast.probes.scaling import standardised

FLOOR = 32
FLOORS = (
    f"pixels, {FLOOR} x {FLOOR}, 1-NN",
    f"pixels, {FLOOR} x {FLOOR}, logistic",
    "ratio gradients, not learned",
)
"""Names of the rows without a network."""
Classifier = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@torch.no_grad()
def poolings(vit: ViT, pixels: torch.Tensor) -> dict[str, np.ndarray]:
    """Way of pooling -> float32 (chip, dim), from the tokens of whole chips, encoded once."""
    vit.eval()
    found: dict[str, list[torch.Tensor]] = {}
    for some in shrunk(pixels, SIDE).split(64):
        every = vit.tokens(some)
        tokens = every[:, 1:].unflatten(1, (SIDE // vit.patch, SIDE // vit.patch)).permute(0, 3, 1, 2)
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
    return [
        Row(name=FLOORS[0], learn=pixels[0], judge=pixels[1], classify=nearest, said="–"),
        Row(name=FLOORS[1], learn=pixels[0], judge=pixels[1], classify=logistic(30.0), said="C 30"),
        chosen(FLOORS[2], ways, learn.classes, plan)[0],
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
        some = shots(classes, count, rng=np.random.default_rng([CHOICE, draw]))
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
            rng = np.random.default_rng([SHOTS, count, draw])
            some = own[shots(learn.classes[own], count, rng=rng)]
            guess = row.classify(row.learn[some], learn.classes[some], row.judge[other])
            found[i, draw] = 100 * np.mean(guess == judge.classes[other])
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a way to see chips was found to be worth."""

    said: str
    """What was chosen for it."""
    accuracy: tuple[np.ndarray, np.ndarray]
    """(shots, draw) on the test role, per cent: all serials, and one of BMP2 and of T72."""
    pools: dict[str, np.ndarray]
    """Pooling -> (draw,) with as many labels as it was chosen by, all serials; empty for floors."""


def found(rows: list[Row], learn: Chips, judge: Chips, plan: Plan) -> Found:
    """What the first of `rows` is worth, and each of them where they are poolings."""
    few = replace(plan, shots=plan.choice[:1])
    pools = {row.said.rpartition(", C ")[0]: judged(row, learn, judge, few, single=False)[0] for row in rows}
    return Found(
        said=rows[0].said,
        accuracy=(
            judged(rows[0], learn, judge, plan, single=False),
            judged(rows[0], learn, judge, plan, single=True),
        ),
        pools=pools if len(rows) > 1 else {},
    )


def of_encoder(name: str, vit: ViT, learn: Chips, judge: Chips, plan: Plan, work: Path) -> Found:
    """What a frozen encoder is worth, kept under `work` by its weights, the chips and the plan."""
    key = hashlib.sha256(b"".join(x.numpy().tobytes() for x in vit.state_dict().values()))
    key.update(repr((plan.shots, plan.draws, plan.choice, len(learn.classes), len(judge.classes))).encode())
    path = work / f"{key.hexdigest()[:16]}.json"
    if not path.exists():
        roles = [poolings(vit, role.pixels) for role in (learn, judge)]
        one = found(chosen(name, roles, learn.classes, plan), learn, judge, plan)
        told = {
            "said": one.said,
            "accuracy": [x.tolist() for x in one.accuracy],
            "pools": {pool: x.tolist() for pool, x in one.pools.items()},
        }
        path.write_text(json.dumps(told), encoding="utf-8")
    held = json.loads(path.read_text(encoding="utf-8"))
    every, single = (np.array(x) for x in held["accuracy"])
    pools = {pool: np.array(x) for pool, x in held["pools"].items()}
    return Found(said=held["said"], accuracy=(every, single), pools=pools)
