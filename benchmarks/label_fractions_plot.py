"""The figure of `benchmarks.label_fractions`: error and mIoU against the share of labels, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.label_fractions_judge import Curves
from benchmarks.label_fractions_text import CONTROLS, RANDOM, limits
from sarcast.publish.evaluation import COLOURS, INK, LINE, SOFT

PANELS = (
    ("vegetation_rmse", "vegetation: RMSE, points of cover", "lower is better"),
    ("cover_miou", "land cover, 11 classes: mIoU", "higher is better"),
)


def draw_curves(
    path: Path, fractions: Sequence[float], every: Sequence[dict[str, Curves]], encoders: Sequence[str]
) -> None:
    """Write the figure: a line for each way to see, mean over seeds; bars: 95 % over seeds.

    Above the values, which differ by region and so by seed; below the encoders' less random init's.

    Args:
        path: PNG; the same curves give the same bytes.
        fractions: Of labels, 0 to 1.
        every: For each seed, way to see -> curves.
        encoders: Names of the pretrained ones.
    """
    figure = Figure(figsize=(10.4, 7.4), dpi=105, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 2, sharex=True)
    for (above, below), (name, title, better) in zip(grid.T, PANELS, strict=True):
        rows = [*CONTROLS, RANDOM, *encoders]
        found = {row: np.array([seed[row][name] for seed in every]) for row in rows}
        _panel(above, np.array(fractions), found, encoders)
        less = {row: values - found[RANDOM] for row, values in found.items() if row in encoders}
        below.axhline(0, color=INK, linewidth=1.3, linestyle="--")
        _panel(below, np.array(fractions), less, encoders)
        above.set_title(f"{title} ({better})", fontsize=10.5, color=INK, loc="left")
        below.set_title(f"less {RANDOM}, paired by seed", fontsize=10.5, color=INK, loc="left")
        below.set_xlabel("share of the train tiles that is labelled, %", fontsize=9, color=SOFT)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Software": None})


def _panel(axes: Axes, fractions: np.ndarray, found: dict[str, np.ndarray], encoders: Sequence[str]) -> None:
    """A line for each row of `found`, values (seed, fraction), a little beside each other."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(colors=SOFT, labelsize=9)
    axes.grid(color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for number, (row, values) in enumerate(found.items()):
        mean, low, high = np.array([limits(one) for one in values.T]).T
        own = row in encoders
        axes.errorbar(
            100 * fractions * 1.035 ** (number - (len(found) - 1) / 2),
            mean,
            yerr=np.nan_to_num([mean - low, high - mean]),
            color=COLOURS[encoders.index(row) % 4] if own else INK if row == RANDOM else SOFT,
            linewidth=1.8 if own else 1.3,
            linestyle="-" if own else {CONTROLS[0]: ":", CONTROLS[1]: "-."}.get(row, "--"),
            marker="o" if own else "s",
            markersize=3.6,
            elinewidth=0.8,
            label=row,
        )
    axes.set_xscale("log")
    axes.set_xticks(100 * fractions, [f"{100 * one:g}" for one in fractions])
    axes.minorticks_off()
