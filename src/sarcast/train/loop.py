"""One visible training loop, on a CPU, a GPU, or many of them through torchrun (Lightning Fabric, DDP, FSDP).

A step is made of parts. What a part contains depends on the seed, the step and the part's number alone, so
it does not matter how many processes share the parts, or whether the training was interrupted.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from sarcast.errors import DataError, SettingsError
from sarcast.nn.attention import Block
from sarcast.runtime.settings import Settings
from sarcast.train.checkpoint import Epoch, History, load_state, save_state, tensors_of, whole
from sarcast.train.diagnostics import Health, health
from sarcast.train.schedule import groups, rate

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch.distributed import DeviceMesh

Batch = tuple[Tensor, ...]
"""What a module is called with."""
_HIDING, _HELD_OUT = 1, 2


class Training(Settings):
    """How long and how fast to train, and on what."""

    epochs: int = Field(20, ge=1)
    """Each ends with a checkpoint, a line in the log and the diagnostics."""
    steps: int = Field(100, ge=1)
    """Optimiser steps an epoch."""
    batch: int = Field(16, ge=1)
    """Images a part (stage 3: places, each on many dates)."""
    parts: int = Field(1, ge=1)
    """Parts a step: shared by the processes, accumulated within one."""
    learning_rate: float = Field(1e-3, gt=0)
    """Highest of the schedule: a straight rise, then a half cosine."""
    warm_up: float = Field(0.05, ge=0, lt=1)
    """Share of the steps spent rising."""
    weight_decay: float = Field(0.05, ge=0)
    """Of matrices; biases, norms, tables and tokens are not decayed."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Of AdamW."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    precision: Literal["32", "bf16"] = "32"
    """bf16: bfloat16 where it is safe (autocast)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA where there is one."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """What torchrun's processes share: ddp (auto), the work alone; fsdp, also weights, gradients and the
    optimiser's state, of which each keeps a part. The numbers are the same."""


class Module(Protocol):
    """What can be trained: a `torch.nn.Module` whose call, with a batch and `rng`, gives the loss."""

    def stepped(self, done: float) -> None:
        """Called after each optimiser step, `done` (0..1) of the training behind it."""
        ...


@contextmanager
def processes(settings: Training) -> Iterator[Fabric]:
    """The processes and devices of this training: one process, or those torchrun started.

    The connection between them is closed on the way out: a thread of it that outlives the interpreter aborts
    the process, after all its work was done.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import ModelParallelStrategy

    world, local = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    many = world > 1
    shared = ModelParallelStrategy(_shared_out, data_parallel_size=world, tensor_parallel_size=1)
    fabric = Fabric(
        accelerator="cuda"
        if settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())
        else "cpu",
        strategy="auto" if not many else shared if settings.strategy == "fsdp" else "ddp",
        devices=local if many else 1,
        num_nodes=world // local if many else 1,
        precision="bf16-mixed" if settings.precision == "bf16" else "32-true",
    )
    fabric.launch()
    try:
        yield fabric
        if many:
            torch.distributed.barrier()
    finally:
        if many:
            torch.distributed.destroy_process_group()


def _shared_out(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """`module` with its weights shared out over the processes (FSDP2), gathered block by block in use."""
    from torch.distributed.fsdp import fully_shard

    processes = mesh["data_parallel"]
    for part in list(module.modules()):
        if isinstance(part, Block):
            fully_shard(part, mesh=processes)
    return cast(nn.Module, fully_shard(module, mesh=processes))


def train(
    module: nn.Module,
    draw: Callable[[int, int], Batch],
    settings: Training,
    *,
    held_out: Batch,
    fabric: Fabric,
    state: Path,
    fingerprint: str,
    seed: int,
    report: Callable[[Epoch, History], None],
    diagnose: Callable[..., Health] = health,
    shares: Mapping[str, float] | None = None,
) -> History:
    """Train `module` in place, going on from `state` where that is of this training.

    Args:
        module: A `Module`, such as an objective with its encoder.
        draw: (step, part) -> batch; must depend on its arguments alone.
        settings: How.
        held_out: Batch for the diagnostics, never learned from.
        fabric: From `processes`.
        state: File of the checkpoint, written after every epoch.
        fingerprint: Names this training: a checkpoint of another one is not gone on from.
        seed: Of what is hidden.
        report: Called after every epoch, in the first process only.
        diagnose: (module, *held_out, seed=...) -> what it is worth.
        shares: Beginning of a parameter's name -> its share of the learning rate; all others have 1.

    Raises:
        SettingsError: The parts cannot be shared evenly by the processes.
        DataError: The loss is no longer finite.
    """
    total = settings.epochs * settings.steps
    parts = _parts(settings.parts, fabric.global_rank, fabric.world_size)
    work = copy.deepcopy(module) if _shares_weights(fabric) else module
    model = fabric.setup_module(work)
    optimiser = torch.optim.AdamW(
        groups(work, weight_decay=settings.weight_decay, shares=shares),
        lr=settings.learning_rate,
        betas=settings.betas,
        fused=True,
    )
    stepper: Any = fabric.setup_optimizers(optimiser)
    history = load_state(state, work, optimiser, fingerprint=fingerprint)
    _collect(work, module, fabric)

    def close(learning_rate: float) -> None:
        """Diagnose, add a line to the history and report it; in the first process only."""
        _collect(work, module, fabric)
        if fabric.is_global_zero:
            found = diagnose(module, *held_out, seed=_seed(seed, _HELD_OUT))
            history.epochs.append(_line(history, settings, found, learning_rate))
            report(history.epochs[-1], history)

    if not history.epochs:
        close(0.0)
    for step in range(len(history.losses), total):
        now = rate(step, total, peak=settings.learning_rate, warm_up=settings.warm_up)
        for group in optimiser.param_groups:
            group["lr"] = now * group["share"]
        summed = torch.zeros((), device=fabric.device)
        for part in parts:
            batch = [x.to(fabric.device) for x in draw(step, part)]
            with fabric.no_backward_sync(model, enabled=part != parts[-1]):
                loss = model(*batch, rng=_generator(seed, _HIDING, step, part))
                fabric.backward(loss / len(parts))
            summed += loss.detach() / len(parts)
        history.losses.append(_everywhere(fabric, summed, step))
        fabric.clip_gradients(model, stepper, max_norm=settings.clip, error_if_nonfinite=False)
        stepper.step()
        stepper.zero_grad()
        cast(Module, work).stepped((step + 1) / total)
        if (step + 1) % settings.steps == 0:
            close(now)
            tensors = tensors_of(work, optimiser)
            if fabric.is_global_zero:
                save_state(state, tensors, history, fingerprint=fingerprint)
            fabric.barrier()
    return history


def _shares_weights(fabric: Fabric) -> bool:
    from lightning_fabric.strategies import ModelParallelStrategy

    return isinstance(fabric.strategy, ModelParallelStrategy)


def _collect(work: nn.Module, module: nn.Module, fabric: Fabric) -> None:
    """Give `module` the whole weights of `work`, of which every process has a part; all of them call this."""
    if work is not module:
        module.to(fabric.device)
        module.load_state_dict({name: whole(value) for name, value in work.state_dict().items()})


def _line(history: History, settings: Training, found: Health, learning_rate: float) -> Epoch:
    """The log's line for the epoch that the history ends with."""
    return Epoch(
        epoch=len(history.losses) // settings.steps,
        step=len(history.losses),
        loss=float(np.mean(history.losses[-settings.steps :])) if history.losses else found.loss,
        held_out=found.loss,
        normalised_error=found.normalised_error,
        spread=found.spread,
        rank=found.rank,
        cosine=found.cosine,
        answers=found.answers,
        learning_rate=learning_rate,
        skill_last=found.skill_last,
        skill_mean=found.skill_mean,
    )


def _parts(parts: int, rank: int, world: int) -> list[int]:
    """Numbers of the parts one process works on."""
    if parts % world:
        raise SettingsError(f"expected parts in multiples of {world} processes, found {parts}")
    return list(range(rank, parts, world))


def _everywhere(fabric: Fabric, loss: Tensor, step: int) -> float:
    """Mean loss over all processes."""
    found: Any = fabric.all_reduce(loss, reduce_op="mean")
    if not math.isfinite(float(found)):
        raise DataError(
            f"expected a finite loss, found {float(found)}, in step {step}; try a smaller learning rate"
        )
    return float(found)


def _generator(*words: int) -> torch.Generator:
    """Draws on the CPU, so that they are the same on every device."""
    return torch.Generator().manual_seed(_seed(*words))


def _seed(*words: int) -> int:
    return int(np.random.SeedSequence(words).generate_state(1)[0])
