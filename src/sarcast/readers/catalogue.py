"""The catalogue: every scene of a source, what was refused and why, and what was left out for another."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from sarcast.errors import ArtefactError, ProductError, SarcastError, SettingsError
from sarcast.readers import READERS
from sarcast.readers.acquisitions import Dropped, Refusal, settle
from sarcast.readers.base import Reader
from sarcast.readers.scene_json import scene_from_json, scene_to_json
from sarcast.runtime.artefact import write_json
from sarcast.runtime.progress import progress
from sarcast.values import Scene

FORMAT = "sarcast-scenes-1"
MAX_FILES = 1_000_000
THREADS = 4

_RUN_FILES = frozenset(("scenes.json", "manifest.json"))
"""A folder that holds these is a run's own,"""
_WRITTEN = ("site", "stacks")
"""and these are what it made."""

R = TypeVar("R", Refusal, Dropped)


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Scenes in order of (time, scene_id), each id once."""

    scenes: tuple[Scene, ...] = ()
    refused: tuple[Refusal, ...] = ()
    dropped: tuple[Dropped, ...] = ()

    def __post_init__(self) -> None:
        ids = [scene.scene_id for scene in self.scenes]
        if len(set(ids)) != len(ids):
            raise ArtefactError("expected each scene once, found an id twice, in the catalogue")

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each thing left out on purpose."""
        return tuple(str(one) for one in self.dropped)


def find_products(
    source: Path, reader: str = "auto", options: Reader | None = None, *, skip_bad: bool = False
) -> Catalogue:
    """Every product under a folder (or one file) as scenes.

    Args:
        source: A folder, walked whole in sorted order, or one product's file.
        reader: "auto" asks every reader that knows its products; else a name in `READERS`.
        options: The reader with what the caller declares; None takes it with its defaults.
        skip_bad: Go on without products that cannot be used; they stay listed in `refused`.

    Raises:
        ProductError: Nothing there, no product, or a product that cannot be used (with `skip_bad`: none can).
        SettingsError: No such reader, or the CSV of declarations cannot be used.
    """
    found = scan(source, reader, options)
    if found.refused and not (skip_bad and found.scenes):
        more = len(found.refused) - 1
        rest = f" (and {more} more that cannot be used)" if more else ""
        way_out = "; --skip-bad goes on without" if found.scenes else ""
        raise ProductError(f"{found.refused[0].reason}{rest}{way_out}")
    return found


def scan(source: Path, reader: str = "auto", options: Reader | None = None) -> Catalogue:
    """As `find_products`, but products that cannot be used are only listed.

    Raises:
        ProductError: Nothing there, or no product at all.
    """
    readers = _readers(reader, options)
    files = _files(source)
    claimed: dict[int, list[Path]] = {}
    refused: list[Refusal] = []
    for path in files:
        owner = next((number for number, one in enumerate(readers) if one.claims(path)), None)
        if owner is None:
            refused.append(Refusal(path=str(path), reason=_unclaimed(path, reader)))
        else:
            claimed.setdefault(owner, []).append(path)
    sorted_files = [(readers[number], readers[number].sort(paths)) for number, paths in claimed.items()]
    jobs = [(one, product) for one, found in sorted_files for product in found.products]
    aside = [Dropped(path=str(path), why=why) for _, found in sorted_files for path, why in found.aside]
    if not jobs and not refused:
        found_text = f"only {len(aside)} side files" if aside else "none"
        raise ProductError(f"expected SAR products (GeoTIFF), found {found_text}, in {source}")
    scenes: list[Scene] = []
    for result in _results(jobs):
        if isinstance(result, Refusal):
            refused.append(result)
        else:
            scenes.extend(result)
    return _settled(scenes, refused, aside)


def merge(old: Catalogue, new: Catalogue) -> Catalogue:
    """Both together; what `new` says of a scene or a file replaces what `old` said."""
    ids = {scene.scene_id for scene in new.scenes}
    used = {file.path for scene in new.scenes for file in scene.files}
    bad = {one.path for one in new.refused}
    kept = [
        scene
        for scene in old.scenes
        if scene.scene_id not in ids and not {file.path for file in scene.files} & (used | bad)
    ]
    dropped = {one.path: one for one in (*old.dropped, *new.dropped) if one.path not in used | bad}
    refused = [one for one in old.refused if one.path not in used | bad | set(dropped)]
    return _settled([*kept, *new.scenes], [*refused, *new.refused], dropped.values())


def write_catalogue(path: Path, catalogue: Catalogue) -> None:
    """Write JSON: the same catalogue gives the same bytes."""
    write_json(
        path,
        {
            "format": FORMAT,
            "scenes": [scene_to_json(scene) for scene in catalogue.scenes],
            "refused": [asdict(one) for one in catalogue.refused],
            "dropped": [asdict(one) for one in catalogue.dropped],
        },
    )


def read_catalogue(path: Path) -> Catalogue:
    """What `write_catalogue` wrote.

    Raises:
        ArtefactError: Missing, not a catalogue, or a field is unknown, missing or wrong.
    """
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtefactError(f"expected a catalogue, found {error.strerror}: {path}") from None
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"expected a catalogue (JSON), found {error}, in {path}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ArtefactError(f"expected a catalogue of format {FORMAT}, found another, in {path}")
    parts = {name: data.get(name) for name in ("scenes", "refused", "dropped")}
    if set(data) - {"format", *parts} or not all(isinstance(part, list) for part in parts.values()):
        raise ArtefactError(f"expected lists of scenes, refused and dropped, found other fields, in {path}")
    return Catalogue(
        scenes=tuple(scene_from_json(entry, where=path) for entry in parts["scenes"] or ()),
        refused=tuple(_record(Refusal, entry, path) for entry in parts["refused"] or ()),
        dropped=tuple(_record(Dropped, entry, path) for entry in parts["dropped"] or ()),
    )


def _settled(scenes: Iterable[Scene], refused: Iterable[Refusal], dropped: Iterable[Dropped]) -> Catalogue:
    kept, lost, bad = settle(scenes)
    by_path = {one.path: one for one in (*dropped, *lost)}
    instead = {one.scene_id: one.kept for one in by_path.values() if one.scene_id != one.kept}
    return Catalogue(
        scenes=tuple(kept),
        refused=tuple(sorted({*refused, *bad})),
        dropped=tuple(sorted(_followed(one, instead) for one in by_path.values())),
    )


def _followed(one: Dropped, instead: dict[str, str]) -> Dropped:
    """Name the scene that is used at last, when the one named was itself replaced."""
    kept = one.kept
    for _ in instead:
        if kept not in instead:
            break
        kept = instead[kept]
    return Dropped(path=one.path, scene_id=one.scene_id, kept=kept, why=one.why)


def _readers(name: str, options: Reader | None) -> list[Reader]:
    if name == "auto":
        if options is not None:
            raise SettingsError("expected a named reader for its declarations, found reader 'auto'")
        return [READERS[one]() for one in READERS if READERS[one].automatic]
    kind = READERS[name]
    if options is not None and not isinstance(options, kind):
        raise SettingsError(f"expected declarations of {name}, found those of {type(options).__name__}")
    return [kind() if options is None else options]


def _unclaimed(path: Path, reader: str) -> str:
    known = reader if reader != "auto" else ", ".join(name for name in READERS if READERS[name].automatic)
    return (
        f"expected a product of {known}, found a TIFF that is none: {path} "
        f"(--reader geotiff reads any, once its unit, time and bands are declared)"
    )


def _files(source: Path) -> list[Path]:
    """TIFFs under a folder in sorted order, each once; hidden files and folders are left out."""
    source = source.absolute()
    try:
        if source.is_file():
            return [source]
        if not source.is_dir():
            raise ProductError(f"expected a folder or a file, found nothing: {source}")
    except ValueError as error:
        raise ProductError(f"expected a path, found {error}: {source!s}") from None
    found: dict[str, Path] = {}
    for path in _walk(source):
        real = os.path.realpath(path)
        if real not in found or str(path) == real:
            found[real] = path
        if len(found) > MAX_FILES:
            raise ProductError(f"expected at most {MAX_FILES} files, found more, in {source}")
    return sorted(found.values())


def _walk(source: Path) -> Iterator[Path]:
    """Links are followed, loops are not; what a run has written is no product."""
    seen: set[str] = set()
    for folder, folders, names in os.walk(source, onerror=_unreadable, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        written = _WRITTEN if set(names) >= _RUN_FILES else ()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in written)
        for name in sorted(names):
            if not name.startswith(".") and name.lower().endswith((".tif", ".tiff")):
                yield Path(folder) / name


def _unreadable(error: OSError) -> None:
    raise ProductError(f"expected a readable folder, found {error.strerror}: {error.filename}")


def _results(jobs: Sequence[tuple[Reader, tuple[Path, ...]]]) -> Iterator[list[Scene] | Refusal]:
    """Read products side by side (hashing and decoding release the interpreter), in order."""
    with ThreadPoolExecutor(THREADS) as pool, progress("reading products", len(jobs)) as advance:
        for result in pool.map(_result, jobs):
            advance()
            yield result


def _result(job: tuple[Reader, tuple[Path, ...]]) -> list[Scene] | Refusal:
    reader, paths = job
    try:
        return reader.read(paths)
    except SettingsError:
        raise
    except SarcastError as error:
        return Refusal(path=str(paths[0]), reason=str(error))
    except OSError as error:
        reason = f"expected a readable file, found {error.strerror}: {error.filename or paths[0]}"
        return Refusal(path=str(paths[0]), reason=reason)


def _record(kind: type[R], entry: object, path: Path) -> R:
    names = set(kind.__dataclass_fields__)
    if (
        not isinstance(entry, dict)
        or set(entry) != names
        or not all(isinstance(v, str) for v in entry.values())
    ):
        raise ArtefactError(
            f"expected text in {', '.join(sorted(names))}, found {str(entry)[:80]}, in {path}"
        )
    return kind(**entry)
