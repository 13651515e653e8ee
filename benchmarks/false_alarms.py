"""How often something is found where nothing happened: stationary scenes, real Sentinel-1, spoiled dates.

    python -m benchmarks.false_alarms [--part stationary real steps] [--shared FOLDER] [--out FILE.md]

stationary: simulated stacks of texture and speckle only (gamma and K clutter): share of judged p-values under
0.001 and 0.01, which should be just that. real: the same on the five bursts of OPERA track 137 by the main
job's steps; rain fell on known dates. steps: one judged date moved by a pixel or raised by 1 dB, written as
products and run through the main job's steps: is it flagged, and does it raise events?
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.events import Way, p_values
from sarcast.detectors.transformer import Transformer
from sarcast.detectors.z_score import ZScore
from sarcast.encoders.gradients import Gradients
from sarcast.encoders.statistics import Statistics
from sarcast.encoders.vit import Vit
from sarcast.evaluate.false_alarms import share_below
from sarcast.sar.simulate import SimulateScene, add_step, simulate
from sarcast.stack.split import split_history
from sarcast.values import Stack

LEVELS = (1e-3, 1e-2)
PARTS = ("stationary", "real", "steps")
OCEAN = "292318"
QUIET = "292319"
DATASET = Path("data") / "opera_rtc_t137"
STEPS = {"nothing": {}, "1 px": {"shift_px": (0.0, 1.0)}, "1 dB": {"gain_db": 1.0}}
SPOILED = {
    "nothing": [{}],
    "1 px": [{"shift_px": shift} for shift in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))],
    "+1 dB": [{"gain_db": 1.0}],
    "-1 dB": [{"gain_db": -1.0}],
}


def ways() -> dict[str, Way]:
    """Every row of the table of stationary scenes."""
    return {
        "statistics, z_score (l2)": Way(encoder=Statistics(), detector=ZScore()),
        "statistics, z_score (max)": Way(encoder=Statistics(), detector=ZScore(norm="max")),
        "statistics, transformer": Way(encoder=Statistics(), detector=Transformer()),
        "gradients, z_score (l2)": Way(encoder=Gradients(), detector=ZScore()),
        "gradients, transformer": Way(encoder=Gradients(), detector=Transformer()),
        "vit (sarcast-tiny), z_score (l2)": Way(encoder=Vit(), detector=ZScore()),
        "vit (sarcast-tiny), transformer": Way(encoder=Vit(), detector=Transformer()),
    }


def main() -> None:
    """Run the parts asked for, print, and write the tables where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--capella", type=int, default=12, help="stationary stacks of 384 x 384 px")
    parser.add_argument("--opera", type=int, default=8, help="stationary stacks of 128 x 128 px, two bands")
    parser.add_argument("--shared", type=Path, default=os.environ.get("SARCAST_SHARED"), help="real data")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the tables to")
    told = parser.parse_args()
    torch.set_num_threads(1)
    shared = None if told.shared is None else Path(told.shared)
    parts = []
    if "stationary" in told.part:
        parts.append(stationary_table(stationary(told.capella, told.opera), ways()))
    with tempfile.TemporaryDirectory() as scratch:
        if "real" in told.part and shared is not None:
            parts.append(real_table(shared, Path(scratch) / "real"))
        if "steps" in told.part:
            parts.append(steps_table(shared, Path(scratch) / "steps"))
    text = "\n".join(parts)
    print(text)
    if told.out is not None:
        told.out.write_text(f"# False alarms\n\n{text}", encoding="utf-8")


# --- stationary scenes ---------------------------------------------------------------------------------


def stationary(capella: int, opera: int) -> list[tuple[SimulateScene, int]]:
    """Scenes and seeds: nothing but texture and speckle, gamma and K clutter in turn."""
    scenes = []
    for kind, side, count in (("capella", 384, capella), ("opera", 128, opera)):
        for i in range(count):
            clutter = ("gamma", "k")[i % 2]
            scene = SimulateScene(kind=kind, shape=(side, side), clutter=clutter, stationary=True)
            scenes.append((scene, 1000 + len(scenes)))
    return scenes


def stationary_table(scenes: Sequence[tuple[SimulateScene, int]], rows: dict[str, Way]) -> str:
    """Shares of p-values pooled over all scenes, and over those of each sensor and clutter."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in rows}
    for scene, seed in scenes:
        stack = simulate(scene, rng=np.random.default_rng(seed)).stack
        for name, part in judged(stack, rows, seed=seed).items():
            found[name].append(part)
    groups = {"all": [True] * len(scenes)}
    for kind, clutter in (("capella", "gamma"), ("capella", "k"), ("opera", "gamma"), ("opera", "k")):
        groups[f"{kind}, {clutter}"] = [s.kind == kind and s.clutter == clutter for s, _ in scenes]
    lines = [
        f"## {len(scenes)} stationary scenes",
        "",
        f"Seeds {scenes[0][1]} to {scenes[-1][1]}; shares of judged cells over the level, in brackets 95 %",
        "intervals over blocks of 8 x 8 cells through all dates.",
        "",
        "| way | scenes | p < 0.001 | p < 0.01 | of 0.5 to 2 times 0.001 |",
        "|---|---|---|---|---|",
    ]
    for name, parts in found.items():
        for group, chosen in groups.items():
            some = [part for part, take in zip(parts, chosen, strict=True) if take]
            if some:
                shares = [share(some, level) for level in LEVELS]
                within = "yes" if 0.5e-3 <= shares[0].value <= 2e-3 else "NO"
                cells = " | ".join(show(one) for one in shares)
                lines.append(f"| {name} | {group} ({len(some)}) | {cells} | {within} |")
    return "\n".join(lines) + "\n"


def judged(stack: Stack, rows: dict[str, Way], *, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """p-values and validity of the judged dates in every way."""
    split = split_history(stack.times.time, np.ones(len(stack.times), bool))
    encoded: dict[str, Any] = {}
    found = {}
    for name, way in rows.items():
        key = repr(way.encoder)
        if key not in encoded:
            encoded[key] = way.encoder.encode(stack)
        p, valid, _ = p_values(encoded[key], way.detector, split, seed=seed)
        found[name] = p[split.judge], valid[split.judge]
    return found


def share(parts: Sequence[tuple[np.ndarray, np.ndarray]], level: float, **blocks: Any) -> Any:
    """Share of p-values under `level`, pooled."""
    return share_below([p for p, _ in parts], [valid for _, valid in parts], below=level, seed=0, **blocks)


def show(estimate: Any) -> str:
    """A share with its interval."""
    return f"{estimate.value:.5f} [{estimate.low:.5f}, {estimate.high:.5f}]"


# --- the main job's steps ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What the main job made of one stack."""

    name: str
    p_value: np.ndarray
    valid: np.ndarray
    judge: np.ndarray
    usable: np.ndarray
    quality: list[dict[str, Any]]
    first_seen: list[str]
    """Day on which each event was first seen."""


def chain(
    source: Path, out: Path, *, encoder: str = "statistics", detector: str = "z_score"
) -> list[Outcome]:
    """Ingest, stack, encode, score and detect."""
    from sarcast.publish.vector import read_detections
    from sarcast.stack.cells import read_scores
    from sarcast.steps.detect import Detect, detect
    from sarcast.steps.encode import Encode, encode
    from sarcast.steps.ingest import Ingest, ingest
    from sarcast.steps.learn import split_of
    from sarcast.steps.score import Score, score
    from sarcast.steps.stack import StackScenes, stack

    ingest(Ingest(source=source, out=out))
    paths = stack(StackScenes(scenes=out, out=out, workers=1))
    scored = [
        score(Score(features=encode(Encode(stack=p, encoder=encoder)), detector=detector)) for p in paths
    ]
    events = read_detections(detect(Detect(scores=out)))
    outcomes = []
    for path in scored:
        scores = read_scores(path)
        split, usable = split_of(scores.times, path.parent)
        mine = events[events["stack"] == scores.stack]
        outcomes.append(
            Outcome(
                name=path.parent.name,
                p_value=np.asarray(scores.p_value),
                valid=np.asarray(scores.valid),
                judge=split.judge,
                usable=usable,
                quality=json.loads((path.parent / "quality.json").read_text())["dates"],
                first_seen=[str(day)[:10] for day in mine["first_seen"]],
            )
        )
    return outcomes


# --- real Sentinel-1 -----------------------------------------------------------------------------------


def real_table(shared: Path, scratch: Path) -> str:
    """Share of p < 0.01 on the judged dates of every burst, on usable dates and on all."""
    lines = [
        "## OPERA track 137, judged dates, share of p < 0.01",
        "",
        "Usable: dates the quality checks let pass. Rain is known; 292324 changed before 2024-12-21. In",
        "brackets 95 % intervals over whole dates of a burst (frame x 1 date) and over blocks of 8 x 8 cells",
        "through all dates. 292318 is ocean.",
        "",
        "| way | bursts | dates | p < 0.01, by date | by cell block | events |",
        "|---|---|---|---|---|---|",
    ]
    default: list[str] = []
    for encoder, detector in (
        ("statistics", "z_score"), ("statistics", "transformer"), ("gradients", "z_score"),
    ):  # fmt: skip
        found = chain(shared / DATASET, scratch / f"{encoder}-{detector}", encoder=encoder, detector=detector)
        land = [one for one in found if OCEAN not in one.name]
        groups = {"land, all four": land} | {one.name[5:11]: [one] for one in found}
        for group, some in groups.items():
            for which, text in ((True, "usable"), (False, "all")):
                picked = [one.judge & one.usable if which else one.judge for one in some]
                parts = [(o.p_value[k], o.valid[k]) for o, k in zip(some, picked, strict=True)]
                by_date = share(parts, 1e-2, cells=None, dates=1)
                events = sum(len(one.first_seen) for one in some) if which else "–"
                lines.append(
                    f"| {encoder}, {detector} | {group} | {sum(k.sum() for k in picked)} {text} "
                    f"| {show(by_date)} | {show(share(parts, 1e-2))} | {events} |"
                )
        default = default or by_date_lines(found)
    return "\n".join([*lines, *default, ""])


def by_date_lines(found: Sequence[Outcome]) -> list[str]:
    """Share of p < 0.01 by date, a row a burst."""
    days = sorted({entry["time"][:10] for one in found for entry in one.quality})
    judged_days = [day for day in days if any(day == d for one in found for d in _judged_days(one))]
    lines = [
        "",
        "### By date, statistics and z_score; flagged dates in brackets",
        "",
        "| burst | " + " | ".join(judged_days) + " |",
        "|---" * (len(judged_days) + 1) + "|",
    ]
    for one in found:
        row = dict.fromkeys(judged_days, "")
        for t in np.flatnonzero(one.judge):
            below = f"{(one.p_value[t] < 1e-2)[one.valid[t]].mean():.3f}"
            row[one.quality[t]["time"][:10]] = below if one.usable[t] else f"({below})"
        lines.append(f"| {one.name[5:11]} | {' | '.join(row.values())} |")
    return lines


def _judged_days(one: Outcome) -> list[str]:
    return [one.quality[t]["time"][:10] for t in np.flatnonzero(one.judge)]


# --- spoiled dates -------------------------------------------------------------------------------------


def steps_table(
    shared: Path | None, scratch: Path, *, capella: int = 3, opera: int = 2, side: int = 384, dates: int = 24
) -> str:
    """One judged date moved or raised: what is measured, is it flagged, and which events begin on it?"""
    lines = [
        "## One judged date spoiled",
        "",
        "Simulated scenes have everything that moves and planted events. Share of p < 0.01 on the spoiled",
        "date, and events first seen on it; with nothing done to the date, events may be real ones.",
        "",
        "| stack | date | done to it | usable | flags | shift px | gain dB | p < 0.01 "
        "| events first seen then | events in all |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    rates = {}
    for kind, i in [("capella", i) for i in range(capella)] + [("opera", i) for i in range(opera)]:
        shape = (side, side) if kind == "capella" else (side // 2, side // 2)
        settings = SimulateScene(kind=kind, shape=shape, dates=dates)
        name = f"{kind} {i}"
        stack = simulate(settings, rng=np.random.default_rng(2000 + i)).stack
        rates[name] = flagged(stack)
        lines += spoil_simulated(stack, settings, scratch, index=15 + 2 * i, name=name)
    if shared is not None:
        rates[f"real {QUIET}"], found = spoil_real(shared / DATASET, scratch)
        lines += found
    return "\n".join([*lines, "", *rate_lines(rates), ""])


def spoil_simulated(
    stack: Stack, settings: SimulateScene, scratch: Path, *, index: int, name: str
) -> list[str]:
    """A row for each thing done to one date of a simulated stack."""
    lines = []
    for done, step in STEPS.items():
        folder = scratch / "simulated"
        write_products(add_step(stack, index=index, **step), settings, folder / "products")
        (outcome,) = chain(folder / "products", folder)
        lines.append(step_line(name, outcome, index, done))
        shutil.rmtree(folder)
    return lines


def spoil_real(source: Path, scratch: Path) -> tuple[dict[str, list[bool]], list[str]]:
    """Which dates of the quiet burst are flagged, and a row for each thing done to two of them."""
    from sarcast.stack.store import read_stack

    lines, rates = [], {}
    for index in (13, 17):
        for done, step in STEPS.items():
            folder = scratch / "real"
            spoil_burst(source, folder / "products", index, **step)
            (outcome,) = chain(folder / "products", folder)
            lines.append(step_line(f"real {QUIET}", outcome, index, done))
            if not rates:
                rates = flagged(read_stack(next(folder.glob("stacks/*/stack.zarr"))))
            shutil.rmtree(folder)
    return rates, lines


def flagged(stack: Stack) -> dict[str, list[bool]]:
    """What was done to a date -> was it flagged, each judged date spoiled in turn."""
    from sarcast.stack import quality
    from sarcast.stack.gain_step import flag_steps

    split = split_history(stack.times.time, np.ones(len(stack.times), bool))
    settings = quality.Quality()
    reference = quality.reference_of(stack, split.fit)
    history = quality.measure_history(stack, split.fit)
    limits = quality.gain_limits_db(list(history.values()), settings)
    textured = quality.is_textured(list(history.values()))

    def entry(index: int, measured: quality.Measured) -> dict[str, Any]:
        return quality.DateQuality(
            scene_id=stack.times.scene_id[index],
            time=str(stack.times.time[index]),
            platform=stack.times.platform[index],
            measured=measured,
            textured=textured,
            limits_db=limits,
            settings=settings,
        ).to_json()

    dates = [
        entry(i, history[i] if i in history else quality.measure(stack, i, reference))
        for i in range(len(stack.times))
    ]
    found: dict[str, list[bool]] = {}
    for name, steps in SPOILED.items():
        found[name] = []
        for index in (int(t) for t in np.flatnonzero(split.judge)):
            for step in steps:
                spoiled = entry(
                    index, quality.measure(add_step(stack, index=index, **step), index, reference)
                )
                whole = flag_steps([*dates[:index], spoiled, *dates[index + 1 :]], limits, settings)
                found[name].append(bool(whole[index]["flags"]))
    return found


def rate_lines(rates: dict[str, dict[str, list[bool]]]) -> list[str]:
    """Flagged dates over all, a row a stack."""
    lines = [
        "### Every judged date spoiled in turn: how many are flagged",
        "",
        "1 px: each date in four directions.",
        "",
        "| stack | " + " | ".join(SPOILED) + " |",
        "|---" * (len(SPOILED) + 1) + "|",
    ]
    for stack, found in rates.items():
        lines.append(f"| {stack} | {' | '.join(f'{sum(f)} / {len(f)}' for f in found.values())} |")
    return lines


def write_products(stack: Stack, settings: SimulateScene, folder: Path) -> None:
    """Every date as a product on the stack's own grid."""
    from sarcast.steps.products import write_capella, write_opera

    folder.mkdir(parents=True)
    for index in range(len(stack.times)):
        if settings.kind == "opera":
            write_opera(folder, stack, index)
        else:
            write_capella(folder, stack, index, scale_factor=2e-4, looks=settings.speckle_looks)


def spoil_burst(
    source: Path,
    target: Path,
    index: int,
    *,
    shift_px: tuple[float, float] = (0.0, 0.0),
    gain_db: float = 0.0,
) -> None:
    """Copies of the quiet burst's products, those of one date moved by whole pixels and raised."""
    import rasterio

    for k, day in enumerate(sorted(path for path in source.iterdir() if path.is_dir())):
        (target / day.name).mkdir(parents=True)
        for path in sorted(day.glob(f"*{QUIET}*.tif")):
            copy = target / day.name / path.name
            shutil.copyfile(path, copy)
            if k == index and (any(shift_px) or gain_db):
                with rasterio.open(copy, "r+") as dataset:
                    power = np.roll(dataset.read(1), [int(s) for s in shift_px], axis=(0, 1))
                    dataset.write((power * 10 ** (gain_db / 10)).astype(np.float32), 1)


def step_line(stack: str, outcome: Outcome, index: int, done: str) -> str:
    """One row."""
    entry = outcome.quality[index]
    day = entry["time"][:10]
    below = float((outcome.p_value[index] < 1e-2)[outcome.valid[index]].mean())
    shift = entry["shift_px"]
    gains = ", ".join(f"{band} {value:+.2f}" for band, value in entry["gain_db"].items())
    row = [
        stack, day, done, "yes" if entry["usable"] else "no", "; ".join(entry["flags"]) or "–",
        "not measurable" if shift is None else f"{shift[0]:+.2f} {shift[1]:+.2f}", gains or "not measurable",
        f"{below:.3f}", str(outcome.first_seen.count(day)), str(len(outcome.first_seen)),
    ]  # fmt: skip
    return f"| {' | '.join(row)} |"


if __name__ == "__main__":
    main()
