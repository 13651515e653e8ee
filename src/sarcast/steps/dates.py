"""Which dates of a store changed: one hash per date, from the manifest, without reading a chunk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from sarcast.runtime.artefact import MANIFEST, require


def date_hashes(store: Path, scene_ids: Sequence[str], arrays: Sequence[str]) -> dict[str, str]:
    """Scene id -> hash of the date's chunks in the given arrays (time is their first axis).

    Raises:
        ArtefactError: The store is missing or unfinished.
    """
    require(store)
    listed = json.loads((store.parent / MANIFEST).read_text(encoding="utf-8"))[store.name]
    chunks: dict[int, list[str]] = {t: [] for t in range(len(scene_ids))}
    for name, (size, digest) in sorted(listed.items()):
        array, _, rest = name.partition("/c/")
        if array in arrays and rest:
            t, _, block = rest.partition("/")
            chunks[int(t)].append(f"{array} {block} {size} {digest}")
    return {
        scene: hashlib.sha256("\n".join([scene, *chunks[t]]).encode()).hexdigest()
        for t, scene in enumerate(scene_ids)
    }
