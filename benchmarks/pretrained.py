"""An encoder pretrained with any objective, from its checkpoint where there is one: for benchmarks to share.

Objectives of one `Start` begin with the same weights and see the same images: neither depends on them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sarcast.errors import ArtefactError
from sarcast.nn.vit import ViT
from sarcast.runtime.settings import as_json
from sarcast.train.checkpoint import Epoch, History, load_state
from sarcast.train.diagnostics import collapse
from sarcast.train.loop import Batch, Training, processes, train
from sarcast.train.schedule import groups

_WEIGHTS = 0


@dataclass(frozen=True, kw_only=True)
class Start:
    """An encoder that has not learned."""

    size: str = "micro"
    """Name in `sarcast.nn.vit.SIZES`."""
    patch: int = 8
    """Side of a token, pixels."""
    channels: int = 1
    seed: int = 0
    """Of the weights, and of what an objective hides."""

    def network(self) -> tuple[ViT, torch.Generator]:
        """The encoder, the same at every call, and the generator that drew it."""
        seed = int(np.random.SeedSequence([self.seed, _WEIGHTS]).generate_state(1)[0])
        rng = torch.Generator().manual_seed(seed)
        return ViT.named(self.size, patch=self.patch, channels=self.channels, rng=rng), rng


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """What is learned from."""

    draw: Callable[[int, int], Batch]
    """(step, part) -> (pixels (b, c, y, x), valid (b, y, x)); must depend on its arguments alone."""
    held_out: Batch
    """The same, never learned from: for the diagnostics."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """An encoder, and what it took."""

    vit: ViT
    history: History
    cpu_seconds: float
    """Of this process in all steps and diagnostics behind it, those of earlier calls too."""

    @property
    def trouble(self) -> str | None:
        """How it collapsed, in words; None where it did not."""
        return collapse(self.history.epochs[-1], self.history.epochs[0])


def pretrained(
    name: str,
    objective: Any,
    start: Start,
    images: Images,
    training: Training,
    *,
    work: Path,
    as_is: bool = False,
) -> Trained:
    """The encoder trained with `objective`, going on from its checkpoint under `work` where there is one.

    A checkpoint is of this training where objective, start, held-out images and `training` are the same; a
    training that was killed goes on to the same bytes.

    Args:
        name: Of the checkpoint, and in what is printed.
        objective: Settings of an objective, such as `LocalMaskedGradient` or `Dino`.
        start: The encoder, and the seed.
        images: What is learned from.
        training: How long, how fast.
        work: Folder of the checkpoints; each seed has its own in there.
        as_is: Train no further: give what the checkpoint holds.

    Raises:
        ArtefactError: `as_is`, and there is no checkpoint of this training.
    """
    vit, rng = start.network()
    module = objective.module(vit, rng=rng)
    folder = work / f"seed-{start.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    state, clock = folder / f"{name}.training.safetensors", folder / f"{name}.cpu.json"
    fingerprint = _fingerprint(objective, start, images, training)
    spent = _Spent(clock, fingerprint)
    if as_is:
        optimiser = torch.optim.AdamW(groups(module, weight_decay=0))
        history = load_state(state, module, optimiser, fingerprint=fingerprint)
        if not history.epochs:
            raise ArtefactError(f"expected a checkpoint of this training, found none or another, in {state}")
        return Trained(vit=vit, history=history, cpu_seconds=spent.total)

    def report(line: Epoch, history: History) -> None:
        spent.add(line.epoch)
        trouble = collapse(line, history.epochs[0], done=line.epoch / training.epochs)
        print(
            f"{name} {line.epoch}/{training.epochs} loss {line.loss:.4f} held out {line.held_out:.4f} "
            f"error/variance {line.normalised_error:.3f} rank {line.rank:.1f} cpu {spent.total:.0f} s "
            f"{trouble or ''}".rstrip(),
            flush=True,
        )

    with processes(training) as fabric:
        history = train(
            module,
            images.draw,
            training,
            held_out=images.held_out,
            fabric=fabric,
            state=state,
            fingerprint=fingerprint,
            seed=start.seed,
            report=report,
        )
    return Trained(vit=vit, history=history, cpu_seconds=spent.total)


class _Spent:
    """CPU seconds of each epoch, kept in a file beside the checkpoint: a resumed epoch counts once."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path, self.fingerprint, self.since = path, fingerprint, time.process_time()
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self.epochs: dict[str, float] = known["epochs"] if known.get("fingerprint") == fingerprint else {}

    def add(self, epoch: int) -> None:
        now = time.process_time()
        self.epochs[str(epoch)], self.since = now - self.since, now
        told = {"fingerprint": self.fingerprint, "epochs": self.epochs}
        self.path.write_text(json.dumps(told), encoding="utf-8")

    @property
    def total(self) -> float:
        return sum(self.epochs.values())


def _fingerprint(objective: Any, start: Start, images: Images, training: Training) -> str:
    said = [type(objective).__name__, as_json(objective), asdict(start), as_json(training)]
    found = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for one in images.held_out:
        found.update(one.numpy().tobytes())
    return found.hexdigest()
