"""Stage 3: every image encoded once a step, against once for every window it is in, in one run.

    python -m benchmarks stage3 [--windows 9 64] [--size tiny] [--side 64] [--repeats 3] [--threads 1]

One place, K + windows dates, K = 7; forward and backward of the whole step, predictor included. The other way
encodes the K + 1 images of every window for it alone, as the published code does; targets are live, as there,
so that both give the same loss and gradients. CPU seconds (median of interleaved repeats, and of ratios).
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from sarcast.nn.forecaster import Forecaster
from sarcast.nn.vit import SIZES, ViT
from sarcast.objectives.temporal import TemporalPrediction

K, PATCH, CELL = 7, 8, 16


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, nargs="+", default=[9, 64])
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--side", type=int, default=64, help="of an image, pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    for windows in told.windows:
        print(row(windows, size=told.size, side=told.side, repeats=told.repeats), flush=True)


def row(windows, *, size, side, repeats):
    """One line: encodings, seconds and ratio, and how far the two ways are apart."""
    rng = torch.Generator().manual_seed(0)
    module = module_of(size, rng)
    dates = K + windows
    pixels = torch.rand(1, dates, 1, side, side, generator=rng)
    valid, days = torch.ones(1, dates, side, side, dtype=torch.bool), torch.arange(dates)[None] * 6.0
    ways = {
        "once a date": lambda: module(pixels, valid, days),
        "once a window": lambda: apart(module, pixels, valid, days),
    }
    seconds, found = {name: [] for name in ways}, {}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            module.zero_grad()
            start = time.process_time()
            loss = way()
            loss.backward()
            if turn:
                seconds[name].append(time.process_time() - start)
            found[name] = [loss.detach(), *(p.grad.clone() for p in module.parameters())]
    ours, plain = found.values()
    off = max(
        float((a - b).abs().max() / b.abs().max().clamp_min(1e-6)) for a, b in zip(ours, plain, strict=True)
    )
    fast, slow = (median(some) for some in seconds.values())
    ratio = median(b / a for a, b in zip(*seconds.values(), strict=True))
    every = windows * (K + 1)
    return (
        f"{windows:3d} windows, {size}: {dates} encodings {fast:.2f} s, {every} encodings {slow:.2f} s, "
        f"{ratio:.1f}x (encodings {every / dates:.1f}x); "
        f"loss and gradients apart by {off:.0e} of their largest"
    )


def module_of(size, rng):
    """An encoder and a predictor that has left its start, so that gradients reach everything."""
    vit = ViT.named(size, patch=PATCH, rng=rng)
    predictor = Forecaster(vit.size.dim, width=64, layers=2, heads=4, encoding="sinusoidal", seed=0)
    with torch.no_grad():
        predictor.correction.weight.normal_(0, 0.05, generator=rng)
    return TemporalPrediction(vit, predictor, target="live", context=K, cell=CELL)


def apart(module, pixels, valid, days):
    """The same loss, each window's K + 1 images encoded for it alone."""
    at = torch.arange(pixels.shape[1] - K)[:, None] + torch.arange(K + 1)
    return module(pixels[0][at], valid[0][at], days[0][at])


if __name__ == "__main__":
    main()
