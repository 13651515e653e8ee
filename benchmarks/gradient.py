"""Ratio gradients at radii 5, 9, 13, 17: one float64 integral image against direct sums, in one run.

    python benchmarks/gradient.py [--side 224] [--images 4] [--repeats 5]

The alternatives: `torch.nn.functional.conv2d` with the full (2k+1)^2 kernels in float32, as published;
`scipy.ndimage.correlate` with the same; `scipy.ndimage.correlate1d` along each axis (separable, float64).
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
import torch
from scipy.ndimage import correlate, correlate1d

from sarcast.sar.gradient import RADII, ratio_gradients


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    shape = (options.images, options.side, options.side)
    images = np.random.default_rng(0).gamma(9, 1 / 36, shape).astype(np.float32)
    ways = {
        "integral image, float64 (sarcast)": lambda: ratio_gradients(images)[0],
        "torch conv2d, dense kernels, float32": lambda: by_torch(images),
        "scipy correlate, dense kernels, float32": lambda: by_scipy(images, dense, np.float32),
        "scipy correlate1d, separable, float64": lambda: by_scipy(images, separable, np.float64),
    }
    seconds, exact = {name: [] for name in ways}, by_scipy(images, separable, np.float64)
    found = {}
    for _ in range(options.repeats):
        for name, way in ways.items():
            start = time.process_time()
            found[name] = way()
            seconds[name].append(time.process_time() - start)
    print(f"{options.images} images of {options.side} x {options.side}, radii {RADII}, CPU seconds (median)")
    ours = median(next(iter(seconds.values())))
    for name in ways:
        spent, off = median(seconds[name]), float(np.abs(found[name] - exact).max())
        print(f"{name:42s} {spent:8.4f} s  {spent / ours:6.1f} x  off by {off:.1e}")


def by_scipy(images, halves, dtype):
    """Magnitudes (image, radius, y, x) from four half-window sums each."""
    out = np.empty((len(images), len(RADII), *images.shape[1:]))
    for i, image in enumerate(images):
        for j, radius in enumerate(RADII):
            top, bottom, left, right = halves(image.astype(dtype) + dtype(1e-2), radius)
            out[i, j] = np.hypot(np.log(left / right), np.log(top / bottom))
    return out


def by_torch(images):
    """Magnitudes (image, radius, y, x) from one dense convolution a radius, one thread."""
    out = []
    for radius in RADII:
        padded = torch.nn.functional.pad(torch.from_numpy(images)[:, None], (radius,) * 4, mode="reflect")
        weights = torch.from_numpy(kernels(radius))[:, None]
        sums = torch.nn.functional.conv2d(padded + 1e-2, weights)
        gradients = (sums[:, [0, 2]] / sums[:, [1, 3]]).log()
        out.append(gradients.square().sum(1).sqrt().numpy())
    return np.stack(out, axis=1)


def dense(image, radius):
    return [correlate(image, k, mode="mirror") for k in kernels(radius)]


def kernels(radius):
    """Ones over the top, bottom, left and right half: float32 (4, 2k+1, 2k+1)."""
    ones = np.zeros((4, 2 * radius + 1, 2 * radius + 1), np.float32)
    ones[0, : radius + 1] = ones[1, radius:] = ones[2, :, : radius + 1] = ones[3, :, radius:] = 1
    return ones


def separable(image, radius):
    whole, first = np.ones(2 * radius + 1), (np.arange(2 * radius + 1) <= radius).astype(float)
    across, down = (correlate1d(image, whole, axis=axis, mode="mirror") for axis in (1, 0))
    return (
        correlate1d(across, first, axis=0, mode="mirror"),
        correlate1d(across, first[::-1], axis=0, mode="mirror"),
        correlate1d(down, first, axis=1, mode="mirror"),
        correlate1d(down, first[::-1], axis=1, mode="mirror"),
    )


if __name__ == "__main__":
    main()
