"""Where labelled chips come from: a folder a class, a CSV manifest, or GeoTIFF pairs of chip and label."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from sarcast.errors import ProductError, SettingsError
from sarcast.readers.chip_files import SUFFIXES, ChipFile, Images
from sarcast.readers.labelled_chips import Kind, LabelledChips

ROLES = ("train", "test", "val")


def from_folder(folder: Path, *, side: int, group_in_path: str | None = None) -> LabelledChips:
    """`folder`/CLASS/image, or `folder`/ROLE/CLASS/image with roles train, test and val (in any case).

    Args:
        folder: Holds PNG, JPEG or TIFF images; what lies deeper belongs to the class above it.
        side: Pixels of each chip's middle that are used.
        group_in_path: Regular expression; what it matches in a path under `folder` is the chip's group. None:
            every chip is a group by itself.

    Raises:
        ProductError: There are no images in folders, or `group_in_path` matches nothing in a path.
    """
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES)
    parts = [path.relative_to(folder).parts for path in paths]
    with_roles = bool(parts) and all(part[0].lower() in ROLES for part in parts)
    depth = 3 if with_roles else 2
    if not parts or min(map(len, parts)) < depth:
        raise ProductError(
            f"expected images in folders named by their class, found none or others, in {folder}"
        )
    ids = ["/".join(part) for part in parts]
    return _classes(
        [ChipFile(path=path) for path in paths],
        ids,
        [part[depth - 2] for part in parts],
        groups=[_matched(group_in_path, one, folder) for one in ids],
        roles=[part[0].lower() if with_roles else "" for part in parts],
        side=side,
        where=str(folder),
    )


def from_manifest(
    manifest: Path | ChipFile,
    *,
    side: int,
    label: str,
    path: str = "path",
    group: str | None = None,
    group_in_path: str | None = None,
    role: str | None = None,
    files: Path | None = None,
    prefix: str = "",
    only: Mapping[str, str] | None = None,
    kind: Literal["classification", "regression"] = "classification",
) -> LabelledChips:
    """Chips listed in a CSV file, one a line.

    Args:
        manifest: The CSV file, or a member of a ZIP archive.
        side: Pixels of each chip's middle that are used.
        label: Column of the class, or number.
        path: Column of the image's path.
        group: Column of the group.
        group_in_path: As in `from_folder`, where there is no column; without either every chip is a group.
        role: Column of the role. None: no roles.
        files: Folder or ZIP archive the paths start from; by default where the manifest is.
        prefix: What a path lacks in front.
        only: Column -> text: lines with another text there are left out.
        kind: classification: classes are sorted by name; regression: labels are numbers.

    Raises:
        ProductError: A column is missing, nothing is left, or a path leads out of the folder.
    """
    lines = _lines(manifest, [path, label, *filter(None, (group, role)), *(only or {})])
    lines = [line for line in lines if all(line[name] == told for name, told in (only or {}).items())]
    if not lines:
        raise ProductError(f"expected chips with {dict(only or {})}, found none, in {manifest}")
    base = manifest if isinstance(manifest, ChipFile) else ChipFile(path=manifest)
    start = files or (base.path if base.member else base.path.parent)
    ids = [line[path] for line in lines]
    found = [_file(start, prefix + one, manifest) for one in ids]
    groups = [line[group] if group else _matched(group_in_path, line[path], start) for line in lines]
    roles = [line[role] for line in lines] if role else [""] * len(lines)
    labels = [line[label] for line in lines]
    if kind == "classification":
        return _classes(found, ids, labels, groups=groups, roles=roles, side=side, where=str(manifest))
    return LabelledChips(
        files=tuple(found),
        ids=tuple(ids),
        kind=kind,
        labels=_numbers(labels, str(manifest)),
        label_files=None,
        class_names=(),
        groups=tuple(groups),
        roles=tuple(roles),
        side=side,
        where=str(manifest),
    )


def from_pairs(
    chips: Path,
    labels: Path,
    *,
    side: int,
    kind: Kind = "segmentation",
    classes: Mapping[int, str] | None = None,
    ignored: Sequence[int] = (),
    group_in_path: str | None = None,
) -> LabelledChips:
    """GeoTIFF chips of one folder and label images of the same names in another.

    Both may have folders train, test and val, which are the chips' roles.

    Args:
        chips: Folder of chips.
        labels: Folder of labels, on the chips' grids: checked when they are read.
        side: Pixels of each chip's middle that are used.
        kind: segmentation or regression.
        classes: Number in the label images -> class, for segmentation; `sarcast.sar.world_cover.WORLD_COVER`.
        ignored: Numbers that stand for no label.
        group_in_path: As in `from_folder`.

    Raises:
        ProductError: There are no chips, or one has no label.
        SettingsError: Classes without segmentation, or the other way round.
    """
    if (kind == "segmentation") != bool(classes) or kind == "classification":
        raise SettingsError(f"expected classes for segmentation alone, found {kind} and {classes}")
    paths, roles = _tiffs(chips)
    ids = [path.relative_to(chips).as_posix() for path in paths]
    missing = [name for name in ids if not (labels / name).is_file()]
    if not paths or missing:
        what = f"none for {missing[0]}" if missing else f"no chips in {chips}"
        raise ProductError(f"expected a label of the same name for each GeoTIFF, found {what}, in {labels}")
    return LabelledChips(
        files=tuple(ChipFile(path=path) for path in paths),
        ids=tuple(ids),
        kind=kind,
        labels=None,
        label_files=tuple(ChipFile(path=labels / name) for name in ids),
        class_names=tuple((classes or {}).values()),
        codes=tuple(classes or {}),
        ignored=tuple(ignored),
        groups=tuple(_matched(group_in_path, name, chips) for name in ids),
        roles=tuple(roles),
        side=side,
        where=str(chips),
    )


def manifest_in(source: Path) -> Path | ChipFile:
    """The CSV file itself, or the one in a ZIP archive.

    Raises:
        ProductError: Not an archive, or it has none or several.
    """
    if source.suffix.lower() != ".zip":
        return source
    found = members(source, (".csv",))
    if len(found) != 1:
        raise ProductError(f"expected one CSV file in the archive, found {len(found)}, in {source}")
    return ChipFile(path=source, member=found[0])


def members(archive: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Names in a ZIP archive that end so, in lower case or not, sorted.

    Raises:
        ProductError: Not an archive.
    """
    try:
        with zipfile.ZipFile(archive) as held:
            return sorted(name for name in held.namelist() if name.lower().endswith(suffixes))
    except (OSError, zipfile.BadZipFile) as error:
        raise ProductError(f"expected a ZIP archive, found {error}, in {archive}") from None


def unlabelled(files: Sequence[ChipFile], ids: Sequence[str], *, side: int, where: object) -> LabelledChips:
    """Chips of which nothing is known: each is a group, without a role; their labels mean nothing."""
    return LabelledChips(
        files=tuple(files),
        ids=tuple(ids),
        kind="regression",
        labels=np.zeros(len(files), np.float32),
        label_files=None,
        class_names=(),
        groups=tuple(ids),
        roles=("",) * len(files),
        side=side,
        where=str(where),
    )


def _tiffs(folder: Path) -> tuple[list[Path], list[str]]:
    """GeoTIFFs of a folder, or of its folders named by roles, and the role of each."""
    named = {one: one.name.lower() for one in folder.iterdir() if one.is_dir()} if folder.is_dir() else {}
    places = {one: role for one, role in sorted(named.items()) if role in ROLES} or {folder: ""}
    found = [
        (path, role)
        for place, role in places.items()
        for path in sorted(place.glob("*"))
        if path.suffix.lower() in (".tif", ".tiff")
    ]
    return [path for path, _ in found], [role for _, role in found]


def _classes(
    files: list[ChipFile],
    ids: list[str],
    names: list[str],
    *,
    groups: list[str],
    roles: list[str],
    side: int,
    where: str,
) -> LabelledChips:
    class_names, labels = np.unique(names, return_inverse=True)
    return LabelledChips(
        files=tuple(files),
        ids=tuple(ids),
        kind="classification",
        labels=labels.astype(np.int64),
        label_files=None,
        class_names=tuple(str(name) for name in class_names),
        groups=tuple(groups),
        roles=tuple(roles),
        side=side,
        where=where,
    )


def _lines(manifest: Path | ChipFile, needed: list[str]) -> list[dict[str, str]]:
    file = manifest if isinstance(manifest, ChipFile) else ChipFile(path=manifest)
    with Images() as images:
        data = images.data(file)
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), restval="")
        lines = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ProductError(f"expected a CSV file, found {error}, in {file}") from None
    missing = [name for name in needed if name not in (reader.fieldnames or [])]
    if missing:
        raise ProductError(f"expected columns {', '.join(needed)}, found no {', '.join(missing)}, in {file}")
    return lines


def _file(start: Path, name: str, manifest: Path | ChipFile) -> ChipFile:
    """A path of the manifest, under `start` (a folder or an archive)."""
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise ProductError(f"expected paths under {start}, found {name}, in {manifest}")
    return ChipFile(path=start / name) if start.is_dir() else ChipFile(path=start, member=name)


def _matched(pattern: str | None, name: str, where: Path) -> str:
    if pattern is None:
        return name
    found = re.search(pattern, name)
    if found is None:
        raise ProductError(f"expected {pattern!r} in every path, found none in {name}, in {where}")
    return found.group(0)


def _numbers(texts: list[str], where: str) -> np.ndarray:
    try:
        found = np.array([float(text) for text in texts], np.float32)
    except ValueError as error:
        raise ProductError(f"expected numbers for labels, found {error}, in {where}") from None
    if not np.isfinite(found).all():
        raise ProductError(f"expected finite numbers for labels, found others, in {where}")
    return found
