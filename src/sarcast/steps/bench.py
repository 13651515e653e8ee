"""sarcast bench: every way to look and every idea of normal, judged alike; one report of tables."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sarcast.errors import SettingsError, SpaceError
from sarcast.runtime.settings import Settings
from sarcast.steps.bench_injected import Injected
from sarcast.steps.bench_simulated import SimulatedPlaces
from sarcast.steps.bench_sites import Sites

Which = Literal["injected", "simulated", "sites"]
PARTS: dict[str, str] = {
    "injected": "sarcast.steps.bench_injected_table",
    "simulated": "sarcast.steps.bench_simulated_table",
    "sites": "sarcast.steps.bench_sites_table",
}
"""Name of a bench -> its module, with `report(settings) -> Report`."""


class Bench(Settings):
    """Judge every detector on every encoder, classical ones too, in one run."""

    which: Which
    """injected: changes planted in real stacks, judged pixel by pixel; simulated: planted events of every
    kind on simulated places, and places where nothing happens; sites: labelled real series."""
    source: Path | None = None
    """Real data: for `injected` a folder of products, a run folder or a stack.zarr; for `sites` a folder of
    series/*.csv and val_sites_subset.geojson."""
    rows: tuple[str, ...] = ()
    """Rows by name, e.g. --rows "statistics, z_score" "statistics, padim"; all when none is named."""
    quick: bool = False
    """Fewer draws, seeds and resamples, and none of the rows that take long: a look, not a result."""
    seeds: tuple[int, ...] = ()
    """Of everything drawn; the bench's own when none is given."""
    resamples: int = Field(500, ge=20)
    """Resamples behind every interval."""
    jobs: int = Field(1, ge=0)
    """Rows (or places) at once, each in a new process of one thread; 0: one after the other in this process,
    where memory is that of all."""
    markdown: bool = False
    """Print Markdown."""
    out: Path | None = None
    """Markdown file to write the report to as well; with suffix .json, the figures as JSON."""
    injected: Injected = Injected()
    """What is planted, where, and what is history."""
    simulated: SimulatedPlaces = SimulatedPlaces()
    """What is simulated."""
    sites: Sites = Sites()
    """How labelled series are read and judged."""


def bench(settings: Bench) -> dict[str, Any]:
    """Run a bench and give its report.

    Returns:
        `report`: title, about, tables of rows (column -> value; an estimate with its interval), as plain
        values; `text`: what is printed; `out`: the file written, or None.

    Raises:
        SettingsError: No source where one is needed, or a row that does not exist.
        SarcastError: The data do not allow it.
    """
    from sarcast.steps.bench_table import as_markdown, as_plain, as_values

    if settings.which in NEEDS_SOURCE and settings.source is None:
        raise SettingsError(f"expected --source with the data of bench {settings.which}, found none")
    report = import_module(PARTS[settings.which]).report(settings)
    report = replace(report, about=(_command(settings), *report.about))
    text = as_markdown(report)
    found = as_values(report)
    if settings.out is not None:
        _write(settings.out, text, found)
    return {
        "report": found,
        "text": text if settings.markdown else as_plain(report),
        "out": None if settings.out is None else str(settings.out),
    }


NEEDS_SOURCE = ("injected", "sites")


def _command(settings: Bench) -> str:
    """What wrote the report: the verb, the version, and settings other than the defaults that shape it."""
    from sarcast import __version__

    shaping = [name for name in Bench.model_fields if name not in ("which", *PARTS, *_NOT_SHAPING)]
    given: dict[str, Any] = {name: getattr(settings, name) for name in shaping}
    usual = {name: Bench.model_fields[name].default for name in shaping}
    own = getattr(settings, settings.which)
    for name, field in type(own).model_fields.items():
        given[f"{settings.which}.{name}"], usual[f"{settings.which}.{name}"] = (
            getattr(own, name),
            field.default,
        )
    told = [f"{name} = {value}" for name, value in given.items() if value != usual[name]]
    return f"Written by `sarcast bench {settings.which}`, sarcast {__version__}; " + (
        f"settings: {'; '.join(told)}; the others as they come." if told else "settings as they come."
    )


_NOT_SHAPING = ("source", "jobs", "markdown", "out")


def as_text(found: dict[str, Any]) -> str:
    """The tables for people."""
    told = str(found["text"]).rstrip()
    return told if found["out"] is None else f"{told}\n\nwritten: {found['out']}"


def as_dict(found: dict[str, Any]) -> dict[str, Any]:
    """The figures for programs."""
    return {**found["report"], "out": found["out"]}


def _write(path: Path, text: str, found: dict[str, Any]) -> None:
    whole = json.dumps(found, indent=2, sort_keys=True) + "\n" if path.suffix == ".json" else text
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(whole, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise SpaceError(f"expected a place to write the report, found {error.strerror}, in {path}") from None
