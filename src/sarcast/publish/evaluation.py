"""How well a run did, as PNG: ROC, precision against recall, and how late every event was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, SOFT, LINE = "#17202a", "#5a6775", "#e1e5ea"
COLOURS = ("#0a66c2", "#c25a00", "#12805c", "#8b3fb0", "#b3261e", "#58616b")
"""Those of platforms in the report; the first pair has the first."""
NAMED = 40
"""With more events their names are left out of the plot of delays."""


def draw_figures(found: dict[str, Any], target: Path) -> list[Path]:
    """Write roc.png, precision_recall.png and, where events were matched, delay.png.

    Args:
        found: What `sarcast evaluate` wrote to estimates.json, with truth.
        target: Folder; made where it is not there.

    Returns:
        The files; the same figures give the same bytes.
    """
    target.mkdir(parents=True, exist_ok=True)
    made = [_draw(target / "roc.png", _roc, found["table"], (7.2, 5.4))]
    made.append(_draw(target / "precision_recall.png", _precision_recall, found["table"], (7.2, 5.4)))
    if found["events"] is not None:
        height = 1.9 + 0.24 * min(len(found["events"]["outcomes"]), NAMED)
        made.append(_draw(target / "delay.png", _delay, found["events"], (7.2, height)))
    return made


def _draw(path: Path, kind: Any, what: Any, inches: tuple[float, float]) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(colors=SOFT, labelsize=9)
    axes.grid(color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    kind(axes, what)
    figure.savefig(path, metadata={"Software": None})
    return path


def _roc(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    for number, row in reversed(list(enumerate(rows))):
        curve = _curve(row["curves"]["roc"])
        _band(axes, curve[:, curve[0] > 0], number, f"{_name(row)}: AUC {_told(row['roc_auc'])}")
    axes.set_xscale("log")
    axes.set(xlim=(1e-4, 1), ylim=(0, 1.02))
    _label(axes, "false alarms: share of cells nothing happened in", "recall: share of changed cells found")
    _heading(axes, f"ROC; band: 95 % interval of {_name(rows[0])}")
    _legend(axes, "lower right")


def _precision_recall(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    for number, row in reversed(list(enumerate(rows))):
        _band(
            axes, _curve(row["curves"]["pr"]), number, f"{_name(row)}: AP {_told(row['average_precision'])}"
        )
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    _label(axes, "recall: share of changed cells found", "precision: share of alarms that are right")
    _heading(axes, f"precision and recall; band: 95 % interval of {_name(rows[0])}")
    _legend(axes, "lower left")


def _delay(axes: Axes, events: dict[str, Any]) -> None:
    """A line an event from its onset to the day it was first seen; open where it was not found."""
    outcomes = sorted(events["outcomes"], key=lambda one: (_days(one, events), one["label_id"]), reverse=True)
    for place, one in enumerate(outcomes):
        found, days = one["found_by"] is not None, _days(one, events)
        colour = COLOURS[0] if found else COLOURS[4]
        axes.plot([0, days], [place, place], color=colour, linewidth=1.4, linestyle="-" if found else ":")
        face = colour if found else "white"
        axes.plot(days, place, "o" if found else ">", color=colour, markerfacecolor=face, markersize=6)
    median = events["delay_days"]
    if median["value"] is not None:
        high = median["high"] if median["high"] is not None else events["allowed_delay_days"]
        if median["low"] is not None:
            axes.axvspan(median["low"], high, color=SOFT, alpha=0.14, linewidth=0)
        axes.axvline(median["value"], color=INK, linewidth=1.2, linestyle="--")
    names = [f"{one['kind']} {one['label_id']}" for one in outcomes] if len(outcomes) <= NAMED else []
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(-0.7, len(outcomes) - 0.3)
    right = max(1.0, axes.get_xlim()[1])
    axes.set_xlim(-0.02 * right, right)
    said = "none: half were never found" if median["value"] is None else f"{median['value']:.1f} days"
    _heading(
        axes,
        f"{events['found']} of {events['true']} events found; median delay (dashed; shade: 95 %): {said}",
    )
    _label(axes, "days from onset to first seen; open: not found by then", "")


def _days(one: dict[str, Any], events: dict[str, Any]) -> float:
    """Delay, or how long it was looked for."""
    if one["delay_days"] is not None:
        return float(one["delay_days"])
    left = one["followed_days"]
    return float(events["allowed_delay_days"] if left is None else left)


def _curve(curve: dict[str, Any]) -> np.ndarray:
    """(at, value, low, high) by point."""
    return np.array([curve[name] for name in ("at", "value", "low", "high")], np.float64)


def _band(axes: Axes, curve: np.ndarray, number: int, label: str) -> None:
    """A curve; the first with its interval, since more than one cannot be told apart."""
    colour = COLOURS[number % len(COLOURS)]
    at, value, low, high = curve
    if number == 0:
        axes.fill_between(at, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(at, value, color=colour, linewidth=2.2 if number == 0 else 1.3, label=label)


def _name(row: dict[str, Any]) -> str:
    return f"{row['encoder']} {row['detector']}"


def _told(estimate: dict[str, Any]) -> str:
    if estimate["low"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def _heading(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=10, color=INK, loc="left")


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=10, color=INK)
    axes.set_ylabel(y, fontsize=10, color=INK)


def _legend(axes: Axes, place: Literal["lower left", "lower right"]) -> None:
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc=place, fontsize=8, frameon=True, edgecolor=LINE)
