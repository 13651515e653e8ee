"""Chips with labels: read when asked for, all cut to one size, and no chip in two roles.

Two traps made figures look better than they were. Chips of one class often have one size, and a network
that sees them resized learns the size (on MSTAR, size alone names 61 % of the test chips): every chip is cut
to its middle `side` pixels before anything else sees it. And copies of a chip on both sides of a split are
looked up, not recognised: `parts` compares contents, and groups.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.random import Generator

from sarcast.errors import DataError, ProductError, SettingsError, ShapeError
from sarcast.readers.chip_files import ChipFile, Image, Images
from sarcast.sar.numbers import Unit

Kind = Literal["classification", "segmentation", "regression"]
UNLABELLED = -1
"""Class of a pixel that has none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledChips:
    """Chips, and what is known of each. Subsets by `chips[index]`."""

    files: tuple[ChipFile, ...]
    ids: tuple[str, ...]
    """Their names in the folder or manifest."""
    kind: Kind
    """What a label is: a class, a class of every pixel, or a number (of the chip or of every pixel)."""
    labels: np.ndarray | None
    """int64 (chip,) index into `class_names`, or float32 (chip,); None where labels are images."""
    label_files: tuple[ChipFile, ...] | None
    """Label images, on the grid of the chips; None where a chip has one label."""
    class_names: tuple[str, ...]
    """Empty for regression."""
    codes: tuple[int, ...] = ()
    """Numbers in label images that stand for the classes, in their order."""
    ignored: tuple[int, ...] = ()
    """Numbers in label images that stand for no label."""
    groups: tuple[str, ...]
    """Chips of one group are of one target, scene or place: they share a role."""
    roles: tuple[str, ...]
    """train, test, val ..., or nothing."""
    side: int
    """Pixels of each chip's middle that are used, rows and columns."""
    where: str
    """The source, for messages."""

    def __post_init__(self) -> None:
        n = len(self.files)
        if (self.labels is None) == (self.label_files is None):
            raise ShapeError("LabelledChips needs labels or label_files, not both")
        for one in (self.ids, self.groups, self.roles, self.labels, self.label_files):
            if one is not None and len(one) != n:
                raise ShapeError(f"expected {n} ids, groups, roles and labels each, found {len(one)}")
        if self.side < 1:
            raise ShapeError(f"expected a side of 1 pixel or more, found {self.side}")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, some: np.ndarray) -> LabelledChips:
        index = np.arange(len(self))[some]
        changed: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "labels":
                changed["labels"] = None if value is None else value[index]
            elif field.name in ("files", "ids", "label_files", "groups", "roles") and value is not None:
                changed[field.name] = tuple(value[i] for i in index)
        return replace(self, **changed)  # type: ignore[arg-type]

    def sizes(self) -> np.ndarray:
        """Rows and columns of each chip as stored, int (chip, 2)."""
        with Images() as images:
            return np.array([images.size(file) for file in self.files]).reshape(-1, 2)

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """The middles of all chips, float32 (chip, channel, y, x), and where valid, bool of that shape.

        Pictures, and numbers of 8 bits, become 0 to 1, others stay as stored; 0 where not valid.

        Raises:
            DataError: A chip is smaller than `side`, or has other channels than the first.
            ProductError: A file cannot be read.
        """
        values, valid = [], []
        with Images() as images:
            for file in self.files:
                image = self._middle(images.read(file), file)
                values.append(np.where(image.seen, image.values, 0).astype(np.float32) / image.full)
                valid.append(image.seen)
                if values[-1].shape != values[0].shape:
                    raise DataError(
                        f"expected {len(values[0])} channels as in {self.files[0]}, found {len(values[-1])}, "
                        f"in {file}"
                    )
        return np.stack(values), np.stack(valid)

    def targets(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and where there are any: (chip,), or (chip, y, x) of the middles where labels are images.

        Classes are int64 (`UNLABELLED` where there is none), numbers float32.

        Raises:
            DataError: A label image has another size or grid than its chip.
            ProductError: A file cannot be read, or holds a number that is no class.
        """
        if self.labels is not None:
            return self.labels, np.ones(len(self), bool)
        found = []
        with Images() as images:
            for file, label in zip(self.files, self.label_files or (), strict=True):
                image, chip = images.read(label), images.read(file)
                if image.values.shape[1:] != chip.values.shape[1:] or image.grid != chip.grid:
                    raise DataError(f"expected the size and grid of {file}, found another, in {label}")
                found.append(self._target(self._middle(image, label), label))
        return np.stack([values for values, _ in found]), np.stack([valid for _, valid in found])

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 of each chip's middle as decoded: equal where an encoder would see the same."""
        found = []
        with Images() as images:
            for file in self.files:
                image = self._middle(images.read(file), file)
                digest = hashlib.sha256(f"{image.values.dtype}{image.values.shape}".encode())
                digest.update(np.ascontiguousarray(np.where(image.seen, image.values, 0)).tobytes())
                found.append(digest.hexdigest())
        return tuple(found)

    def parts(self) -> dict[str, LabelledChips]:
        """Role -> its chips, checked: no chip's content and no group is in two roles.

        Raises:
            DataError: One is, or chips have no role.
        """
        if "" in self.roles:
            raise DataError(
                f"expected a role for every chip, found {self.roles.count('')} without, in {self.where}"
            )
        self._check_apart("group", self.groups)
        self._check_apart("content", self.hashes)
        roles = np.array(self.roles)
        return {str(role): self[roles == role] for role in dict.fromkeys(self.roles)}

    def _check_apart(self, what: str, keys: Sequence[str]) -> None:
        """Raise where chips with the same key are in two roles."""
        seen: dict[str, dict[str, int]] = defaultdict(dict)
        for i, key in enumerate(keys):
            seen[key].setdefault(self.roles[i], i)
        shared = [list(first.values()) for first in seen.values() if len(first) > 1]
        if shared:
            one, other = shared[0][:2]
            raise DataError(
                f"expected no chip of one {what} in two roles, found {len(shared)} such, the first "
                f"{self.ids[one]} in {self.roles[one]} and {self.ids[other]} in {self.roles[other]}, in "
                f"{self.where}"
            )

    def _middle(self, image: Image, file: ChipFile) -> Image:
        rows, cols = image.seen.shape[1:]
        if min(rows, cols) < self.side:
            raise DataError(
                f"expected chips of {self.side} pixels a side or more, found {rows} x {cols}, in {file}"
            )
        top, left = (rows - self.side) // 2, (cols - self.side) // 2
        box = slice(top, top + self.side), slice(left, left + self.side)
        return replace(image, values=image.values[:, *box], seen=image.seen[:, *box])

    def _target(self, image: Image, file: ChipFile) -> tuple[np.ndarray, np.ndarray]:
        values, valid = image.values[0], image.seen[0]
        if self.kind == "regression":
            return np.where(valid, values, 0).astype(np.float32), valid
        valid = valid & ~np.isin(values, self.ignored)
        unknown = np.setdiff1d(values[valid], self.codes)
        if unknown.size:
            raise ProductError(
                f"expected labels among {', '.join(map(str, self.codes))}, found {unknown[0]}, in {file}"
            )
        order = np.argsort(self.codes)
        at = order[
            np.searchsorted(np.array(self.codes)[order], np.where(valid, values, self.codes[order[0]]))
        ]
        return np.where(valid, at, UNLABELLED).astype(np.int64), valid


def unit_of(chips: LabelledChips, told: Unit | None, *, flag: str) -> Unit:
    """What the numbers of chips are: as told by `flag`, or picture for PNG and JPEG.

    Raises:
        SettingsError: TIFF does not tell.
    """
    names = [(file.member or file.path.name).lower() for file in chips.files]
    if told is None and any(name.endswith((".tif", ".tiff")) for name in names):
        raise SettingsError(
            f"expected {flag} (db, power, amplitude or picture) for TIFF, which does not tell, found none"
        )
    return told or "picture"


def split_groups(chips: LabelledChips, shares: Mapping[str, float], *, rng: Generator) -> LabelledChips:
    """The chips with roles drawn anew, whole groups together; copies of a chip join their groups.

    Groups are dealt out in random order, the classes' largest first in turn, so that each role gets about its
    share of every class.

    Args:
        chips: Roles they have do not count.
        shares: Role -> share of the chips, positive.
        rng: Source of the draws.

    Raises:
        DataError: There are fewer groups than roles.
    """
    group = _joined(chips.groups, chips.hashes)
    number = int(group.max()) + 1
    if number < len(shares) or not all(share > 0 for share in shares.values()):
        raise DataError(
            f"expected {len(shares)} groups or more and positive shares, found {number} groups and "
            f"{dict(shares)}, in {chips.where}"
        )
    classes = np.zeros(len(chips), int) if chips.kind != "classification" else np.asarray(chips.labels)
    counts = np.zeros((number, int(classes.max()) + 1))
    np.add.at(counts, (group, classes), 1)
    wanted = np.array(list(shares.values()))[:, None] / sum(shares.values()) * counts.sum(0)
    given, role_of = np.zeros_like(wanted), np.zeros(number, int)
    order = rng.permutation(number)
    for one in order[np.argsort(-counts[order].sum(1), kind="stable")]:
        need = ((wanted - given) / np.maximum(wanted, 1) * counts[one]).sum(1)
        role_of[one] = int(np.argmax(need))
        given[role_of[one]] += counts[one]
    names = list(shares)
    return replace(chips, roles=tuple(names[role_of[g]] for g in group))


def _joined(groups: Sequence[str], hashes: Sequence[str]) -> np.ndarray:
    """Number of each chip's group, int (chip,), groups that share a content being one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    own = np.unique(groups, return_inverse=True)[1]
    content = np.unique(hashes, return_inverse=True)[1] + own.max() + 1
    side = int(content.max()) + 1
    graph = coo_array((np.ones(len(own)), (own, content)), shape=(side, side))
    label = connected_components(graph, directed=False)[1][own]
    return np.asarray(np.unique(label, return_inverse=True)[1])
