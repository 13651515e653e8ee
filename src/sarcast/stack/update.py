"""Bring a stack up to date: warp what is new, measure it, correct it, and judge later dates as before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.runtime.progress import progress
from sarcast.stack.build import NO_CORRECTION, Correction, Reader, warp_all
from sarcast.stack.gain_step import flag_steps
from sarcast.stack.quality import (
    DateQuality,
    Measured,
    Quality,
    gain_limits_db,
    is_textured,
    measure,
    measure_history,
    reference_of,
)
from sarcast.stack.store import CHUNK, Header, StackWriter
from sarcast.values import Scene, Times

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

_SMALLEST_GAIN_DB = 0.05


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a stack shall hold."""

    name: str
    scenes: tuple[Scene, ...]
    """In time order."""
    geobox: GeoBox
    cutoff: np.datetime64
    """Time of history's last date."""
    quality: Quality
    gap_days: int = 0
    """Days after it whose dates are neither learned from nor judged."""

    @cached_property
    def history(self) -> np.ndarray:
        """Of each scene, bool (time,)."""
        return np.array([scene.time <= self.cutoff for scene in self.scenes])

    @cached_property
    def sources(self) -> dict[str, str]:
        """Scene id -> hash of what its pixels come from, in time order."""
        return {scene.scene_id: source_hash(scene) for scene in self.scenes}


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a finished stack holds already."""

    sources: Mapping[str, str]
    """Scene id -> hash of what its pixels came from."""
    quality: Mapping[str, Any]
    """Its quality.json."""

    def same_history(self, plan: Plan) -> bool:
        """True when history is the same scenes with the same pixels, and ends at the same time."""
        ids = [scene.scene_id for scene in plan.scenes if scene.time <= plan.cutoff]
        before = [d["scene_id"] for d in self.quality["dates"] if from_iso(d["time"]) <= plan.cutoff]
        same = all(self.sources.get(i) == plan.sources[i] for i in ids)
        return ids == before and same and self.quality["cutoff"] == iso(plan.cutoff)


def update(
    path: Path, plan: Plan, known: Known | None, *, workers: int, read: Reader | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Make the store at `path` hold `plan`, however much of it is there already.

    Dates are warped once as they are, history is measured against itself and later dates against history's
    median, and a date that must be corrected is warped once more from its source. When history is as it
    was, only new dates are worked on; when it changed, every date is measured again, and those corrected
    before are warped again. The result is the same, byte for byte, as from nothing.

    Args:
        path: The store: empty, or a clone of what `known` describes.
        plan: What it shall hold.
        known: What it holds; None starts from nothing.
        workers: Threads.
        read: Reads a file's power; None is `readers.pixels.read_power`.

    Returns:
        (quality.json's content, ids of the scenes that were warped).
    """
    writer = StackWriter(path, _header(plan))
    writer.lay_out(times_of(plan.scenes))
    same = known is not None and known.same_history(plan)
    fresh = [s for s in plan.scenes if not _kept(s, plan, known, same)]
    work = _Work(plan=plan, writer=writer, workers=workers, read=read)
    work.warp([(scene, NO_CORRECTION) for scene in fresh])
    if known is not None and same:
        kept = {d["scene_id"]: d for d in known.quality["dates"]}
        judge = Judge(textured=known.quality["textured"], limits_db=known.quality["gain_limit_db"], plan=plan)
        history: dict[str, DateQuality] = {}
    else:
        kept = {}
        judge, history = _measure_history(work)
    todo = [
        s.scene_id for s in plan.scenes if s.time > plan.cutoff and (s in fresh or s.scene_id not in kept)
    ]
    found = history | _measure_later(work, judge, todo)
    entries = [found[s].to_json() if s in found else kept[s] for s in plan.sources]
    entries = flag_steps(entries, judge.limits_db, plan.quality)
    return _quality_json(plan, judge, entries), tuple(scene.scene_id for scene in fresh)


@dataclass(frozen=True, kw_only=True)
class Judge:
    """What history says about how dates of this stack are judged."""

    textured: bool
    limits_db: Mapping[str, float]
    plan: Plan

    def correction(self, measured: Measured) -> Correction:
        """What is to be taken out of a date."""
        settings, shift = self.plan.quality, measured.shift
        move = settings.registration == "correct" and shift.accepted and shift.size_px > settings.min_shift_px
        gains = [
            (band, gain.value_db)
            for band, gain in sorted(measured.gains.items())
            if gain.measurable and abs(gain.value_db) > _SMALLEST_GAIN_DB
        ]
        level = settings.gain == "correct" and self.textured
        return Correction(
            shift_px=(shift.dy, shift.dx) if move else (0.0, 0.0), gain_db=tuple(gains) if level else ()
        )

    def entry(self, scene: Scene, measured: Measured) -> DateQuality:
        """The line of quality.json for a date."""
        correction = self.correction(measured)
        return DateQuality(
            scene_id=scene.scene_id,
            time=iso(scene.time),
            platform=scene.platform,
            measured=measured,
            textured=self.textured,
            limits_db=self.limits_db,
            settings=self.plan.quality,
            applied_px=correction.shift_px if correction.shift_px != (0.0, 0.0) else None,
            applied_db=dict(correction.gain_db),
        )


@dataclass(frozen=True, kw_only=True)
class _Work:
    plan: Plan
    writer: StackWriter
    workers: int
    read: Reader | None

    def warp(self, work: Sequence[tuple[Scene, Correction]]) -> None:
        rows, cols = self.plan.geobox.shape
        blocks = len(work) * -(-rows // CHUNK) * -(-cols // CHUNK)
        with progress(f"stack {self.plan.name}", blocks) as advance:

            def sink(scene_id: str, start: tuple[int, int], amplitude: np.ndarray, valid: np.ndarray) -> None:
                self.writer.write_block(scene_id, start, amplitude, valid)
                advance()

            warp_all(work, self.plan.geobox, sink, block=CHUNK, workers=self.workers, read=self.read)


def _kept(scene: Scene, plan: Plan, known: Known | None, same_history: bool) -> bool:
    """True when the scene's pixels in the store can stay."""
    if known is None or known.sources.get(scene.scene_id) != plan.sources[scene.scene_id]:
        return False
    if same_history:
        return True
    entry = next(d for d in known.quality["dates"] if d["scene_id"] == scene.scene_id)
    return entry["applied_shift_px"] is None and not entry["applied_gain_db"]


def _measure_history(work: _Work) -> tuple[Judge, dict[str, DateQuality]]:
    plan = work.plan
    measured = measure_history(work.writer.read(), plan.history)
    values = list(measured.values())
    judge = Judge(textured=is_textured(values), limits_db=gain_limits_db(values, plan.quality), plan=plan)
    entries = {i: judge.entry(plan.scenes[i], m) for i, m in measured.items()}
    corrected = [i for i, m in measured.items() if judge.correction(m) != NO_CORRECTION]
    if corrected:
        work.warp([(plan.scenes[i], judge.correction(measured[i])) for i in corrected])
        again = measure_history(work.writer.read(), plan.history, only=corrected)
        entries |= {i: replace(entries[i], residual=again[i]) for i in corrected}
    return judge, {plan.scenes[i].scene_id: entry for i, entry in entries.items()}


def _measure_later(work: _Work, judge: Judge, todo: Sequence[str]) -> dict[str, DateQuality]:
    if not todo:
        return {}
    stack = work.writer.read()
    reference = reference_of(stack, work.plan.history)
    index = {scene_id: i for i, scene_id in enumerate(stack.times.scene_id)}
    scenes = work.plan.scenes
    entries = {}
    for scene_id in todo:
        i = index[scene_id]
        measured = measure(stack, i, reference)
        entries[scene_id] = judge.entry(scenes[i], measured)
        correction = judge.correction(measured)
        if correction != NO_CORRECTION:
            work.warp([(scenes[i], correction)])
            entries[scene_id] = replace(entries[scene_id], residual=measure(stack, i, reference))
    return entries


def _quality_json(plan: Plan, judge: Judge, entries: list[dict[str, Any]]) -> dict[str, Any]:
    first = plan.scenes[0]
    return {
        "stack": plan.name,
        "cutoff": iso(plan.cutoff),
        "gap_days": plan.gap_days,
        "bands": list(first.bands),
        "unit": "amplitude",
        "radiometry": first.radiometry,
        "calibration": _calibration(plan),
        "source_units": sorted({f.unit for scene in plan.scenes for f in scene.files}),
        "declared": first.extra.get("declared", {}),
        "textured": judge.textured,
        "gain_limit_db": dict(judge.limits_db),
        "dates": entries,
        "notes": _notes(plan, judge, entries),
    }


def _notes(plan: Plan, judge: Judge, entries: Sequence[Mapping[str, Any]]) -> list[str]:
    notes = []
    if not judge.textured:
        notes.append("no texture that lasts (water?): shifts and gains are not measurable")
    for what, chosen in (("history", plan.history), ("later", ~plan.history)):
        dates = [entry for entry, one in zip(entries, chosen, strict=True) if one]
        flagged = sum(not entry["usable"] for entry in dates)
        if flagged:
            notes.append(f"{flagged} of {len(dates)} {what} dates flagged")
    if any(scene.radiometry == "uncalibrated" for scene in plan.scenes):
        notes.append("uncalibrated: levels compare within this stack only")
    return notes


def _header(plan: Plan) -> Header:
    return Header(
        name=plan.name,
        bands=plan.scenes[0].bands,
        geobox=plan.geobox,
        radiometry=plan.scenes[0].radiometry,
        attributes={
            "calibration": _calibration(plan),
            "source": ", ".join(sorted({f"{s.sensor} {s.product_type}" for s in plan.scenes})),
            "cutoff": iso(plan.cutoff),
        },
    )


def _calibration(plan: Plan) -> str:
    return ", ".join(sorted({scene.calibration for scene in plan.scenes}))


def times_of(scenes: Sequence[Scene]) -> Times:
    """What is known of each scene, in the given (time) order."""
    return Times(
        time=np.array([s.time for s in scenes], dtype="datetime64[ns]"),
        scene_id=tuple(s.scene_id for s in scenes),
        platform=tuple(s.platform for s in scenes),
        incidence_deg=np.array(
            [np.nan if s.incidence_deg is None else s.incidence_deg for s in scenes], dtype=np.float32
        ),
        look_side=tuple(s.look_side or "unknown" for s in scenes),
        orbit_direction=tuple(s.orbit_direction or "unknown" for s in scenes),
        relative_orbit=tuple(s.track or "unknown" for s in scenes),
    )


def source_hash(scene: Scene) -> str:
    """One hash of everything a scene's pixels depend on."""
    files = sorted(
        [f.product_id, f.band, f.sha256, f.unit, f.scale, str(f.nodata), f.index, f.crs, list(f.transform)]
        for f in scene.files
    )
    told = [str(scene.time), scene.platform, str(scene.incidence_deg), files]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def iso(time: np.datetime64) -> str:
    """ISO 8601 in UTC, to the nanosecond."""
    return f"{np.datetime_as_string(time.astype('datetime64[ns]'))}Z"


def from_iso(text: str) -> np.datetime64:
    """What `iso` wrote."""
    return np.datetime64(text.removesuffix("Z"), "ns")
