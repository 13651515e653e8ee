"""publish: a run's scores and detections become maps, a catalogue and a report people look at."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from sarcast import __version__
from sarcast.errors import ArtefactError
from sarcast.publish.material import Material, Threshold
from sarcast.runtime.settings import Settings, as_json

if TYPE_CHECKING:
    import geopandas as gpd

_STORES = ("stack.zarr", "scores.zarr")
_FACTS = ("quality.json", "threshold.json")
_TABLES = ("detections.parquet", "detections.geojson")
_STEPS = ("scenes.json", "stack.zarr", "features.zarr", "detector", "scores.zarr", "detections.parquet")
"""Artefacts whose settings the report prints: those that every run has when its site is made."""
_UNPRINTED = frozenset(
    {
        "out",
        "run",
        "source",
        "scenes",
        "products",
        "stack",
        "stacks",
        "features",
        "scores",
        "workers",
        "aoi",
        "declare",
    }
)
"""Settings that name places, or how fast to work: they change nothing of what was found. What was declared is
printed with each stack."""


class Publish(Settings):
    """Make maps, a STAC catalogue and a report of a run."""

    run: Path
    """Folder of the run: holds stacks/ and detections.parquet."""
    out: Path | None = None
    """Folder to write; site/ inside the run by default."""
    title: str = "What changed"
    """Heading of the report."""
    top: int = Field(12, ge=0, le=200)
    """Events of each stack shown with pictures and series, strongest first."""


def publish(settings: Publish) -> Path:
    """Write the site of a run as one artefact and return its folder.

    It holds maps/ (Cloud-Optimised GeoTIFF), stac/ (static STAC 1.1), report.html (self-contained) and copies
    of detections.parquet and detections.geojson. The same run gives the same bytes; nothing is written when
    the site shows the run as it is.

    Raises:
        ArtefactError: Something of the run is missing, unfinished or altered.
        SpaceError: The place is full or cannot be written.
    """
    from sarcast.publish.report import report_html
    from sarcast.publish.stac import write_stac
    from sarcast.runtime.artefact import up_to_date, writing

    materials = read_run(settings.run)
    target = settings.out or settings.run / "site"
    told, inputs = as_json(settings), _hashes(settings.run)
    if up_to_date(target, settings=told, inputs=inputs):
        return target
    with writing(target, settings=told, inputs=inputs) as partial:
        partial.mkdir()
        for name in _TABLES:
            shutil.copyfile(settings.run / name, partial / name)
        (partial / "maps").mkdir()
        for material in materials:
            _write_maps(partial / "maps", material)
        write_stac(partial / "stac", materials, title=settings.title, products=_products(settings.run))
        page = report_html(
            materials, title=settings.title, settings=_printable(settings.run / "run.json"), top=settings.top
        )
        (partial / "report.html").write_text(page, encoding="utf-8")
    return target


def read_run(run: Path) -> list[Material]:
    """What the site needs of every stack of a run, by name; pixels stay on disk.

    Raises:
        ArtefactError: Something is missing, unfinished or altered.
    """
    from sarcast.publish.vector import read_detections
    from sarcast.runtime.artefact import require

    folders = _stack_folders(run)
    if not folders:
        raise ArtefactError(f"expected the folder of a run, found no stacks, in {run}")
    parquet, _ = (require(run / name) for name in _TABLES)
    table = read_detections(parquet)
    return [_read_material(folder, table) for folder in folders]


def _stack_folders(run: Path) -> list[Path]:
    """Those that were scored; a stack that could not be is left out."""
    return sorted(path.parent for path in (run / "stacks").glob("*/scores.zarr"))


def _read_material(folder: Path, table: gpd.GeoDataFrame) -> Material:
    from sarcast.publish.vector import events_of
    from sarcast.runtime.artefact import require
    from sarcast.stack.cells import read_scores
    from sarcast.stack.store import read_stack

    stack_path, scores_path = (require(folder / name) for name in _STORES)
    quality_path, threshold_path = (folder / name for name in _FACTS)
    stack = read_stack(stack_path)
    crs = stack.geobox.crs
    events = events_of(table, stack.name, crs.to_wkt() if crs is not None else "EPSG:4326")
    return Material(
        stack=stack,
        scores=read_scores(scores_path),
        quality=_json(quality_path),
        threshold=Threshold.of(_json(threshold_path), str(threshold_path)),
        events=tuple(sorted(events, key=lambda e: (e.p_value, -e.peak_score, e.event_id))),
        settings=_printable(folder / "run.json"),
    )


def _write_maps(folder: Path, material: Material) -> None:
    """Both maps of every judged date."""
    from sarcast.publish.cog import anomaly_map, cells_geobox, status_map, write_cog
    from sarcast.publish.stac import judged_stamps, map_name

    scores = material.scores
    box = cells_geobox(scores.grid, scores.geobox)
    status = material.status
    for time, stamp in judged_stamps(material):
        tags = {
            "sarcast_version": __version__,
            "stack": material.name,
            "scene_id": scores.times.scene_id[time],
            "detector": scores.detector,
            "encoder": scores.encoder,
            "false_alarms": repr(material.threshold.false_alarms),
            "threshold_p_value": repr(material.threshold.p_value),
        }
        layers, names = anomaly_map(scores, time)
        write_cog(folder / map_name("anomaly", material.name, stamp), layers, box, tags=tags, bands=names)
        write_cog(
            folder / map_name("status", material.name, stamp),
            status_map(status[time], scores.grid),
            box,
            categorical=True,
            tags=tags,
            bands=("status, DIST-ALERT codes 0 to 8",),
        )


def _hashes(run: Path) -> dict[str, str]:
    from sarcast.runtime.artefact import content_hash, file_hash

    found = {name: content_hash(run / name) for name in _TABLES}
    for folder in _stack_folders(run):
        found |= {f"stacks/{folder.name}/{name}": content_hash(folder / name) for name in _STORES}
        found |= {f"stacks/{folder.name}/{name}": file_hash(folder / name) for name in _FACTS}
        found[f"stacks/{folder.name} settings"] = _hash(_printable(folder / "run.json"))
    found["settings"] = _hash(_printable(run / "run.json"))
    found["products"] = _hash(_products(run))
    return found


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _products(run: Path) -> dict[str, tuple[str, ...]]:
    """scene_id -> product ids, from the run's catalogue; empty where there is none."""
    from sarcast.readers.catalogue import read_catalogue

    path = run / "scenes.json"
    if not path.exists():
        return {}
    return {scene.scene_id: scene.product_ids for scene in read_catalogue(path).scenes}


def _printable(path: Path) -> dict[str, dict[str, Any]]:
    """Settings of each step in a run.json, without what only names a place on this machine or the history.

    The history is printed as what it came to (its last date), which is the same however it was asked for.
    """
    entries = _json(path) if path.exists() else {}
    found = {
        step: {
            name: value
            for name, value in entry.get("settings", {}).items()
            if name not in _UNPRINTED
            and not name.startswith(("history", "cutoff", "gap", "refit"))
            and not _names_a_place(value)
        }
        for step, entry in entries.items()
        if step in _STEPS and isinstance(entry, dict)
    }
    return {step: values for step, values in found.items() if values}


def _names_a_place(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_names_a_place(one) for one in value.values())
    if isinstance(value, list):
        return any(_names_a_place(one) for one in value)
    return isinstance(value, str) and ("/" in value or "\\" in value)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ArtefactError(f"expected JSON, found {str(error).splitlines()[0]}, in {path}") from None
    if not isinstance(found, dict):
        raise ArtefactError(f"expected a JSON object, found {type(found).__name__}, in {path}")
    return found
