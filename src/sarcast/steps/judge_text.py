"""The judgement of a run for people: one table of pairs, then events, places, and what needs no truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sarcast.steps.judge_coherence import as_text as coherence_text

HEADINGS = ("ROC-AUC", "average precision", "recall at 1 false alarm per 1,000")
FIGURES = ("roc_auc", "average_precision", "recall")


def told(found: dict[str, Any]) -> str:
    """Everything in `found`, as text."""
    parts = []
    if found["table"]:
        parts += [pairs(found), _sweep(found["table"][0]), _events(found["events"])]
    else:
        parts.append("no truth: nothing here says that an alarm is right (--truth FILE gives what happened)")
    if len(found["places"]["rows"]) > 1:
        parts.append(_places(found["places"]))
    parts.append(coherence_text(found["coherence"]))
    parts += [_without_truth(found["without_truth"]), _latent(found["latent"])]
    if found["left_out"]:
        parts.append("not judged: " + "; ".join(found["left_out"]))
    return "\n\n".join(part for part in parts if part)


def pairs(found: dict[str, Any]) -> str:
    """How many events were judged, and a row for every encoder-detector pair."""
    against = [row["less_first"] for row in found["table"]]
    more = ("AP less the first row's",) if any(against) else ()
    rows: list[tuple[str, ...]] = [("encoder", "detector", *HEADINGS, *more)]
    for row, less in zip(found["table"], against, strict=True):
        cells = [row["encoder"], row["detector"], *(cell(row[name]) for name in FIGURES)]
        cells += [cell(less["average_precision"], "+.3f") if less else ""] if more else []
        rows.append(tuple(cells))
    head = (
        f"{found['planted']} events known, {found['judged_events']} of them judged at their onset on "
        f"{found['cells']:,} cells; 95 % intervals over events and blocks of cells"
    )
    return f"{head}\n\n{columns(rows)}"


def cell(estimate: dict[str, Any] | None, form: str = ".3f") -> str:
    """A figure and its interval."""
    if estimate is None or estimate["value"] is None:
        return "–"
    value = format(estimate["value"], form)
    if estimate["low"] is None:
        return f"{value} [too few events]"
    high = "more" if estimate["high"] is None else format(estimate["high"], form)
    return f"{value} [{format(estimate['low'], form)}, {high}]"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, every column as wide as its widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(f"{one:<{w}}" for one, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _sweep(row: dict[str, Any]) -> str:
    rows = [("threshold", "recall", "false alarms per cell", "per km2 and month", "precision")]
    rows += [
        (
            one["name"],
            cell(one["recall"], ".2f"),
            cell(one["false_alarms"], ".1e"),
            cell(one["per_km2_month"], ".3g"),
            cell(one["precision"], ".2f"),
        )
        for one in row["sweep"]
    ]
    return f"thresholds of {row['encoder']} {row['detector']}, by cells:\n{columns(rows)}"


def _events(events: dict[str, Any] | None) -> str:
    if events is None:
        return ""
    never = events["true"] - events["found"]
    lines = [
        f"events (detections.parquet): {events['found']} of {events['true']} found within "
        f"{events['allowed_delay_days']:g} days; precision {cell(events['precision'], '.2f')}, "
        f"recall {cell(events['recall'], '.2f')}, F1 {cell(events['f1'], '.2f')}",
        f"other detections: {events['fragments']} on events already found, late or ending; "
        f"{events['false']} on nothing; {events['left_out']} of what began before",
    ]
    if events["delay_days"]["value"] is None:
        lines.append(f"delay: no median, {never} of {events['true']} were not found")
    else:
        lines.append(
            f"delay: median {cell(events['delay_days'], '.1f')} days, "
            f"{cell(events['delay_acquisitions'], '.0f')} acquisitions after the first that could show it; "
            f"{never} not found, counted as later than all"
        )
    return "\n".join(lines)


def _places(places: dict[str, Any]) -> str:
    names = ("n", "mean", "std", "min", "median", "p80", "p90", "max")
    rows: list[tuple[str, ...]] = [("place", *names, *HEADINGS)]
    for row in places["rows"]:
        scores = row["scores"] or {}
        numbers = [f"{scores[name]:.5g}" if name in scores else "–" for name in names]
        rows.append((_place(row, places["rows"]), *numbers, *(cell(row.get(name)) for name in FIGURES)))
    if places["mean"]:
        blank = [""] * len(names)
        rows.append(("mean over places", *blank, *(cell(places["mean"].get(name)) for name in FIGURES)))
    return f"scores at judged dates, place by place:\n{columns(rows)}"


def _place(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """Its name; with that of its run where there are several."""
    return row["place"] if len({other["run"] for other in rows}) == 1 else f"{row['run']}/{row['place']}"


def _without_truth(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["without truth (real changes are in these figures too):"]
    for row in rows:
        lines.append(f"{_place(row, rows)}, {row['dates']} judged dates")
        share = row["share_below"]
        if share is not None:
            lines.append(
                f"  share of p < 1e-3: {cell(share['cells'], '.2e')} over blocks of cells, "
                f"{cell(share['frames'], '.2e')} over frames; 1.00e-03 where nothing happens"
            )
        lines += _structure(row) + _acquisition(row["acquisition"])
    return "\n".join(lines)


def _structure(row: dict[str, Any]) -> list[str]:
    found = row["structure"]
    if found is None:
        return [f"  variance and permutation tests: {row['structure_why']}"]
    shares = found["shares"]
    lines = [
        f"  variance of scores: date {cell(shares['date'], '.2f')}, place {cell(shares['place'], '.2f')}, "
        f"rest {cell(shares['rest'], '.2f')}",
        f"  Moran's I of the rest: {found['moran']['observed']:.3f}, by chance "
        f"{found['moran']['expected']:.3f}, p = {found['moran']['p_value']:.3g}",
    ]
    for name, test in found["flags"].items():
        within = test["within_dates"]
        lines.append(
            f"  scores over {name}: {test['observed']:.2f} have a neighbour over it; by chance "
            f"{within['expected']:.2f} within dates (p = {within['p_value']:.3g}), "
            f"{test['expected_in_time']:.2f} in time (the published null)"
        )
    return lines


def _acquisition(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    strong = sorted(rows, key=lambda row: row["p_value"])[:3]
    said = "; ".join(
        f"{row['covariate']} ({row['measure']} {cell(row['estimate'], '.2f')}, p = {row['p_value']:.2g})"
        for row in strong
    )
    return [f"  the frame's mean score goes most with: {said}; {len(rows)} tests"]


def _latent(rows: Sequence[dict[str, Any]]) -> str:
    lines: list[tuple[str, ...]] = [
        (
            "features",
            "dims",
            "effective rank",
            "participation",
            "dead",
            "date / place / rest",
            "cosine of cells",
            "neighbours kept (by chance)",
            "drift (history's)",
        )
    ]
    for row in rows:
        one = row["figures"]
        several = len({_place(other, rows) for other in rows}) > 1
        name = f"{row['encoder']}, {_place(row, rows)}" if several else row["encoder"]
        if one is None:
            lines.append((name, row["why"], *[""] * 7))
            continue
        lines.append(
            (
                name,
                str(one["dim"]),
                f"{one['effective_rank']:.1f}",
                f"{one['participation_ratio']:.1f}",
                f"{one['dead']:.0%}",
                f"{one['date']:.2f} / {one['place']:.2f} / {one['rest']:.2f}",
                cell(one["cosine"], ".2f"),
                f"{cell(one['neighbours'], '.2f')} ({one['neighbours_chance']:.2f})",
                f"{one['drift']:.2f} ({one['drift_history']:.2f})",
            )
        )
    return columns(lines) if len(lines) > 1 else ""
