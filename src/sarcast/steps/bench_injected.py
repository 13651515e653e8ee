"""The bench of injected changes: ellipses planted in the last date of real stacks, judged pixel by pixel.

Of every stack one date is judged; history is the dates before it, a gap in between left out, as an
anniversary baseline does. A copy of the judged date is changed before any filter looks at it: another level
in all bands, or another texture at the same mean power. Every row learns from history once and scores each
copy; coarser cells are spread to their pixels. Every row runs in a process of its own, so that seconds and
memory are its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from sarcast.errors import ArtefactError, DataError
from sarcast.runtime.settings import Settings
from sarcast.stack.store import NAME as STACK
from sarcast.steps.bench_maps import Maps, spread
from sarcast.steps.bench_rows import CALIBRATION, named
from sarcast.steps.bench_work import peak_memory_mb, result_of, workers
from sarcast.values import Split, Stack

if TYPE_CHECKING:
    from sarcast.evaluate.injected import Chips

LEVELS = (0.01, 0.001)
"""Of p, counted on the date without changes."""
Z_LEVELS = (3.0, 3.5)


class Injected(Settings):
    """What is planted, where, and what is history."""

    stacks: tuple[str, ...] = ("292319", "292320", "292321", "292324")
    """Stacks whose name contains one of these; the default are the land bursts of T137 at 37 N. All stacks
    of the source when empty."""
    references: int = Field(20, ge=4)
    """Dates of history: the last ones before the gap."""
    gap_days: int = Field(180, ge=0)
    """Days before the judged date (the last one) whose dates are left out."""
    levels_db: tuple[float, ...] = (-3.0, -1.5, 1.5, 3.0)
    """Changes of level, dB of power, all bands alike."""
    texture: float = Field(0.7, gt=0)
    """Coefficient of variation of the gamma texture of the change `rougher`."""
    texture_px: float = Field(1.0, ge=0)
    """Sigma over which that texture is correlated, pixels."""
    smooth_px: int = Field(3, ge=3)
    """Window, odd, over which the change `smoother` averages texture and speckle away."""
    ellipses: float = Field(5, gt=0)
    """Ellipses for every 100 x 100 pixels; at least one."""
    share: float = Field(0.052, gt=0, lt=1)
    """Of a chip's pixels inside ellipses."""
    margin: int = Field(4, ge=0)
    """Pixels between ellipses, and to the border."""
    draws: int = Field(3, ge=1)
    """Draws of the ellipses a stack and seed."""
    block: int = Field(8, ge=1)
    """Side of the blocks of negatives that are resampled, pixels."""

    @property
    def changes(self) -> tuple[str, ...]:
        """Names of the changes, in the order of every array."""
        return (*(f"{level:+g} dB" for level in self.levels_db), "rougher", "smoother")


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """One row on every chip."""

    scores: np.ndarray
    """float32 (change, n)."""
    surprise: np.ndarray
    """float32 (change, n): -log10 p, p calibrated on the stack's own history."""
    valid: np.ndarray
    """bool (n,)."""
    quiet: tuple[Maps, ...]
    """The date as it is, one a stack."""
    learn_seconds: float
    """CPU seconds a stack: history encoded, learned from and scored."""
    judge_seconds: float
    """CPU seconds a judged date."""
    memory_mb: float
    """Peak of the process, libraries included."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """One stack as it is judged: history and, last, the judged date."""

    stack: Stack
    split: Split


def places(source: Path, settings: Injected) -> list[Place]:
    """The stacks of a run folder, of one stack.zarr, or of a folder of products (stacked as they are).

    Raises:
        ArtefactError: There are no such stacks.
        DataError: Too few dates.
    """
    with tempfile.TemporaryDirectory() as folder:
        return [_place(path, settings) for path in _paths(source, Path(folder), settings.stacks)]


def truth(places: Sequence[Place], settings: Injected, *, seeds: Sequence[int]) -> Chips:
    """Every pixel of every chip, in the order in which `judge` gives scores: seed, place, draw."""
    from sarcast.evaluate.bootstrap import cell_blocks
    from sarcast.evaluate.injected import Chips

    chips: list[np.ndarray] = []
    events, blocks, place_of = [], [], []
    known = 0
    for seed in seeds:
        first = 0
        for number, place in enumerate(places):
            image = place.stack.valid.shape[1:]
            block = cell_blocks((1, *image), cells=settings.block).ravel()
            for planted in _masks(place.stack, number, settings, seed):
                chips.append(np.full(planted.size, len(chips)))
                events.append(np.where(planted >= 0, planted + known, -1).ravel())
                blocks.append(block + first)
                place_of.append(number)
                known += int(planted.max()) + 1
            first += int(block.max()) + 1
    return Chips(
        chip=np.concatenate(chips),
        event=np.concatenate(events),
        block=np.concatenate(blocks),
        place=np.array(place_of),
    )


def judge(name: str, places: Sequence[Place], settings: Injected, *, seeds: Sequence[int]) -> Judged:
    """One row on every chip, in this process.

    Raises:
        SarcastError: The row cannot be learned from these stacks.
    """
    from sarcast.decide.calibration import calibrate

    row = named(name)
    maps: list[list[Maps]] = []
    quiet: list[Maps] = []
    clock = {"learn": 0.0, "judge": 0.0}
    judged = 0
    for seed in seeds:
        for number, place in enumerate(places):
            started = time.process_time()
            learned = row.learn(place.stack, place.split, seed=seed)
            null = calibrate(learned.history(), how=CALIBRATION, local=learned.local)
            clock["learn"] += time.process_time() - started
            started = time.process_time()
            quiet.append(spread(null.read(learned.judge(place.stack))))
            for changed in _changed(place, number, settings, seed):
                maps.append([spread(null.read(learned.judge(stack))) for stack in changed])
                judged += len(changed)
            clock["judge"] += time.process_time() - started
            judged += 1
    return _gathered(
        maps,
        quiet=tuple(quiet),
        learn_seconds=clock["learn"] / len(quiet),
        judge_seconds=clock["judge"] / judged,
    )


def judge_apart(
    names: Sequence[str], source: Path, settings: Injected, *, seeds: Sequence[int], jobs: int = 1
) -> Iterator[tuple[str, Judged]]:
    """Every row in a new process (see `workers`), in the order of `names`."""
    with workers(jobs) as pool:
        waiting = [(name, pool.submit(_alone, name, source, settings, tuple(seeds))) for name in names]
        for name, one in waiting:
            yield name, result_of(name, one)


def _alone(name: str, source: Path, settings: Injected, seeds: tuple[int, ...]) -> Judged:
    return judge(name, places(source, settings), settings, seeds=seeds)


def _gathered(maps: list[list[Maps]], **more: Any) -> Judged:
    """(chip) of (change) of maps, one after the other."""
    changes = range(len(maps[0]))

    def every(field: str) -> np.ndarray:
        return np.stack([np.concatenate([getattr(chip[c], field).ravel() for chip in maps]) for c in changes])

    return Judged(
        scores=every("values"),
        surprise=every("surprise"),
        valid=np.asarray(every("valid").all(0)),
        memory_mb=peak_memory_mb(),
        **more,
    )


def _masks(stack: Stack, number: int, settings: Injected, seed: int) -> Iterator[np.ndarray]:
    """Events of every draw, int (y, x)."""
    from sarcast.sar.inject import ellipses

    image = stack.valid.shape[1:]
    count = max(1, round(settings.ellipses * image[0] * image[1] / 1e4))
    for draw in range(settings.draws):
        rng = np.random.default_rng((seed, number, draw))
        yield ellipses(
            image, rng=rng, count=count, share=settings.share, margin=settings.margin, gap=settings.margin
        )


def _changed(place: Place, number: int, settings: Injected, seed: int) -> Iterator[list[Stack]]:
    """For every draw, the stack with each change in its last date."""
    from sarcast.sar.inject import change_level, roughen, smoothen

    power = np.asarray(place.stack.amplitude[-1]) ** 2
    for draw, events in enumerate(_masks(place.stack, number, settings, seed)):
        rng = np.random.default_rng((seed, number, draw, 1))
        changed = [change_level(power, events, change_db=level) for level in settings.levels_db]
        changed.append(
            roughen(power, events, rng=rng, variation=settings.texture, correlation_px=settings.texture_px)
        )
        changed.append(smoothen(power, events, size=settings.smooth_px))
        yield [_with_last(place.stack, new) for new in changed]


def _with_last(stack: Stack, power: np.ndarray) -> Stack:
    amplitude = np.array(stack.amplitude)
    amplitude[-1] = np.sqrt(power)
    return replace(stack, amplitude=amplitude)


def _paths(source: Path, folder: Path, wanted: Sequence[str]) -> list[Path]:
    if source.name == STACK:
        return [source]
    found = sorted(source.glob(f"stacks/*/{STACK}"))
    if not found:
        found = _built(source, folder)
    chosen = [p for p in found if not wanted or any(part in p.parent.name for part in wanted)]
    if not chosen:
        names = ", ".join(path.parent.name for path in found)
        raise ArtefactError(f"expected stacks named {' or '.join(wanted)}, found {names}, in {source}")
    return chosen


def _built(source: Path, folder: Path) -> list[Path]:
    """Stacks of a folder of products, neither registered nor corrected."""
    from sarcast.stack.quality import Quality
    from sarcast.steps.ingest import Ingest, ingest
    from sarcast.steps.stack import StackScenes, stack

    if not source.is_dir():
        raise ArtefactError(f"expected a folder of products or a run folder, found none, in {source}")
    scenes = ingest(Ingest(source=source, out=folder))
    return stack(StackScenes(scenes=scenes, out=folder, quality=Quality(registration="off", gain="off")))


def _place(path: Path, settings: Injected) -> Place:
    """History and the judged date of one stack, in memory."""
    from sarcast.stack.store import read_stack

    stack = read_stack(path, lazy=False)
    time = stack.times.time
    early = np.flatnonzero(time < time[-1] - np.timedelta64(settings.gap_days, "D"))
    if len(early) < settings.references:
        raise DataError(
            f"expected at least {settings.references} dates {settings.gap_days} days before the last, "
            f"found {len(early)}, in {path}"
        )
    kept = np.append(early[-settings.references :], len(time) - 1)
    fit = np.arange(len(kept)) < len(kept) - 1
    chosen = replace(
        stack, amplitude=stack.amplitude[kept], valid=stack.valid[kept], times=stack.times.take(kept)
    )
    return Place(stack=chosen, split=Split(fit=fit, judge=~fit))
