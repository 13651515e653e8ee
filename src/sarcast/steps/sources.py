"""What a training learns from: the stacks of its sources, and of each the dates that may be seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from sarcast.errors import ArtefactError, StackError
from sarcast.nn.pretrained import weight_files
from sarcast.runtime.artefact import file_hash
from sarcast.stack.store import NAME as STACK
from sarcast.stack.store import read_stack
from sarcast.steps.dates import date_hashes
from sarcast.steps.learn import split_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sarcast.values import Stack


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A stack and the dates of it that are learned from."""

    path: Path
    stack: Stack
    dates: np.ndarray
    """int, ascending."""


def sources_of(sources: Iterable[Path], *, dates: Literal["history", "all"]) -> list[Source]:
    """Every stack.zarr of run folders and stacks, in their order, with its usable dates of history or of all.

    Raises:
        ArtefactError: A source has no stack, or an unfinished one.
    """
    found = []
    for path in [path for source in sources for path in stack_paths(source)]:
        stack = read_stack(path)
        split, usable = split_of(stack.times, path.parent)
        seen = np.flatnonzero(usable & (split.fit if dates == "history" else True))
        found.append(Source(path=path, stack=stack, dates=seen))
    return found


def stack_paths(source: Path) -> list[Path]:
    """The stack.zarr that a source is, or those of a run folder.

    Raises:
        ArtefactError: There is none.
    """
    found = [source] if source.name == STACK else sorted(source.glob(f"stacks/*/{STACK}"))
    if not found or not all(path.exists() for path in found):
        raise ArtefactError(f"expected a run folder or a {STACK}, found none, in {source}")
    return found


def inputs_of(sources: list[Source], weights: Path | None) -> dict[str, str]:
    """Hashes of the weights gone on from and of the dates learned from: later dates change nothing."""
    found = {f"weights {path.name}": file_hash(path) for path in (weight_files(weights) if weights else ())}
    for number, one in enumerate(sources):
        hashes = date_hashes(one.path, one.stack.times.scene_id, ("amplitude", "valid"))
        scenes = [one.stack.times.scene_id[t] for t in one.dates]
        found |= {f"{number} {one.stack.name} {scene}": hashes[scene] for scene in scenes}
        found[f"{number} {one.stack.name} radiometry"] = one.stack.radiometry
    return found


def room_of(shapes: Iterable[tuple[int, ...]]) -> int:
    """Side of the largest image that fits into each shape twice, pixels: to learn from and to validate on."""
    return min(min(*shape, max(shape) // 2) for shape in shapes)


def units_of(stacks: Iterable[Stack]) -> set[str]:
    """Radiometry of the stacks.

    Raises:
        StackError: Calibrated and uncalibrated ones are mixed.
    """
    units: set[str] = {stack.radiometry for stack in stacks}
    if len(units) > 1 and "uncalibrated" in units:
        raise StackError(f"expected stacks all calibrated or all not, found {', '.join(sorted(units))}")
    return units
