"""sarcast run: the main job, from a folder of products to events on a map; called again, only what is new."""

from __future__ import annotations

import logging
import os
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field

from sarcast.decide.nulls import How
from sarcast.decide.rules import Rules
from sarcast.encoders import ENCODERS
from sarcast.errors import ArtefactError, DataError, SarcastError, SettingsError, ShapeError
from sarcast.readers.geotiff import GeoTIFF
from sarcast.runtime.artefact import write_json
from sarcast.runtime.progress import progress
from sarcast.runtime.settings import Settings, as_json, build
from sarcast.stack.quality import Quality
from sarcast.steps.detect import Detect, detect
from sarcast.steps.forecast import as_text as skill_text
from sarcast.steps.fuse import Fusing
from sarcast.steps.ingest import Ingest, ingest
from sarcast.steps.pairs import Pair, score_pairs
from sarcast.steps.publish import Publish, publish
from sarcast.steps.stack import StackScenes, stack
from sarcast.steps.stages import Adaptation, Finetuning, trained

LOG = logging.getLogger("sarcast.run")


class Run(Settings):
    """The whole chain: ingest, stack, encode, score, detect, publish; training in between where asked."""

    source: Path
    """Folder of products, scenes.json, or a stack.zarr."""
    out: Path
    """Folder to write; run again with more products, only what is new is worked on."""
    reader: str = "auto"
    """capella, opera, geotiff; auto asks each reader that knows its products."""
    declare: GeoTIFF = GeoTIFF()
    """With --reader geotiff: what the GeoTIFFs hold."""
    skip_bad: bool = False
    """Go on without products that cannot be used; they are listed in scenes.json."""
    resolution_m: float | None = Field(default=None, gt=0)
    """Side of a pixel, metres; the products' own when not given."""
    bbox: tuple[float, float, float, float] | None = None
    """Area of interest: west south east north, degrees."""
    aoi: Path | None = None
    """Area of interest: GeoJSON file."""
    quality: Quality = Quality()
    """What is checked, corrected and flagged per date."""
    history_end: date | None = None
    """Last day (UTC) of history; the first half of the dates when not given. Kept from the first run on."""
    gap_days: int | None = Field(default=None, ge=0)
    """Days after history whose dates are neither learned from nor judged; 0 when not given. Kept from the
    first run on."""
    refit: bool = False
    """Forget the stored end of history and what was learned: a new epoch."""
    encoder: str = "statistics"
    """statistics, gradients or vit."""
    encoder_options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the encoder."""
    adapt: Adaptation = None
    """Stage 1: the encoder (vit) learns from this place's history by itself; settings of `sarcast adapt`."""
    finetune: Finetuning = None
    """Stage 3: encoder and forecaster learn together; settings of `sarcast finetune`. Stage 2, the detector
    transformer, is always fitted after both, on the features of the trained encoder."""
    min_px: int = Field(0, ge=0)
    """Shorter side that a stack must have, pixels, the longer one twice that where an encoder is trained;
    smaller stacks are left out."""
    smaller_recipe: str = "quick"
    """The recipe to name where all are smaller."""
    detector: str = "z_score"
    """Name of a detector (docs/concepts.md lists them)."""
    detector_options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the detector."""
    calibration: How = "cell"
    """From scores to p-values: cell, tail, pooled or conformal, as in `sarcast score`."""
    also: Annotated[tuple[Pair, ...], tyro.conf.Suppress] = ()
    """Other ways to look, whose scores are fused with the first: a list of encoder, encoder_options, detector
    and detector_options. In a recipe only."""
    fusion: Fusing = Fusing()
    """How several scores become one."""
    detect: Rules = Rules()
    """From scores to events."""
    title: str = "What changed"
    """Heading of the report."""
    workers: int = Field(default=min(4, os.cpu_count() or 1), ge=1)
    """Threads that warp."""
    seed: int = 0
    """Of every random generator."""


def run(settings: Run) -> Path:
    """Do the whole chain and give the path of the report.

    Raises:
        SarcastError: Something the caller can put right; what was finished before stays.
    """
    for pair in _pairs(settings, settings.encoder_options):
        pair.check()
    encoder = build(ENCODERS[settings.encoder], settings.encoder_options, where=f"encoder {settings.encoder}")
    training = settings.adapt is not None or settings.finetune is not None
    if training and settings.encoder != "vit":
        raise SettingsError(f"expected the encoder vit to train, found {settings.encoder}")
    with progress("run", 4 + training) as advance:
        stacks = _large_enough(settings, _stacks(settings), training=training)
        advance()
        if training:
            encoder = trained(
                encoder,
                stacks,
                settings.out,
                adapt=settings.adapt,
                finetune=settings.finetune,
                seed=settings.seed,
                refit=settings.refit,
            )
            advance()
        _scored(settings, encoder, stacks)
        advance()
        detect(Detect(scores=settings.out, **settings.detect.model_dump()))
        advance()
        site = publish(Publish(run=settings.out, title=settings.title))
        advance()
    _record(settings)
    return site / "report.html"


def _stacks(settings: Run) -> list[Path]:
    if settings.source.suffix == ".zarr":
        return [_adopt(settings)]
    ingest(
        Ingest(
            source=settings.source,
            out=settings.out,
            reader=settings.reader,
            declare=settings.declare,
            skip_bad=settings.skip_bad,
        )
    )
    return stack(
        StackScenes(
            scenes=settings.out,
            out=settings.out,
            resolution_m=settings.resolution_m,
            bbox=settings.bbox,
            aoi=settings.aoi,
            quality=settings.quality,
            history_end=settings.history_end,
            gap_days=settings.gap_days,
            workers=settings.workers,
            refit=settings.refit,
        )
    )


def _adopt(settings: Run) -> Path:
    """Take a stack.zarr made elsewhere, with its quality.json, into the run's own folder."""
    import shutil

    from sarcast.runtime.artefact import content_hash, locked, require, up_to_date, writing
    from sarcast.stack.store import read_stack

    source = require(settings.source)
    quality = source.parent / "quality.json"
    if not quality.exists():
        raise ArtefactError(f"expected quality.json beside the stack, found none, in {source.parent}")
    target = settings.out / "stacks" / read_stack(source).name / "stack.zarr"
    if target.resolve() == source.resolve():
        return target
    inputs = {"stack.zarr": content_hash(source)}
    with locked(target.parent):
        for path in (source, quality):
            final = target.with_name(path.name)
            if up_to_date(final, settings={}, inputs=inputs):
                continue
            with writing(final, settings={}, inputs=inputs) as partial:
                if path.is_dir():
                    shutil.copytree(path, partial)
                else:
                    shutil.copyfile(path, partial)
    return target


def _large_enough(settings: Run, stacks: list[Path], *, training: bool) -> list[Path]:
    """The stacks the recipe is for; training learns from one part of a scene and validates on another.

    Raises:
        DataError: There is none.
    """
    from sarcast.stack.store import read_stack

    short, long = settings.min_px, settings.min_px * (2 if training else 1)
    if not short:
        return stacks
    large, small = [], ""
    for path in stacks:
        stack = read_stack(path)
        y, x = stack.geobox.shape
        if min(y, x) >= short and max(y, x) >= long:
            large.append(path)
            continue
        small = f"{y} x {x}, in stack {stack.name}"
        LOG.warning("%s left out: smaller than %d x %d px", stack.name, short, long)
    if not large:
        raise DataError(
            f"expected scenes of at least {short} x {long} px, found {small}; smaller ones go with "
            f"--recipe {settings.smaller_recipe}"
        )
    return large


def _scored(settings: Run, encoder: Any, stacks: list[Path]) -> None:
    """Encode and score every stack; one that cannot be is reported, and raised when there is no other."""
    done: list[Path] = []
    failed: list[SarcastError] = []
    pairs = _pairs(settings, as_json(encoder))
    for path in stacks:
        try:
            model = score_pairs(path, pairs, settings.fusion, seed=settings.seed)
        except (DataError, ShapeError) as error:
            failed.append(error)
            LOG.warning("%s left out: %s", path.parent.name, error)
            continue
        done.append(path)
        if settings.detector == "transformer":
            print(skill_text(model), file=sys.stderr)
    if not done:
        raise failed[0]


def _pairs(settings: Run, options: dict[str, Any]) -> list[Pair]:
    """What the run looks at itself, its encoder with these options, and what it looks at also."""
    own = Pair(
        encoder=settings.encoder,
        encoder_options=options,
        detector=settings.detector,
        detector_options=settings.detector_options,
        calibration=settings.calibration,
    )
    return [own, *settings.also]


def _record(settings: Run) -> None:
    """The run's own settings, in run.json beside those of its artefacts."""
    import json

    path = settings.out / "run.json"
    entries = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**entries, "run": {"settings": as_json(settings)}})
