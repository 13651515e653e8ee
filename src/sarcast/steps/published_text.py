"""What `sarcast evaluate --published` prints: figures side by side, other tests beside them, sentences."""

from __future__ import annotations

import textwrap
from typing import Any

WIDTH = 110


def as_text(found: dict[str, Any]) -> str:
    """The estimates of the published part, for people."""
    parts = [_rows(found), _not_recomputed(found)]
    parts += [_site(name, one) for name, one in found["sites"].items()]
    parts += [_roc(found["roc"])] if found["roc"] else []
    return "\n\n".join([*parts, _claims(found)])


def _rows(found: dict[str, Any]) -> str:
    width = max(len(row["item"]) for row in found["rows"])
    lines = [f"{'item':<{width}}  {'published':>22}  {'recomputed':>22}  difference"]
    lines += [
        f"{row['item']:<{width}}  {row['published']:>22.16g}  {row['recomputed']:>22.16g}  "
        f"{row['difference']:.1e}"
        for row in found["rows"]
    ]
    lines += [
        f"{len(found['rows'])} figures, largest difference {found['largest_difference']:.1e}",
        "Satellites are not released: they were found by a search for the two published correlations, so of",
        "the figures of geometry only the p-values and numbers of scores are a check.",
    ]
    return "\n".join(lines)


def _not_recomputed(found: dict[str, Any]) -> str:
    lines = [f"  {one['item']}: {one['reason']}" for one in found["not_recomputed"]]
    return "\n".join(["Not recomputed", *lines])


def _site(name: str, one: dict[str, Any]) -> str:
    held, spread, moran = one["structure"]["shares"], one["structure"]["spread"], one["structure"]["moran"]
    share = ", ".join(f"{key} {_estimate(value)}" for key, value in held.items())
    lines = [
        f"{name}: {one['structure']['dates']} dates {one['first']} to {one['last']}, "
        f"{one['structure']['cells']} cells",
        f"  variance: {share} (95 %, blocks of dates)",
        f"  inside a frame sd {spread['within']:.4f}, between frames {spread['between']:.4f}, "
        f"ratio {spread['ratio']:.3f}; correlation of two cells {spread['correlation_mean']:.4f} on average, "
        f"median {spread['correlation_median']:.4f}",
        f"  Moran's I of the rest {_test(moran)}",
        f"  loudest in the rest: {one['loudest']['date']}, with the {one['loudest']['frames'] - 1} frames "
        f"after it {100 * one['loudest']['share']:.1f} % of it",
        *_flags(one["structure"]["flags"]),
        *_satellites(one["satellites"]),
    ]
    return "\n".join(lines)


def _flags(flags: dict[str, Any]) -> list[str]:
    lines = []
    for name, one in flags.items():
        kept = "" if one["kept"] is None else f"; {100 * one['kept']:.1f} % of the excess is left"
        lines += [
            f"  {name}: all cells flagged on {one['all_flagged']} dates, none on {one['none_flagged']}, some "
            f"on {one['mixed']}",
            f"    share with a flagged neighbour, shuffled within dates {_test(one['within_dates'])}{kept}",
            f"    the same, each place turned in time {_test(one['rotated_in_time'])}",
        ]
        if one["toroidal"]:
            lines.append(f"    flagged on the next date too, maps shifted {_test(one['toroidal'])}")
    return lines


def _satellites(one: dict[str, Any]) -> list[str]:
    if not one["unique"]:
        return [
            f"  satellites: cannot be told; of 1e{one['sets_log10']:.0f} sets of frames {one['chance']:.1e} "
            "would have the published correlation by chance"
        ]
    runs = ", ".join(f"{run['satellite']} x {run['frames']} from {run['first']}" for run in one["stretches"])
    told = [
        f"    frame means with {each['covariate']}: {each['measure']} {_estimate(each['estimate'])}, "
        f"p {each['p_value']:.2g} (rotations), {each['estimate']['n']} frames"
        for each in one["associations"]
    ]
    return [f"  satellites, the one assignment that fits: {runs}", *told]


def _roc(one: dict[str, Any]) -> str:
    lines = [
        f"ROC-AUC {one['roc_auc']:.4f} on {one['judged_frames']} frames: labels without information, "
        "positives in some frames only"
    ]
    lines += [
        f"  {each['frames']:>2} frames: AUC {each['mean']:.3f} +- {each['std']:.3f}, chance of the published "
        f"one or more {each['at_least']:.2g}"
        for each in one["chances"]
    ]
    return "\n".join(lines)


def _claims(found: dict[str, Any]) -> str:
    lines = ["What was published, and what is left of it"]
    for one in found["claims"]:
        told = f"{one['claim']}: {one['verdict']}. {one['why'][:1].upper()}{one['why'][1:]}."
        lines.append(textwrap.fill(told, WIDTH, initial_indent="- ", subsequent_indent="  "))
    return "\n".join(lines)


def _test(one: dict[str, Any]) -> str:
    return (
        f"{one['observed']:.4f}, null {one['null_mean']:.4f} +- {one['null_std']:.4f} "
        f"(exact mean {one['expected']:.6f}), p {one['p_value']:.2g}"
    )


def _estimate(one: dict[str, Any]) -> str:
    if one["low"] is None:
        return f"{one['value']:.5f}"
    return f"{one['value']:.5f} [{one['low']:.5f}, {one['high']:.5f}]"
