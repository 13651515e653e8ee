"""sarcast stack: lay the scenes of each place on one grid, check every date, and keep it up to date."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from sarcast import __version__
from sarcast.errors import DataError, SarcastError, SettingsError, StackError
from sarcast.runtime.artefact import (
    content_hash,
    file_hash,
    finished,
    locked,
    recover,
    run_entry,
    write_json,
    writing,
)
from sarcast.runtime.settings import Settings, as_json
from sarcast.stack.grid import area_of_interest, meets, stack_grid
from sarcast.stack.group import StackGroup, group_scenes
from sarcast.stack.quality import Quality
from sarcast.stack.split import history_cutoff
from sarcast.stack.store import NAME, read_stack
from sarcast.stack.update import Known, Plan, from_iso, iso, update
from sarcast.values import Scene

LOG = logging.getLogger("sarcast.stack")
QUALITY = "quality.json"
_SHAPING = ("resolution_m", "bbox", "quality")
"""Settings that change a stack's pixels or checks."""


class StackScenes(Settings):
    """Lay the scenes of each place and geometry on one grid, check every date, keep it up to date."""

    scenes: Path
    """scenes.json, or the folder that holds it."""
    out: Path
    """Folder under which stacks/NAME/stack.zarr is written."""
    resolution_m: float | None = Field(default=None, gt=0)
    """Side of a pixel, metres; the products' own when not given."""
    bbox: tuple[float, float, float, float] | None = None
    """Area of interest: west south east north, degrees."""
    aoi: Path | None = None
    """Area of interest: GeoJSON file; its bounding box in the stack's CRS is taken."""
    quality: Quality = Quality()
    """What is checked, corrected and flagged."""
    history_end: date | None = None
    """Last day (UTC) of history; the first half of the dates when not given. Kept from the first run on."""
    gap_days: int | None = Field(default=None, ge=0)
    """Days after history whose dates are neither learned from nor judged; 0 when not given. Kept from the
    first run on."""
    context: int = Field(default=7, ge=1)
    """Dates a forecast looks back: history is at least three more."""
    workers: int = Field(default=min(4, os.cpu_count() or 1), ge=1)
    """Threads."""
    refit: bool = False
    """Forget the stored end of history and its reference: a new epoch."""


def stack(settings: StackScenes) -> list[Path]:
    """Build or update every stack of a catalogue.

    A stack already there is updated: only new or changed scenes are warped, and a run with nothing new writes
    nothing. Groups with too few dates, or of which half the history lies outside the area of interest, are
    left out with a warning.

    Returns:
        Paths of the stacks, sorted.

    Raises:
        StackError: The scenes cannot be stacked, or the area of interest lies outside all of them.
        DataError: No group has dates enough.
        SettingsError: The area is none, or another end of history is stored.
    """
    from sarcast.readers.catalogue import read_catalogue

    path = settings.scenes / "scenes.json" if settings.scenes.is_dir() else settings.scenes
    groups = group_scenes(read_catalogue(path).scenes)
    area = area_of_interest(bbox=settings.bbox, path=settings.aoi)
    if area is not None:
        groups = tuple(g for g in groups if any(meets(scene, area) for scene in g.scenes))
        if not groups:
            raise StackError(f"expected an area of interest inside the data, found it outside, in {path}")
    built: list[Path] = []
    waiting: list[SarcastError] = []
    for group in _keep_names(groups, settings.out / "stacks"):
        folder = settings.out / "stacks" / group.name
        try:
            plan, known = _plan(group, folder, settings, area)
        except (DataError, StackError) as error:
            waiting.append(error)
            LOG.warning("%s is left out: %s", group.name, error)
            continue
        built.append(_bring_up_to_date(folder, plan, known, settings))
    if not built:
        raise waiting[0] if waiting else DataError(f"expected scenes, found none, in {path}")
    return sorted(built)


def _plan(group: StackGroup, folder: Path, settings: StackScenes, area: Any) -> tuple[Plan, Known | None]:
    recover(folder / NAME)
    cutoff = _cutoff(group.scenes, folder, settings)
    history = [scene for scene in group.scenes if scene.time <= cutoff]
    plan = Plan(
        name=group.name,
        scenes=group.scenes,
        geobox=stack_grid(history, resolution_m=settings.resolution_m, area=area),
        cutoff=cutoff,
        quality=settings.quality,
        gap_days=_gap_days(folder, settings),
    )
    known = None if settings.refit else _known(folder, settings, plan)
    return plan, known


def _bring_up_to_date(folder: Path, plan: Plan, known: Known | None, settings: StackScenes) -> Path:
    target = folder / NAME
    if known is not None and dict(known.sources) == plan.sources and known.same_history(plan):
        LOG.info("%s: nothing new", plan.name)
        return target
    inputs = {**plan.sources, **_aoi_hash(settings)}
    told = as_json(settings)
    with locked(folder):
        with writing(target, settings=told, inputs=inputs, clone=known is not None) as partial:
            quality, warped = update(partial, plan, known, workers=settings.workers)
        after = {NAME: content_hash(target)}
        with writing(folder / QUALITY, settings=told, inputs=after) as partial:
            write_json(partial, quality)
    LOG.info("%s: %d dates worked on", plan.name, len(warped))
    LOG.debug("%s: worked on %s", plan.name, " ".join(warped))
    return target


def _cutoff(scenes: Sequence[Scene], folder: Path, settings: StackScenes) -> np.datetime64:
    """The given end of history, else the stored one, else the first half of the dates."""
    times = np.array([scene.time for scene in scenes], dtype="datetime64[ns]")
    stored = None if settings.refit else _read(folder / QUALITY).get("cutoff")
    if settings.history_end is not None:
        before = run_entry(folder / NAME).get("settings", {}).get("history_end")
        end = np.datetime64(settings.history_end, "ns") + np.timedelta64(1, "D")
        if not (times < end).any():
            raise DataError(
                f"expected dates up to {settings.history_end}, found the first on {scenes[0].time}"
            )
        cutoff = times[times < end][-1]
        other = before != settings.history_end.isoformat() and from_iso(stored or iso(cutoff)) != cutoff
        if other:
            raise SettingsError(
                f"expected the history end of the first run ({stored}), found {settings.history_end}: "
                f"refit starts a new epoch, in {folder}"
            )
        return np.datetime64(cutoff, "ns")
    return history_cutoff(times, context=settings.context) if stored is None else from_iso(stored)


def _gap_days(folder: Path, settings: StackScenes) -> int:
    """The stored gap, else the given one, else none."""
    stored = {} if settings.refit else _read(folder / QUALITY)
    kept = int(stored.get("gap_days", 0))
    if stored and settings.gap_days not in (None, kept):
        raise SettingsError(
            f"expected the gap of the first run ({kept} days), found {settings.gap_days}: refit starts a new "
            f"epoch, in {folder}"
        )
    return kept if stored else settings.gap_days or 0


def _known(folder: Path, settings: StackScenes, plan: Plan) -> Known | None:
    """What is there, if all of it is whole and was made with these settings on this grid."""
    target = folder / NAME
    if not (finished(target) and finished(folder / QUALITY)):
        return None
    entry, quality = run_entry(target), _read(folder / QUALITY)
    if run_entry(folder / QUALITY).get("inputs") != {NAME: content_hash(target)}:
        return None
    now, before = as_json(settings), entry.get("settings", {})
    inputs = dict(entry.get("inputs", {}))
    same_area = {k: inputs.pop(k) for k in [_AOI] if k in inputs} == _aoi_hash(settings)
    same = all(now[name] == before.get(name) for name in _SHAPING)
    if not (same and same_area and entry.get("version") == __version__):
        return None
    store = read_stack(target)
    if store.geobox != plan.geobox or store.bands != plan.scenes[0].bands or store.name != plan.name:
        return None
    return Known(sources=inputs, quality=quality)


_AOI = "area of interest"


def _aoi_hash(settings: StackScenes) -> dict[str, str]:
    return {} if settings.aoi is None else {_AOI: file_hash(settings.aoi)}


def _keep_names(groups: Sequence[StackGroup], stacks: Path) -> list[StackGroup]:
    """A stack keeps the folder it has, whatever an earlier scene would have named it."""
    taken = {
        entry["scene_id"]: path.parent.name
        for path in sorted(stacks.glob(f"*/{QUALITY}"))
        for entry in _read(path).get("dates", [])
    }
    wanted = {group.name for group in groups}
    named = []
    for group in groups:
        old = [taken[s.scene_id] for s in group.scenes if s.scene_id in taken]
        free = [name for name in old if name == group.name or name not in wanted]
        named.append(replace(group, name=free[0]) if free and group.name not in old else group)
        wanted.add(named[-1].name)
    return named


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}
