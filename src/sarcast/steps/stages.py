"""Stages 1 and 3 within a run: an encoder learns once from the history of the run's stacks."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import AfterValidator

from sarcast.errors import DataError, SettingsError
from sarcast.runtime.artefact import file_hash, locked, up_to_date, write_json, writing
from sarcast.runtime.settings import as_json, build
from sarcast.stack.store import read_stack
from sarcast.steps.learn import split_of

if TYPE_CHECKING:
    from sarcast.encoders.vit import Vit

LOG = logging.getLogger("sarcast.run")
FOLDER, LEARNED_FROM, NAME = "training", "stacks.json", "encoder"
_MODULES = {"adapt": ("sarcast.steps.adapt", "Adapt"), "finetune": ("sarcast.steps.finetune", "Finetune")}
_OWN: dict[str, Any] = {"source": (Path(),), "out": Path(), "weights": Path(), "seed": 0}
"""What the run itself says to a stage, and something in its place."""


def completed(stage: str, given: dict[str, Any] | None) -> dict[str, Any] | None:
    """Settings of a stage with every default filled in; None, not to be done, stays None.

    Raises:
        SettingsError: Unknown or out of range, or one that the run sets itself.
    """
    if given is None:
        return None
    taken = [name for name in _OWN if name in given]
    if taken:
        raise SettingsError(
            f"expected no {taken[0]!r} in {stage}, found one: the run sets it; weights to start from are "
            "encoder_options.weights"
        )
    module, model = _MODULES[stage]
    whole = as_json(build(getattr(import_module(module), model), {**_OWN, **given}, where=stage))
    return {name: value for name, value in whole.items() if name not in _OWN}


Adaptation = Annotated[dict[str, Any] | None, AfterValidator(partial(completed, "adapt")), tyro.conf.Suppress]
Finetuning = Annotated[
    dict[str, Any] | None, AfterValidator(partial(completed, "finetune")), tyro.conf.Suppress
]


def trained(
    encoder: Vit,
    stacks: Sequence[Path],
    out: Path,
    *,
    adapt: dict[str, Any] | None,
    finetune: dict[str, Any] | None,
    seed: int,
    refit: bool,
) -> Vit:
    """The encoder with the weights it has after the stages asked for; what is trained already is kept.

    Args:
        encoder: What to start from: weights of its own, a file in the public layout, or random ones.
        stacks: stack.zarr of every stack of the run.
        out: Folder of the run; writes training/start, training/adapt and training/finetune.
        adapt: Settings of stage 1, completed; None: not done.
        finetune: Settings of stage 3, completed; None: not done.
        seed: Of the stages' random generators.
        refit: Learn from the stacks there are now, not from those of the first run.

    Raises:
        DataError: No stack has enough dates in its history.
        SarcastError: As the stages' own.
    """
    context = 0 if finetune is None else int(finetune["context"])
    learned = _learned_from(stacks, out / FOLDER, context=context, refit=refit)
    weights = _start(encoder, learned[0], out / FOLDER / "start")
    for stage, given in (("adapt", adapt), ("finetune", finetune)):
        if given is None:
            continue
        told = {
            **given,
            "source": tuple(learned),
            "out": out / FOLDER / stage,
            "weights": weights,
            "seed": seed,
        }
        if "cell" in given and given["cell"] is None:
            told["cell"] = encoder.patch
        module, model = _MODULES[stage]
        found = import_module(module)
        weights = getattr(found, stage)(build(getattr(found, model), told, where=stage))
    return encoder.model_copy(update={"weights": weights, "card": None})


def _learned_from(stacks: Sequence[Path], folder: Path, *, context: int, refit: bool) -> list[Path]:
    """The stacks that are learned from: those of the first run, so that later ones change nothing."""
    record = folder / LEARNED_FROM
    if record.exists() and not refit:
        names = json.loads(record.read_text(encoding="utf-8"))
        kept = [path for path in stacks if path.parent.name in names]
        if kept:
            return kept
    found = []
    for path in stacks:
        split, usable = split_of(read_stack(path).times, path.parent)
        dates = int((split.fit & usable).sum())
        if dates > context:
            found.append(path)
        else:
            LOG.warning("%s not trained on: %d usable dates in history", path.parent.name, dates)
    if not found:
        raise DataError(f"expected {context + 1} usable dates of history to train on, found fewer")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(record, [path.parent.name for path in found])
    return found


def _start(encoder: Vit, stack: Path, folder: Path) -> Path:
    """The folder of weights to start from: the encoder's own, or its network written down."""
    from sarcast.encoders.base import make_grid
    from sarcast.nn.pretrained import find_weights, save_encoder

    if encoder.trained is not None and (found := find_weights(encoder.trained)).is_dir():
        return found
    cell = make_grid(read_stack(stack), encoder.patch, encoder.stride).patch
    target = folder / NAME
    told = {**as_json(encoder), "weights": None, "cell": cell}
    inputs = {path.name: file_hash(path) for path in encoder.files}
    if up_to_date(target, settings=told, inputs=inputs):
        return target
    network = encoder.network(cell)
    with locked(folder), writing(target, settings=told, inputs=inputs, seed=encoder.seed) as partial:
        save_encoder(partial, replace(network, window=encoder.window or network.window))
    return target
