"""One chip or label image from a file or a member of a ZIP archive: PNG, JPEG or TIFF, decoded in memory."""

from __future__ import annotations

import io
import warnings
import zipfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sarcast.errors import ProductError
from sarcast.readers.seasonal_tiles import STORED, read_seasons

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 64 * 2**20
"""Of one image, packed or not."""
MAX_PIXELS = 2**24
"""Of one image."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MODES = ("L", "RGB", "I;16", "I")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class ChipFile:
    """Where an image lies."""

    path: Path
    """The file, or the ZIP archive that holds it."""
    member: str | None = None
    """Its name in the archive."""

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}: {self.member}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """What a file holds, as stored."""

    values: np.ndarray
    """(channel, y, x), as stored."""
    seen: np.ndarray
    """bool (channel, y, x): neither nodata, NaN nor infinite."""
    grid: tuple[Any, ...] | None
    """CRS and transform; None where the file has none."""
    full: float = 1.0
    """What stands for 1: the largest number of a picture's type, and of 8 bits; 1 for other numbers."""

    @property
    def valid(self) -> np.ndarray:
        """Where every channel is seen, bool (y, x)."""
        return np.asarray(self.seen.all(0))


class Images:
    """Opens many images one after the other; an archive is opened once. For use with `with`."""

    def __init__(self) -> None:
        self._archives: dict[Path, zipfile.ZipFile] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._archives.clear()

    def data(self, file: ChipFile) -> bytes:
        """The file's bytes.

        Raises:
            ProductError: Missing, unreadable, or too large.
        """
        try:
            if file.member is None:
                size = file.path.stat().st_size
            else:
                archive = self._archive(file.path)
                size = archive.getinfo(file.member).file_size
            if size > MAX_BYTES:
                raise ProductError(f"expected at most {MAX_BYTES} bytes, found {size}, in {file}")
            return file.path.read_bytes() if file.member is None else archive.read(file.member)
        except (OSError, KeyError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ProductError(f"expected a readable file, found {reason}, in {file}") from None

    def read(self, file: ChipFile) -> Image:
        """The image; of M3LEO's seasonal tiles the 12 channels in dB.

        Raises:
            ProductError: Neither PNG, JPEG nor TIFF of real numbers, damaged, or too large.
        """
        data = self.data(file)
        if data[:4] not in _TIFF:
            return _picture(data, file)
        return _m3leo(file) if file.member is None and _is_m3leo(data, file) else _tiff(data, file)

    def size(self, file: ChipFile) -> tuple[int, int]:
        """(rows, cols), from the header."""
        data = self.data(file)
        if data[:4] in _TIFF:
            with _open_tiff(data, file) as dataset:
                return dataset.height, dataset.width
        with _open_picture(data, file) as picture:
            return picture.height, picture.width

    def _archive(self, path: Path) -> zipfile.ZipFile:
        if path not in self._archives:
            self._archives[path] = self._stack.enter_context(zipfile.ZipFile(path))
        return self._archives[path]


def _picture(data: bytes, file: ChipFile) -> Image:
    with _open_picture(data, file) as picture:
        values = np.asarray(picture)
    values = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
    full = 255.0 if values.dtype == np.uint8 else 65535.0
    return Image(values=values, seen=np.ones(values.shape, bool), grid=None, full=full)


@contextmanager
def _open_picture(data: bytes, file: ChipFile) -> Iterator[Any]:
    from PIL import Image as Pictures

    try:
        with Pictures.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > MAX_PIXELS or picture.mode not in _MODES:
                raise ProductError(
                    f"expected grey or RGB of at most {MAX_PIXELS} pixels, found {picture.mode} of "
                    f"{picture.height} x {picture.width}, in {file}"
                )
            yield picture
    except (OSError, SyntaxError, ValueError, Pictures.DecompressionBombError) as error:
        raise ProductError(f"expected a PNG, JPEG or TIFF, found {_first_line(error)}, in {file}") from None


def _is_m3leo(data: bytes, file: ChipFile) -> bool:
    with _open_tiff(data, file) as dataset:
        return sorted(name or "" for name in dataset.descriptions) == sorted(STORED)


def _m3leo(file: ChipFile) -> Image:
    tile = read_seasons(file.path)
    grid = (str(tile.geobox.crs), *tuple(tile.geobox.transform)[:6])
    return Image(values=tile.db, seen=tile.valid, grid=grid)


def _tiff(data: bytes, file: ChipFile) -> Image:
    with _open_tiff(data, file) as dataset:
        values = dataset.read()
        seen = dataset.read_masks() > 0
        known = dataset.crs is not None and not dataset.transform.is_identity
        grid = (dataset.crs.to_string(), *tuple(dataset.transform)[:6]) if known else None
    if np.issubdtype(values.dtype, np.floating):
        seen &= np.isfinite(values)
    full = 255.0 if values.dtype == np.uint8 else 1.0
    return Image(values=values, seen=seen, grid=grid, full=full)


@contextmanager
def _open_tiff(data: bytes, file: ChipFile) -> Iterator[Any]:
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    from sarcast.readers.gdal import SAFE

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            with (
                rasterio.Env(**SAFE),
                rasterio.MemoryFile(data) as held,
                held.open(driver="GTiff") as dataset,
            ):
                pixels = dataset.width * dataset.height
                if pixels > MAX_PIXELS or any("complex" in kind for kind in dataset.dtypes):
                    raise ProductError(
                        f"expected real numbers and at most {MAX_PIXELS} pixels, found {dataset.dtypes[0]} "
                        f"of {dataset.height} x {dataset.width}, in {file}"
                    )
                yield dataset
    except RasterioError as error:
        raise ProductError(f"expected a readable TIFF, found {_first_line(error)}, in {file}") from None


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:120] if lines else type(error).__name__
