"""A calibration on disk: calibration.json and calibration.safetensors, beside the fitted detector's files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sarcast.decide.calibrate import Null
from sarcast.decide.calibration import Calibration
from sarcast.decide.frame import Frame
from sarcast.decide.nulls import Calibrated, Conformal, Noise, PerCell, Tail
from sarcast.errors import ArtefactError
from sarcast.runtime.artefact import write_json

CALIBRATION, ARRAYS = "calibration.json", "calibration.safetensors"


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Write both files into `folder`: the pooled distribution of scores, and what else was learned."""
    from safetensors.numpy import save

    told, arrays = _of_null(calibration.null)
    frame = calibration.frame
    arrays |= {f"frame.{name}": getattr(frame, name) for name in ("total", "count", "scale", "history")}
    arrays = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
    (folder / ARRAYS).write_bytes(save(arrays))
    told |= {
        **_plain(calibration.null.pooled),
        "local": calibration.local,
        "history_ids": list(calibration.history_ids),
        "frame": {"usual": frame.usual, "width": frame.width},
    }
    write_json(folder / CALIBRATION, told)


def read_calibration(folder: Path) -> Calibration:
    """What `write_calibration` wrote.

    Raises:
        ArtefactError: A file is missing or unreadable.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        told = json.loads((folder / CALIBRATION).read_text(encoding="utf-8"))
        arrays = load_file(folder / ARRAYS)
        frame: dict[str, Any] = {
            name.removeprefix("frame."): a for name, a in arrays.items() if name.startswith("frame.")
        }
        return Calibration(
            null=_null_of(told, arrays),
            frame=Frame(**frame, **told["frame"]),
            local=bool(told["local"]),
            history_ids=tuple(told["history_ids"]),
        )
    except (OSError, json.JSONDecodeError, SafetensorError, KeyError, TypeError) as error:
        raise ArtefactError(
            f"expected a fitted detector, found a bad or missing {error}, in {folder}"
        ) from None


def _of_null(null: Calibrated) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What to write of it beside the pooled distribution."""
    if isinstance(null, Tail):
        return {"how": "tail"}, {}
    assert isinstance(null, PerCell | Conformal)
    noise = null.noise
    arrays = {"noise.total": noise.total, "noise.count": noise.count}
    told: dict[str, Any] = {"prior": noise.prior, "usual": noise.usual}
    if isinstance(null, PerCell):
        return {**told, "how": "cell", "spread": list(null.spread), "residual": _plain(null.residual)}, arrays
    arrays["edges"] = null.edges
    for g, (knots, ranks) in enumerate(zip(null.knots, null.ranks, strict=True)):
        arrays |= {f"knots.{g}": knots, f"ranks.{g}": ranks}
    return {**told, "how": "conformal", "counts": list(null.counts)}, arrays


def _null_of(told: dict[str, Any], arrays: dict[str, np.ndarray]) -> Calibrated:
    pooled = _null(told)
    if told["how"] == "tail":
        return Tail(pooled=pooled)
    noise = Noise(
        pooled=pooled,
        usual=told["usual"],
        total=arrays["noise.total"],
        count=arrays["noise.count"],
        prior=told["prior"],
    )
    if told["how"] == "cell":
        return PerCell(noise=noise, spread=tuple(told["spread"]), residual=_null(told["residual"]))
    groups = range(len(told["counts"]))
    return Conformal(
        noise=noise,
        edges=arrays["edges"],
        knots=tuple(arrays[f"knots.{g}"] for g in groups),
        ranks=tuple(arrays[f"ranks.{g}"] for g in groups),
        counts=tuple(told["counts"]),
    )


def _plain(null: Null) -> dict[str, Any]:
    return {**asdict(null), "quantiles": null.quantiles.tolist(), "levels": null.levels.tolist()}


def _null(told: dict[str, Any]) -> Null:
    values = {name: told[name] for name in Null.__dataclass_fields__}
    return Null(**{**values, "quantiles": np.array(told["quantiles"]), "levels": np.array(told["levels"])})
