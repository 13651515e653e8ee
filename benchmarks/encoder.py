"""The learned encoder against plain formulations written here, in one run; and how far it is from the floor.

    python benchmarks/encoder.py [--size tiny] [--images 4] [--repeats 5] [--threads 1]

Gradient targets: one float64 integral image against dense float32 convolutions, as published. Attention:
scores formed, indexed and summed explicitly against one fused kernel with an additive term; the floor is the
encoder's own matrix products, run alone. CPU seconds (median of interleaved repeats).
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
from torch.nn.functional import conv2d, linear, pad

from sarcast.nn.gradient import RADII, ratio_gradients
from sarcast.nn.relative_position import buckets
from sarcast.nn.vit import SIZES, ViT

SIDE, PATCH = 224, 16


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(options.images, 1, SIDE, SIDE, generator=rng)
    vit = ViT.named(options.size, patch=PATCH, rng=rng).eval()
    print(
        f"{options.images} images of {SIDE} x {SIDE}, torch {torch.__version__}, {options.threads} thread(s)"
    )
    targets(images, options.repeats)
    encoding(vit, images, options)


def targets(images, repeats):
    ways = {
        "integral image, float64 (sarcast)": lambda: ratio_gradients(images)[0][:, 0],
        "dense convolutions, float32": lambda: dense(images),
    }
    found, seconds = race(ways, repeats)
    ours, plain = found.values()
    report("gradient targets", seconds, off=float((ours - plain).abs().max()))


def encoding(vit, images, options):
    n = (SIDE // PATCH) ** 2 + 1
    ways = {
        "additive term in one fused kernel (sarcast)": lambda: vit.tokens(images),
        "explicit scores, flat index": lambda: explicit(vit, images),
        "matrix products alone (the floor)": floor(vit, options.images * n, n),
    }
    with torch.no_grad():
        found, seconds = race(ways, options.repeats)
    ours, plain, _ = found.values()
    report(f"encoder {options.size}", seconds, off=float((ours - plain).abs().max()))
    spent = median(next(iter(seconds.values())))
    size = vit.size
    flop = 2 * options.images * n * size.depth * (12 * size.dim**2 + 2 * n * size.dim)
    print(
        f"  {options.images / spent:.2f} images/s, {options.images * (n - 1) / spent:.0f} tokens/s, "
        f"{flop / spent / 1e9:.1f} GFLOP/s per CPU second"
    )


def race(ways, repeats):
    """Results and CPU seconds of each way, one after the other in every round; the first round warms up."""
    found, seconds = {}, {name: [] for name in ways}
    for i in range(repeats + 1):
        for name, way in ways.items():
            start = time.process_time()
            found[name] = way()
            if i:
                seconds[name].append(time.process_time() - start)
    return found, seconds


def report(title, seconds, off):
    print(f"{title}: largest difference {off:.1e}")
    ours = next(iter(seconds.values()))
    for name, spent in seconds.items():
        ratio = median(a / b for a, b in zip(spent, ours, strict=True))
        print(f"  {name:46s} {median(spent):8.4f} s  {ratio:6.2f} x")


def dense(images):
    """Gradient magnitudes (image, radius, y, x) from four full (2k+1)^2 kernels a radius."""
    scales = []
    for k in RADII:
        near = (torch.arange(2 * k + 1) <= k).float()
        across = near.expand(2 * k + 1, -1)
        kernels = torch.stack([across, across.flip(1), across.T, across.T.flip(0)])
        left, right, top, bottom = (
            conv2d(pad(images, (k,) * 4, mode="reflect") + 1e-2, kernel[None, None]) for kernel in kernels
        )
        scales.append(torch.sqrt(torch.log(left / right) ** 2 + torch.log(top / bottom) ** 2))
    return torch.cat(scales, 1)


def explicit(vit, images):
    """All tokens, with every score formed and the relative term read by a flat index of its look-up."""
    x = vit.patch_embed(images)
    rows, cols = x.shape[1:3]
    x = torch.cat([vit.cls_token.expand(len(x), -1, -1), x.flatten(1, 2)], 1)
    bucket, n = buckets(rows, cols), rows * cols + 1
    for block in vit.blocks:
        attention, y = block.attn, block.norm1(x)
        q, k, v = attention.qkv(y).reshape(len(x), n, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
        look_up = q @ attention.rpe_k.lookup_table_weight
        width = look_up.shape[3]
        flat = (torch.arange(n)[:, None] * width + bucket).flatten()
        scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5 + look_up.flatten(2)[:, :, flat].unflatten(
            2, (n, n)
        )
        x = x + attention.proj((scores.softmax(3) @ v).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
    return vit.norm(x)


def floor(vit, tokens, n):
    """A function that does only the encoder's matrix products, on numbers of the right shape."""
    size = vit.size
    wide, narrow = torch.randn(tokens, 4 * size.dim), torch.randn(tokens, size.dim)
    q = torch.randn(tokens // n * size.heads, n, size.dim // size.heads)

    def products():
        for block in vit.blocks:
            linear(narrow, block.attn.qkv.weight)
            q @ q.transpose(1, 2) @ q
            q @ block.attn.rpe_k.lookup_table_weight
            linear(narrow, block.attn.proj.weight)
            linear(narrow, block.mlp.fc1.weight)
            linear(wide, block.mlp.fc2.weight)

    return products


if __name__ == "__main__":
    main()
