"""A model is a folder with config.json and model.safetensors: no pickles, nothing executed on loading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sarcast.errors import ArtefactError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


def save_model(folder: Path, *, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write `config` and `arrays` into `folder` (made here)."""
    from safetensors.numpy import save

    from sarcast.runtime.artefact import write_json

    folder.mkdir(parents=True, exist_ok=True)
    weights = save({name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())})
    (folder / WEIGHTS).write_bytes(weights)
    write_json(folder / CONFIG, config)


def load_model(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `save_model` wrote.

    Raises:
        ArtefactError: A file is missing or unreadable.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        arrays = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise ArtefactError(
            f"expected a model folder, found no {Path(str(error.filename)).name}, in {folder}"
        ) from None
    except (json.JSONDecodeError, SafetensorError, OSError) as error:
        raise ArtefactError(f"expected a readable model, found {error}, in {folder}") from None
    return config, arrays
