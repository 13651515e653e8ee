"""Which published claims survive the second look, in plain words that follow from the figures.

Verdicts: survives, survives in part, does not survive, cannot be decided. Each comes with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sarcast.evaluate.published import Results, figures
from sarcast.evaluate.second_look import METHOD, ROC_SITE

YES, PART, NO, OPEN = "survives", "survives in part", "does not survive", "cannot be decided"
EXACT = 1e-9
"""Largest difference that is rounding."""
_SMALL, _LARGE = 0.1, 0.9
"""Parts of the published excess: under the first it is not about places, over the second it is."""
_LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published claim and what is left of it."""

    claim: str
    verdict: str
    why: str


def claims(found: Mapping[str, Any], results: Results) -> list[Claim]:
    """A verdict on every claim.

    Args:
        found: `largest_difference`, `sites` (site -> `structure`, `satellites`, `loudest`, `onset`), `roc`,
            `validation_loss`.
        results: Published figures.
    """
    told = [_arithmetic(found)]
    told += [_clusters(site, one, results) for site, one in found["sites"].items()]
    told += [_geometry(found["sites"], results)]
    told += [_onset(site, one["onset"]) for site, one in found["sites"].items() if one["onset"]]
    if found["roc"]:
        told.append(_roc(found["roc"]))
    return [*told, _baselines(found["sites"], results), *_loss(found["validation_loss"])]


def _arithmetic(found: Mapping[str, Any]) -> Claim:
    exact = found["largest_difference"] <= EXACT
    return Claim(
        claim="The cross-site statistics, threshold sweep, permutation tests and correlations follow from "
        "the released scores",
        verdict=YES if exact else NO,
        why=f"recomputed with a largest difference of {found['largest_difference']:.1g}. That the "
        "percentiles P70 to P90 flag 30 to 10 % is true of any scores. That the scores are released is what "
        "makes all of this possible",
    )


def _clusters(site: str, one: Mapping[str, Any], results: Results) -> Claim:
    stored = figures(results, "permutation_test", f"{site}_P80")
    tests = one["structure"]["flags"].values()
    kept = [test["kept"] or 0.0 for test in tests]
    p_values = [test["within_dates"]["p_value"] for test in tests]
    share, moran = one["structure"]["shares"], one["structure"]["moran"]
    verdict = NO if max(kept) < _SMALL or max(p_values) > _LEVEL else PART if min(kept) < _LARGE else YES
    why = (
        f"the date holds {_percent(share['date']['value'])} of the variance of the scores, the place "
        f"{_percent(share['place']['value'])}; shuffled in time, whatever frames have in common counts as "
        f"clustering. With places shuffled within dates {_range([100 * k for k in kept])} % of the excess "
        f"is left (p {_range(p_values)}). Of what neither date nor place explains "
        f"({_percent(share['rest']['value'])} of the variance), neighbours are alike (Moran's I "
        f"{moran['observed']:.2f}, p {moran['p_value']:.2g}); neighbouring crops have angle and texture in "
        "common, so that alone is no sign of change"
    )
    loud = one["loudest"]
    if loud["share"] > 0.5:
        why += (
            f". Of the rest, {_percent(loud['share'])} is one frame, {loud['date']}, and the "
            f"{loud['frames'] - 1} frames that have it in their context"
        )
    return Claim(
        claim=f"{site}: flagged cells cluster in space ({100 * stored['observed']:.1f} % have a flagged "
        f"neighbour at P80, p = {stored['p_value']:g})",
        verdict=verdict,
        why=why,
    )


def _geometry(sites: Mapping[str, Any], results: Results) -> Claim:
    said, largest = [], 0.0
    for site, one in sites.items():
        stored = figures(results, "geometry", site)
        largest = max(largest, abs(stored["satellite_spearman_r"]), abs(stored["transition_pearson_r"]))
        if not one["satellites"]["unique"]:
            said.append(f"{site}: which satellite took which frame cannot be told from what is released")
            continue
        p_values = {each["covariate"]: each["p_value"] for each in one["satellites"]["associations"]}
        said.append(
            f"{site}: {_percent(one['satellites']['main_share'])} of frames are of one satellite (p of the "
            f"frames' means with the satellite {p_values['satellite']:.2g}, with a new one "
            f"{p_values['new_satellite']:.2g})"
        )
    return Claim(
        claim="Scores do not depend on the acquisition's geometry",
        verdict=OPEN,
        why=f"{'; '.join(said)}. With so few frames of other satellites a dependence would hardly show, "
        "and counting each frame once for each of its cells makes the published p far too small. The largest "
        f"of the published correlations is {largest:.2f}. Incidence and look side were not tested",
    )


def _onset(site: str, one: Mapping[str, Any]) -> Claim:
    before, after = one["before"], one["after"]
    return Claim(
        claim=f"{site}: scores rise with the eruption of {one['onset']}",
        verdict=NO if one["auc"] <= 0.5 else OPEN,
        why=f"the {before['frames']} frames before score {before['mean']:.2f} on average (median "
        f"{before['median']:.2f}), the {after['frames']} frames after {after['mean']:.2f} "
        f"({after['median']:.2f}); AUC of after against before {one['auc']:.3f} (p {one['p_value']:.2g} "
        f"under rotation in time). There is no frame between {one['last_before']} and {one['first_after']}. "
        f"On the highest frame, {one['peak']['date']}, all cells score {one['peak']['lowest']:.3f} to "
        f"{one['peak']['highest']:.3f}",
    )


def _roc(one: Mapping[str, Any]) -> Claim:
    chances = ", ".join(
        f"{each['at_least']:.2g} with {each['frames']} frame{'s' if each['frames'] > 1 else ''}"
        for each in one["chances"]
    )
    return Claim(
        claim=f"{ROC_SITE}: scores find loss of coherence with ROC-AUC {one['roc_auc']:.3f}",
        verdict=OPEN,
        why="the coherence is not released. Scores are nearly one number a frame, so the AUC ranks at most "
        f"{one['judged_frames']} frames. Labels without information reach it with a chance that depends on "
        f"how many frames hold the positives: {chances}. PR-AUC is {one['pr_auc']:.3f} where chance gives "
        f"{one['prevalence']:.3f}",
    )


def _baselines(sites: Mapping[str, Any], results: Results) -> Claim:
    stored = results.get("baseline_stats", {})
    own = [figures(results, "cross_aoi", site)["mean"] for site in sites]
    why = "neither embeddings nor the baselines' scores are released"
    if "lstm" in stored:
        why += (
            f". The stored mean error of the LSTM is {stored['lstm']['mean']:.3f}, that of {METHOD} "
            f"{_range(own)}"
        )
    return Claim(claim="The method is better than its baselines", verdict=OPEN, why=why)


def _loss(one: Mapping[str, Any] | None) -> list[Claim]:
    if one is None:
        return []
    return [
        Claim(
            claim=f"The forecaster's validation loss is {one['stored']:.3g}",
            verdict=OPEN,
            why="the weights are not released. The released scores of the cells that were held out, "
            f"{one['windows']:.0f} windows, give {one['from_scores']:.3g}, {one['ratio']:.2f} times as much. "
            "The released code scales days over the whole sequence when it scores, and in each window when "
            "it trains: if all else was the same, that is the difference",
        )
    ]


def _percent(share: float) -> str:
    """In per cent, with as many digits as tell it from 0 and 100."""
    percent = 100 * share
    near = min(percent, 100 - percent)
    return f"{percent:.{0 if near >= 10 else 1 if near >= 1 else 2 if near >= 0.01 else 3}f} %"


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.2g}", f"{max(values):.2g}"
    return low if low == high else f"{low} to {high}"
