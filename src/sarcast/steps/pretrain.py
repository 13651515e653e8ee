"""sarcast pretrain: stacks, or simulated scenes, become an encoder; killed, it goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field

from sarcast import __version__
from sarcast.errors import ArtefactError, SettingsError, StackError
from sarcast.nn.card import Card
from sarcast.nn.pretrained import Pretrained, save_encoder
from sarcast.nn.vit import SIZES, Size, ViT
from sarcast.objectives import OBJECTIVES
from sarcast.runtime.artefact import content_hash, locked, recover, up_to_date, writing
from sarcast.runtime.settings import Settings, as_json, build
from sarcast.sar.simulate import SimulateScene, simulate
from sarcast.stack.store import NAME as STACK
from sarcast.stack.store import read_stack
from sarcast.steps.learn import split_of
from sarcast.train.augment import Augment
from sarcast.train.checkpoint import Epoch, History, rows, write_log
from sarcast.train.chips import Chips, as_input, batch, cut, places
from sarcast.train.diagnostics import Health, collapse
from sarcast.train.loop import Batch, Training, processes, train

if TYPE_CHECKING:
    from sarcast.values import Stack

NAME, LOG_FILE = "encoder", "log.csv"
LOG = logging.getLogger("sarcast.pretrain")
_CHIPS, _SCENES, _WEIGHTS, _BATCHES = range(4)


class Pretrain(Settings):
    """Train an encoder without labels."""

    out: Path
    """Folder for encoder/ (config.json, model.safetensors, log.csv)."""
    source: tuple[Path, ...] = ()
    """Run folders, or stack.zarr files."""
    simulated: int = Field(0, ge=0)
    """Number of simulated scenes to learn from as well."""
    scene: SimulateScene = SimulateScene(shape=(256, 256), dates=12)
    """The simulated scenes, each with a seed of its own."""
    dates: Literal["history", "all"] = "history"
    """Which dates of a source to learn from; all: an encoder that has seen judged dates is marked so."""
    objective: str = "local_masked_gradient"
    """local_masked_gradient (SAR-JEPA) or gradient_jepa."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of that objective, e.g. --options.level true; its predictor has half the encoder's width and a
    third of its depth where they do not say otherwise."""
    size: Literal["micro", "tiny", "small", "base", "large"] = "tiny"
    """Width and depth of the encoder."""
    token: int = Field(8, ge=2)
    """Side of a token, pixels."""
    crop: int = Field(8, ge=2)
    """Side of a training image, tokens."""
    chips: int = Field(2000, ge=1)
    """Places cut from the stacks and kept in memory, each twice a training image wide where there is room."""
    held_out: int = Field(128, ge=2)
    """Images for the diagnostics, from the right-hand part of every stack, which is not learned from."""
    held_out_share: float = Field(0.15, gt=0, lt=1)
    """Width of that part, share of the stack's."""
    card: Card = Card()
    """Scaling of the pixels; written beside the weights."""
    augment: Augment = Augment()
    """What may differ between two looks at one place."""
    training: Training = Training()
    """How long and how fast."""
    seed: int = Field(0, ge=0)
    """Of everything drawn."""


def pretrain(settings: Pretrain) -> Path:
    """Train and write encoder/; nothing is done when it is there already with the same settings and data.

    Under torchrun every process calls this; the first one writes.

    Raises:
        SettingsError: There is nothing to learn from, or the objective or an option is unknown.
        ArtefactError: A source is missing or unfinished.
        DataError: Too few dates or valid pixels, stacks too small for the crop, or a loss not finite.
        StackError: Calibrated and uncalibrated stacks are mixed.
    """
    chosen = build(
        OBJECTIVES[settings.objective],
        {**_predictor(SIZES[settings.size]), **settings.options},
        where=f"objective {settings.objective}",
    )
    paths = _stacks(settings)
    told = {**as_json(settings), "options": as_json(chosen)}
    del told["out"], told["source"]
    inputs = {f"{number} {path.parent.name}": content_hash(path) for number, path in enumerate(paths)}
    target = settings.out / NAME
    if up_to_date(target, settings=told, inputs=inputs):
        return target
    with (
        processes(settings.training) as fabric,
        locked(settings.out) if fabric.is_global_zero else contextlib.nullcontext(),
    ):
        if fabric.is_global_zero:
            recover(target)
        data = _data(settings, paths, together=getattr(chosen, "dates", None))
        rng = torch.Generator().manual_seed(_seed(settings.seed, _WEIGHTS))
        vit = ViT.named(settings.size, patch=settings.token, rng=rng)
        state = settings.out / f".{NAME}.training.safetensors"
        history = train(
            chosen.module(vit, rng=rng),
            lambda step, part: _draw(data, settings, step, part),
            settings.training,
            held_out=data.held_out,
            fabric=fabric,
            state=state,
            fingerprint=_fingerprint(told, inputs),
            seed=settings.seed,
            report=_reporter(settings),
        )
        if fabric.is_global_zero:
            with writing(target, settings=told, inputs=inputs, seed=settings.seed) as partial:
                save_encoder(partial, _pretrained(settings, chosen, vit, data, history))
                write_log(partial / LOG_FILE, rows(history))
            state.unlink(missing_ok=True)
        fabric.barrier()
    return target


def _predictor(size: Size) -> dict[str, int]:
    """A predictor that costs little beside its encoder."""
    return {
        "predictor_dim": size.dim // 2,
        "predictor_depth": max(2, size.depth // 3),
        "predictor_heads": size.heads,
    }


@dataclass(frozen=True, kw_only=True)
class _Data:
    """What is learned from and what is not, and what it is."""

    chips: Chips
    held_out: Batch
    card: Card
    names: list[str]
    judged_dates_seen: bool


def _stacks(settings: Pretrain) -> list[Path]:
    """Every stack.zarr of the sources, in their order."""
    found: list[Path] = []
    for source in settings.source:
        some = [source] if source.name == STACK else sorted(source.glob(f"stacks/*/{STACK}"))
        if not some or not all(path.exists() for path in some):
            raise ArtefactError(f"expected a run folder or a {STACK}, found none, in {source}")
        found += some
    if not found and not settings.simulated:
        raise SettingsError("expected a source or simulated scenes to learn from, found neither")
    return found


def _data(settings: Pretrain, paths: list[Path], *, together: int | None) -> _Data:
    """Chips of all stacks alike, and those of the held-out parts; `together` dates each."""
    sources = [(stack, _dates(settings, path, stack)) for path in paths for stack in [read_stack(path)]]
    for number in range(settings.simulated):
        drawn = np.random.default_rng([settings.seed, _SCENES, number])
        stack = simulate(settings.scene, rng=drawn).stack
        sources.append((stack, np.arange(len(stack.times))))
    stacks = [stack for stack, _ in sources]
    crop = settings.crop * settings.token
    parts = [places(stack, side=crop, held_out=settings.held_out_share) for stack in stacks]
    side = min([2 * crop, *(s.stop - s.start for learn, _ in parts for s in learn)])
    rng = np.random.default_rng([settings.seed, _CHIPS])
    each, few = (-(-count // len(sources)) for count in (settings.chips, settings.held_out))
    some = partial(cut, together=together, rng=rng)
    kept = [
        (some(stack, dates, learn, count=each, side=side), some(stack, dates, other, count=few, side=crop))
        for (stack, dates), (learn, other) in zip(sources, parts, strict=True)
    ]
    card = _card(settings.card, stacks)
    held_out = Chips.of([one for _, one in kept])
    return _Data(
        chips=Chips.of([one for one, _ in kept]),
        held_out=as_input(held_out.power, held_out.valid, card),
        card=card,
        names=[stack.name for stack in stacks[: len(paths)]],
        judged_dates_seen=bool(paths) and settings.dates == "all",
    )


def _dates(settings: Pretrain, path: Path, stack: Stack) -> np.ndarray:
    """Usable dates of history, or of the whole series."""
    split, usable = split_of(stack.times, path.parent)
    return np.flatnonzero(usable & (split.fit if settings.dates == "history" else True))


def _card(card: Card, stacks: list[Stack]) -> Card:
    """The card with what all stacks are; what differs stays unknown."""
    units = {stack.radiometry for stack in stacks}
    if len(units) > 1 and "uncalibrated" in units:
        raise StackError(f"expected stacks all calibrated or all not, found {', '.join(sorted(units))}")
    return (
        card
        if card.unit or len(units) > 1
        else build(Card, {**as_json(card), "unit": units.pop()}, where="the stacks")
    )


def _draw(data: _Data, settings: Pretrain, step: int, part: int) -> Batch:
    rng = np.random.default_rng([settings.seed, _BATCHES, step, part])
    return batch(
        data.chips,
        data.card,
        settings.augment,
        size=settings.training.batch,
        crop=settings.crop * settings.token,
        rng=rng,
    )


def _pretrained(settings: Pretrain, chosen: Any, vit: ViT, data: _Data, history: History) -> Pretrained:
    training = settings.training
    return Pretrained(
        vit=vit,
        card=data.card,
        window=settings.crop,
        about={
            "sarcast": __version__,
            "objective": settings.objective,
            "options": as_json(chosen),
            "stacks": data.names,
            "simulated": settings.simulated,
            "judged_dates_seen": data.judged_dates_seen,
            "images": len(history.losses) * training.batch * training.parts,
            "last": asdict(history.epochs[-1]),
        },
    )


def _reporter(settings: Pretrain) -> Callable[[Epoch, History], None]:
    """A line for people after every epoch, and a word where the encoder collapses."""
    behind: list[tuple[float, int]] = []

    def report(line: Epoch, history: History) -> None:
        now, speed = time.monotonic(), "-"
        if behind:
            at, step = behind.pop()
            speed = f"{(line.step - step) / (now - at):.2f}"
        behind.append((now, line.step))
        if line.epoch == 0:
            print("epoch     loss  held out  error/variance  spread    rank  steps/s", file=sys.stderr)
        print(
            f"{line.epoch:2d}/{settings.training.epochs:<2d} {line.loss:8.4f}  {line.held_out:8.4f}  "
            f"{line.normalised_error:14.3f}  {line.spread:6.3f}  {line.rank:6.1f}  {speed:>7}",
            file=sys.stderr,
        )
        wrong = collapse(_health(line), _health(history.epochs[0]))
        if wrong:
            LOG.warning("epoch %d: %s", line.epoch, wrong)

    return report


def _health(line: Epoch) -> Health:
    return Health(
        loss=line.held_out, spread=line.spread, rank=line.rank, normalised_error=line.normalised_error
    )


def _fingerprint(told: dict[str, Any], inputs: dict[str, str]) -> str:
    said = json.dumps([told, inputs, __version__], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def _seed(*words: int) -> int:
    return int(np.random.SeedSequence(words).generate_state(1)[0])
