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
from sarcast.errors import SettingsError
from sarcast.nn.card import Card
from sarcast.nn.pretrained import Pretrained, find_weights, load_encoder, save_encoder, stages
from sarcast.nn.vit import SIZES, ViT
from sarcast.objectives import OBJECTIVES
from sarcast.runtime.artefact import locked, recover, up_to_date, writing
from sarcast.runtime.settings import Settings, as_json, build
from sarcast.sar.simulate import SimulateScene, simulate
from sarcast.steps.sources import Source, inputs_of, room_of, sources_of, units_of
from sarcast.train.augment import Augment
from sarcast.train.channels import bands_of
from sarcast.train.checkpoint import Epoch, History, rows, write_log
from sarcast.train.chips import Chips, as_input, batch, cut
from sarcast.train.diagnostics import Health, collapse
from sarcast.train.loop import Batch, Training, processes, train
from sarcast.train.places import places
from sarcast.train.scalars import require_tensorboard, scalars

if TYPE_CHECKING:
    from sarcast.values import Stack

NAME, LOG_FILE = "encoder", "log.csv"
LOG = logging.getLogger("sarcast.pretrain")
CROP = 8
"""Side of a training image where neither settings nor weights say, tokens."""
_CHIPS, _SCENES, _WEIGHTS, _BATCHES = range(4)


class Pretrain(Settings):
    """Train an encoder without labels."""

    start: Path | None = None
    """Weights to go on from: a folder, a name that comes with sarcast, or a .pth file in the public SAR-JEPA
    layout; size and token are then theirs, and the card too where they have one. New when not given."""
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
    objective: str = "across_dates"
    """across_dates, local_masked_gradient (SAR-JEPA), gradient_jepa, mae or dino."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of that objective, e.g. --options.radii '[2, 4]'; a predictor that has blocks has half the
    encoder's width and a third of its depth, and windows are no larger than the crop, where they do not say
    otherwise."""
    size: Literal["micro", "tiny", "small", "base", "large"] = "tiny"
    """Width and depth of the encoder."""
    token: int = Field(8, ge=2)
    """Side of a token, pixels."""
    crop: int | None = Field(None, ge=2)
    """Side of a training image, tokens; when not given 8, or as the weights were trained, and less where the
    stacks are small."""
    chips: int = Field(2000, ge=1)
    """Places cut from the stacks and kept in memory, each twice a training image wide where there is room."""
    held_out: int = Field(128, ge=2)
    """Images for the diagnostics, from blocks of every stack that are not learned from."""
    held_out_share: float = Field(0.15, gt=0, lt=1)
    """Area of those blocks, share of the stack's; at least one block."""
    card: Card = Card()
    """Scaling of the pixels; written beside the weights. With channels, such as VV, VH and VV-VH, the encoder
    sees them together; without, one band at a time."""
    augment: Augment = Augment()
    """What may differ between two looks at one place."""
    training: Training = Training()
    """How long and how fast."""
    tensorboard: bool = False
    """Write the log's figures to tensorboard/ beside encoder/ too, while it trains (extra `tensorboard`)."""
    seed: int = Field(0, ge=0)
    """Of everything drawn."""


def pretrain(settings: Pretrain) -> Path:
    """Train and write encoder/; nothing is done when it is there already with the same settings and data.

    Under torchrun every process calls this; the first one writes.

    Raises:
        SettingsError: There is nothing to learn from, or the objective or an option is unknown.
        ArtefactError: A source or the weights are missing or unfinished.
        DataError: Too few dates or valid pixels, stacks too small for the crop, or a loss not finite.
        StackError: Calibrated and uncalibrated stacks are mixed.
    """
    return train_encoder(settings, stage="pretrain")


def train_encoder(settings: Pretrain, *, stage: str) -> Path:
    """What `pretrain` does; `stage` is what it is called in the encoder's `about`.

    Inputs are the weights gone on from and the dates learned from alone: later dates change nothing.
    """
    sources = _sources(settings)
    start = None if settings.start is None else _start(settings, settings.start)
    settings = settings.model_copy(update={"crop": _crop(settings, start, sources)})
    chosen = build(
        OBJECTIVES[settings.objective],
        {**_defaults(settings, start), **settings.options},
        where=f"objective {settings.objective}",
    )
    told = {**as_json(settings), "options": as_json(chosen), "stage": stage}
    for name in ("out", "source", "start", "tensorboard", *(("size", "token") if start else ())):
        del told[name]
    inputs = inputs_of(sources, settings.start)
    target = settings.out / NAME
    if up_to_date(target, settings=told, inputs=inputs):
        return target
    fingerprint = _fingerprint(told, inputs)
    if settings.tensorboard:
        require_tensorboard()
    with (
        processes(settings.training) as fabric,
        locked(settings.out) if fabric.is_global_zero else contextlib.nullcontext(),
        contextlib.ExitStack() as done,
    ):
        log = settings.out / "tensorboard" / fingerprint[:8]
        show = done.enter_context(scalars(log if settings.tensorboard and fabric.is_global_zero else None))
        if fabric.is_global_zero:
            recover(target)
        data = _data(settings, start, sources, together=getattr(chosen, "dates", None))
        rng = torch.Generator().manual_seed(_seed(settings.seed, _WEIGHTS))
        channels = max(1, len(data.card.channels))
        new = partial(ViT.named, settings.size, patch=settings.token, channels=channels)
        vit = start.vit if start else new(rng=rng)
        state = settings.out / f".{NAME}.training.safetensors"
        history = train(
            chosen.module(vit, rng=rng),
            lambda step, part: _draw(data, settings, step, part),
            settings.training,
            held_out=data.held_out,
            fabric=fabric,
            state=state,
            fingerprint=fingerprint,
            seed=settings.seed,
            report=_reporter(settings, show),
        )
        if fabric.is_global_zero:
            about = _about(settings, stage, start, chosen, data, history)
            made = Pretrained(vit=vit, card=data.card, window=data.crop // vit.patch, about=about)
            with writing(target, settings=told, inputs=inputs, seed=settings.seed) as folder:
                save_encoder(folder, made)
                write_log(folder / LOG_FILE, rows(history))
            state.unlink(missing_ok=True)
        fabric.barrier()
    return target


def _defaults(settings: Pretrain, start: Pretrained | None) -> dict[str, Any]:
    """A predictor that costs little beside its encoder, and windows that fit the image."""
    size = start.vit.size if start else SIZES[settings.size]
    own = OBJECTIVES[settings.objective]().model_dump()
    found: dict[str, Any] = {}
    if "predictor_dim" in own:
        found = {"predictor_dim": size.dim // 2, "predictor_heads": size.heads}
    if own.get("predictor_depth"):
        found["predictor_depth"] = max(2, size.depth // 3)
    if "window" in own:
        found["window"] = tuple(min(side, settings.crop or side) for side in own["window"])
    return found


@dataclass(frozen=True, kw_only=True)
class _Data:
    """What is learned from and what is not, and what it is."""

    chips: Chips
    held_out: Batch
    card: Card
    crop: int
    """Side of a training image, pixels."""
    names: list[str]


def _sources(settings: Pretrain) -> list[Source]:
    """Stacks to learn from; none is enough where scenes are simulated."""
    found = sources_of(settings.source, dates=settings.dates)
    if not found and not settings.simulated:
        raise SettingsError("expected a source or simulated scenes to learn from, found neither")
    return found


def _start(settings: Pretrain, path: Path) -> Pretrained:
    """The weights to go on from; the card is for a file, which has none."""
    own = settings.card == Card() and find_weights(path).is_dir()
    start = load_encoder(path, card=None if own else settings.card)
    if start.vit.channels != max(1, len(start.card.channels)):
        raise SettingsError(
            f"expected weights of one channel or a card naming them, found {start.vit.channels}, in {path}"
        )
    return start


def _crop(settings: Pretrain, start: Pretrained | None, sources: list[Source]) -> int:
    """Tokens a side of a training image: as asked, else as the weights or all images have room for."""
    if settings.crop is not None:
        return settings.crop
    token = start.vit.patch if start else settings.token
    shapes = [tuple(one.stack.geobox.shape) for one in sources]
    shapes += [settings.scene.shape] if settings.simulated else []
    return max(2, min(start.window if start else CROP, room_of(shapes) // token))


def _data(
    settings: Pretrain, start: Pretrained | None, sources: list[Source], *, together: int | None
) -> _Data:
    """Chips of all stacks alike, and those of the held-out parts; `together` dates each."""
    every = [(one.stack, one.dates) for one in sources]
    for number in range(settings.simulated):
        drawn = np.random.default_rng([settings.seed, _SCENES, number])
        stack = simulate(settings.scene, rng=drawn).stack
        every.append((stack, np.arange(len(stack.times))))
    stacks = [stack for stack, _ in every]
    crop = (settings.crop or CROP) * (start.vit.patch if start else settings.token)
    parts = [
        places(
            *one,
            side=crop,
            held_out=settings.held_out_share,
            rng=np.random.default_rng([settings.seed, number]),
        )
        for number, one in enumerate(every)
    ]
    side = min(learn.block for learn, _ in parts)
    rng = np.random.default_rng([settings.seed, _CHIPS])
    each, few = (-(-count // len(every)) for count in (settings.chips, settings.held_out))
    card = _card(start.card if start else settings.card, stacks, anew=start is None)
    some = partial(cut, together=together, bands=bands_of(card.channels), rng=rng)
    kept = [
        (some(stack, dates, learn, count=each, side=side), some(stack, dates, other, count=few, side=crop))
        for (stack, dates), (learn, other) in zip(every, parts, strict=True)
    ]
    held_out = Chips.of([one for _, one in kept])
    return _Data(
        chips=Chips.of([one for one, _ in kept]),
        held_out=as_input(held_out.power, held_out.valid, card, bands=held_out.bands),
        card=card,
        crop=crop,
        names=[one.stack.name for one in sources],
    )


def _card(card: Card, stacks: list[Stack], *, anew: bool) -> Card:
    """The card with what all that was ever learned from is; what differs stays unknown."""
    units = units_of(stacks)
    if card.unit and anew:
        return card
    units |= {card.unit} if card.unit else set()
    unit = units.pop() if len(units) == 1 else None
    return build(Card, {**as_json(card), "unit": unit}, where="the stacks")


def _draw(data: _Data, settings: Pretrain, step: int, part: int) -> Batch:
    rng = np.random.default_rng([settings.seed, _BATCHES, step, part])
    return batch(
        data.chips,
        data.card,
        settings.augment,
        size=settings.training.batch,
        crop=data.crop,
        rng=rng,
    )


def _about(
    settings: Pretrain, stage: str, start: Pretrained | None, chosen: Any, data: _Data, history: History
) -> dict[str, Any]:
    """What was done to the encoder, before and now; once marked as having seen judged dates, always."""
    training, before = settings.training, start.about if start else {}
    done = {
        "objective": settings.objective,
        "options": as_json(chosen),
        "simulated": settings.simulated,
        "images": len(history.losses) * training.batch * training.parts,
        "last": asdict(history.epochs[-1]),
    }
    seen = bool(data.names) and settings.dates == "all"
    return {
        **before,
        "sarcast": __version__,
        "stages": [*stages(before), stage],
        "stacks": sorted({*before.get("stacks", ()), *data.names}),
        "judged_dates_seen": seen or bool(before.get("judged_dates_seen")),
        **({stage: {**done, "stacks": data.names, "seed": settings.seed}} if start else done),
    }


def _reporter(settings: Pretrain, show: Callable[[Epoch], None]) -> Callable[[Epoch, History], None]:
    """A line for people after every epoch, the same for `show`, and a word where the encoder collapses."""
    behind: list[tuple[float, int]] = []

    def report(line: Epoch, history: History) -> None:
        now, speed = time.monotonic(), "-"
        if behind:
            at, step = behind.pop()
            speed = f"{(line.step - step) / (now - at):.2f}"
        behind.append((now, line.step))
        show(line)
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
