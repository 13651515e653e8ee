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

    Args:
        path: PNG; the same curves give the same bytes.
        fractions: Of labels, 0 to 1.
        every: For each seed, way to see -> curves.
        encoders: Names of the pretrained ones.
    """
    figure = Figure(figsize=(10.4, 4.4), dpi=130, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for axes, (name, title, better) in zip(figure.subplots(1, 2), PANELS, strict=True):
        _panel(axes, name, np.array(fractions), every, encoders)
        axes.set_title(title, fontsize=10.5, color=INK, loc="left")
        axes.set_xlabel(f"share of the train tiles that is labelled, % ({better})", fontsize=9, color=SOFT)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Software": None})


def _panel(
    axes: Axes,
    name: str,
    fractions: np.ndarray,
    every: Sequence[dict[str, Curves]],
    encoders: Sequence[str],
) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(colors=SOFT, labelsize=9)
    axes.grid(color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    rows = [*CONTROLS, RANDOM, *encoders]
    for number, row in enumerate(rows):
        values = 100 * fractions * 1.035 ** (number - (len(rows) - 1) / 2)
        mean, low, high = np.array([limits(one) for one in np.array([seed[row][name] for seed in every]).T]).T
        own = row in encoders
        colour = COLOURS[encoders.index(row) % 4] if own else (INK if row == RANDOM else SOFT)
        axes.errorbar(
            values,
            mean,
            yerr=np.nan_to_num([mean - low, high - mean]),
            color=colour,
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
