"""What an encoder looks at: the attention of its class token over a date of a stack, as a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sarcast.encoders.vit import Vit
from sarcast.errors import SettingsError
from sarcast.publish.cog import Painted, cells_geobox, write_cog
from sarcast.runtime.artefact import require
from sarcast.stack.store import read_stack


def attention_map(stack: Path, out: Path, *, encoder: Vit, time: int = -1, block: int = -1) -> Path:
    """Write a Cloud-Optimised GeoTIFF with one band for each head (and each band a network reads alone).

    Values are relative to an even look, which is 1; NaN where a token is not valid (`Vit.attention`).

    Args:
        stack: stack.zarr to read.
        out: File to write.
        encoder: Whose attention.
        time: Index of the date; -1 is the last.
        block: Index of the block; -1 is the last.

    Raises:
        ArtefactError: The stack is missing or unfinished, or weights are missing.
        SettingsError: No such date.
        ShapeError: No such block.
    """
    require(stack)
    images = read_stack(stack)
    count = len(images.times)
    if not -count <= time < count:
        raise SettingsError(f"expected a date in {-count}..{count - 1}, found {time}, for {stack}")
    looks = encoder.attention(images, [time % count], block=block)
    maps = np.where(looks.valid[0, ..., None], looks.values[0], np.nan).transpose(2, 0, 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_cog(
        out,
        Painted(maps.astype(np.float32), looks.grid),
        cells_geobox(looks.grid, looks.geobox),
        tags={"scene_id": looks.times.scene_id[0], "block": str(block)},
        bands=looks.names,
    )
    return out
