"""The part of sarcast evaluate that recomputes published figures from a folder of released scores."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import ArtefactError, ShapeError
from sarcast.runtime.artefact import file_hash

if TYPE_CHECKING:
    from sarcast.evaluate.published import ReleasedScores, Row
    from sarcast.steps.evaluate import Evaluate

RESULTS = "results_complete.json"
DEFAULT = Path("sarcast-published")


def folder(_settings: Evaluate) -> Path:
    """Where estimates.json goes when no place is given: released files stay as they are."""
    return DEFAULT


def inputs(settings: Evaluate) -> dict[str, str]:
    """Hashes of the released files."""
    return {path.name: file_hash(path) for path in [*_score_files(settings), _source(settings) / RESULTS]}


def estimates(settings: Evaluate) -> dict[str, Any]:
    """Published and recomputed figures side by side.

    Returns:
        `rows`: item, published, recomputed, difference.

    Raises:
        ArtefactError: A file is missing or not what it should be.
    """
    sites = {site.site: site for site in map(_read_scores, _score_files(settings))}
    results = _read(_source(settings) / RESULTS)
    rows = _rows(sites, results)
    return {
        "source": str(_source(settings)),
        "rows": [{**asdict(row), "difference": row.difference} for row in rows],
        "largest_difference": max(row.difference for row in rows),
    }


def as_text(found: dict[str, Any]) -> str:
    """The figures for people."""
    width = max(len(row["item"]) for row in found["rows"])
    lines = [f"{'item':<{width}}  {'published':>22}  {'recomputed':>22}  difference"]
    lines += [
        f"{row['item']:<{width}}  {row['published']:>22.15g}  {row['recomputed']:>22.15g}  "
        f"{row['difference']:.1e}"
        for row in found["rows"]
    ]
    lines += ["", f"{len(found['rows'])} figures, largest difference {found['largest_difference']:.1e}"]
    return "\n".join(lines)


def _rows(sites: dict[str, ReleasedScores], results: dict[str, Any]) -> list[Row]:
    from sarcast.evaluate.published import compare, cross_site, threshold_sweep

    rows = []
    for site, scores in sites.items():
        rows += compare(f"{site}", _figures(results, "cross_aoi", site), cross_site(scores))
    for name, swept in threshold_sweep(list(sites.values())).items():
        rows += compare(f"threshold {name}", _figures(results, "threshold_sweep", name), swept)
    return rows


def _figures(results: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    """Published figures of one section and name.

    Raises:
        ArtefactError: There are none.
    """
    found = results.get(section, {}).get(name)
    if not isinstance(found, dict):
        raise ArtefactError(f"expected figures {section}/{name}, found none, in {RESULTS}")
    return found


def _source(settings: Evaluate) -> Path:
    assert settings.published is not None
    return settings.published


def _score_files(settings: Evaluate) -> list[Path]:
    source = _source(settings)
    found = sorted(source.glob("scores_*.json"))
    if not found or not (source / RESULTS).is_file():
        raise ArtefactError(
            f"expected released scores (scores_SITE.json) and {RESULTS}, "
            f"found {len(found)} files of scores{'' if found else ' and nothing to compare'}, in {source}"
        )
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise ArtefactError(f"expected a JSON object, found something else, in {path}")
    return found


def _read_scores(path: Path) -> ReleasedScores:
    """Cells named SITE_COLUMN_ROW, each with its scores and their dates (YYYYMMDD), the same for all."""
    from sarcast.evaluate.published import ReleasedScores

    found = _read(path)
    site = path.stem.removeprefix("scores_")
    try:
        cells = {tuple(int(part) for part in name.rsplit("_", 2)[1:]): one for name, one in found.items()}
        dates = [tuple(one["dates"]) for one in cells.values()]
        cols, rows = (max(index) + 1 for index in zip(*cells, strict=True))
        if len(set(dates)) != 1 or len(cells) != rows * cols:
            raise ValueError
        values = np.empty((len(dates[0]), rows, cols))
        for (col, row), one in cells.items():
            if len(one["scores"]) != len(values):
                raise ValueError
            values[:, row, col] = one["scores"]
        days = np.array([f"{d[:4]}-{d[4:6]}-{d[6:]}" for d in dates[0]], "datetime64[D]")
        return ReleasedScores(site=site, values=values, dates=days)
    except (KeyError, TypeError, ValueError, ShapeError):
        raise ArtefactError(
            f"expected a grid of cells {site}_COLUMN_ROW with scores on the same dates, "
            f"found something else, in {path}"
        ) from None
