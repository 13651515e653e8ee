"""The bench of simulated places: planted events of every kind, and places where nothing happens at all.

Five places by default, each with a geometry of its own, and one without events beside each. An encoder turns
each place into features once, in a process of its own; every row then learns from history and scores all
dates, in a process of its own. Cells are judged at an event's onset (evaluate/onset.py).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from sarcast.evaluate.planted import Judged
from sarcast.runtime.settings import Settings
from sarcast.sar.simulate.settings import KINDS, Kind, SimulateScene
from sarcast.steps.bench_rows import CALIBRATION, Pair
from sarcast.steps.bench_work import peak_memory_mb, result_of, workers

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from sarcast.values import PatchGrid, Split

WEAK: tuple[Kind, ...] = ("wet", "burnt", "clearing", "texture", "excavation", "construction", "vehicles")
GEOMETRIES: tuple[dict[str, Any], ...] = (
    {"kind": "capella"},
    {"kind": "capella", "look_side": "left", "orbit_direction": "descending", "incidence_deg": 28.0},
    {"kind": "opera"},
    {"kind": "capella", "incidence_deg": 46.0, "clutter": "k"},
    {"kind": "opera", "orbit_direction": "descending", "incidence_deg": 42.0},
)
"""Of the places, in turns."""
APART = 1000
"""Added to the seed of a place for the one beside it where nothing happens."""


class SimulatedPlaces(Settings):
    """What is simulated."""

    events: Literal["weak", "all"] = "weak"
    """weak: 1 to 4 dB and texture alone, of the kinds that can be so; all: every kind at any strength."""
    capella_px: int = Field(512, ge=64)
    """Side of a metre-class place, pixels."""
    opera_px: int = Field(160, ge=32)
    """Side of a 30 m place, pixels."""
    dates: int = Field(24, ge=12)
    """Acquisitions."""

    def scene(self, number: int, *, stationary: bool) -> SimulateScene:
        """Settings of a place; `stationary` is the one beside it where nothing happens."""
        geometry = GEOMETRIES[number % len(GEOMETRIES)]
        side = self.capella_px if geometry["kind"] == "capella" else self.opera_px
        weak = {"kinds": WEAK, "strength_db": (1.0, 4.0)} if self.events == "weak" else {"kinds": KINDS}
        return SimulateScene(shape=(side, side), dates=self.dates, stationary=stationary, **geometry, **weak)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One place, with events or without."""

    settings: SimulateScene
    seed: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a piece of work took."""

    seconds: float
    """CPU."""
    memory_mb: float
    """Peak of its process, libraries included."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """One row on every place."""

    p: tuple[np.ndarray, ...]
    """p-values (time, row, col) of each place."""
    valid: tuple[np.ndarray, ...]
    judge: tuple[np.ndarray, ...]
    """bool (time,) of each place: dates after history."""
    encode: Cost
    """Of all places' features; memory of the largest."""
    detect: Cost
    """Of learning and scoring all places."""


def scenes(settings: SimulatedPlaces, seeds: Sequence[int]) -> list[Scene]:
    """The places with events, then those without, in the order of the seeds."""
    return [
        Scene(settings=settings.scene(k, stationary=quiet), seed=seed + (APART if quiet else 0))
        for quiet in (False, True)
        for k, seed in enumerate(seeds)
    ]


def score_all(rows: Mapping[str, Pair], places: Sequence[Scene], *, jobs: int = 1) -> dict[str, Scored]:
    """Every row on every place; features are made once for all rows that look alike."""
    with tempfile.TemporaryDirectory() as folder, workers(jobs) as pool:
        looks = {repr((row.encoder, row.look)): row for row in rows.values()}
        homes = {look: Path(folder) / str(k) for k, look in enumerate(looks)}
        costs = {look: _encoded(pool, row, places, homes[look]) for look, row in looks.items()}
        waiting = {
            name: pool.submit(_score, row, places, homes[repr((row.encoder, row.look))])
            for name, row in rows.items()
        }
        return {
            name: replace(result_of(name, one), encode=costs[repr((rows[name].encoder, rows[name].look))])
            for name, one in waiting.items()
        }


def judged_cells(place: Scene, surprise: dict[str, np.ndarray], valid: np.ndarray) -> Judged:
    """Positives and negatives of one place with events, on cells where `valid` (time, row, col)."""
    from sarcast.encoders.base import make_grid
    from sarcast.evaluate.onset import cell_cover, onset_cells, onset_index
    from sarcast.sar.simulate import simulate

    simulated = simulate(place.settings, rng=np.random.default_rng(place.seed))
    grid: PatchGrid = make_grid(simulated.stack, None, None)
    times = simulated.stack.times.time
    cells = onset_cells(
        cell_cover(simulated.masks, grid),
        np.array([onset_index(times, label.onset) for label in simulated.labels.labels]),
        valid=valid,
        judged=_split(times).judge,
    )
    return Judged(
        surprise={name: one.ravel()[cells.index] for name, one in surprise.items()},
        labels=cells.labels,
        events=cells.event_ids,
        blocks=cells.block_ids,
        kinds=tuple(label.kind for label in simulated.labels.labels),
    )


def _encoded(pool: Executor, row: Pair, places: Sequence[Scene], home: Path) -> Cost:
    waiting = [pool.submit(_encode, row, place, home / str(k)) for k, place in enumerate(places)]
    costs = [one.result() for one in waiting]
    return Cost(seconds=sum(cost.seconds for cost in costs), memory_mb=max(cost.memory_mb for cost in costs))


def _encode(row: Pair, place: Scene, path: Path) -> Cost:
    from sarcast.sar.simulate import simulate
    from sarcast.stack.cells import write_features

    stack = simulate(place.settings, rng=np.random.default_rng(place.seed)).stack
    encoder = row.make_encoder()
    started = time.process_time()
    features = encoder.encode(stack)
    seconds = time.process_time() - started
    path.parent.mkdir(parents=True, exist_ok=True)
    write_features(path, features)
    return Cost(seconds=seconds, memory_mb=peak_memory_mb())


def _score(row: Pair, places: Sequence[Scene], home: Path) -> Scored:
    from sarcast.decide.calibration import calibrate
    from sarcast.stack.cells import read_features
    from sarcast.steps.learn import centres

    detector = row.make_detector()
    found, seconds = [], 0.0
    for k, place in enumerate(places):
        features = read_features(home / str(k))
        split = _split(features.times.time)
        started = time.process_time()
        scorer = detector.fit(features, split, rng=np.random.default_rng(place.seed))
        history = scorer.score(features, [int(t) for t in np.flatnonzero(split.fit)])
        null = calibrate(history, how=CALIBRATION, local=not centres(detector))
        scores = null.read(scorer.score(features))
        seconds += time.process_time() - started
        assert scores.p_value is not None
        found.append((np.maximum(scores.p_value, 1e-30), scores.valid, split.judge))
    p_values, valid, judge = zip(*found, strict=True)
    cost = Cost(seconds=seconds, memory_mb=peak_memory_mb())
    return Scored(p=p_values, valid=valid, judge=judge, encode=cost, detect=cost)


def _split(times: np.ndarray) -> Split:
    from sarcast.stack.split import split_history

    return split_history(times, np.ones(len(times), bool))
