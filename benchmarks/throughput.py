"""What learning costs: training images a second of every objective, against a plain pass of the same encoder.

    python -m benchmarks throughput [--sizes tiny base] [--devices cpu cuda] [--batch 4] [--repeats 5]
        [--threads 1] [--out FILE.md]

A step is loss, gradients, optimiser (AdamW) and what follows the encoder, with settings as `sarcast pretrain`
chooses them for the size. The plain step lets the encoder see all tokens once, forward and backward, with the
same optimiser: its time is 1, and an objective's time over it is the claim; seconds are this machine's. Every
round has one step of both, and a ratio of its own. One CPU thread has CPU seconds, more have wall seconds, as
CUDA has when the device is done. Pixels are dB of gamma speckle on a textured ground.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from sarcast.nn.card import Card, scaled
from sarcast.nn.vit import SIZES, ViT
from sarcast.objectives import OBJECTIVES

PLAIN = "plain pass, all tokens"
Step = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class Way:
    """An objective, or the plain pass."""

    name: str
    objective: str | None = None
    target: str | None = None
    """Of `mae`."""
    channels: int = 1


WAYS = (
    *(Way(name=PLAIN, channels=c) for c in (1, 12)),
    Way(name="local_masked_gradient", objective="local_masked_gradient"),
    Way(name="gradient_jepa", objective="gradient_jepa"),
    Way(name="across_dates", objective="across_dates"),
    *(
        Way(name=f"mae, {target}", objective="mae", target=target)
        for target in ("pixels", "low_pass", "hog", "gradients")
    ),
    Way(name="mae, pixels", objective="mae", target="pixels", channels=12),
    *(Way(name="dino", objective="dino", channels=c) for c in (1, 12)),
)


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much a step has to do, and where."""

    size: str
    device: str
    batch: int
    side: int = 224
    """Of an image, pixels."""
    patch: int = 16


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one way took."""

    way: Way
    seconds: list[float]
    """Of a step, in every round."""
    ratios: list[float]
    """Over the plain pass of as many channels, in every round."""
    peak_mb: float | None
    """Largest memory of the device; None on a CPU."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", choices=SIZES, nargs="+", default=["tiny", "base"])
    usual = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    parser.add_argument("--devices", choices=["cpu", "cuda"], nargs="+", default=usual)
    parser.add_argument("--batch", type=int, nargs="+", default=[4, 64], help="images a step: CPU, CUDA")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the tables to")
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    words = [f"--{name} {' '.join(map(str, getattr(told, name)))}" for name in ("sizes", "batch")]
    words += [f"--{name} {getattr(told, name)}" for name in ("repeats", "threads")]
    lines = [
        "# What learning costs",
        "",
        f"`python -m benchmarks throughput {' '.join(words)}`: torch {torch.__version__.partition('+')[0]}, "
        f"{torch.backends.cpu.get_cpu_capability()}, {told.threads} thread(s). Medians of {told.repeats} "
        "rounds [least, most]; x: time of a step over that of a plain forward and backward pass of the same "
        "encoder on all tokens, with the same optimiser, in the same round. Tokens are the images' patches, "
        "seen or hidden. Settings as `sarcast pretrain` chooses them.",
    ]
    for device in told.devices:
        for size in told.sizes:
            load = Load(size=size, device=device, batch=told.batch[-1 if device == "cuda" else 0])
            lines += section(load, measure(load, repeats=told.repeats, threads=told.threads))
            print("\n".join(lines), flush=True)
            if told.out:
                told.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def measure(load: Load, *, repeats: int, threads: int = 1, ways: tuple[Way, ...] = WAYS) -> list[Row]:
    """Every way in rounds of its own, each of which has a plain pass too; the first round warms up.

    Two networks are in memory at a time: with those of all ways, base would take 16 GB.
    """
    rows: list[Row] = []
    for way in ways:
        peak = _peak_mb(way, load)
        both = (Way(name=PLAIN, channels=way.channels), way)[way.objective is None :]
        seconds = _rounds([step_of(one, load) for one in both], load.device, repeats, threads)
        rows.append(
            Row(
                way=way,
                seconds=[spent[-1] for spent in seconds],
                ratios=[spent[-1] / spent[0] for spent in seconds],
                peak_mb=peak,
            )
        )
    return rows


def _rounds(steps: list[Step], device: str, repeats: int, threads: int) -> list[list[float]]:
    """Seconds of each step in every round but the first."""
    clock = time.process_time if device == "cpu" and threads == 1 else time.perf_counter
    found: list[list[float]] = []
    for _ in range(repeats + 1):
        found.append([])
        for step in steps:
            _settle(device)
            start = clock()
            loss = step()
            _settle(device)
            found[-1].append(clock() - start)
            if not bool(loss.isfinite()):
                raise ArithmeticError(f"expected a finite loss, found {float(loss)}")
    return found[1:]


def _peak_mb(way: Way, load: Load) -> float | None:
    """Largest memory of the device in two steps of a way alone; None on a CPU."""
    if load.device != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats()
    before, step = torch.cuda.memory_allocated(), step_of(way, load)
    step()
    step()
    _settle(load.device)
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def step_of(way: Way, load: Load) -> Step:
    """A function that makes one step of a training and gives its loss."""
    rng = torch.Generator().manual_seed(0)
    vit = ViT.named(load.size, patch=load.patch, channels=way.channels, rng=rng)
    images = [speckled(load, way.channels, seed=seed).to(load.device) for seed in (0, 1)]
    ok = torch.ones(load.batch, load.side, load.side, dtype=torch.bool, device=load.device)
    if way.objective is None:
        module: torch.nn.Module = vit.to(load.device)
    else:
        module = OBJECTIVES[way.objective](**settings_of(way, vit)).module(vit, rng=rng).to(load.device)
    trained = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    dates = 2 if way.objective == "across_dates" else 1
    given = [x for image in images[:dates] for x in (image, ok)]

    def step() -> Tensor:
        loss = vit.tokens(images[0]).square().mean() if way.objective is None else module(*given, rng=rng)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if way.objective is not None:
            module.stepped(0.5)  # type: ignore[operator]
        return loss.detach()

    return step


def settings_of(way: Way, vit: ViT) -> dict[str, object]:
    """A predictor of half the encoder's width and a third of its depth, as `sarcast pretrain` has it."""
    own = OBJECTIVES[way.objective or ""]().model_dump()
    found: dict[str, object] = {"target": way.target} if way.target else {}
    if own.get("predictor_depth"):
        found |= {"predictor_dim": vit.size.dim // 2, "predictor_heads": vit.size.heads}
        found |= {"predictor_depth": max(2, vit.size.depth // 3)}
    return found


def speckled(load: Load, channels: int, *, seed: int) -> Tensor:
    """Pixels of 4.4 looks on ground that differs from place to place, (b, channel, y, x) in 0..1."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(-12, 4, (load.batch, channels, load.side // 8, load.side // 8))
    ground = 10 ** (coarse.repeat(8, 2).repeat(8, 3) / 10)
    return scaled(torch.from_numpy(ground * rng.gamma(4.4, 1 / 4.4, ground.shape)), Card())


def section(load: Load, rows: list[Row]) -> list[str]:
    """A table of all ways."""
    where = torch.cuda.get_device_name() if load.device == "cuda" else "CPU"
    memory = any(row.peak_mb is not None for row in rows)
    heads = ["step", "channels", "images/s", "tokens/s", "x", *(["peak memory, MB"] if memory else [])]
    patches = (load.side // load.patch) ** 2
    lines = [
        "",
        f"## {load.size}, {where}, {load.batch} images of {load.side} x {load.side}, patches of {load.patch}",
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
    ]
    for row in rows:
        speeds = [load.batch / one for one in row.seconds]
        cells = [
            row.way.name,
            str(row.way.channels),
            _spread(speeds, ".3g"),
            f"{median(speeds) * patches:.0f}",
        ]
        cells += [_spread(row.ratios, ".2f"), *([f"{row.peak_mb:.0f}"] if row.peak_mb is not None else [])]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _spread(values: list[float], form: str) -> str:
    return f"{median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def _settle(device: str) -> None:
    """Wait until the device has done all that it was told."""
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
