"""A DINO of real Sentinel-1, trained without labels, and what its attention outlines on labelled chips.

    python -m benchmarks.look_inside [--shared FOLDER] [--work DIR] [--epochs N] [--seed N] [--as-is]
        [--out FILE.md] [--picture FILE.png]

Images are cut from five OPERA bursts (22 dates, 30 m) and three of the five land-cover chips (10 m). The two
chips with water are left out, so that what is seen on them was not learned from them. Killed, it goes on
after its last epoch. What is kept is the teacher, as in DINO. Weights and pictures stay under --work.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from sarcast.encoders.chips import untrained
from sarcast.errors import ArtefactError
from sarcast.evaluate.emergent import otsu
from sarcast.nn.card import Card
from sarcast.nn.pretrained import Pretrained, load_encoder, save_encoder
from sarcast.nn.vit import ViT
from sarcast.objectives.dino import Dino
from sarcast.publish.looking import Panel, draw_panels
from sarcast.stack.store import read_stack
from sarcast.steps.ingest import Ingest, ingest
from sarcast.steps.look import Look, look
from sarcast.steps.look_maps import pictures
from sarcast.steps.look_scores import read_labels
from sarcast.steps.look_sources import images_of
from sarcast.steps.look_tokens import see
from sarcast.steps.stack import StackScenes, stack
from sarcast.train.augment import Augment
from sarcast.train.checkpoint import Epoch, History, load_state, rows, write_log
from sarcast.train.chips import Chips, as_input, batch, cut
from sarcast.train.loop import Batch, Training, processes, train
from sarcast.train.places import places
from sarcast.train.schedule import groups
from sarcast.values import Stack, Times

BURSTS = Path("data") / "opera_rtc_t137"
CHIPS = Path("data") / "s1_landcover_chips" / "examples" / "S1RTC"
LEFT_OUT = ("282D_485L_3_3", "433D_629L_3_1")
"""Chips with water."""
CARD = Card(name="db_channels", channels=("VV", "VH"), zero_db=(-25, -32), one_db=(0, -7), unit="gamma0")
TOKEN, CROP = 4, 12
DINO = Dino(prototypes=128, koleo=0.1, span_db=25, gain_db=1.0, decay=(0.99, 1.0))
TRAINING = Training(epochs=18, steps=100, batch=32, learning_rate=5e-4, warm_up=0.1, device="cpu")
WINDOWS = {CROP: 3, 56: 0}
"""Tokens a side -> halo: as in training, and a whole chip."""
CLASSES = dict(
    enumerate(
        ("no data", "water", "trees", "flooded", "crops", "built", "bare", "snow", "clouds", "rangeland")
    )
)
"""Of the chips' label images, which do not name them: Esri's nine classes in their order, from 1."""
JUDGED = ("water", "trees", "crops", "built", "rangeland")
"""Classes on two chips or more."""
HEAD = """# What attention outlines: a small DINO on five real chips

`python -m benchmarks.look_inside --seed {seed}`: `micro`, tokens of 4 px, VV and VH together, trained
without labels on five OPERA bursts and the three chips without water ({step} of {planned} planned steps
of 32 images; at the end error over entropy {normalised_error:.4}, rank {rank:.4}). `sarcast look` on all
five chips: Jaccard of Otsu masks and clusters with the land-cover map. "Other chips": map, side and
threshold (or clusters) are chosen on half of the chips and judged on the other half, mean of 50 halvings
[95 %, chips resampled]. "All": the best, chosen on what it is judged by. "Where present": the best single
map by Otsu, mean over the chips that have the class, chosen on what it is judged by too. One training,
one random network; five chips tell little, and the intervals know only these five. Classes have the names
of Esri's map, whose order the numbers follow; the files do not name them.
"""
_CHIPS, _BATCHES = range(2)


def pretrained(shared: Path, work: Path, *, epochs: int, seed: int, as_is: bool = False) -> Path:
    """Folder of the encoder, trained here unless it is there; `as_is`: no further than its checkpoint."""
    target = work / f"dino-{seed}"
    if (target / "config.json").exists():
        return target
    vit = ViT.named("micro", patch=TOKEN, channels=2, rng=torch.Generator().manual_seed(seed))
    module = DINO.module(vit, rng=torch.Generator().manual_seed(seed + 1))
    training = TRAINING.model_copy(update={"epochs": epochs})
    state = work / f".dino-{seed}.training.safetensors"
    fingerprint = f"{seed} {DINO.model_dump_json()} {training.model_dump_json()}"
    if as_is:
        optimiser = torch.optim.AdamW(groups(module, weight_decay=0))
        history = load_state(state, module, optimiser, fingerprint=fingerprint)
        if not history.epochs:
            raise ArtefactError(f"expected a checkpoint of this training, found none or another, in {state}")
    else:
        learned, held_out = _images([*_bursts(shared, work), *_chips(shared)], seed)
        with processes(training) as fabric:
            history = train(
                module,
                partial(_draw, learned, training.batch, seed),
                training,
                held_out=held_out,
                fabric=fabric,
                state=state,
                fingerprint=fingerprint,
                seed=seed,
                report=_report,
            )
    save_encoder(target, Pretrained(vit=module.teacher.eval(), card=CARD, window=CROP))
    write_log(target / "log.csv", rows(history))
    return target


def _images(every: list[Stack], seed: int) -> tuple[Chips, Batch]:
    """(images to learn from, those of held-out blocks) of all stacks alike."""
    side = CROP * TOKEN
    dates = [np.arange(len(one.times)) for one in every]
    parts = [
        places(one, some, side=side, held_out=0.15, rng=np.random.default_rng([seed, i]))
        for i, (one, some) in enumerate(zip(every, dates, strict=True))
    ]
    room = min(learn.block for learn, _ in parts)
    cut_some = partial(cut, bands=("VV", "VH"), rng=np.random.default_rng([seed, _CHIPS]))
    learned = [
        cut_some(s, d, a, count=250, side=room) for s, d, (a, _) in zip(every, dates, parts, strict=True)
    ]
    other = Chips.of(
        [cut_some(s, d, b, count=24, side=side) for s, d, (_, b) in zip(every, dates, parts, strict=True)]
    )
    return Chips.of(learned), as_input(other.power, other.valid, CARD, bands=other.bands)


def _draw(learned: Chips, size: int, seed: int, step: int, part: int) -> Batch:
    rng = np.random.default_rng([seed, _BATCHES, step, part])
    return batch(learned, CARD, Augment(), size=size, crop=CROP * TOKEN, rng=rng)


def picture(shared: Path, weights: Path, out: Path, *, seed: int) -> None:
    """A chip left out of training, in one window: heads of the network, of random weights, labels, Otsu."""
    examples = shared / CHIPS.parent
    network, window = load_encoder(weights), max(WINDOWS)
    asked = Look(source=examples / CHIPS.name, unit="db", channels=CARD.channels, window=window, halo=0)
    image = next(one for one in images_of(asked, network) if one.name == LEFT_OUT[0])
    with TemporaryDirectory() as folder:
        own, other = (
            see(asked, one, [image], Path(folder) / name)[0]
            for name, one in (("own", network), ("random", untrained(network, seed=seed)))
        )
        labels = read_labels(asked, [replace(image, labels=examples / "LULC" / f"{image.name}.tif")], CLASSES)
        vh = own.tokens().level_db[..., 1]
        dark = (vh <= otsu(vh)).astype(float)
        shown = [
            Panel(title=who + name.partition("_")[2].replace("_", " "), values=maps[..., i], kind="looks")
            for who, maps in (("", own.tokens().looks), ("random, ", other.tokens().looks))
            for i, name in enumerate(own.maps)
        ]
    cover = Panel(title="land cover", values=labels.images[0], kind="classes", names=labels.names)
    mask = Panel(title="VH of tokens under Otsu's", values=dark, kind="classes", names=("over", "under"))
    half = len(shown) // 2
    panels = [*pictures(own), *shown[:half], cover, mask, *shown[half:]]
    title = f"A small DINO on {image.name}: above as trained, below random weights"
    draw_panels(out, panels, title=title, note="one window over the chip, last block; 1: an even look")


def _report(line: Epoch, _: History) -> None:
    print(
        f"{line.epoch:3d} loss {line.loss:.3f} held out {line.held_out:.3f} error/entropy "
        f"{line.normalised_error:.3f} spread {line.spread:.3f} rank {line.rank:.1f}",
        flush=True,
    )


def _bursts(shared: Path, work: Path) -> list[Stack]:
    run = work / "opera"
    ingest(Ingest(source=shared / BURSTS, out=run))
    return [read_stack(path) for path in stack(StackScenes(scenes=run, out=run, workers=1))]


def _chips(shared: Path) -> Iterator[Stack]:
    """Chips as stacks of one date."""
    import rasterio
    from odc.geo.geobox import GeoBox

    for path in sorted((shared / CHIPS).glob("*.tif")):
        if path.stem in LEFT_OUT:
            continue
        with rasterio.open(path) as file:
            db, box = file.read(), GeoBox(file.shape, file.transform, str(file.crs))
        yield Stack(
            amplitude=(10 ** (db / 20)).astype(np.float32)[None],
            valid=np.ones((1, *box.shape), bool),
            times=_one_time(path.stem),
            bands=("VV", "VH"),
            geobox=box,
            name=path.stem,
            radiometry="gamma0",
        )


def _one_time(name: str) -> Times:
    return Times(
        time=np.array(["1970-01-01"], "datetime64[ns]"),
        scene_id=(name,),
        platform=("unknown",),
        incidence_deg=np.full(1, np.nan, np.float32),
        look_side=("unknown",),
        orbit_direction=("unknown",),
        relative_orbit=("unknown",),
    )


def report(shared: Path, work: Path, weights: Path, *, seed: int) -> str:
    """Look at the five chips with `weights` in both windows; the tables as Markdown."""
    examples = shared / CHIPS.parent
    found = {
        window: look(
            Look(
                source=examples / CHIPS.name,
                labels=examples / "LULC",
                classes=CLASSES,
                judge=JUDGED,
                unit="db",
                channels=CARD.channels,
                weights=weights,
                window=window,
                halo=halo,
                seed=seed,
                out=work / f"look-{seed}-{window}",
            )
        )
        for window, halo in WINDOWS.items()
    }
    planned = TRAINING.epochs * TRAINING.steps
    trained = (weights / "log.csv").read_text(encoding="utf-8").splitlines()
    last = dict(zip(trained[0].split(","), trained[-1].split(","), strict=True))
    return "\n".join(
        [HEAD.format(seed=seed, planned=planned, **last), *(_table(name, found) for name in JUDGED)]
    )


def _table(name: str, found: dict[int, dict[str, Any]]) -> str:
    """One class: figures of each window side by side."""
    judged = {window: one["emergent"]["classes"][name] for window, one in found.items()}
    first = next(iter(judged.values()))
    columns = [f"window {w}: other chips | all (optimistic) | where present" for w in judged]
    lines = [
        f"## {name.capitalize()}: {first['pixels']} pixels on {first['chips']} chips",
        "",
        f"| | {' | '.join(columns)} |",
        "|" + "---|" * (1 + 3 * len(judged)),
    ]
    for number, row in enumerate(first["rows"]):
        cells = []
        for one in judged.values():
            same = one["rows"][number]
            maps = [m["otsu_where_present"] for m in one["maps"] if m["way"] == row["way"]]
            cells += [
                f"{same['value']:.3f} [{same['low']:.3f}, {same['high']:.3f}]",
                f"{same['optimistic']:.3f}",
                f"{max(maps):.3f}" if maps else "-",
            ]
        lines.append(f"| {row['way']} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Train, look, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("SARCAST_SHARED", "../shared")))
    parser.add_argument("--work", type=Path, default=Path("look-work"))
    parser.add_argument("--epochs", type=int, default=TRAINING.epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--picture", type=Path, default=None)
    parser.add_argument("--as-is", action="store_true", help="train no further than the checkpoint")
    found = parser.parse_args()
    torch.set_num_threads(1)
    weights = pretrained(found.shared, found.work, epochs=found.epochs, seed=found.seed, as_is=found.as_is)
    text = report(found.shared, found.work, weights, seed=found.seed)
    if found.out:
        found.out.write_text(text, encoding="utf-8")
    if found.picture:
        picture(found.shared, weights, found.picture, seed=found.seed)
    print(text)


if __name__ == "__main__":
    main()
