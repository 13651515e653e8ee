"""The state of a training in one safetensors file: weights, optimiser and, in its header, the history.

Written whole or not at all, so that a killed training goes on exactly where its last checkpoint was.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from sarcast.errors import ArtefactError

FORMAT = "sarcast-training-1"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of the log."""

    epoch: int
    """From 1 on; 0 is before training."""
    step: int
    """Optimiser steps behind."""
    loss: float
    """Mean over the epoch's steps; before training, that of the held-out images."""
    held_out: float
    """Loss on held-out images."""
    normalised_error: float
    spread: float
    rank: float
    cosine: float | None = None
    """Of a checkpoint from before it was measured: None."""
    answers: float | None = None
    """Of an objective with probabilities for targets."""
    learning_rate: float
    skill_last: float | None = None
    """Of a forecast, on held-out places: 1 - error / error of the last acquisition (persistence)."""
    skill_mean: float | None = None
    """The same against the mean of the context."""


@dataclass(frozen=True, kw_only=True)
class History:
    """What a training has been through so far."""

    losses: list[float] = field(default_factory=list)
    """Of every step."""
    epochs: list[Epoch] = field(default_factory=list)


def rows(history: History, **said: Any) -> list[dict[str, Any]]:
    """`said` and every epoch's figures that were measured, one row an epoch.

    No wall-clock times, so that the same training gives the same rows.
    """
    lines = [asdict(line) for line in history.epochs]
    return [{**said, **{k: v for k, v in line.items() if v is not None}} for line in lines]


def write_log(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write rows as CSV, with a line of names; what a row does not have is left empty."""
    names = dict.fromkeys(name for line in lines for name in line)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def whole(value: Tensor) -> Tensor:
    """A tensor of which every process has a part, put together; all processes call this. Others stay."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def tensors_of(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Whole weights and optimiser state by name, on the CPU; every process calls this."""
    found = {f"module.{name}": value for name, value in module.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        found |= {f"optimiser.{index}.{key}": value for key, value in state.items()}
    return {name: whole(value.detach()).cpu() for name, value in found.items()}


def save_state(path: Path, tensors: dict[str, Tensor], history: History, *, fingerprint: str) -> None:
    """Write everything that the next step depends on; `fingerprint` says what training this is.

    Args:
        path: File.
        tensors: From `tensors_of`.
        history: So far.
        fingerprint: Of settings and data.
    """
    from safetensors.torch import save_file

    told = {"format": FORMAT, "fingerprint": fingerprint, "history": json.dumps(asdict(history))}
    partial = path.with_name(f".{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items()}, partial, metadata=told)
    with partial.open("rb") as stream:
        os.fsync(stream.fileno())
    partial.replace(path)


def load_state(
    path: Path, module: nn.Module, optimiser: torch.optim.Optimizer, *, fingerprint: str
) -> History:
    """Put a saved state into `module` and `optimiser`, and give its history.

    A file of another training (another fingerprint), or none, leaves both alone: the history is empty.

    Raises:
        ArtefactError: The file is unreadable, or a tensor is missing.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return History()
    try:
        with safe_open(path, framework="pt") as stream:
            told = stream.metadata() or {}
            if told.get("format") != FORMAT or told.get("fingerprint") != fingerprint:
                return History()
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ArtefactError(f"expected a readable checkpoint, found {error}, in {path}") from None
    _put(module, optimiser, tensors, path)
    found = json.loads(told["history"])
    return History(losses=found["losses"], epochs=[Epoch(**one) for one in found["epochs"]])


def _put(module: nn.Module, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], path: Path) -> None:
    weights = {k.removeprefix("module."): v for k, v in tensors.items() if k.startswith("module.")}
    missing = module.state_dict().keys() ^ weights.keys()
    if missing:
        raise ArtefactError(f"expected a tensor {min(missing)} in both, found it in one, in {path}")
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    own = module.state_dict()
    module.load_state_dict({name: _like(own[name], value) for name, value in weights.items()})
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    shared = {
        number: {key: _like(parameters[number], value) for key, value in values.items()}
        for number, values in state.items()
    }
    optimiser.load_state_dict({"state": shared, "param_groups": optimiser.state_dict()["param_groups"]})


def _like(own: Tensor, value: Tensor) -> Tensor:
    """`value` shared out over the processes as `own` is, where it is and has its shape."""
    if not isinstance(own, DTensor) or value.shape != own.shape:
        return value
    return distribute_tensor(value, own.device_mesh, own.placements, src_data_rank=None)
