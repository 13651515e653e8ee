"""The part of sarcast evaluate that recomputes published figures from a folder of released scores."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import ArtefactError, ShapeError
from sarcast.runtime.artefact import file_hash
from sarcast.steps.published_text import as_text as as_text

if TYPE_CHECKING:
    from sarcast.evaluate.published import ReleasedScores
    from sarcast.evaluate.satellites import Recovery
    from sarcast.steps.evaluate import Evaluate

RESULTS = "results_complete.json"
DEFAULT = Path("sarcast-published")
DRAWS = 999
"""Of each permutation test."""
ROC_DRAWS = 4000
"""Of frames and labels."""

_COHERENCE = "the coherence maps are not released"
_WEIGHTS = "the weights are not released"
_EMBEDDINGS = "the embeddings are not released"
_SATELLITES = "too many sets of frames could be the transitions for two correlations to tell"


def folder(_settings: Evaluate) -> Path:
    """Where estimates.json goes when no place is given: released files stay as they are."""
    return DEFAULT


def inputs(settings: Evaluate) -> dict[str, str]:
    """Hashes of the released files."""
    return {path.name: file_hash(path) for path in [*_score_files(settings), _source(settings) / RESULTS]}


def estimates(settings: Evaluate) -> dict[str, Any]:
    """Published and recomputed figures side by side, and what other tests say of the same scores.

    Returns:
        `rows`: item, published, recomputed, difference. `largest_difference`. `not_recomputed`: item, reason.
        `sites`: site -> first, last, `structure`, `satellites`, `loudest`, `onset`. `roc`, `validation_loss`.
        `claims`: claim, verdict, why.

    Raises:
        ArtefactError: A file is missing or not what it should be.
    """
    from sarcast.evaluate.claims import claims
    from sarcast.evaluate.published import recomputed, satellites
    from sarcast.evaluate.second_look import roc_by_frames, validation_loss

    sites = {site.site: site for site in map(_read_scores, _score_files(settings))}
    results = _read(_source(settings) / RESULTS)
    found = {name: satellites(scores, results) for name, scores in sites.items()}
    rows = recomputed(sites, results, found)
    told = {
        "source": str(_source(settings)),
        "rows": [{**asdict(row), "difference": row.difference} for row in rows],
        "largest_difference": max(row.difference for row in rows),
        "not_recomputed": _not_recomputed(results, found),
        "sites": {name: _site(scores, found[name], settings.seed) for name, scores in sites.items()},
        "roc": roc_by_frames(sites, results, found, draws=ROC_DRAWS, seed=settings.seed),
        "validation_loss": validation_loss(sites, results) if "model_info" in results else None,
    }
    return _plain({**told, "claims": [asdict(claim) for claim in claims(told, results)]})


def _site(scores: ReleasedScores, found: Recovery, seed: int) -> dict[str, Any]:
    from sarcast.evaluate.second_look import by_satellite, loudest_stretch, onset
    from sarcast.evaluate.structure import structure

    return {
        "first": str(scores.dates[0]),
        "last": str(scores.dates[-1]),
        "structure": structure(scores.values, draws=DRAWS, seed=seed),
        "satellites": by_satellite(scores, found, draws=DRAWS // 2, seed=seed),
        "loudest": loudest_stretch(scores),
        "onset": onset(scores),
    }


def _not_recomputed(results: dict[str, Any], found: dict[str, Recovery]) -> list[dict[str, str]]:
    """What is published and does not follow from the scores, with the reason."""
    told = {f"model_info {key}": _WEIGHTS for key in results.get("model_info", {})}
    for method in results.get("roc_pr_all_methods", {}):
        reason = _COHERENCE if method == "t_sar_jepa" else f"{_COHERENCE}, nor are this method's scores"
        told[f"ROC and PR of {method}"] = reason
    told |= {f"baseline {method}": _EMBEDDINGS for method in results.get("baseline_stats", {})}
    told |= {f"{site} satellites": _SATELLITES for site, one in found.items() if not one.unique}
    return [{"item": item, "reason": reason} for item, reason in told.items()]


def _plain(value: Any) -> Any:
    """JSON knows no NaN: an interval that cannot be had is null."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


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
