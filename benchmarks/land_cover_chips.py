"""Land cover and vegetation of five real Sentinel-1 chips, end to end: a smoke test of `sarcast probe`.

    python -m benchmarks.land_cover_chips [--shared FOLDER] [--weights NAME ...] [--side PX]
                                          [--seeds SEED ...] [--out FILE.md]

Five chips (224 px, VV and VH in dB) of five places, one of a single class: no figure ranks encoders.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import torch

from sarcast.steps.probe import Probe, probe

EXAMPLES = Path("data") / "s1_landcover_chips" / "examples"
CLASSES = {number: f"class {number}" for number in range(1, 10)}
"""The files do not name them."""
TASKS = {
    "segmentation": ("LULC", ("accuracy", "miou"), "land cover"),
    "pixel_regression": ("NDVI", ("rmse", "r2"), "vegetation index, every pixel"),
}
"""Task -> folder of its labels, figures, words."""


def main() -> None:
    """Probe, print, and write the tables where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shared", type=Path, default=os.environ.get("SARCAST_SHARED"), help="real data")
    parser.add_argument("--weights", type=Path, nargs="+", default=[Path("sarcast-tiny")])
    parser.add_argument("--side", type=int, default=224, help="pixels of a chip's middle")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the split, one each")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write the tables to")
    asked = parser.parse_args()
    if asked.shared is None:
        parser.error(f"expected --shared (or SARCAST_SHARED), the folder that holds {EXAMPLES}")
    torch.set_num_threads(1)
    text = tables(Path(asked.shared) / EXAMPLES, tuple(asked.weights), asked.seeds, side=asked.side)
    print(text)
    if asked.out is not None:
        asked.out.write_text(text + "\n", encoding="utf-8")


def tables(examples: Path, weights: tuple[Path, ...], seeds: list[int], *, side: int) -> str:
    """What was done, and a table for each task."""
    words = f"""`python -m benchmarks.land_cover_chips`: `sarcast probe --task segmentation` (and
        `pixel_regression`) on five Sentinel-1 RTC chips, VV and VH in dB, middle {side} px, whole chips held
        out (40 %), a split for each of the seeds {", ".join(map(str, seeds))}, all other chips labelled.
        Figures of each split, one after the other; intervals would pretend that two or three places can tell.
        It shows that the chain runs on real chips and labels, no more: a class that is in one chip alone
        cannot be learned, and one chip has a single class."""
    parts = [f"# Five land-cover chips, end to end\n\n{textwrap.fill(' '.join(words.split()), 110)}"]
    for task, (folder, figures, said) in TASKS.items():
        with tempfile.TemporaryDirectory() as scratch:
            found = [
                probe(
                    Probe(
                        source=examples / "S1RTC",
                        labels=examples / folder,
                        task=task,
                        classes=CLASSES if task == "segmentation" else None,
                        weights=weights,
                        unit="db",
                        side=side,
                        test_share=0.4,
                        fractions=(1.0,),
                        draws=1,
                        seed=seed,
                        out=Path(scratch) / str(seed),
                    )
                )
                for seed in seeds
            ]
        parts += ["", f"## {said[0].upper()}{said[1:]} (`{task}`)", "", *_table(found, figures)]
    return "\n".join(parts)


def _table(found: list[dict[str, Any]], figures: tuple[str, ...]) -> list[str]:
    """Rows: ways to see tokens and probes; columns: figures, one value a split."""
    lines = [f"| features | probe | {' | '.join(figures)} |", "|---" * (2 + len(figures)) + "|"]
    for rows in zip(*(one["rows"] for one in found), strict=True):
        cells = [" / ".join(_cell(row["figures"][figure]["mean"]) for row in rows) for figure in figures]
        lines.append(f"| {rows[0]['features']} | {rows[0]['probe']} | {' | '.join(cells)} |")
    if found[0].get("ceiling") is not None:
        best = " / ".join(_cell(one["ceiling"]) for one in found)
        lines += ["", f"The best {found[0]['main']} that tokens of {found[0]['token']} px allow: {best}."]
    return lines


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
