"""The skeleton of a TIFF, read without decoding a pixel: is every tile there, and is nothing absurdly large?

TIFF 6.0 and BigTIFF. GDAL opens a truncated file without complaint and fails only when the missing tile is
read; here every image of the file (overviews and masks too) is followed and every tile must end inside it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sarcast.errors import ProductError

MAX_PIXELS = 2**31
"""Pixels of one band."""
MAX_BANDS = 64
MAX_TILE_BYTES = 64 * 2**20
"""Decoded bytes of one tile or strip."""
MAX_TILE_RATIO = 1000
"""Decoded over stored bytes of one tile; only asked of tiles larger than `RATIO_FREE_BYTES`."""
RATIO_FREE_BYTES = 4 * 2**20
MAX_DESCRIPTION_BYTES = 4 * 2**20
"""TIFFTAG_IMAGEDESCRIPTION: Capella's JSON is 55 to 430 kB."""
MAX_IMAGES = 256

MAGIC = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}

_TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q"}
_TYPES |= {17: "q", 18: "Q"}
_WIDTH, _HEIGHT, _BITS, _DESCRIPTION, _SAMPLES, _ROWS, _PLANAR = 256, 257, 258, 270, 277, 278, 284
_STRIP_AT, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILE_AT, _TILE_BYTES = 273, 279, 322, 323, 324, 325
_GEOREFERENCE = (33550, 33922, 34264)
_NODATA = 42113
_TRAILER = b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED"


@dataclass(frozen=True, kw_only=True)
class Image:
    """One directory of a TIFF: its size, its tiles (or strips) and the tags a reader asks for."""

    shape: tuple[int, int]
    """(rows, cols)."""
    bands: int
    tile: tuple[int, int]
    """(rows, cols) of a tile or strip."""
    tile_bytes: int
    """Decoded bytes of one tile."""
    expected_tiles: int
    offsets: np.ndarray = field(repr=False)
    counts: np.ndarray = field(repr=False)
    description: bytes | None = field(repr=False)
    georeferenced: bool
    has_nodata: bool


def images(path: Path) -> tuple[Image, ...]:
    """Every image of a TIFF, the full-resolution one first.

    Raises:
        ProductError: No such file, not a TIFF, or its directories are damaged or beyond the limits.
    """
    with _opened(path) as stream:
        return tuple(_images(stream, path, path.stat().st_size))


def description(path: Path) -> bytes | None:
    """TIFFTAG_IMAGEDESCRIPTION of the first image; None when it has none."""
    return images(path)[0].description


def is_tiff(path: Path) -> bool:
    """True when the file exists and starts as a TIFF does."""
    try:
        with path.open("rb") as stream:
            return stream.read(4) in MAGIC
    except OSError:
        return False


def check_complete(path: Path, *, sparse: bool = False) -> None:
    """Every tile of every image lies inside the file and holds something.

    Args:
        path: A TIFF.
        sparse: Tiles never written (offset and size 0) are taken as "no data". An interrupted writer leaves
            the same marks, so only say so where a nodata value makes them invalid.

    Raises:
        ProductError: Cut off, damaged, without pixels, or beyond the limits.
    """
    found_images = images(path)
    size, trailer = path.stat().st_size, _trailer(path)
    for number, image in enumerate(found_images):
        where = f"image {number} of {path}"
        found = len(image.offsets)
        if found != image.expected_tiles or len(image.counts) != found:
            raise ProductError(f"expected {image.expected_tiles} tiles, found {found}, in {where}")
        empty = image.counts == 0
        gap = empty & (image.offsets == 0)
        if (empty & ~gap).any():
            raise ProductError(
                f"expected pixels in every tile, found {int(empty.sum())} of no bytes, in {where}"
            )
        if gap.all() or (gap.any() and not sparse):
            raise ProductError(
                f"expected every tile written, found {int(gap.sum())} of {found} never written, in {where}"
            )
        ends = image.offsets.astype(object) + image.counts + trailer
        if max(ends[~gap]) > size:
            raise ProductError(f"expected at least {max(ends[~gap])} bytes, found {size}: cut off, {where}")
        _check_ratio(image, ~gap, where)


def _check_ratio(image: Image, written: np.ndarray, where: str) -> None:
    if image.tile_bytes > RATIO_FREE_BYTES and image.tile_bytes > MAX_TILE_RATIO * int(
        image.counts[written].min()
    ):
        raise ProductError(
            f"expected a tile to unpack to at most {MAX_TILE_RATIO} times its size, found "
            f"{int(image.counts[written].min())} bytes for {image.tile_bytes}, in {where}"
        )


def _opened(path: Path) -> BinaryIO:
    try:
        if not path.is_file():
            raise ProductError(
                f"expected a GeoTIFF, found {'a folder' if path.is_dir() else 'nothing'}: {path}"
            )
        return path.open("rb")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ProductError(f"expected a readable GeoTIFF, found {reason}: {path!s}") from None


def _trailer(path: Path) -> int:
    """Bytes GDAL's cloud-optimised layout repeats after each tile."""
    with _opened(path) as stream:
        return 4 if _TRAILER in stream.read(1024) else 0


def _images(stream: BinaryIO, path: Path, size: int) -> list[Image]:
    head = stream.read(16)
    if head[:4] not in MAGIC:
        raise ProductError(f"expected a GeoTIFF, found a file that starts with {head[:4]!r}: {path}")
    order, big = MAGIC[head[:4]]
    try:
        at = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0]
        found: list[Image] = []
        seen: set[int] = set()
        while at:
            if at in seen or len(found) >= MAX_IMAGES:
                raise ProductError(f"expected at most {MAX_IMAGES} images, found a loop or more, in {path}")
            seen.add(at)
            tags, at = _directory(stream, order, big, at, size, path)
            found.append(_image(tags, path))
    except (struct.error, OverflowError):
        raise ProductError(f"expected a whole TIFF directory, found it cut off, in {path}") from None
    if not found:
        raise ProductError(f"expected an image, found none, in {path}")
    return found


def _directory(
    stream: BinaryIO, order: str, big: bool, at: int, size: int, path: Path
) -> tuple[dict[int, np.ndarray | bytes], int]:
    """The tags this module uses, and where the next directory is."""
    count_form, entry_form, inline = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    stream.seek(at)
    count = _unpack(stream, order + count_form)
    entry_size = struct.calcsize(order + entry_form) + inline
    if count > 4096:
        raise ProductError(f"expected a TIFF directory, found {count} tags at byte {at}, in {path}")
    entries = stream.read(count * entry_size)
    following = _unpack(stream, order + ("Q" if big else "I"))
    tags: dict[int, np.ndarray | bytes] = {}
    for start in range(0, count * entry_size, entry_size):
        tag, kind, n = struct.unpack_from(order + entry_form, entries, start)
        if tag in _WANTED and kind in _TYPES:
            form = np.dtype(order + _TYPES[kind])
            length = n * form.itemsize
            if tag == _DESCRIPTION and length > MAX_DESCRIPTION_BYTES:
                raise ProductError(
                    f"expected an ImageDescription of at most {MAX_DESCRIPTION_BYTES} bytes, "
                    f"found {length}, in {path}"
                )
            value = entries[start + entry_size - inline : start + entry_size]
            if length > inline:
                offset = struct.unpack(order + ("Q" if big else "I"), value)[0]
                if offset + length > size:
                    raise ProductError(f"expected tag {tag} inside the file, found it cut off, in {path}")
                stream.seek(offset)
                value = stream.read(length)
            tags[tag] = value[:length] if tag == _DESCRIPTION else np.frombuffer(value[:length], form)
    return tags, following


_WANTED = frozenset(
    (
        *(_WIDTH, _HEIGHT, _BITS, _DESCRIPTION, _SAMPLES, _ROWS, _PLANAR, _STRIP_AT, _STRIP_BYTES),
        *(_TILE_WIDTH, _TILE_HEIGHT, _TILE_AT, _TILE_BYTES, _NODATA, *_GEOREFERENCE),
    )
)


def _unpack(stream: BinaryIO, form: str) -> int:
    return int(struct.unpack(form, stream.read(struct.calcsize(form)))[0])


def _image(tags: dict[int, np.ndarray | bytes], path: Path) -> Image:
    def number(tag: int, default: int | None = None) -> int:
        value = tags.get(tag)
        if value is None or len(value) == 0:
            if default is None:
                raise ProductError(f"expected TIFF tag {tag}, found none, in {path}")
            return default
        return int(value[0])

    rows, cols, bands = number(_HEIGHT), number(_WIDTH), number(_SAMPLES, 1)
    tiled = _TILE_WIDTH in tags
    tile = (number(_TILE_HEIGHT), number(_TILE_WIDTH)) if tiled else (min(number(_ROWS, rows), rows), cols)
    if min(rows, cols, bands, *tile) < 1 or rows * cols > MAX_PIXELS or bands > MAX_BANDS:
        raise ProductError(
            f"expected 1 to {MAX_PIXELS} pixels and 1 to {MAX_BANDS} bands, "
            f"found {rows} x {cols} x {bands}, in {path}"
        )
    apart = number(_PLANAR, 1) == 2
    tile_bytes = tile[0] * tile[1] * max(number(_BITS, 1), 1) * (1 if apart else bands) // 8
    if tile_bytes > MAX_TILE_BYTES:
        raise ProductError(
            f"expected tiles of at most {MAX_TILE_BYTES} bytes, found {tile_bytes} "
            f"({tile[0]} x {tile[1]} pixels), in {path}"
        )
    offsets, counts = (np.asarray(tags.get(tag, [])) for tag in _places(tiled))
    text = tags.get(_DESCRIPTION)
    return Image(
        shape=(rows, cols),
        bands=bands,
        tile=tile,
        tile_bytes=tile_bytes,
        expected_tiles=-(-rows // tile[0]) * -(-cols // tile[1]) * (bands if apart else 1),
        offsets=offsets,
        counts=counts,
        description=text.rstrip(b"\0") if isinstance(text, bytes) else None,
        georeferenced=any(tag in tags for tag in _GEOREFERENCE),
        has_nodata=_NODATA in tags,
    )


def _places(tiled: bool) -> tuple[int, int]:
    return (_TILE_AT, _TILE_BYTES) if tiled else (_STRIP_AT, _STRIP_BYTES)
