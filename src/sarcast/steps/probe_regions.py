"""Chips of two regions: learn in one, be judged in the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sarcast.errors import DataError
from sarcast.readers.labelled_chips import LabelledChips

_ROLES = ("train", "test")


def two_regions(learn: LabelledChips, judge: LabelledChips, *, own_groups: bool) -> LabelledChips:
    """One set of chips, those of `learn` in the role train and those of `judge` in the role test.

    Where a region has roles itself, only its train or its test chips come. Classes are those of either, by
    name. `LabelledChips.parts` then looks for chips in both, by content and by group.

    Args:
        learn: Region to learn in.
        judge: Region to be judged in, of the same kind of labels.
        own_groups: Groups are not told: those of two regions are never the same, whatever they are called.

    Raises:
        DataError: A region has roles, but not the one it is for.
    """
    names = tuple(dict.fromkeys((*learn.class_names, *judge.class_names)))
    if learn.labels is not None:
        names = tuple(sorted(names))
    parts = [
        _of_role(region, role, names, prefix=f"{role}: " if own_groups else "")
        for region, role in zip((learn, judge), _ROLES, strict=True)
    ]
    first, second = parts
    return replace(
        first,
        files=first.files + second.files,
        ids=first.ids + second.ids,
        labels=_both(first.labels, second.labels),
        label_files=None if first.label_files is None else first.label_files + (second.label_files or ()),
        class_names=names,
        groups=first.groups + second.groups,
        roles=first.roles + second.roles,
        where=f"{learn.where} and {judge.where}",
    )


def _of_role(chips: LabelledChips, role: str, names: tuple[str, ...], *, prefix: str) -> LabelledChips:
    """The chips for one role, their classes numbered as in `names`."""
    if any(chips.roles):
        chips = chips[np.array(chips.roles) == role]
        if len(chips) == 0:
            raise DataError(f"expected chips of role {role}, found none, in {chips.where}")
    labels = chips.labels
    if labels is not None and chips.class_names:
        labels = np.array([names.index(one) for one in chips.class_names])[labels]
    return replace(
        chips,
        labels=labels,
        groups=tuple(f"{prefix}{group}" for group in chips.groups),
        roles=(role,) * len(chips),
    )


def _both(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    return None if one is None or other is None else np.concatenate([one, other])
