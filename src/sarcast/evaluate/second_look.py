"""What the released scores say when they are asked again: besides `structure`, questions of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import groupby
from typing import Any

import numpy as np

from sarcast.evaluate.concentration import auc_by_concentration
from sarcast.evaluate.confounding import associations, rotation_p
from sarcast.evaluate.curves import roc_auc
from sarcast.evaluate.published import ReleasedScores, Results, figures
from sarcast.evaluate.satellites import Recovery, transition_flags
from sarcast.evaluate.two_way import residual, table

ONSET = {"hawaii": np.datetime64("2024-12-23")}
"""Start of the eruption of Kilauea that the paper's figures mark."""
ROC_SITE, METHOD, LABELS = "hawaii", "t_sar_jepa", "coh_0.2"
"""Site, method and coherence threshold of the published ROC curve."""
FRAMES = (1, 2, 3, 5, 8, 19)
TRAINED, DIM, BATCH = 0.8, 768, 64
"""Of stage 3: share of the cells, sorted by name over all sites, to train on; length of a vector; batch."""


def by_satellite(scores: ReleasedScores, found: Recovery, *, draws: int, seed: int) -> dict[str, Any]:
    """Stretches of dates by satellite, and how the frames' mean scores go with it.

    Returns:
        `sets_log10` and `chance` of the search, `unique`; where unique also `stretches` (satellite, first,
        frames), `main_share` (frames of the commonest one), and `associations` of the frame means.
    """
    told: dict[str, Any] = {"sets_log10": found.sets_log10, "chance": found.chance, "unique": found.unique}
    if not found.unique:
        return told
    labels = found.solutions[0]
    stretches, start = [], 0
    for name, run in groupby(labels):
        length = len(list(run))
        stretches.append({"satellite": name, "first": str(scores.dates[start]), "frames": length})
        start += length
    names, counts = np.unique(labels, return_counts=True)
    covariates = {
        "satellite": np.array(labels),
        "satellite_index": np.searchsorted(names, labels).astype(float),
        "new_satellite": transition_flags(labels),
    }
    means = table(scores.values).mean(axis=1)
    return told | {
        "stretches": stretches,
        "main_share": float(counts.max() / counts.sum()),
        "associations": [asdict(one) for one in associations(means, covariates, draws=draws, seed=seed)],
    }


def loudest_stretch(scores: ReleasedScores, *, frames: int = 8) -> dict[str, Any]:
    """The frame with most of what neither date nor place explains, and its share with the frames after it.

    Eight frames: one that is odd enters the context of the seven after it.
    """
    rest = np.square(residual(table(scores.values))).sum(axis=1)
    worst = int(rest.argmax())
    return {
        "date": str(scores.dates[worst]),
        "frames": frames,
        "share": float(rest[worst : worst + frames].sum() / rest.sum()),
    }


def onset(scores: ReleasedScores) -> dict[str, Any] | None:
    """Do frames from the onset on score higher? None where no onset is claimed, or all frames are after it.

    Returns:
        `onset`, `last_before` and `first_after` (dates of frames), `auc` of the frames after against those
        before and its `p_value` under rotation in time, either way; of `before` and `after` the number of
        `frames`, `mean` and `median`; the `peak` frame with its `lowest` and `highest` cell.
    """
    if scores.site not in ONSET:
        return None
    when = ONSET[scores.site]
    means, after = table(scores.values).mean(axis=1), scores.dates >= when
    if after.all() or not after.any():
        return None
    parts = {name: means[part] for name, part in (("before", ~after), ("after", after))}
    peak = int(means.argmax())
    return {
        "onset": str(when),
        "last_before": str(scores.dates[~after][-1]),
        "first_after": str(scores.dates[after][0]),
        "auc": float(roc_auc(means, after)),
        "p_value": rotation_p(means, after, lambda one, late: float(roc_auc(one, late)) - 0.5),
        "peak": {
            "date": str(scores.dates[peak]),
            "lowest": float(scores.values[peak].min()),
            "highest": float(scores.values[peak].max()),
        },
        **{
            name: {"frames": len(one), "mean": float(one.mean()), "median": float(np.median(one))}
            for name, one in parts.items()
        },
    }


def roc_by_frames(
    sites: Mapping[str, ReleasedScores],
    results: Results,
    found: Mapping[str, Recovery],
    *,
    draws: int,
    seed: int,
) -> dict[str, Any] | None:
    """The published ROC-AUC beside what labels without information give, by how many frames hold them.

    Frames are drawn from the dates of the commonest satellite, as its pairs give most of the coherence. None
    where there is no such site.
    """
    if ROC_SITE not in sites:
        return None
    stored = figures(results, "roc_pr_all_methods", METHOD)[LABELS]
    by_date = table(sites[ROC_SITE].values)
    if found[ROC_SITE].unique:
        labels = np.array(found[ROC_SITE].solutions[0])
        names, counts = np.unique(labels, return_counts=True)
        by_date = by_date[labels == names[counts.argmax()]]
    judged = stored["n_total"] // by_date.shape[1]
    chances = auc_by_concentration(
        by_date,
        observed=stored["roc_auc"],
        positives=stored["n_positive"],
        judged=judged,
        frames=FRAMES,
        draws=draws,
        rng=np.random.default_rng(seed),
    )
    return {
        "roc_auc": stored["roc_auc"],
        "pr_auc": stored["pr_auc"],
        "prevalence": stored["n_positive"] / stored["n_total"],
        "judged_frames": judged,
        "chances": [asdict(one) for one in chances],
    }


def validation_loss(sites: Mapping[str, ReleasedScores], results: Results) -> dict[str, float]:
    """The stored validation loss beside the one that the released scores of the same cells give.

    SmoothL1 with errors under 1 is half the mean square, and a score is the length of the error:
    mean(score^2) / (2 dim), mean over batches, the last one short. The same cells, windows and weights, if
    scores were made as the settings say.
    """
    cells = [(f"{name}_{i:06d}", one) for name, s in sites.items() for i, one in enumerate(s.by_cell)]
    held_out = [one for _, one in sorted(cells, key=lambda cell: cell[0])[int(TRAINED * len(cells)) :]]
    squares = np.concatenate([np.square(one) for one in held_out])
    batches = [squares[start : start + BATCH].mean() for start in range(0, len(squares), BATCH)]
    stored, again = float(results["model_info"]["val_loss"]), float(np.mean(batches) / (2 * DIM))
    return {"stored": stored, "from_scores": again, "ratio": again / stored, "windows": float(len(squares))}
