"""What sarcast probe learns from: labelled chips of two roles, each way to see them, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import DataError, ProductError, SettingsError
from sarcast.probes.goals import Goal
from sarcast.probes.hand_made import cell_edges, cell_means, cell_statistics, unit_chips
from sarcast.readers.chip_sources import from_folder, from_manifest, from_pairs, manifest_in
from sarcast.readers.labelled_chips import Kind, LabelledChips, split_groups
from sarcast.readers.labelled_chips import unit_of as numbers_of
from sarcast.readers.seasonal_tiles import is_seasonal
from sarcast.sar.numbers import Unit
from sarcast.sar.seasons import CHANNELS
from sarcast.sar.world_cover import WORLD_COVER
from sarcast.steps.probe import DENSE
from sarcast.steps.probe_regions import two_regions

if TYPE_CHECKING:
    from sarcast.nn.pretrained import Pretrained
    from sarcast.steps.probe import Probe

UNIT_CHIPS = "pixels, unit chips"
CONTROLS = ("pixels", UNIT_CHIPS, "statistics")
"""Ways to see a chip without a network; tokens have no unit chips."""
RANDOM = ", random weights"
"""End of the name of an encoder's control."""
_SPLIT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Role:
    """Chips of one role, read."""

    pixels: np.ndarray
    """float32 (chip, channel, y, x)."""
    valid: np.ndarray
    """bool (chip, channel, y, x)."""
    goal: Goal
    """What is true of each chip, or of each of its pixels."""
    groups: np.ndarray
    """int (chip,)."""

    @property
    def levels(self) -> np.ndarray:
        """Mean of each channel where valid, float64 (channel,)."""
        count = self.valid.sum((0, 2, 3))
        total = np.where(self.valid, self.pixels, 0).sum((0, 2, 3), dtype=np.float64)
        return np.asarray(total / np.maximum(count, 1))


def read_chips(settings: Probe) -> LabelledChips:
    """The source's chips, with the roles it has; drawn by group where it has none.

    Of two sources the first one's are to learn from and the other's to judge; roles they have say which of
    them.

    Raises:
        SettingsError: The settings do not go together.
        DataError: Roles overlap, or there are no train or test chips.
        ProductError: A source cannot be read.
    """
    chips = _listed(settings, settings.source, settings.labels)
    if settings.test_source is not None:
        other = _listed(settings, settings.test_source, settings.test_labels)
        return two_regions(chips, other, own_groups=settings.group is None and settings.group_in_path is None)
    if not any(chips.roles):
        shares = {"train": 1 - settings.test_share, "test": settings.test_share}
        chips = split_groups(chips, shares, rng=np.random.default_rng([settings.seed, _SPLIT]))
    return chips


def read_roles(chips: LabelledChips, *, dense: bool) -> tuple[Role, Role]:
    """Train and test chips, checked to be apart; those of other roles are left out.

    Pixels valid in no channel have no label: they are neither learned from nor judged.

    Args:
        chips: With roles.
        dense: Whether pixels have labels; else label images of numbers are averaged over each chip.

    Raises:
        DataError: A chip or group is in two roles, a role is missing, or a chip has no valid pixel or label.
    """
    parts = chips.parts()
    missing = [role for role in ("train", "test") if role not in parts]
    if missing:
        raise DataError(f"expected chips of role {missing[0]}, found {', '.join(parts)}, in {chips.where}")
    return _role(parts["train"], dense=dense), _role(parts["test"], dense=dense)


def unit_of(settings: Probe, chips: LabelledChips) -> Unit:
    """What the numbers of the chips are: as told, or `picture` for PNG and JPEG, db for seasonal tiles.

    Raises:
        SettingsError: TIFF does not tell.
    """
    usual: Unit | None = "db" if _are_seasonal(chips) else None
    return numbers_of(chips, settings.unit or usual, flag="--unit")


def channels_of(settings: Probe, chips: LabelledChips) -> tuple[str, ...]:
    """Names of the chips' channels: as told, or those of seasonal tiles."""
    return settings.channels or (CHANNELS if _are_seasonal(chips) else ())


def chip_views(
    role: Role, encoders: dict[str, Pretrained], unit: Any, *, pixel_side: int, levels: np.ndarray
) -> dict[str, Any]:
    """Name -> vectors (chip, dim): the controls, then each encoder's mean and spread of tokens.

    Args:
        role: The chips.
        encoders: Name -> encoder.
        unit: Of the pixels.
        pixel_side: Means a side of the control of pixels.
        levels: (channel,), what the controls take a gap for: the train role's means.
    """
    from sarcast.encoders.chips import chip_tokens

    pixels, side = role.pixels - levels[:, None, None], role.pixels.shape[-1]
    means = cell_means(pixels, role.valid, cell_edges(side, pixel_side)) + levels
    views = {
        "pixels": means.astype(np.float32).reshape(len(means), -1),
        "statistics": cell_statistics(pixels, role.valid, cell_edges(side, 1))[:, 0, 0],
    }
    views[UNIT_CHIPS] = unit_chips(views["pixels"])
    for name, encoder in encoders.items():
        tokens = chip_tokens(encoder, role.pixels, role.valid, unit=unit)
        views[name] = np.concatenate([tokens.mean((1, 2)), tokens.std((1, 2))], 1)
    return views


def token_views(
    role: Role, encoders: dict[str, Pretrained], unit: Any, *, token: int, levels: np.ndarray
) -> dict[str, Any]:
    """Name -> vectors (chip, row, col, dim), all on cells of `token` pixels; arguments as `chip_views`.

    Raises:
        DataError: An encoder has other tokens.
    """
    from sarcast.encoders.chips import chip_tokens

    n, channels, side, _ = role.pixels.shape
    count = side // token
    pixels = np.where(role.valid, role.pixels - levels[:, None, None], 0)
    blocks = pixels.reshape(n, channels, count, token, count, token)
    views = {
        "pixels": blocks.transpose(0, 2, 4, 1, 3, 5).reshape(n, count, count, -1),
        "statistics": cell_statistics(pixels, role.valid, cell_edges(side, count)),
    }
    for name, encoder in encoders.items():
        if encoder.vit.patch != token:
            raise DataError(f"expected encoders with tokens of {token} px, found {encoder.vit.patch}, {name}")
        views[name] = chip_tokens(encoder, role.pixels, role.valid, unit=unit)
    return views


def token_goal(goal: Goal, token: int) -> Goal:
    """What is true of each token, (chip, row, col): its pixels' commonest class, or their mean."""
    n, side = goal.labels.shape[:2]
    count = side // token

    def blocks(image: np.ndarray) -> np.ndarray:
        return image.reshape(n, count, token, count, token).swapaxes(2, 3).reshape(n, count, count, -1)

    labels, known = blocks(goal.labels), blocks(goal.known)
    if goal.classes:
        votes = np.stack([(known & (labels == one)).sum(-1) for one in range(goal.classes)], -1)
        return Goal(labels=votes.argmax(-1), known=votes.sum(-1) > 0, classes=goal.classes)
    number = known.sum(-1)
    mean = np.where(known, labels, 0).sum(-1, dtype=np.float64) / np.maximum(number, 1)
    return Goal(labels=mean, known=number > 0, classes=0)


def encoders_of(weights: Sequence[Path], names: Sequence[str], *, seed: int) -> dict[str, Pretrained]:
    """Name -> encoder: each of `weights`, and beside it a random one of its size.

    Raises:
        ArtefactError: The weights are missing or do not fit.
        SettingsError: Two have one name, or the channels are not those of a card.
    """
    from sarcast.encoders.chips import untrained
    from sarcast.nn.pretrained import load_encoder

    found: dict[str, Pretrained] = {}
    for path in weights:
        encoder, name = load_encoder(path), path.name
        name = path.parent.name if name == "encoder" else name
        if name in found:
            raise SettingsError(f"expected weights of different names, found {name} twice, in --weights")
        if encoder.card.channels:
            encoder.card.check(names, where="--channels")
        found[name] = encoder
        found[name + RANDOM] = untrained(encoder, seed=seed)
    return found


def _are_seasonal(chips: LabelledChips) -> bool:
    first = chips.files[0]
    return first.member is None and first.path.suffix.lower() in (".tif", ".tiff") and is_seasonal(first.path)


def _role(chips: LabelledChips, *, dense: bool) -> Role:
    pixels, valid = chips.pixels()
    seen = np.asarray(valid.any(1))
    if not seen.any((1, 2)).all():
        name = chips.ids[int(seen.any((1, 2)).argmin())]
        raise DataError(f"expected valid pixels in every chip, found none in {name}, in {chips.where}")
    labels, known = chips.targets()
    if dense:
        known = known & seen
    elif labels.ndim == 3:
        if not known.any((1, 2)).all():
            raise DataError(f"expected a label in every chip, found one without, in {chips.where}")
        labels, known = np.mean(labels, (1, 2), where=known), np.ones(len(labels), bool)
    return Role(
        pixels=pixels,
        valid=valid,
        goal=Goal(labels=labels, known=known, classes=len(chips.class_names)),
        groups=np.unique(chips.groups, return_inverse=True)[1],
    )


def _listed(settings: Probe, source: Path, labels: Path | None) -> LabelledChips:
    pattern, side, dense = settings.group_in_path, settings.side, settings.task in DENSE
    if not source.exists():
        raise ProductError(f"expected a folder, CSV file or ZIP archive of chips, found nothing, in {source}")
    if labels is not None:
        classes = (settings.classes or WORLD_COVER) if settings.task == "segmentation" else None
        kind: Kind = "segmentation" if classes else "regression"
        found = from_pairs(
            source,
            labels,
            side=side,
            kind=kind,
            classes=classes,
            ignored=settings.ignored,
            group_in_path=pattern,
        )
    elif dense:
        raise SettingsError(f"expected --labels, the folder of label images, for {settings.task}, found none")
    elif source.is_dir():
        found = from_folder(source, side=side, group_in_path=pattern)
    else:
        found = from_manifest(
            manifest_in(source),
            side=side,
            label=settings.label,
            path=settings.path,
            group=settings.group,
            group_in_path=pattern,
            role=settings.role,
            prefix=settings.prefix,
            only=settings.only,
            kind=settings.task,  # type: ignore[arg-type]
        )
    if found.kind != settings.task.removeprefix("pixel_"):
        raise SettingsError(f"expected labels for {settings.task}, found {found.kind}, in {source}")
    return found
