"""The recipes of a reproduced table, one for each row, which come with sarcast: what a benchmark trains."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from sarcast.objectives import OBJECTIVES
from sarcast.runtime.settings import Settings, build, read_yaml
from sarcast.train.augment import Augment
from sarcast.train.loop import Training

FOLDER = Path(str(files("sarcast"))) / "recipes" / "tables"


def recipe(table: str, row: str) -> dict[str, Any]:
    """Settings of `sarcast pretrain` for one row of a table."""
    return read_yaml(FOLDER / table / f"{row}.yaml")


def objective(table: str, row: str, **more: Any) -> Settings:
    """The row's objective; `more` settings of it that a benchmark knows."""
    told = recipe(table, row)
    found: Settings = build(OBJECTIVES[told["objective"]], {**told["options"], **more}, where=row)
    return found


def training(table: str, row: str) -> Training:
    """How long and how fast the row is trained, on a CPU."""
    return build(Training, {**recipe(table, row)["training"], "device": "cpu"}, where=row)


def augmentation(table: str, row: str) -> Augment:
    """What may differ between two looks at one place."""
    return build(Augment, recipe(table, row)["augment"], where=row)
