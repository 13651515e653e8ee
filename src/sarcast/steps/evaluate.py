"""sarcast evaluate: judge a run, or recompute published figures from released scores; one estimates.json."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import Field

from sarcast.errors import SettingsError
from sarcast.readers.coherence_maps import DEFAULT_NAME
from sarcast.runtime.artefact import locked, up_to_date, write_json, writing
from sarcast.runtime.settings import Settings, as_json

ESTIMATES = "estimates.json"
PARTS = {"run": "sarcast.steps.judge", "published": "sarcast.steps.published"}
"""What can be judged: the setting that names it -> the module that does it.

A part has `folder(settings) -> Path` (where estimates.json goes when `out` is not given),
`inputs(settings) -> dict[str, str]` (name -> hash of what is read), `estimates(settings) -> dict` (plain
values) and `as_text(found) -> str`; where it has figures, `draw(found, folder)`.
"""


_PLACES = ("out", "figures")


class Evaluate(Settings):
    """Judge a run, or recompute what was published; give exactly one of the two."""

    run: Path | None = None
    """Folder of a run to judge."""
    more: tuple[Path, ...] = ()
    """More runs to judge with it, as more places."""
    truth: Path | None = None
    """What happened, for every run: GeoParquet, GeoJSON or the like, with geometry, onset and, where known,
    end; truth.parquet in the folder of each run when not given."""
    delay_days: float = Field(default=60.0, ge=0)
    """A detection later than this after the onset of an event does not find it."""
    coherence: Path | None = None
    """Folder of coherence maps (GeoTIFF) that judge the run too: a place is changed where its coherence fell
    against its own history. Never an input to a model."""
    coherence_name: str = DEFAULT_NAME
    """Part of a map's name with the two dates of its pair, as strptime writes them."""
    coherence_looks: float | None = Field(default=None, gt=1)
    """Independent looks of one estimate in the maps; from their least coherent cells when not given."""
    published: Path | None = None
    """Folder of released scores (scores_SITE.json) and what was published of them (results_complete.json)."""
    out: Path | None = None
    """Folder for estimates.json; that of the run, or sarcast-published/, when not given."""
    figures: Path | None = None
    """Folder for curves and delays of a run as PNG; not drawn when not given."""
    seed: int = 0
    """Of the random generator."""


def evaluate(settings: Evaluate) -> dict[str, Any]:
    """Write estimates.json and give what is in it; judged already with the same settings, it is only read.

    Returns:
        The part's plain values, and `kind` (its name in `PARTS`) and `estimates` (path of the file).

    Raises:
        SettingsError: Not exactly one thing to judge was given.
        SarcastError: What is to be judged cannot be read.
    """
    kind = _kind(settings)
    part = import_module(PARTS[kind])
    target = (settings.out or part.folder(settings)) / ESTIMATES
    told = {name: value for name, value in as_json(settings).items() if name not in _PLACES}
    inputs = part.inputs(settings)
    if not up_to_date(target, settings=told, inputs=inputs):
        with (
            locked(target.parent),
            writing(target, settings=told, inputs=inputs, seed=settings.seed) as partial,
        ):
            write_json(partial, {"kind": kind, **part.estimates(settings)})
    found = json.loads(target.read_text(encoding="utf-8"))
    if settings.figures is not None:
        part.draw(found, settings.figures)
    return {**found, "estimates": str(target)}


def as_text(found: dict[str, Any]) -> str:
    """The part's tables and sentences for people, and where they are kept."""
    told: str = import_module(PARTS[found["kind"]]).as_text(found)
    return f"{told}\n\nestimates: {found['estimates']}"


def _kind(settings: Evaluate) -> str:
    given = [name for name in PARTS if getattr(settings, name) is not None]
    if len(given) != 1:
        said = " and ".join(given) or "nothing"
        raise SettingsError(f"expected exactly one thing to judge ({' or '.join(PARTS)}), found {said}")
    for name in ("figures", "coherence"):
        if given[0] != "run" and getattr(settings, name) is not None:
            raise SettingsError(f"expected a run to judge with --{name}, found {given[0]}")
    return given[0]
