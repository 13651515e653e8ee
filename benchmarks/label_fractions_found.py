"""What `benchmarks.label_fractions` found with a seed, kept in a file: tables are made of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from benchmarks.label_fractions_judge import Curves
from benchmarks.pretrained import Trained
from sarcast.train.checkpoint import Epoch


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a training took, and how it ended."""

    cpu_seconds: float
    first: Epoch
    last: Epoch
    trouble: str | None

    @classmethod
    def of(cls, trained: Trained) -> Spent:
        """Of a training that is done."""
        epochs = trained.history.epochs
        return cls(cpu_seconds=trained.cpu_seconds, first=epochs[0], last=epochs[-1], trouble=trained.trouble)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found with one seed."""

    seed: int
    home: dict[str, Curves] = field(default_factory=dict)
    """Way to see -> curves, where encoders were pretrained."""
    elsewhere: dict[str, dict[str, Curves]] = field(default_factory=dict)
    """Climate -> way to see -> curves."""
    spent: dict[str, Spent] = field(default_factory=dict)
    """Objective -> its training."""
    tiles: dict[str, int] = field(default_factory=dict)
    """Role -> number of tiles."""


def place_of(work: Path, plan: Any, seed: int) -> Path:
    """File of what a plan finds with a seed; another plan has another. It knows nothing of changed code."""
    said = json.dumps([asdict(plan), seed], sort_keys=True, default=_plain)
    return work / f"found-{seed}-{hashlib.sha256(said.encode()).hexdigest()[:16]}.json"


def save(path: Path, found: Found) -> None:
    """Write it, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(found)), encoding="utf-8")
    partial.replace(path)


def load(path: Path) -> Found:
    """Read what `save` wrote."""
    told = json.loads(path.read_text(encoding="utf-8"))
    for one in told["spent"].values():
        one.update(first=Epoch(**one["first"]), last=Epoch(**one["last"]))
    return Found(**{**told, "spent": {name: Spent(**one) for name, one in told["spent"].items()}})


def _plain(settings: BaseModel) -> dict[str, Any]:
    return {"kind": type(settings).__name__, **settings.model_dump(mode="json")}
