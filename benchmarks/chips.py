"""Frozen encoders on chips of another domain: aircraft (SAR-ACD) or ships (OpenSARShip), across groups.

    python -m benchmarks.chips --data sar-acd|opensarship [--shared FOLDER] [--weights FOLDER ...] [--draws N]
                               [--quick] [--out FILE.md]

Encoders are folders that `sarcast probe --weights` takes too, such as those `benchmarks.few_shot` keeps under
its --work, or names of those that come with sarcast. Every chip is judged by what was fitted on other groups
(copies of one aircraft; ships of one scene): random splits leak copies. No judged label chooses anything.
"""

from __future__ import annotations

import argparse
import os
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.few_shot_plan import OBJECTIVES
from benchmarks.few_shot_rows import nearest
from benchmarks.grouped_chips import DATA, GroupedChips
from sarcast.encoders.chips import chip_tokens, untrained
from sarcast.nn.pretrained import Pretrained, load_encoder
from sarcast.probes.draws import shots
from sarcast.probes.hand_made import cell_edges, cell_means, cell_statistics, unit_chips
from sarcast.probes.intervals import Judged, judged, told
from sarcast.probes.logistic import in_span, logistic
from sarcast.probes.measures import confusion
from sarcast.probes.scaling import standardised

SHIPPED = Path("sarcast-tiny")
GRID, DIMS, PIXELS = 4, 192, 32
RESAMPLES, SEED = 500, 0
FLOOR = "pixels, unit chips"
ALONE = {
    "sar-acd": " `sarcast probe chips.zip --label class --group group --prefix sar_acd/ --side 32 --weights "
    "FOLDER` judges one split of the first table by itself."
}
"""Data -> how the command line judges it."""
RANDOM = "random weights"
COLUMNS = ("1-NN", "logistic", "logistic, mean and spread")
MAIN = {False: "accuracy", True: "balanced accuracy"}
"""Whether classes count alike -> the figure of the table."""
Figures = dict[str, Judged]
"""Column -> its figure."""
Split = list[tuple[np.ndarray, np.ndarray]]
"""(chips learned from, chips judged), for each fold."""
Seen = dict[str, np.ndarray]
"""Column -> vectors (chip, dim) it judges."""


def main() -> None:
    """Judge, print, and write the tables where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", choices=tuple(DATA), required=True)
    parser.add_argument("--shared", type=Path, default=os.environ.get("SARCAST_SHARED"), help="real data")
    parser.add_argument("--weights", type=Path, nargs="*", default=[], help="folders of encoders")
    parser.add_argument("--draws", type=int, default=2, help="of the folds, or of the chips learned from")
    parser.add_argument("--quick", action="store_true", help="a few groups: figures mean nothing")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the tables to")
    asked = parser.parse_args()
    if asked.shared is None:
        parser.error("expected --shared (or SARCAST_SHARED), the folder that holds data/")
    torch.set_num_threads(1)
    every = DATA[asked.data](Path(asked.shared))
    if asked.quick:
        every = [few(chips) for chips in every]
    text = tables(asked.data, every, encoders([*asked.weights, SHIPPED]), draws=asked.draws)
    print(text)
    if asked.out is not None:
        asked.out.write_text(text + "\n", encoding="utf-8")


def few(chips: GroupedChips, most: int = 5) -> GroupedChips:
    """The chips of the first groups of every class, in two folds; all where groups are scenes."""
    if chips.folds is None:
        return chips
    own = [np.unique(chips.groups[chips.classes == one])[:most] for one in np.unique(chips.classes)]
    return replace(chips[np.isin(chips.groups, np.concatenate(own))], folds=2)


def encoders(weights: list[Path]) -> dict[str, Pretrained]:
    """Name of a row -> encoder: a random one of each kind first, then those of `weights`."""
    found: dict[str, Pretrained] = {}
    for path in weights:
        encoder = load_encoder(path)
        about, vit = encoder.about, encoder.vit
        name = OBJECTIVES.get(str(about.get("objective")), path.name)
        found[f"{name}, seed {about['seed']}" if "data" in about else name] = encoder
        plain = untrained(encoder, seed=SEED)
        found.setdefault(f"{RANDOM}, {vit.size.depth} x {vit.size.dim}, tokens of {vit.patch} px", plain)
    return dict(sorted(found.items(), key=lambda pair: not pair[0].startswith(RANDOM)))


def tables(data: str, every: list[GroupedChips], networks: dict[str, Pretrained], *, draws: int) -> str:
    """What was done, and a table for each way to cut chips."""
    parts = [heading(data, every[0], draws)]
    for chips in every:
        count = len(np.unique(chips.groups))
        parts += [
            f"## {chips.words[0].upper()}{chips.words[1:]}",
            "",
            f"{len(chips.classes)} chips in {count} groups; {', '.join(_counted(chips))}.",
            "",
            *table(chips, networks, draws=draws),
            "",
        ]
    return "\n".join(parts).rstrip()


def _counted(chips: GroupedChips) -> list[str]:
    return [f"{name} {np.sum(chips.classes == i)}" for i, name in enumerate(chips.class_names)]


def heading(data: str, chips: GroupedChips, draws: int) -> str:
    """What was done, in words and settings."""
    split = (
        f"{chips.folds} folds of whole groups with about equal shares of classes, drawn {draws} times"
        if chips.folds
        else "every scene is left out once"
    )
    if chips.even:
        split += f"; as many chips of each class are learned from, {draws} draws; chance is 50 %"
    words = f"""`python -m benchmarks.chips --data {data}`. Frozen encoders; those with a seed were pretrained
        without labels on MSTAR's train role (X band, vehicles, 64 px; `few-shot-mstar.md` has the settings),
        so this is another sensor and another kind of target; `sarcast-tiny` on Sentinel-1 ground. No encoder
        has seen such chips. Split: {split}. 1-NN is Euclidean; logistic regression is on the first {DIMS}
        principal components of vectors standardised over the labelled chips, its C chosen in 3 folds of their
        groups. Vectors of encoders are means of tokens over {GRID} x {GRID} cells, in the last column mean
        and spread over all tokens. Intervals (95 %) resample groups and draws, and hold no luck of another
        pretraining seed.{ALONE.get(data, "")}"""
    return f"# Frozen encoders on {data}\n\n{textwrap.fill(' '.join(words.split()), 110)}\n"


def table(chips: GroupedChips, networks: dict[str, Pretrained], *, draws: int) -> list[str]:
    """Rows: ways to see chips; columns: a figure for each probe, and what logistic has over the floor."""
    splits = [split_of(chips, draw) for draw in range(draws)]
    main = MAIN[chips.even]
    lines = [
        f"| {main}, % [95 %] | {' | '.join(COLUMNS)} | logistic less {FLOOR} |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    if not chips.even:
        constant = judged_by(chips, [commonest(chips, split) for split in splits])
        lines.append(f"| commonest class | {_cell(constant)} | – | – | – |")
    floor: Figures = {}
    for name, seen in ways(chips, networks).items():
        together = name.startswith("pixels")
        found = {
            column: judged_by(
                chips, [guesses(column, x, chips, split, together=together) for split in splits]
            )
            for column, x in seen.items()
        }
        floor = found if name == FLOOR else floor
        gained = "–" if name == FLOOR or not floor else _gain(found[COLUMNS[1]], floor[COLUMNS[1]])
        cells = [_cell(found[column]) if column in found else "–" for column in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} | {gained} |")
    return lines


def ways(chips: GroupedChips, networks: dict[str, Pretrained]) -> dict[str, Seen]:
    """Name of a row -> vectors of each column."""
    valid = np.ones(chips.pictures[:, 0].shape, bool)
    found: dict[str, Seen] = {"size of the chip, otherwise unseen": _both(chips.sizes)}
    side = chips.pictures.shape[-1]
    pixels = cell_means(chips.pictures, valid, cell_edges(side, PIXELS)).reshape(len(valid), -1)
    found[FLOOR] = _both(unit_chips(pixels))
    for name, values in (("", chips.pictures), (", dB", chips.db)):
        if values is not None:
            found[f"pixels{name or ', pictures'}"] = _both(
                cell_means(values, valid, cell_edges(side, PIXELS)).reshape(len(valid), -1)
            )
            statistics = cell_statistics(values, valid, cell_edges(side, 1))
            found[f"statistics{name}"] = _both(statistics.reshape(len(valid), -1))
    for name, encoder in networks.items():
        calibrated = chips.db is not None and "stacks" in encoder.about
        tokens = chip_tokens(
            encoder,
            chips.db if calibrated and chips.db is not None else chips.pictures,
            valid,
            unit="db" if calibrated else "picture",
        )
        spread = np.concatenate([tokens.mean((1, 2)), tokens.std((1, 2))], 1)
        found[name] = {**_both(_grid(tokens)), COLUMNS[2]: spread}
    return found


def _both(vectors: np.ndarray) -> Seen:
    return {COLUMNS[0]: vectors, COLUMNS[1]: vectors}


def _grid(tokens: np.ndarray) -> np.ndarray:
    """Means over GRID x GRID cells, (chip, value); `tokens` (chip, row, col, dim)."""
    chips, rows, _, dim = tokens.shape
    cells = tokens.reshape(chips, GRID, rows // GRID, GRID, rows // GRID, dim)
    return cells.mean((2, 4)).reshape(chips, -1)


def split_of(chips: GroupedChips, draw: int) -> Split:
    """What is learned from, and what is judged, in turn: every chip is judged once, a group all at once."""
    seed = int(np.random.SeedSequence([SEED, draw]).generate_state(1)[0])
    fold = chips.groups
    if chips.folds is not None:
        fold = np.zeros(len(chips.classes), int)
        split = StratifiedGroupKFold(chips.folds, shuffle=True, random_state=seed)
        for number, (_, out) in enumerate(split.split(chips.sizes, chips.classes, chips.groups)):
            fold[out] = number
    found = []
    for number, one in enumerate(np.unique(fold)):
        known = np.flatnonzero(fold != one)
        if chips.even:
            rng = np.random.default_rng([seed, number])
            least = int(np.bincount(chips.classes[known]).min())
            known = known[shots(chips.classes[known], least, rng=rng)]
        found.append((known, np.flatnonzero(fold == one)))
    return found


def guesses(
    column: str, vectors: np.ndarray, chips: GroupedChips, split: Split, *, together: bool
) -> np.ndarray:
    """Class of each chip, int (chip,), by what was fitted on other groups.

    Args:
        column: One of COLUMNS.
        vectors: (chip, dim).
        chips: Their classes and groups.
        split: From `split_of`.
        together: Scale all dims by one spread.
    """
    found = np.zeros(len(vectors), int)
    for number, (known, out) in enumerate(split):
        x, judge = standardised(vectors[known].astype(np.float64), vectors[out], together=together)
        if column == COLUMNS[0]:
            found[out] = nearest(x, chips.classes[known], judge)
            continue
        if len(x) < x.shape[1]:
            x, judge = in_span(x, judge)
        pca = PCA(min(DIMS, x.shape[1]), svd_solver="covariance_eigh").fit(x)
        found[out] = logistic(
            pca.transform(x),
            chips.classes[known],
            pca.transform(judge),
            groups=chips.groups[known],
            rng=np.random.default_rng([SEED, number]),
        )
    return found


def commonest(chips: GroupedChips, split: Split) -> np.ndarray:
    """The commonest class of what is learned from."""
    found = np.zeros(len(chips.classes), int)
    for known, out in split:
        found[out] = np.bincount(chips.classes[known]).argmax()
    return found


def judged_by(chips: GroupedChips, every: list[np.ndarray]) -> Judged:
    """Figures of the guesses of each draw."""
    parts, classes = int(chips.groups.max()) + 1, len(chips.class_names)
    counts = [confusion(chips.classes, guess, chips.groups, classes=classes, parts=parts) for guess in every]
    return judged(np.stack(counts), _balanced if chips.even else _accuracy, resamples=RESAMPLES, seed=SEED)


def _hits(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(right guesses, chips) of each class, from flat confusion matrices."""
    side = round(counts.shape[-1] ** 0.5)
    matrix = counts.reshape(*counts.shape[:-1], side, side)
    return np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(-1)


def _accuracy(counts: np.ndarray) -> dict[str, np.ndarray]:
    hit, every = _hits(counts)
    return {"main": hit.sum(-1) / every.sum(-1)}


def _balanced(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Mean over classes of the share found; NaN where a resample has none of a class."""
    hit, every = _hits(counts)
    shares = np.divide(hit, every, out=np.full(hit.shape, np.nan), where=every > 0)
    return {"main": shares.mean(-1)}


def _cell(found: Judged) -> str:
    one = told(100 * found.by_draw["main"], 100 * found.resampled["main"])
    return f"{one['mean']:.1f} [{one['low']:.1f}, {one['high']:.1f}]"


def _gain(found: Judged, floor: Judged) -> str:
    by_draw, resampled = (
        100 * (a["main"] - b["main"])
        for a, b in ((found.by_draw, floor.by_draw), (found.resampled, floor.resampled))
    )
    one = told(by_draw, resampled)
    return f"{one['mean']:+.1f} [{one['low']:+.1f}, {one['high']:+.1f}]"


if __name__ == "__main__":
    main()
