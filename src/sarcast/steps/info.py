"""What is there, before any work: products, geometry groups, dates, gaps, duplicates, refusals, cost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from sarcast.errors import ArtefactError, SarcastError
from sarcast.readers.catalogue import Catalogue, read_catalogue, scan
from sarcast.readers.geotiff import GeoTIFF
from sarcast.runtime.artefact import finished, run_entry
from sarcast.runtime.settings import Settings
from sarcast.steps.ingest import NAME, options
from sarcast.values import Scene, Times

BASE_MB = 500
"""Memory of the process with its libraries, before any pixel."""
BLOCK_MB = 400
"""At most what a stack is built and scored in, whatever the number of dates."""
PIXELS_PER_S = 3e6
"""Pixels of one date and band read, warped, described and scored per second on two cores: a rough guide."""
STACK_S = 6.0
"""Fixed cost of a stack: registration, fitting, figures."""
GAP_FACTOR = 3.0
"""An interval this many times the usual one is a gap."""


class Info(Settings):
    """Say what a source holds and what a run would make of it."""

    source: Path
    """Folder of products, a product, scenes.json, a run's folder, or one of its .zarr artefacts."""
    reader: str = "auto"
    """capella, opera, geotiff; auto asks each reader that knows its products."""
    declare: GeoTIFF = GeoTIFF()
    """With --reader geotiff: what the GeoTIFFs hold."""
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False
    """Print JSON."""


def info(settings: Info) -> dict[str, Any]:
    """Look at `settings.source`, print what is there (text, or JSON), and give it as plain values.

    Products that cannot be used are listed under "refused" and raise nothing.

    Raises:
        SarcastError: There is nothing to look at, or an artefact cannot be read.
    """
    source = settings.source
    if source.suffix == ".zarr":
        found = _artefact(source)
    elif source.suffix.lower() == ".json":
        found = _catalogue(read_catalogue(source), source, "catalogue")
    elif (source / NAME).is_file():
        found = _run(source)
    elif (source / "stacks").is_dir():
        found = _run_of_stacks(source)
    else:
        catalogue = scan(source, settings.reader, options(settings.reader, settings.declare))
        found = _catalogue(catalogue, source, "products")
    print(json.dumps(found, indent=2, sort_keys=True) if settings.as_json else as_text(found))
    return found


def as_text(found: dict[str, Any]) -> str:
    """A few lines for people."""
    lines = [f"{found['kind']}: {found['source']}"]
    if found["kind"] in ("products", "catalogue", "run"):
        lines += _catalogue_lines(found)
    else:
        lines += [
            f"  {key}: {_short(value)}" for key, value in found.items() if key not in ("kind", "source")
        ]
    return "\n".join(lines)


def _catalogue(catalogue: Catalogue, source: Path, kind: str) -> dict[str, Any]:
    from sarcast.stack.group import group_scenes

    try:
        groups, mixed = group_scenes(catalogue.scenes), None
    except SarcastError as error:
        groups, mixed = (), str(error)
    stacks = [_stack(group.name, group.scenes) for group in groups]
    return {
        "kind": kind,
        "source": str(source),
        "scenes": len(catalogue.scenes),
        "files": sum(len(scene.files) for scene in catalogue.scenes),
        "product_types": dict(sorted(Counter(scene.product_type for scene in catalogue.scenes).items())),
        "units": _values(file.unit for scene in catalogue.scenes for file in scene.files),
        "radiometry": _values(scene.radiometry for scene in catalogue.scenes),
        "calibration": _values(scene.calibration for scene in catalogue.scenes),
        "stacks": stacks,
        "refused": [{"path": one.path, "reason": one.reason} for one in catalogue.refused],
        "left_out": list(catalogue.notes),
        "mixed": mixed,
        "predicted": _predicted(stacks),
    }


def _stack(name: str, scenes: tuple[Scene, ...]) -> dict[str, Any]:
    first = scenes[0]
    times = np.array([scene.time for scene in scenes], dtype="datetime64[ns]")
    angles = [scene.incidence_deg for scene in scenes if scene.incidence_deg is not None]
    pixels = max(sum(f.shape[0] * f.shape[1] for f in s.files) // len(s.bands) for s in scenes)
    return {
        "name": name,
        "dates": len(scenes),
        "first": _utc(times.min()),
        "last": _utc(times.max()),
        "gaps": _gaps(times),
        "same_day": _same_day(scenes),
        "bands": list(first.bands),
        "sensor": first.sensor,
        "platforms": _values(scene.platform for scene in scenes),
        "orbit_direction": first.orbit_direction or "unknown",
        "look_side": first.look_side or "unknown",
        "track": first.track or "unknown",
        "incidence_deg": [round(min(angles), 2), round(max(angles), 2)] if angles else None,
        "radiometry": first.radiometry,
        "geometry": first.geometry,
        "looks": _values(str(scene.looks) for scene in scenes if scene.looks is not None),
        "pixels": int(pixels),
        "declared": first.extra.get("declared", {}),
    }


def _gaps(times: np.ndarray) -> list[dict[str, Any]]:
    """Intervals much longer than the usual one."""
    ordered = np.sort(times)
    steps_d = np.diff(ordered) / np.timedelta64(1, "D")
    if not len(steps_d):
        return []
    long = np.flatnonzero(steps_d > GAP_FACTOR * np.median(steps_d))
    return [
        {"after": _utc(ordered[i]), "before": _utc(ordered[i + 1]), "days": round(float(steps_d[i]), 1)}
        for i in long
    ]


def _same_day(scenes: tuple[Scene, ...]) -> list[str]:
    days = Counter(str(scene.time.astype("datetime64[D]")) for scene in scenes)
    return sorted(day for day, n in days.items() if n > 1)


def _predicted(stacks: list[dict[str, Any]]) -> dict[str, Any]:
    """Rough cost of a run: memory is bounded by the block, disk and time grow with the pixels."""
    layers = [one["pixels"] * one["dates"] * len(one["bands"]) for one in stacks]
    largest = max((one["pixels"] * len(one["bands"]) * 4 * 8 / 2**20 for one in stacks), default=0.0)
    return {
        "peak_memory_mb": round(BASE_MB + min(largest, BLOCK_MB)),
        "stack_mb_uncompressed": round(sum(layers) * 5 / 2**20, 1),
        "seconds": round(sum(layers) / PIXELS_PER_S + STACK_S * len(stacks)),
    }


def _run(folder: Path) -> dict[str, Any]:
    found = _catalogue(read_catalogue(folder / NAME), folder, "run")
    for one in found["stacks"]:
        home = folder / "stacks" / one["name"]
        one["artefacts"] = {
            name: "finished" if finished(home / name) else "unfinished"
            for name in ("stack.zarr", "features.zarr", "scores.zarr", "quality.json")
            if (home / name).exists()
        }
    found["artefacts"] = {
        name: "finished" if finished(folder / name) else "unfinished"
        for name in ("scenes.json", "detections.parquet", "detections.geojson", "site", "estimates.json")
        if (folder / name).exists()
    }
    return found


def _run_of_stacks(folder: Path) -> dict[str, Any]:
    """A run that was started from a stack.zarr: it has stacks and no catalogue."""
    stacks = {path.parent.name: _artefact(path) for path in sorted(folder.glob("stacks/*/stack.zarr"))}
    if not stacks:
        raise ArtefactError(f"expected the folder of a run, found no stacks, in {folder}")
    return {"kind": "run of stacks", "source": str(folder), **stacks}


def _artefact(path: Path) -> dict[str, Any]:
    """A stack, features or scores: sizes, dates and how it was made."""
    if not path.is_dir():
        raise ArtefactError(f"expected an artefact, found nothing: {path}")
    kind, facts = _zarr_facts(path)
    entry = run_entry(path)
    made = {key: entry[key] for key in ("version", "seconds", "peak_memory_mb") if key in entry}
    return {
        "kind": kind,
        "source": str(path),
        "finished": finished(path),
        **facts,
        **({"made": made} if made else {}),
    }


def _zarr_facts(path: Path) -> tuple[str, dict[str, Any]]:
    from sarcast.stack.cells import read_features, read_scores
    from sarcast.stack.store import read_stack

    name = path.name
    if name.startswith("features"):
        features = read_features(path)
        return "features", {
            "encoder": features.encoder,
            "shape": dict(zip(("time", "row", "col", "dim"), features.values.shape, strict=True)),
            "valid_fraction": round(float(features.valid.mean()), 4),
            **_dates(features.times),
        }
    if name.startswith("scores"):
        scores = read_scores(path)
        return "scores", {
            "detector": scores.detector,
            "encoder": scores.encoder,
            "shape": dict(zip(("time", "row", "col"), scores.values.shape, strict=True)),
            "valid_fraction": round(float(scores.valid.mean()), 4),
            **_dates(scores.times),
        }
    stack = read_stack(path)
    return "stack", {
        "name": stack.name,
        "shape": dict(zip(("time", "band", "y", "x"), stack.amplitude.shape, strict=True)),
        "bands": list(stack.bands),
        "unit": stack.unit,
        "radiometry": stack.radiometry,
        "crs": str(stack.geobox.crs),
        "resolution_m": [abs(stack.geobox.resolution.y), abs(stack.geobox.resolution.x)],
        **_dates(stack.times),
    }


def _dates(times: Times) -> dict[str, Any]:
    if not len(times):
        return {"dates": 0}
    return {
        "dates": len(times),
        "first": _utc(times.time[0]),
        "last": _utc(times.time[-1]),
        "gaps": _gaps(times.time),
        "platforms": _values(times.platform),
    }


def _values(values: Any) -> list[str]:
    return sorted(set(values))


def _utc(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, unit='s')}Z"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(_short(one) for one in value) or "none"
    return str(value)


def _catalogue_lines(found: dict[str, Any]) -> list[str]:
    lines = [
        f"  {found['scenes']} scenes in {found['files']} files ({_short(found['product_types'])}); "
        f"stored as {_short(found['units'])}; {_short(found['radiometry'])}, calibration "
        f"{_short(found['calibration'])}"
    ]
    for one in found["stacks"]:
        lines.append(
            f"  stack {one['name']}: {one['dates']} dates {one['first'][:10]} to {one['last'][:10]}, "
            f"{'+'.join(one['bands'])}, {one['orbit_direction']}, looking {one['look_side']}, "
            f"track {one['track']}, "
            f"incidence {_short(one['incidence_deg']) if one['incidence_deg'] else 'unknown'}, "
            f"{one['pixels']:,} pixels, {_short(one['platforms'])}"
        )
        lines += [f"    gap of {gap['days']:g} days after {gap['after'][:10]}" for gap in one["gaps"]]
        lines += [f"    two acquisitions on {day}" for day in one["same_day"]]
        if one["declared"]:
            said = {
                key: value for key, value in one["declared"].items() if value not in (None, "unknown", [])
            }
            lines.append(f"    declared: {_short(said)}")
        if one.get("artefacts"):
            lines.append(f"    {_short(one['artefacts'])}")
    lines += [f"  mixed: {found['mixed']}"] if found["mixed"] else []
    lines += [f"  refused: {one['reason']}" for one in found["refused"]]
    lines += [f"  left out: {note}" for note in found["left_out"]]
    if found.get("artefacts"):
        lines.append(f"  {_short(found['artefacts'])}")
    cost = found["predicted"]
    lines.append(
        f"  a run needs roughly {cost['peak_memory_mb']:,} MB of memory, {cost['stack_mb_uncompressed']:,} "
        f"MB of stack before compression and {cost['seconds']:,} s"
    )
    return lines
