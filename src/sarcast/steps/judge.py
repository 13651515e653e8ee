"""The part of sarcast evaluate that judges a run: against truth where there is some, and without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import ArtefactError, DataError
from sarcast.runtime.artefact import content_hash, file_hash, finished
from sarcast.steps.judge_coherence import by_coherence, map_hashes
from sarcast.steps.judged import Place, cell_area_m2, judged_cells, places_of, plain

if TYPE_CHECKING:
    from sarcast.evaluate.matching import Matched
    from sarcast.evaluate.onset import JudgedCells
    from sarcast.evaluate.resampled import Curve, Resampled
    from sarcast.steps.evaluate import Evaluate
    from sarcast.values import Labels

TRUTH, DETECTIONS, FEATURES = "truth.parquet", "detections.parquet", "features.zarr"
FIGURES = ("roc_auc", "average_precision", "recall")
PROTOCOL = "planted events at their onset; negatives: untouched cells; times after history"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Known:
    """A place whose events are known."""

    place: Place
    labels: Labels
    """In the place's CRS."""
    cells: JudgedCells
    first_event: int
    """Number of the first of its events among those of all runs."""


def folder(settings: Evaluate) -> Path:
    """Where estimates.json goes when no place is given: the folder of the run."""
    assert settings.run is not None
    return settings.run


def inputs(settings: Evaluate) -> dict[str, str]:
    """Hashes of scores, features, detections, checks, truth and coherence maps."""
    found = {}
    for number, run in enumerate(_runs(settings)):
        stores = [*run.glob("stacks/**/scores.zarr"), *run.glob("stacks/**/features.zarr")]
        others = [run / DETECTIONS, *run.glob("stacks/*/quality.json")]
        for path in sorted(path for path in (*stores, *others) if finished(path)):
            found[f"{number} {path.relative_to(run).as_posix()}"] = content_hash(path)
        truth = _truth(settings, run)
        if truth is not None and truth.is_file():
            found[f"{number} truth"] = file_hash(truth)
    return found | map_hashes(settings)


def estimates(settings: Evaluate) -> dict[str, Any]:
    """Everything that can be said of the run, in plain values; docs/artefacts.md lists it.

    Raises:
        ArtefactError: No run, or truth that cannot be read.
        DataError: Truth is given, but nothing of it can be judged.
    """
    runs = _runs(settings)
    places = [place for run in runs for place in places_of(run)]
    known = _known(settings, places)
    told: dict[str, Any] = {"protocol": PROTOCOL, "seed": settings.seed, "table": [], "events": None}
    if known:
        told |= _against_truth(known, settings)
    told["places"] = _by_place(places, known, settings.seed)
    told["left_out"] = [one for place in places for one in place.left_out]
    told["left_out"] += [f"{name}: not at every place" for name in told.pop("not_everywhere", [])]
    told["without_truth"] = [_without_truth(place, settings.seed) for place in places]
    told["coherence"] = by_coherence(settings, places)
    told["latent"] = [row for place in places for row in _latent(place, settings.seed)]
    return dict(plain(told))


def as_text(found: dict[str, Any]) -> str:
    """The tables for people."""
    from sarcast.steps.judge_text import told

    return told(found)


def draw(found: dict[str, Any], target: Path) -> list[Path]:
    """Curves and delays as PNG files in a folder; nothing where there is no truth.

    Raises:
        DataError: There was no truth to judge against.
    """
    from sarcast.publish.evaluation import draw_figures

    if not found["table"]:
        raise DataError("expected figures against truth to draw, found a run judged without truth")
    return draw_figures(found, target)


def _runs(settings: Evaluate) -> list[Path]:
    assert settings.run is not None
    return [settings.run, *settings.more]


def _truth(settings: Evaluate, run: Path) -> Path | None:
    """The file of events: the one given, or what was simulated with the run."""
    if settings.truth is not None:
        return settings.truth
    return run / TRUTH if (run / TRUTH).exists() else None


def _known(settings: Evaluate, places: Sequence[Place]) -> list[_Known]:
    """Places with truth; runs with one file of truth share its events."""
    from sarcast.steps.truth import in_grid, read_truth

    read: dict[Path, tuple[Labels, int]] = {}
    known, count = [], 0
    for place in places:
        path = _truth(settings, place.run)
        if path is None:
            continue
        if path not in read:
            read[path] = read_truth(path), count
            count += len(read[path][0].labels)
        labels = in_grid(read[path][0], place.own.geobox)
        cells = judged_cells(place.own, labels, judged=place.judged, usable=place.usable)
        known.append(_Known(place=place, labels=labels, cells=cells, first_event=read[path][1]))
    if known and not any(one.cells.labels.any() for one in known):
        where = ", ".join(str(path) for path in read)
        raise DataError(f"expected planted events to judge, found {count}, none at a judged date, in {where}")
    return known


def _against_truth(known: Sequence[_Known], settings: Evaluate) -> dict[str, Any]:
    from sarcast.evaluate.places import together
    from sarcast.evaluate.resampled import Resampled

    cells = together([one.cells for one in known], [one.first_event for one in known])
    planted = max(one.first_event + len(one.labels.labels) for one in known)
    names = _everywhere(known)
    rate = _cells_per_km2_month(known)
    resampled = Resampled.of(cells, seed=settings.seed)
    rows: list[dict[str, Any]] = []
    first = None
    for name in names:
        flat = _flat(known, name)
        row, curve = _pair(name, known[0].place.words[name], flat, first, resampled, rate)
        first = first or (flat[0], curve)
        rows.append(row)
    return {
        "table": rows,
        "planted": planted,
        "judged_events": planted - len(cells.missed),
        "cells": len(cells),
        "judged_on": "score" if len(known) == 1 else "-log10 p",
        "not_everywhere": sorted({name for one in known for name in one.place.pairs} - set(names)),
        "events": _events(known, settings),
    }


def _everywhere(known: Sequence[_Known]) -> list[str]:
    """Pairs that scored every place, in the order of the first.

    Raises:
        DataError: There is none.
    """
    found = [name for name in known[0].place.pairs if all(name in one.place.pairs for one in known)]
    if not found:
        own = ", ".join(next(iter(one.place.pairs)) for one in known)
        raise DataError(f"expected an encoder-detector pair that scored every place, found {own}")
    return found


def _flat(known: Sequence[_Known], name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Scores and -log10 p of the judged cells; of several places, -log10 p serves as the score."""
    parts = [one.place.flat(name, one.cells.index) for one in known]
    surprise = None if any(p is None for _, p in parts) else np.concatenate([p for _, p in parts])
    if len(known) == 1:
        return parts[0][0], surprise
    if surprise is None:
        raise ArtefactError(f"expected calibrated scores to judge places together, found none, of {name}")
    return surprise, surprise


def _pair(
    name: str,
    words: tuple[str, str],
    flat: tuple[np.ndarray, np.ndarray | None],
    first: tuple[np.ndarray, Curve] | None,
    cells: Resampled,
    rate: float | None,
) -> tuple[dict[str, Any], Curve]:
    """A row of the table: figures, what they are less the first row's, thresholds, curves; and the curve."""
    from sarcast.evaluate.resampled import differences, figures
    from sarcast.evaluate.sweep import P_VALUES, PERCENTILES, precision_band, roc_band, sweep

    scores, surprise = flat
    found, curve = figures(scores, cells)
    at = {f"P{q}": float(np.percentile(scores, q)) for q in PERCENTILES}
    rows = sweep(scores, cells, at, cells_per_km2_month=rate)
    if surprise is not None:
        at = {f"p <= {p:g}": -np.log10(p) for p in P_VALUES}
        rows = sweep(surprise, cells, at, cells_per_km2_month=rate) + rows
    return {
        "name": name,
        "encoder": words[0],
        "detector": words[1],
        **found,
        "less_first": first and differences(scores, first[0], (curve, first[1]), cells),
        "sweep": rows,
        "curves": {"roc": roc_band(curve, cells), "pr": precision_band(curve, cells)},
    }, curve


def _cells_per_km2_month(known: Sequence[_Known]) -> float | None:
    """Judged cells in a square kilometre and a month, over all places; None where one has one date only."""
    from sarcast.evaluate.sweep import cells_per_km2_month

    exposure, negatives = 0.0, 0
    for one in known:
        place = one.place
        dates = place.own.times.time[place.judged & place.usable]
        rate = cells_per_km2_month(dates, cell_area_m2(place.own))
        if rate is None:
            return None
        quiet = int((~one.cells.labels).sum())
        exposure, negatives = exposure + quiet / rate, negatives + quiet
    return negatives / exposure


def _events(known: Sequence[_Known], settings: Evaluate) -> dict[str, Any] | None:
    """The run's detections against the events; None where no run has detections, or no onset was judged."""
    from sarcast.evaluate.matching import event_figures

    with_table = [one for one in known if finished(one.place.run / DETECTIONS)]
    matched = [_matched(one, settings.delay_days) for one in with_table]
    outcomes = [
        {"stack": one.place.name, **plain(outcome)}
        for one, stack in zip(with_table, matched, strict=True)
        for outcome in stack.outcomes
    ]
    if not outcomes:
        return None
    return {
        **event_figures(matched, seed=settings.seed),
        "allowed_delay_days": settings.delay_days,
        "found": sum(one["found_by"] is not None for one in outcomes),
        "true": len(outcomes),
        "fragments": sum(one["fragments"] for one in outcomes),
        "false": sum(len(stack.false) for stack in matched),
        "left_out": sum(len(stack.left_out) for stack in matched),
        "outcomes": outcomes,
    }


def _matched(known: _Known, delay_days: float) -> Matched:
    from shapely import box

    from sarcast.evaluate.matching import match_events
    from sarcast.publish.vector import events_of, read_detections

    place, scores = known.place, known.place.own
    crs = scores.geobox.crs.to_wkt() if scores.geobox.crs is not None else "EPSG:4326"
    frame = box(*scores.geobox.boundingbox.bbox)
    found = events_of(read_detections(place.run / DETECTIONS), scores.stack, crs)
    here = [
        replace(label, label_id=f"{place.run.name}/{label.label_id}") if known.first_event else label
        for label in known.labels.labels
        if label.geometry.intersects(frame)
    ]
    return match_events(
        here,
        found,
        times=scores.times.time,
        judged=place.judged,
        usable=place.usable,
        delay_days=delay_days,
    )


def _by_place(places: Sequence[Place], known: Sequence[_Known], seed: int) -> dict[str, Any]:
    """The run's own scores at judged dates, place by place, and their means over places."""
    from sarcast.evaluate.places import over_places, summary
    from sarcast.evaluate.resampled import Resampled, figures

    cells = {id(one.place): one.cells for one in known}
    rows: list[dict[str, Any]] = []
    for place in places:
        dates = place.judged & place.usable
        seen = place.own.values[dates][place.own.valid[dates]]
        rows.append(
            {"place": place.name, "run": place.run.name, "scores": summary(seen) if len(seen) else None}
        )
        found = cells.get(id(place))
        if found is not None and found.labels.any() and not found.labels.all():
            scores = place.own.values.ravel()[found.index]
            rows[-1] |= figures(scores, Resampled.of(found, seed=seed))[0]
    means = {}
    for name in FIGURES:
        values = [row[name].value for row in rows if name in row]
        if len(values) > 1:
            means[name] = over_places(name, values)
    return {"rows": rows, "mean": means}


def _without_truth(place: Place, seed: int) -> dict[str, Any]:
    from sarcast.evaluate.unlabelled import unlabelled

    found = unlabelled(place.own, judged=place.judged, usable=place.usable, seed=seed)
    return {"place": place.name, "run": place.run.name, **found}


def _latent(place: Place, seed: int) -> list[dict[str, Any]]:
    """Diagnostics of every encoder's features that are there."""
    from sarcast.evaluate.latent import latent
    from sarcast.stack.cells import read_features

    rows: dict[str, dict[str, Any]] = {}
    for name, store in place.pairs.items():
        encoder, path = place.words[name][0], store.with_name(FEATURES)
        if encoder in rows or not finished(path):
            continue
        features = read_features(path)
        found: dict[str, Any]
        try:
            found = {"figures": latent(features, place.history, seed=seed), "why": None}
        except DataError as error:
            found = {"figures": None, "why": str(error)}
        rows[encoder] = {"place": place.name, "run": place.run.name, "encoder": encoder, **found}
    return list(rows.values())
