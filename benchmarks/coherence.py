"""Coherence in strips against filtering the whole images, in one run: seconds, memory, largest difference.

    python -m benchmarks.coherence [--side 4000] [--repeats 5] [--out benchmarks/results/coherence.md]

The alternative: `scipy.ndimage.uniform_filter` on the whole complex product, real and imaginary part apart,
and the two whole powers, in the images' own precision. Each way runs in processes of its own; seconds are CPU
seconds of one thread, memory is the peak of the process above what it held with the two images loaded.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import textwrap
import time
from pathlib import Path
from statistics import median

import numpy as np

WINDOWS = ((5, 5), (3, 11))
RESULTS = Path(__file__).parent / "results" / "coherence.md"
MB = 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    text = report(options.side, options.repeats)
    print(text)
    options.out.write_text(text, encoding="utf-8")


def report(side, repeats):
    """Table of both windows and both ways, Markdown."""
    context = multiprocessing.get_context("spawn")
    lines = []
    for window in WINDOWS:
        found = {name: [] for name in WAYS}
        for _ in range(repeats):
            for name in WAYS:
                with context.Pool(1) as pool:
                    found[name].append(pool.apply(measure, (name, side, window)))
        seconds = {name: median(one["seconds"] for one in runs) for name, runs in found.items()}
        memory = {name: median(one["bytes"] for one in runs) for name, runs in found.items()}
        off = abs(np.subtract(*(found[name][0]["sample"] for name in WAYS))).max()
        for name in WAYS:
            cells = (
                f"{window[0]} x {window[1]}",
                name,
                f"{seconds[name]:.2f}",
                f"{memory[name] / MB:.0f}",
                f"{seconds[OTHER] / seconds[name]:.1f} x",
                f"{memory[name] / memory[OTHER]:.2f}",
                f"{off:.1e}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, {os.cpu_count()} cores"
    images, result = 2 * 8 * side**2 / MB, 4 * side**2 / MB
    told = (
        f"`python -m benchmarks.coherence --side {side} --repeats {repeats}`: two simulated complex64 images "
        f"of {side} x {side} samples, seed 0; medians of {repeats} interleaved runs, each in a process of "
        f"its own, one thread; {versions}, others at work. Memory is the peak above the two loaded images "
        f"({images:.0f} MiB), the result of {result:.0f} MiB included, and its share of that of the other "
        "way. The largest difference is over every 7th estimate of a whole window."
    )
    head = ("window", "way", "CPU seconds", "MiB", "faster", "memory", "largest difference")
    table = [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines]
    title = "# Coherence in strips against whole-image filtering"
    return "\n".join([title, "", *textwrap.wrap(told, 110), "", *table, ""])


def measure(name, side, window):
    """Seconds, bytes and a sample of the estimates of one way, in this process."""
    rng = np.random.default_rng(0)
    a, b = (np.empty((side, side), np.complex64) for _ in range(2))
    for part in (a.real, a.imag, b.real, b.imag):
        for row in part:
            row[:] = rng.standard_normal(side, dtype=np.float32)
    for row_a, row_b in zip(a, b, strict=True):
        row_b *= 0.8
        row_b += 0.6 * row_a
    WAYS[name](a[:64], b[:64], window)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.process_time()
    found = WAYS[name](a, b, window)
    seconds = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    inside = found[window[0] : -window[0] : 7, window[1] : -window[1] : 7]
    return {"seconds": seconds, "bytes": after - before, "sample": inside.astype(np.float64)}


def in_strips(a, b, window):
    from sarcast.sar.coherence import coherence

    return coherence(a, b, window=window)[0]


def whole_images(a, b, window):
    from scipy.ndimage import uniform_filter

    cross = a * b.conj()
    real, imaginary = uniform_filter(cross.real, window), uniform_filter(cross.imag, window)
    power_a, power_b = uniform_filter(np.abs(a) ** 2, window), uniform_filter(np.abs(b) ** 2, window)
    return np.hypot(real, imaginary) / np.sqrt(power_a * power_b)


OTHER = "whole images, scipy uniform_filter"
WAYS = {"strips (sarcast)": in_strips, OTHER: whole_images}


if __name__ == "__main__":
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    main()
