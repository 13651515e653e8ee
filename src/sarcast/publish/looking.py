"""Pictures of what a network sees, as PNG: maps side by side, points coloured by what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.publish.evaluation import COLOURS, INK, SOFT
from sarcast.publish.figures import stretch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 6
SIDE_INCHES = 2.3
_BESIDE, _ABOVE, _EDGE, _HEAD, _FOOT = 0.78, 0.24, 0.12, 0.34, 0.3
"""Inches: for a panel's scale, its title, the margin, the figure's title and its note."""
GROUPS = 12
"""Names told apart by colour; further ones are grey."""
_CLIP = (1.0, 99.5)
"""Percentiles between which a map is shown."""
_EVERY = (*COLOURS, "#d49a00", "#00869b", "#e377c2", "#7f6000", "#5b8c00", "#222222")


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """One picture of a place."""

    title: str
    values: np.ndarray
    """(y, x), or RGB (y, x, 3) in [0, 1]; NaN where nothing is known."""
    kind: str
    """db, grey (db without a scale), looks, rgb or classes."""
    names: tuple[str, ...] = ()
    """Of classes 0, 1, ..."""


def draw_panels(path: Path, panels: Sequence[Panel], *, title: str, note: str = "") -> None:
    """Write panels of one place side by side under a title; the same panels give the same bytes."""
    rows = -(-len(panels) // COLUMNS)
    columns = -(-len(panels) // rows)
    height, width = panels[0].values.shape[:2]
    across, down = SIDE_INCHES, SIDE_INCHES * min(2.0, max(0.4, height / width))
    wide, high = columns * (across + _BESIDE) + _EDGE, rows * (down + _ABOVE) + _HEAD + _FOOT
    figure = _figure((wide, high))
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        left = _EDGE + column * (across + _BESIDE)
        bottom = high - _HEAD - (row + 1) * (down + _ABOVE)
        box = (left / wide, bottom / high, across / wide, down / high)
        beside = ((left + across + 0.05) / wide, bottom / high, 0.08 / wide, down / high)
        _draw(figure, figure.add_axes(box), panel, beside)
    figure.text(_EDGE / wide, 1 - 0.08 / high, title, fontsize=10, color=INK, va="top")
    figure.text(_EDGE / wide, 0.08 / high, note, fontsize=7.5, color=SOFT)
    figure.savefig(path, metadata={"Software": None})


def draw_points(path: Path, points: np.ndarray, facts: dict[str, Sequence[Any]], *, title: str) -> None:
    """Write points (n, 2) once for every fact, coloured by it: names by colours, times by a scale.

    Args:
        path: PNG to write.
        points: Where each lies.
        facts: Name -> what is known of each point; datetime64 or text.
        title: Of the figure.
    """
    columns = min(3, len(facts))
    rows = -(-len(facts) // columns)
    side, names = 3.0, 1.5
    wide, high = columns * (side + names) + _EDGE, rows * (side + _ABOVE) + _HEAD + _EDGE
    figure = _figure((wide, high))
    for number, (name, known) in enumerate(facts.items()):
        row, column = divmod(number, columns)
        left, bottom = _EDGE + column * (side + names), high - _HEAD - (row + 1) * (side + _ABOVE)
        axes = figure.add_axes((left / wide, bottom / high, side / wide, side / high))
        axes.set_title(name, fontsize=9, color=INK, loc="left")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color("#c9d0d8")
        values = np.asarray(known)
        if values.dtype.kind == "M":
            beside = ((left + side + 0.08) / wide, bottom / high, 0.1 / wide, side / high)
            _timed(figure, axes, points, values, beside)
        else:
            _named(axes, points, values)
    figure.text(_EDGE / wide, 1 - 0.08 / high, title, fontsize=10, color=INK, va="top")
    figure.savefig(path, metadata={"Software": None})


def _figure(inches: tuple[float, float]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _draw(figure: Figure, axes: Axes, panel: Panel, beside: tuple[float, float, float, float]) -> None:
    """A panel, and its scale in the box `beside` it."""
    axes.set_title(panel.title, fontsize=8.5, color=INK, loc="left", pad=3)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_facecolor("#d9dde2")
    if panel.kind == "rgb":
        known = np.isfinite(panel.values).all(-1)
        rgba = np.dstack([np.clip(np.nan_to_num(panel.values), 0, 1), known])
        axes.imshow(rgba, interpolation="nearest")
    elif panel.kind == "classes":
        _classes(axes, panel)
    else:
        known = np.isfinite(panel.values)
        low, high = _limits(panel, known)
        drawn = axes.imshow(
            panel.values,
            vmin=low,
            vmax=high,
            cmap="viridis" if panel.kind == "looks" else "gray",
            interpolation="nearest",
        )
        if panel.kind == "grey":
            return
        bar = figure.colorbar(drawn, cax=figure.add_axes(beside))
        bar.ax.tick_params(labelsize=6.5, colors=SOFT, length=2)
        bar.outline.set_visible(False)  # type: ignore[operator]


def _limits(panel: Panel, known: np.ndarray) -> tuple[float, float]:
    if panel.kind in ("db", "grey"):
        return stretch([(panel.values, known)])
    if not known.any():
        return 0.0, 1.0
    low, high = (float(x) for x in np.percentile(panel.values[known], _CLIP))
    return low, max(high, low + 1e-6)


def _classes(axes: Axes, panel: Panel) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    colours = np.array([to_rgb(_EVERY[i % len(_EVERY)]) for i in range(len(panel.names))])
    known = np.isfinite(panel.values) & (panel.values >= 0)
    index = np.where(known, panel.values, 0).astype(int)
    axes.imshow(np.dstack([colours[index], known]), interpolation="nearest")
    seen = [int(i) for i in np.unique(index[known])]
    keys = [Patch(color=colours[i], label=panel.names[i]) for i in seen]
    axes.legend(
        handles=keys,
        fontsize=6.5,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.02),
        handlelength=0.9,
        borderaxespad=0.2,
    )


def _timed(
    figure: Figure,
    axes: Axes,
    points: np.ndarray,
    times: np.ndarray,
    beside: tuple[float, float, float, float],
) -> None:
    days = times.astype("datetime64[D]").astype(float)
    known = ~np.isnat(times)
    drawn = axes.scatter(points[known, 0], points[known, 1], c=days[known], s=9, cmap="viridis", linewidths=0)
    bar = figure.colorbar(drawn, cax=figure.add_axes(beside))
    ticks = np.unique(np.linspace(days[known].min(), days[known].max(), 4).round())
    bar.set_ticks(list(ticks), labels=[str(np.datetime64(int(day), "D")) for day in ticks])
    bar.ax.tick_params(labelsize=7, colors=SOFT)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _named(axes: Axes, points: np.ndarray, names: np.ndarray) -> None:
    kinds, count = np.unique(names, return_counts=True)
    shown = kinds[np.argsort(-count, kind="stable")][:GROUPS]
    rest = ~np.isin(names, shown)
    if rest.any():
        axes.scatter(points[rest, 0], points[rest, 1], s=9, color="#b8bec6", linewidths=0, label="others")
    for number, name in enumerate(np.sort(shown)):
        axes.scatter(
            points[names == name, 0],
            points[names == name, 1],
            s=9,
            color=_EVERY[number],
            linewidths=0,
            label=str(name),
        )
    axes.legend(
        fontsize=7,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.02),
        handlelength=0.9,
        markerscale=1.6,
    )
