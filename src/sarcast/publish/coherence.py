"""A coherence map as PNG: where two dates agree in phase, and how much of the map is no more than noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from sarcast.readers.gdal import open_raster

INK, SOFT = "#17202a", "#5a6775"


def draw_coherence(source: Path, target: Path) -> Path:
    """Draw a map of `sarcast coherence`, with the distribution of its values and its noise floor.

    Args:
        source: The GeoTIFF.
        target: PNG to write; the same map gives the same bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with open_raster(source) as dataset:
        values = dataset.read(1)
        told = json.loads(dataset.tags()["SARCAST"])
        bounds = dataset.bounds
    figure = Figure(figsize=(7.6, 4.2), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    extent = (0, (bounds.right - bounds.left) / 1000, 0, (bounds.top - bounds.bottom) / 1000)
    left.set_facecolor("#c9d1d9")
    image = left.imshow(values, cmap="inferno", vmin=0, vmax=1, extent=extent, interpolation="nearest")
    left.set_title(f"coherence, {told['first']} to {told['second']}", loc="left", fontsize=10, color=INK)
    left.set_xlabel("km to the east", fontsize=9, color=SOFT)
    left.set_ylabel("km to the north", fontsize=9, color=SOFT)
    figure.colorbar(image, ax=left, shrink=0.8)
    right.hist(values[np.isfinite(values)], bins=np.linspace(0, 1, 41), color="#0a66c2")
    right.axvline(told["floor"], color="#b3261e", linewidth=1.5)
    right.annotate(
        "noise floor", (told["floor"], 1), xycoords=("data", "axes fraction"), xytext=(4, -10),
        textcoords="offset points", fontsize=8, color="#b3261e",
    )  # fmt: skip
    right.set_title(f"mean {told['mean']:.2f}, {told['looks']:.0f} looks", loc="left", fontsize=10, color=INK)
    right.set_xlabel("coherence", fontsize=9, color=SOFT)
    right.set_ylabel("pixels of the map", fontsize=9, color=SOFT)
    right.spines[["top", "right"]].set_visible(False)
    for axes in (left, right):
        axes.tick_params(colors=SOFT, labelsize=8)
    figure.savefig(target, metadata={"Software": None})
    return target
