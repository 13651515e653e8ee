"""The learned encoder against plain formulations written here, in one run; and how far it is from the floor.

    python -m benchmarks encoder [--sizes tiny base] [--repeats 5] [--threads 1] [--out FILE.md]

Gradient targets: one float64 integral image against dense float32 convolutions, as published. Encoder: scores
formed, indexed and summed explicitly against one fused kernel with an additive term, both on PyTorch's own
linear maps and on ours; the floor is the encoder's matrix products alone. Temporal forecasts: all windows at
once against one at a time, at the paper's size and the default; stage 3 as in benchmarks/stage3. CPU seconds
(median of interleaved repeats); ratios are medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from torch import nn
from torch.nn.functional import conv2d, gelu, pad

from benchmarks import stage3
from sarcast.detectors.forecaster import forecast
from sarcast.detectors.series import Series
from sarcast.detectors.transformer import Transformer
from sarcast.nn.forecaster import Forecaster
from sarcast.nn.gradient import RADII, ratio_gradients
from sarcast.nn.linear import linear
from sarcast.nn.relative_position import BUCKETS, buckets
from sarcast.nn.temporal import TemporalPredictor
from sarcast.nn.vit import SIZES, ViT

SIDE, PATCH, CONTEXT = 224, 16, 7
PLAIN = "sarcast.nn.linear.on_onednn"
"""Patched to False: every linear map is PyTorch's own."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", choices=SIZES, nargs="+", default=["tiny", "base"])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the tables to")
    parser.add_argument("--memory", choices=SIZES, help="only say a size's megabytes")
    told = parser.parse_args()
    if told.memory:
        print(*memory(told.memory, told.images))
        return
    torch.set_num_threads(told.threads)
    images = torch.rand(told.images, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    text = "\n".join(
        [
            "# The learned encoder: speed",
            "",
            f"torch {torch.__version__.partition('+')[0]}, {torch.backends.cpu.get_cpu_capability()}, "
            f"{told.threads} thread(s), seconds of CPU time, medians of {told.repeats} interleaved rounds. "
            "x: time over sarcast's.",
            *targets(images, told.repeats),
            *[line for size in told.sizes for line in encoding(size, images, told.repeats)],
            *paper_windows(told.repeats),
            *default_windows(told.repeats),
            *stage_3(told.repeats),
        ]
    )
    print(text)
    if told.out:
        told.out.write_text(text + "\n", encoding="utf-8")


def targets(images, repeats):
    ways = {
        "sarcast: integral image, float64": lambda: ratio_gradients(images)[0][:, 0],
        "dense convolutions, float32 (as published)": lambda: dense(images),
    }
    title = f"Gradient targets, {len(images)} images of {SIDE} x {SIDE}, four radii"
    return table(title, *race(ways, repeats))


def encoding(name, images, repeats):
    vit = ViT.named(name, patch=PATCH, rng=torch.Generator().manual_seed(0)).eval()
    n = (SIDE // PATCH) ** 2 + 1
    tokens = len(images) * n
    products = floor(vit, tokens, n)
    ways = {
        "sarcast: fused kernel, oneDNN": lambda: vit.tokens(images),
        "fused kernel, PyTorch's linear maps": partial(plainly, vit.tokens, images),
        "explicit scores, oneDNN": lambda: explicit(vit, images),
        "explicit scores, PyTorch's linear maps (as published)": partial(plainly, explicit, vit, images),
        "the matrix products alone, oneDNN (the floor)": products,
        "the matrix products alone, PyTorch's": partial(plainly, products),
    }
    with torch.inference_mode():
        found, seconds = race(ways, repeats)
    size, spent = vit.size, median(next(iter(seconds.values())))
    flop = 2 * tokens * (size.depth * (12 * size.dim**2 + (2 * n + BUCKETS) * size.dim) + PATCH**2 * size.dim)
    weights, peak = in_a_process(name, len(images))
    return [
        *table(f"Encoder {name}, {len(images)} images of {SIDE} x {SIDE}", found, seconds),
        "",
        f"{len(images) / spent:.2f} images/s, {(tokens - len(images)) / spent:.0f} tokens/s, "
        f"{flop / spent / 1e9:.0f} GFLOP/s. The floor is {median(floors(seconds)):.0%} of the time. "
        f"Memory: {weights:.0f} MB of weights, {peak:.0f} MB more at the peak of encoding.",
    ]


def paper_windows(repeats, windows=64):
    """The predictor of the paper: 768 wide, 4 layers, 8 heads, on 7 dates."""
    rng = torch.Generator().manual_seed(0)
    model = TemporalPredictor(rng=rng).eval()
    published = torch_layers(model)
    context = torch.randn(windows, CONTEXT, 768, generator=rng)
    days = torch.linspace(0, 1, CONTEXT).expand(windows, -1)

    def one_by_one(run):
        return torch.cat([run(context[i : i + 1], days[i : i + 1]) for i in range(windows)])

    ways = {
        "sarcast: all windows at once": lambda: model(context, days),
        "one at a time": partial(one_by_one, model),
        "one at a time, PyTorch's layers (as published)": partial(one_by_one, published),
        "all at once, PyTorch's layers": lambda: published(context, days),
    }
    with torch.inference_mode():
        found, seconds = race(ways, repeats)
    spent = median(next(iter(seconds.values())))
    title = f"Temporal forecasts at the paper's size (768 wide, 4 layers, K = {CONTEXT}), {windows} windows"
    return [*table(title, found, seconds), "", f"{windows / spent:.0f} windows/s."]


def default_windows(repeats, cells=1024, dim=16):
    """The default detector's network through the detector's own function: one date of `cells` cells."""
    rng, settings = np.random.default_rng(0), Transformer()
    model = Forecaster(
        dim,
        width=settings.width,
        layers=settings.layers,
        heads=settings.heads,
        encoding=settings.time_encoding,
        geometry=3,
        seed=0,
    ).eval()
    nn.init.normal_(model.correction.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    dates = settings.context + 1
    series = Series(
        values=rng.normal(size=(dates, cells, dim)).astype(np.float32),
        valid=np.ones((dates, cells), bool),
        frame=rng.normal(size=(dates, dim)).astype(np.float32),
        days=12.0 * np.arange(dates),
        geometry=np.zeros((dates, 3), np.float32),
        begin=np.zeros(dates, int),
    )

    def one_by_one():
        given = (series.frame, (series.days[-1] - series.days[:-1]).astype(np.float32), series.geometry)
        frame, days, geometry = (torch.from_numpy(part)[None] for part in given)
        values, valid = torch.from_numpy(series.values[:-1]), torch.from_numpy(series.valid[:-1])
        return torch.cat(
            [model(values[None, :, i], valid[None, :, i], frame, days, geometry) for i in range(cells)]
        )

    ways = {
        "sarcast: all windows at once": lambda: torch.from_numpy(forecast(model, series)),
        "one at a time": one_by_one,
    }
    with torch.inference_mode():
        found, seconds = race(ways, repeats)
    spent = median(next(iter(seconds.values())))
    width, layers = settings.width, settings.layers
    title = f"Temporal forecasts of the default detector ({width} wide, {layers} layers), {cells} windows"
    return [*table(title, found, seconds), "", f"{cells / spent:.0f} windows/s."]


def stage_3(repeats):
    """What `python -m benchmarks stage3` measures."""
    lines = ["", "## Stage 3: each image encoded once a step, against once for every window it is in", ""]
    return lines + [f"- {stage3.row(n, size='tiny', side=64, repeats=repeats)}" for n in (9, 64)]


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


def table(title, found, seconds):
    """Lines of a section; a way that gives no result is not compared."""
    (ours, reference), *_ = found.items()
    lines = ["", f"## {title}", "", "| way | s | x | largest difference |", "|---|---|---|---|"]
    for name, spent in seconds.items():
        ratio = median(a / b for a, b in zip(spent, seconds[ours], strict=True))
        compared = found[name] is not None and name != ours
        off = f"{float((found[name] - reference).abs().max()):.1e}" if compared else ""
        lines.append(f"| {name} | {median(spent):.4f} | {ratio:.2f} | {off} |")
    return lines


def floors(seconds):
    """Share of sarcast's time that its matrix products alone take, in each round."""
    ours = next(iter(seconds.values()))
    return [
        a / b for a, b in zip(seconds["the matrix products alone, oneDNN (the floor)"], ours, strict=True)
    ]


def plainly(way, *given):
    """The same with PyTorch's own linear maps."""
    with patch(PLAIN, return_value=False):
        return way(*given)


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
        x = x + block.mlp.fc2(gelu(block.mlp.fc1(block.norm2(x))))
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
            linear(q, block.attn.rpe_k.lookup_table_weight[0].t())
            linear(narrow, block.attn.proj.weight)
            linear(narrow, block.mlp.fc1.weight)
            linear(wide, block.mlp.fc2.weight)

    return products


def torch_layers(model):
    """A temporal predictor's weights in PyTorch's own layers."""
    layers = nn.ModuleList(
        nn.TransformerEncoderLayer(768, 8, 2048, 0.0, "gelu", batch_first=True, norm_first=True)
        for _ in model.layers
    ).eval()
    layers.load_state_dict(model.layers.state_dict())

    def run(context, times):
        with patch(PLAIN, return_value=False):
            x = context + model.time_enc(times)
            for layer in layers:
                x = layer(x)
            return model.out_proj(model.out_norm(x.mean(1)))

    return run


def memory(name, images):
    """Megabytes of the weights, and what encoding adds to the resident memory at its peak (Linux)."""
    vit = ViT.named(name, patch=PATCH, rng=torch.Generator().manual_seed(0)).eval()
    weights = sum(p.numel() * p.element_size() for p in vit.parameters()) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _status("VmRSS")
    with torch.inference_mode():
        vit(torch.rand(images, 1, SIDE, SIDE))
    return weights, _status("VmHWM") - before


def _status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def in_a_process(name, images):
    """`memory` of a process of its own."""
    words = [sys.executable, "-m", "benchmarks.encoder", "--memory", name, "--images", str(images)]
    said = subprocess.run(
        words, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]
    ).stdout
    return tuple(float(word) for word in said.split())


if __name__ == "__main__":
    main()
