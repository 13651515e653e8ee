"""sarcast encode: a stack becomes one vector for every date and cell; dates already done are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from sarcast.encoders import ENCODERS
from sarcast.errors import ArtefactError
from sarcast.runtime.artefact import (
    file_hash,
    finished,
    locked,
    recover,
    require,
    run_entry,
    up_to_date,
    writing,
)
from sarcast.runtime.settings import Settings, as_json, build
from sarcast.steps.dates import date_hashes

if TYPE_CHECKING:
    from sarcast.values import Features, Stack

NAME = "features.zarr"


class Encode(Settings):
    """Turn a stack into features."""

    stack: Path
    """stack.zarr to read."""
    out: Path | None = None
    """Where to write; features.zarr beside the stack when not given."""
    encoder: str = "statistics"
    """statistics, gradients or vit."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of that encoder, e.g. --options.patch 8."""


def encode(settings: Encode) -> Path:
    """Write the features of every date; only new or changed dates are computed.

    Raises:
        ArtefactError: The stack is missing or unfinished, or weights are missing.
        SettingsError: The encoder or an option is unknown.
    """
    from sarcast.stack.cells import write_features
    from sarcast.stack.store import read_stack

    require(settings.stack)
    target = settings.out or settings.stack.parent / NAME
    encoder = build(ENCODERS[settings.encoder], settings.options, where=f"encoder {settings.encoder}")
    told = {"encoder": settings.encoder, "options": _without_places(encoder), **_weights(encoder)}
    stack = read_stack(settings.stack)
    hashes = date_hashes(settings.stack, stack.times.scene_id, ("amplitude", "valid"))
    if up_to_date(target, settings=told, inputs=hashes):
        return target
    with locked(target.parent):
        recover(target)
        features = _complete(encoder, stack, _kept(target, told, stack, hashes))
        with writing(target, settings=told, inputs=hashes) as partial:
            write_features(partial, features)
    return target


def _without_places(encoder: Any) -> dict[str, Any]:
    """An encoder's settings with the names of files only: their content decides, not where they lie."""
    return {
        name: Path(value).name if isinstance(getattr(encoder, name), Path) else value
        for name, value in as_json(encoder).items()
    }


def _weights(encoder: Any) -> dict[str, Any]:
    """Hashes of the files an encoder reads, so that other weights under one name make other features."""
    files: tuple[Path, ...] = getattr(encoder, "files", ())
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise ArtefactError(f"expected the weights of an encoder, found nothing, in {missing[0]}")
    return {"files": {path.name: file_hash(path) for path in files}} if files else {}


def _kept(target: Path, told: dict[str, Any], stack: Stack, hashes: dict[str, str]) -> Features | None:
    """Earlier features made in the same way on the same grid, without dates that changed since."""
    from sarcast import __version__
    from sarcast.stack.cells import read_features

    entry = run_entry(target)
    if not finished(target) or entry.get("settings") != told or entry.get("version") != __version__:
        return None
    earlier = read_features(target)
    before = entry.get("inputs", {})
    same = np.array([before.get(s) == hashes.get(s, "gone") for s in earlier.times.scene_id], bool)
    if earlier.geobox != stack.geobox or not same.any():
        return None
    return earlier.take(same)


def _complete(encoder: Any, stack: Stack, kept: Features | None) -> Features:
    """Features of every date of the stack: the kept ones and newly computed ones."""
    if kept is None:
        whole: Features = encoder.encode(stack)
        return whole
    from dataclasses import replace

    known = {scene: i for i, scene in enumerate(kept.times.scene_id)}
    missing = [t for t, scene in enumerate(stack.times.scene_id) if scene not in known]
    fresh = encoder.encode(stack, missing)
    position = {**known, **{stack.times.scene_id[t]: len(known) + k for k, t in enumerate(missing)}}
    order = [position[scene] for scene in stack.times.scene_id]
    return replace(
        fresh,
        values=np.concatenate([kept.values, fresh.values])[order],
        valid=np.concatenate([kept.valid, fresh.valid])[order],
        times=stack.times,
    )
