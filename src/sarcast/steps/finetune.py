"""sarcast finetune: stage 3, encoder and forecaster learn together on history; killed, it goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sarcast import __version__
from sarcast.encoders.base import default_patch
from sarcast.errors import DataError
from sarcast.nn.card import Card
from sarcast.nn.forecaster import Forecaster
from sarcast.nn.pretrained import Pretrained, find_weights, load_encoder, save_encoder, stages
from sarcast.objectives.temporal import TemporalPrediction
from sarcast.runtime.artefact import locked, recover, up_to_date, writing
from sarcast.runtime.settings import Settings, as_json
from sarcast.steps.epoch_lines import teller
from sarcast.steps.sources import Source, inputs_of, room_of, sources_of, units_of
from sarcast.train.augment import Augment
from sarcast.train.checkpoint import History, rows, write_log
from sarcast.train.loop import Training, processes
from sarcast.train.places import places
from sarcast.train.sequences import Places, Sequences, as_places, cut_sequences, draw_places
from sarcast.train.stages import Phase, train_phases

NAME, LOG_FILE = "encoder", "log.csv"
LOG = logging.getLogger("sarcast.finetune")
_SEQUENCES, _PREDICTOR, _BATCHES = range(3)


class Finetune(Settings):
    """Train an encoder and a temporal predictor together, so that what is usual can be forecast."""

    source: tuple[Path, ...] = Field(min_length=1)
    """Run folders, or stack.zarr files."""
    out: Path
    """Folder for encoder/ (config.json, model.safetensors, log.csv)."""
    weights: Path = Path("sarcast-tiny")
    """Encoder to start from: a folder (from pretrain, adapt or finetune), the name of one that comes with
    sarcast, or a .pth file in the public SAR-JEPA layout."""
    card: Card = Card()
    """Scaling of the pixels for a .pth file, which does not tell; a folder of weights has its own."""
    dates: Literal["history", "all"] = "history"
    """Which dates of a source to learn from; all: an encoder that has seen judged dates is marked so."""
    target: Literal["live", "stop_gradient", "ema"] = "stop_gradient"
    """What is forecast. live: the trained encoder's own vectors, as published; shrinks on noise.
    stop_gradient: the same, standardised, without a gradient; keeps spread, and loses rank in long trainings.
    ema: a slow copy's, standardised; keeps both, learns more slowly (docs/log.md)."""
    decay: tuple[float, float] = (0.99, 1.0)
    """Of the slow copy's moving average, at the start and the end of a phase (ema)."""
    context: int = Field(7, ge=3)
    """K: acquisitions a forecast looks back on."""
    length: int = Field(16, ge=4)
    """Dates of a sequence, each encoded once a step; as many as history has where that is less."""
    time_encoding: Literal["sinusoidal", "ctlpe", "linear"] = "sinusoidal"
    """How days before the target become a vector."""
    cell: int | None = Field(None, ge=2)
    """Side of a cell, pixels: the mean of the tokens it covers; by pixel size (of the first stack) when not
    given."""
    crop: int | None = Field(None, ge=1)
    """Side of a training image, tokens; as the weights were trained, or less where the stacks are small, when
    not given."""
    sequences: int = Field(128, ge=1)
    """Places cut from the stacks and kept in memory, each twice a training image wide where there is room."""
    held_out: int = Field(16, ge=1)
    """Places for the diagnostics, from blocks of every stack that are not learned from."""
    held_out_share: float = Field(0.15, gt=0, lt=1)
    """Area of those blocks, share of the stack's; at least one block."""
    augment: Augment = Augment()
    """What may differ between two looks at one place; the same for all its dates, speckle apart."""
    predictor_width: int = Field(64, ge=8)
    """Width of the temporal predictor (the paper's is 768)."""
    predictor_layers: int = Field(2, ge=1)
    """Its layers (the paper's: 4)."""
    predictor_heads: int = Field(4, ge=1)
    """Its attention heads; divides the width (the paper's: 8)."""
    blocks: int = Field(4, ge=1)
    """Last blocks of the encoder trained in phase A, with the final norm; phase B trains everything."""
    encoder_share: tuple[float, float] = (0.1, 0.1)
    """Learning rate of the encoder as a share of the predictor's, in phase A and B."""
    phase_a: Training = Training(epochs=4, steps=50, batch=4, learning_rate=5e-4)
    """How long and how fast, encoder mostly frozen."""
    phase_b: Training = Training(epochs=4, steps=50, batch=4, learning_rate=2e-4)
    """How long and how fast, everything."""
    seed: int = Field(0, ge=0)
    """Of everything drawn."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.predictor_width % self.predictor_heads:
            raise ValueError("predictor_heads must divide predictor_width")
        if self.length <= self.context:
            raise ValueError("length must be more than context")
        if self.target != "live" and min(self.phase_a.batch, self.phase_b.batch) < 2:
            raise ValueError("batch must be 2 places or more, which the vectors are standardised over")
        if min(self.encoder_share) < 0:
            raise ValueError("encoder_share must be two numbers of 0 or more")
        if not 0 <= self.decay[0] <= self.decay[1] <= 1:
            raise ValueError("decay must be two numbers of 0 to 1 in order")
        for name in ("device", "precision"):
            if getattr(self.phase_a, name) != getattr(self.phase_b, name):
                raise ValueError(f"phase_a and phase_b must have one {name}")
        return self


def finetune(settings: Finetune) -> Path:
    """Train and write encoder/; nothing is done when it is there already with the same settings and data.

    Inputs are the dates learned from alone: later ones change nothing. Features and detector are to be made
    anew from the encoder, which scores history out of sample. Under torchrun every process calls this; the
    first one writes.

    Raises:
        SettingsError: The card does not go with the weights.
        ArtefactError: A source or the weights are missing or unfinished.
        DataError: Too few dates or valid pixels, stacks too small for the crop, or a loss not finite.
        StackError: Calibrated and uncalibrated stacks are mixed.
    """
    sources = _sources(settings)
    start = _start(settings, sources)
    told = as_json(settings)
    for name in ("out", "source", "weights"):
        del told[name]
    inputs = inputs_of(sources, settings.weights)
    target = settings.out / NAME
    if up_to_date(target, settings=told, inputs=inputs):
        return target
    with (
        processes(settings.phase_a) as fabric,
        locked(settings.out) if fabric.is_global_zero else contextlib.nullcontext(),
    ):
        if fabric.is_global_zero:
            recover(target)
        data = _data(settings, start, sources)
        module = _module(settings, start, data)
        histories = train_phases(
            module,
            lambda phase, step, part: _draw(data, settings, phase, step, part),
            _phases(settings),
            held_out=data.held_out,
            fabric=fabric,
            state=lambda phase: _state(settings, phase),
            fingerprint=_fingerprint(told, inputs),
            seed=settings.seed,
            report=teller({"A": settings.phase_a.epochs, "B": settings.phase_b.epochs}, LOG),
        )
        if fabric.is_global_zero:
            with writing(target, settings=told, inputs=inputs, seed=settings.seed) as partial:
                save_encoder(partial, _pretrained(settings, start, data, histories))
                lines = [rows(history, phase=name) for name, history in histories.items()]
                write_log(partial / LOG_FILE, [row for some in lines for row in some])
            for phase in histories:
                _state(settings, phase).unlink(missing_ok=True)
        fabric.barrier()
    return target


@dataclass(frozen=True, kw_only=True, eq=False)
class _Data:
    """What is learned from and what is not, and what it is."""

    sequences: Sequences
    held_out: Places
    start: Pretrained
    crop: int
    cell: int
    names: list[str]


def _start(settings: Finetune, sources: list[Source]) -> Pretrained:
    """The weights to start from, for bands as the sources have; the card is for a file, which has none."""
    own = settings.card == Card() and find_weights(settings.weights).is_dir()
    start = load_encoder(settings.weights, card=None if own else settings.card)
    if start.card.channels:
        for one in sources:
            start.card.check(one.stack.bands, where=f"stack {one.stack.name}")
    return start


def _sources(settings: Finetune) -> list[Source]:
    """Stacks that have dates enough."""
    found = sources_of(settings.source, dates=settings.dates)
    for one in found:
        if len(one.dates) <= settings.context:
            raise DataError(
                f"expected at least {settings.context + 1} usable dates to forecast from {settings.context}, "
                f"found {len(one.dates)}, in stack {one.stack.name}"
            )
    units_of(one.stack for one in found)
    return found


def _data(settings: Finetune, start: Pretrained, sources: list[Source]) -> _Data:
    """Sequences of all stacks alike, and those of the held-out parts; no longer than the shortest history."""
    room = room_of(tuple(one.stack.geobox.shape) for one in sources) // start.vit.patch
    crop = (settings.crop or max(1, min(start.window, room))) * start.vit.patch
    length = min(settings.length, *(len(one.dates) for one in sources))
    parts = [
        places(
            one.stack,
            one.dates,
            side=crop,
            held_out=settings.held_out_share,
            rng=np.random.default_rng([settings.seed, number]),
        )
        for number, one in enumerate(sources)
    ]
    side = min(learn.block for learn, _ in parts)
    rng = np.random.default_rng([settings.seed, _SEQUENCES])
    kept = []
    for one, where in zip(sources, parts, strict=True):
        for wanted, box, wide in zip(
            (settings.sequences, settings.held_out), where, (side, crop), strict=True
        ):
            kept.append(
                cut_sequences(
                    one.stack,
                    one.dates,
                    box,
                    count=-(-wanted // len(sources)),
                    length=length,
                    side=wide,
                    channels=start.vit.channels,
                    rng=rng,
                )
            )
    return _Data(
        sequences=Sequences.of(kept[::2]),
        held_out=as_places(Sequences.of(kept[1::2]), start.card),
        start=start,
        crop=crop,
        cell=settings.cell or default_patch(sources[0].stack),
        names=[one.stack.name for one in sources],
    )


def _module(settings: Finetune, start: Pretrained, data: _Data) -> TemporalPrediction:
    predictor = Forecaster(
        start.vit.size.dim,
        width=settings.predictor_width,
        layers=settings.predictor_layers,
        heads=settings.predictor_heads,
        encoding=settings.time_encoding,
        seed=int(np.random.SeedSequence([settings.seed, _PREDICTOR]).generate_state(1)[0]),
    )
    return TemporalPrediction(
        start.vit,
        predictor,
        target=settings.target,
        context=settings.context,
        cell=data.cell,
        decay=settings.decay,
    )


def _phases(settings: Finetune) -> tuple[Phase, ...]:
    a, b = settings.encoder_share
    return (
        Phase(name="A", training=settings.phase_a, blocks=settings.blocks, share=a),
        Phase(name="B", training=settings.phase_b, blocks=None, share=b),
    )


def _state(settings: Finetune, phase: str) -> Path:
    return settings.out / f".{NAME}.training-{phase}.safetensors"


def _draw(data: _Data, settings: Finetune, phase: int, step: int, part: int) -> Places:
    training = (settings.phase_a, settings.phase_b)[phase]
    rng = np.random.default_rng([settings.seed, _BATCHES, phase, step, part])
    return draw_places(
        data.sequences, data.start.card, settings.augment, size=training.batch, crop=data.crop, rng=rng
    )


def _pretrained(
    settings: Finetune, start: Pretrained, data: _Data, histories: dict[str, History]
) -> Pretrained:
    """The encoder, and what was done to it before and now."""
    seen = settings.dates == "all" or bool(start.about.get("judged_dates_seen"))
    last = list(histories.values())[-1].epochs[-1]
    return Pretrained(
        vit=start.vit,
        card=start.card,
        window=data.crop // start.vit.patch,
        about={
            **start.about,
            "sarcast": __version__,
            "stages": [*stages(start.about), "finetune"],
            "stacks": sorted({*start.about.get("stacks", ()), *data.names}),
            "judged_dates_seen": seen,
            "finetune": {
                "target": settings.target,
                "context": settings.context,
                "time_encoding": settings.time_encoding,
                "cell": data.cell,
                "dates": data.sequences.days.shape[1],
                "stacks": data.names,
                "seed": settings.seed,
                "last": asdict(last),
            },
        },
    )


def _fingerprint(told: dict[str, Any], inputs: dict[str, str]) -> str:
    said = json.dumps([told, inputs, __version__], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()
