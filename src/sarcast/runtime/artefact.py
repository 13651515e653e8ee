"""Artefacts appear whole or not at all: temporary path, flush, rename; then run.json; the manifest last."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import resource
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from sarcast import __version__
from sarcast.errors import ArtefactError, SarcastError, SpaceError

RUN = "run.json"
MANIFEST = "manifest.json"
_LITTLE = 1 << 20
"""Bytes: with less than this free, an error that says nothing else is taken to be a full disk."""
_LIBRARIES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "xarray",
    "zarr",
    "rasterio",
    "odc-geo",
    "torch",
    "lightning-fabric",
    "safetensors",
    "geopandas",
)


@contextmanager
def writing(
    target: Path,
    *,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    seed: int | None = None,
    clone: bool = False,
) -> Iterator[Path]:
    """Write one artefact (a file or a folder) so that a reader sees it whole or not at all.

    Yields a temporary path beside `target`. On success it is flushed and renamed to `target`, the folder's
    `run.json` gets an entry for it (settings, inputs, versions, seed, seconds, peak memory) and, last of all,
    `manifest.json` its sizes and sha256. On any error the temporary is removed and `target` is as it was.

    Args:
        target: Final path.
        settings: JSON-able settings with defaults filled in.
        inputs: Name -> content hash of what was read.
        seed: Of the random generator, if any was used.
        clone: Start from a hard-linked copy of what `target` holds now (to append; files must be replaced,
            never rewritten in place).

    Raises:
        SpaceError: The place is full or cannot be written.
    """
    began = time.monotonic()
    target = target.absolute()
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        recover(target)
        _remove(partial)
        if clone and target.exists():
            _link_copy(target, partial)
        yield partial
        _flush(partial)
        _forget(target)
        _swap(partial, target)
        files = digest(target)
        _update(target.parent / RUN, target.name, _run_entry(settings, inputs, seed, began))
        _update(target.parent / MANIFEST, target.name, files)
    except BaseException as error:
        found = _space_error(error, target)
        _clear(partial)
        if found is error:
            raise
        raise found from error


def recover(target: Path) -> None:
    """Undo what a killed writer left between its two renames: bring the old artefact back, drop leftovers."""
    old = target.with_name(f".{target.name}.old")
    if old.exists():
        if target.exists():
            _remove(old)
        else:
            old.rename(target)
    _remove(target.with_name(f".{target.name}.partial"))


def finished(target: Path) -> bool:
    """True when `target` is listed in its folder's manifest and every listed file has its listed size."""
    entry = _read(target.parent / MANIFEST).get(target.name)
    if entry is None or not target.exists():
        return False
    return all(_size(target if name == "." else target / name) == size for name, (size, _) in entry.items())


def require(target: Path) -> Path:
    """`target`, if it is finished.

    Raises:
        ArtefactError: It is missing, or was not finished.
    """
    if not target.exists():
        raise ArtefactError(f"expected the artefact {target.name}, found nothing, in {target.parent}")
    if not finished(target):
        raise ArtefactError(
            f"expected a finished artefact, found one its manifest does not vouch for: {target}"
        )
    return target


def verify(target: Path) -> None:
    """Compare every file's sha256 with the manifest.

    Raises:
        ArtefactError: A file is missing, added or altered.
    """
    require(target)
    listed = _read(target.parent / MANIFEST)[target.name]
    found = digest(target)
    for name in sorted(set(listed) | set(found)):
        if listed.get(name) != found.get(name):
            raise ArtefactError(f"expected {name} as the manifest lists it, found it altered, in {target}")


def content_hash(target: Path) -> str:
    """One sha256 for a finished artefact, from its manifest entry (no file is read again)."""
    require(target)
    entry = _read(target.parent / MANIFEST)[target.name]
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def run_entry(target: Path) -> dict[str, Any]:
    """What `run.json` says of `target`; empty when it says nothing."""
    entry: dict[str, Any] = _read(target.parent / RUN).get(target.name, {})
    return entry


def up_to_date(target: Path, *, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> bool:
    """True when `target` is finished and was made with the same settings, inputs and version of sarcast."""
    if not finished(target):
        return False
    entry = run_entry(target)
    return (
        entry.get("settings") == json.loads(json.dumps(settings))
        and entry.get("inputs") == dict(inputs)
        and entry.get("version") == __version__
    )


def file_hash(path: Path) -> str:
    """sha256 of one file's content, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(target: Path) -> dict[str, list[Any]]:
    """Relative name -> [size, sha256] of every file of an artefact; a single file is named "."."""
    if target.is_file():
        return {".": [target.stat().st_size, file_hash(target)]}
    return {
        path.relative_to(target).as_posix(): [path.stat().st_size, file_hash(path)]
        for path in sorted(target.rglob("*"))
        if path.is_file()
    }


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all: sorted keys, two spaces, a newline at the end."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=2, sort_keys=True, allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for one writer.

    Raises:
        SpaceError: Another process is writing there.
    """
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".lock").open("w")
    except OSError as error:
        raise _space_error(error, folder) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SpaceError(f"expected to be the only writer, found another at work, in {folder}") from None
        yield


def _run_entry(
    settings: Mapping[str, Any], inputs: Mapping[str, str], seed: int | None, began: float
) -> dict[str, Any]:
    return {
        "settings": json.loads(json.dumps(settings)),
        "inputs": dict(inputs),
        "seed": seed,
        "version": __version__,
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "seconds": round(time.monotonic() - began, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _update(path: Path, name: str, entry: Any) -> None:
    write_json(path, {**_read(path), name: entry})


def _forget(target: Path) -> None:
    """Take `target` out of the manifest before it is replaced."""
    listed = _read(target.parent / MANIFEST)
    if listed.pop(target.name, None) is not None:
        write_json(target.parent / MANIFEST, listed)


def _swap(partial: Path, target: Path) -> None:
    if target.is_dir():
        old = target.with_name(f".{target.name}.old")
        target.rename(old)
        partial.rename(target)
        _remove(old)
    else:
        partial.replace(target)
    _flush_folder(target.parent)


def _flush(partial: Path) -> None:
    for path in _files(partial):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def _files(path: Path) -> Iterable[Path]:
    return [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _link_copy(source: Path, target: Path) -> None:
    if source.is_file():
        os.link(source, target)
    else:
        shutil.copytree(source, target, copy_function=os.link)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _clear(partial: Path) -> None:
    """Remove what a failed writer left, also when its threads still finish what they began."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            _remove(partial)
        time.sleep(0.01)
        if not partial.exists():
            return


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _space_error(error: BaseException, where: Path) -> BaseException:
    """`error` as the caller's, where it is one of space; libraries that hide its number are seen through."""
    reasons = {
        errno.ENOSPC: "a full disk",
        errno.EDQUOT: "a full quota",
        errno.EROFS: "a read-only disk",
        errno.EACCES: "no permission",
        errno.ENOTDIR: "a file in the way of a folder",
        errno.EEXIST: "a file in the way of a folder",
    }
    number = error.errno if isinstance(error, OSError) else None
    if number is None and not isinstance(error, SarcastError) and isinstance(error, Exception):
        number = errno.ENOSPC if _full(where.parent) else None
    if number in reasons:
        return SpaceError(f"expected to write {where.name}, found {reasons[number]}, in {where.parent}")
    return error


def _full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _LITTLE
    except OSError:
        return False
