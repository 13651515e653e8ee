"""sarcast pretrain: stacks, tiles or chips become an encoder; killed, it goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

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
from sarcast.sar.seasons import CHANNELS
from sarcast.sar.simulate import SimulateScene
from sarcast.sar.simulate.seasonal import SimulateSeasons
from sarcast.steps.epoch_lines import teller
from sarcast.steps.pretrain_images import Images, read
from sarcast.steps.pretrain_sources import ChipSettings, Sources, crop_of, find, unit_of
from sarcast.train.augment import Augment
from sarcast.train.checkpoint import History, rows, write_log
from sarcast.train.chips import batch
from sarcast.train.loop import Batch, Training, processes, train
from sarcast.train.scalars import require_tensorboard, scalars

NAME, LOG_FILE = "encoder", "log.csv"
LOG = logging.getLogger("sarcast.pretrain")
Z_SPAN_DB = 5.0
"""About a standard deviation of Sentinel-1's channels: dB between pixel values 0 and 1 of measured cards."""
_WEIGHTS, _BATCHES = 2, 3


class Pretrain(Settings):
    """Train an encoder without labels."""

    start: Path | None = None
    """Weights to go on from: a folder, a name that comes with sarcast, or a .pth file in the public SAR-JEPA
    layout; size and token are then theirs, and the card too where they have one. New when not given."""
    out: Path
    """Folder for encoder/ (config.json, model.safetensors, log.csv)."""
    source: tuple[Path, ...] = ()
    """Run folders or stack.zarr files; or folders of seasonal tiles; or chips: a folder of images, a CSV file
    that lists them, or a ZIP archive."""
    seasonal: Literal["mean", "median"] | None = None
    """See stacks as seasonal tiles: VV-VH, VV and VH of four seasons, of the mean power or its median."""
    images: ChipSettings = ChipSettings()
    """How chips are read."""
    streamed: bool = False
    """Read seasonal tiles, or chips of one channel or of named ones, from their files at every step, whole,
    instead of keeping `chips` of them in memory."""
    simulated_seasons: int = Field(0, ge=0)
    """Number of simulated regions of seasonal tiles to learn from as well."""
    region: SimulateSeasons = SimulateSeasons()
    """Those regions, each with a seed of its own."""
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
    encoder's width and a third of its depth, windows are no larger than the crop, and span_db of named
    channels is that of the card (about 5 dB where it is measured), of pictures 0 (ratios of them as they
    are), dino knows the names of channels, where they do not say otherwise."""
    size: Literal["micro", "tiny", "small", "base", "large"] = "tiny"
    """Width and depth of the encoder."""
    token: int = Field(8, ge=2)
    """Side of a token, pixels."""
    crop: int | None = Field(None, ge=2)
    """Side of a training image, tokens; when not given 8, or as the weights were trained, and less where the
    stacks are small."""
    chips: int = Field(2000, ge=1)
    """Places cut from stacks and tiles and kept in memory, each twice a training image wide where there is
    room; or chips."""
    held_out: int = Field(128, ge=2)
    """Images for the diagnostics, from blocks of every stack, tiles or chips that are not learned from."""
    held_out_share: float = Field(0.15, gt=0, lt=1)
    """Area of those blocks, share of the stack's; at least one block. Of tiles, those at one end."""
    card: Card = Card()
    """Scaling of the pixels; written beside the weights. With channels, such as VV, VH and VV-VH, the encoder
    sees them together; without, one band at a time. Of seasonal tiles and named channels it is measured,
    where it is not given; of pictures it leaves 0 to 1 as they are."""
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
    sources = find(settings)
    start = None if settings.start is None else _start(settings, settings.start)
    settings = settings.model_copy(update={"crop": crop_of(settings, start, sources)})
    chosen = build(
        OBJECTIVES[settings.objective],
        {**_defaults(settings, start, sources), **settings.options},
        where=f"objective {settings.objective}",
    )
    told = {**as_json(settings), "options": as_json(chosen), "stage": stage}
    for name in ("out", "source", "start", "tensorboard", *(("size", "token") if start else ())):
        del told[name]
    inputs = sources.inputs(settings.start)
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
        data = read(settings, start, sources, together=getattr(chosen, "dates", None))
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
            report=partial(teller({"": settings.training.epochs}, LOG, show=show), ""),
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


def _defaults(settings: Pretrain, start: Pretrained | None, sources: Sources) -> dict[str, Any]:
    """A predictor that costs little beside its encoder, windows that fit the image, dB as in the card."""
    size = start.vit.size if start else SIZES[settings.size]
    own = OBJECTIVES[settings.objective]().model_dump()
    found: dict[str, Any] = {}
    if "predictor_dim" in own:
        found = {"predictor_dim": size.dim // 2, "predictor_heads": size.heads}
    if own.get("predictor_depth"):
        found["predictor_depth"] = max(2, size.depth // 3)
    if "window" in own:
        found["window"] = tuple(min(side, settings.crop or side) for side in own["window"])
    card = start.card if start else settings.card
    channels = card.channels or (CHANNELS if sources.seasonal else settings.images.channels)
    if "span_db" in own and channels:
        known = float(np.mean(np.subtract(card.one_db, card.zero_db))) if card.channels else Z_SPAN_DB
        found["span_db"] = known
    if own.get("span_db") and sources.chips is not None and unit_of(settings, sources.chips) == "picture":
        found["span_db"] = own["span_db"] if settings.objective == "dino" else 0.0
    if "channels" in own:
        found["channels"] = channels
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


def _draw(data: Images, settings: Pretrain, step: int, part: int) -> Batch:
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
    settings: Pretrain, stage: str, start: Pretrained | None, chosen: Any, data: Images, history: History
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


def _fingerprint(told: dict[str, Any], inputs: dict[str, str]) -> str:
    said = json.dumps([told, inputs, __version__], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def _seed(*words: int) -> int:
    return int(np.random.SeedSequence(words).generate_state(1)[0])
