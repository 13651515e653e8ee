"""Files of simulated seasonal tiles: the 12 channels, and images of what is true, in folders by role."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sarcast.readers.seasonal_tiles import write_seasons
from sarcast.sar.simulate.seasonal import LabelledTile
from sarcast.sar.world_cover import CODES
from sarcast.stack.bands import UNUSED, split_bands
from sarcast.steps.products import write_map

if TYPE_CHECKING:
    from collections.abc import Iterable

IMAGES, LAND_COVER, NUMBERS = "s1", "land_cover", ("vegetation", "built", "biomass")


def write_labelled_tiles(
    folder: Path, tiles: Iterable[LabelledTile], *, bands: int, buffer_m: float
) -> dict[str, int]:
    """Write s1/, land_cover/, vegetation/, built/ and biomass/, each with train/, val/ and test/.

    Land cover has WorldCover's numbers. Roles are by place; tiles within the buffer are not written.

    Args:
        folder: To write to; it exists.
        tiles: Of one region.
        bands: Oblique bands of the split.
        buffer_m: Least distance between tiles of different roles, metres.

    Returns:
        Role -> how many tiles.

    Raises:
        DataError: Too few tiles for the bands, or the buffer leaves nothing of a role.
    """
    every = list(tiles)
    roles = split_bands([one.image.geobox for one in every], bands=bands, buffer_m=buffer_m)
    for number, (tile, role) in enumerate(zip(every, roles, strict=True)):
        if role == UNUSED:
            continue
        name, geobox = f"tile_{number:05d}.tif", tile.image.geobox
        for kind in (IMAGES, LAND_COVER, *NUMBERS):
            (folder / kind / role).mkdir(parents=True, exist_ok=True)
        write_seasons(folder / IMAGES / role / name, tile.image)
        write_map(folder / LAND_COVER / role / name, np.array(CODES, np.uint8)[tile.land_cover], geobox)
        for kind in NUMBERS:
            write_map(folder / kind / role / name, getattr(tile, kind), geobox)
    return {str(role): int((roles == role).sum()) for role in dict.fromkeys(roles) if role != UNUSED}
