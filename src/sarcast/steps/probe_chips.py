"""What sarcast probe learns from: labelled chips of two roles, each way to see them, and their labels."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import DataError, ProductError, SettingsError
from sarcast.probes.hand_made import cell_edges, cell_means, cell_statistics, unit_chips
from sarcast.readers.chip_files import SUFFIXES, ChipFile
from sarcast.readers.chip_sources import from_folder, from_manifest, from_pairs
from sarcast.readers.labelled_chips import LabelledChips, split_groups
from sarcast.sar.world_cover import WORLD_COVER

if TYPE_CHECKING:
    from sarcast.nn.pretrained import Pretrained
    from sarcast.steps.probe import Probe

UNIT_CHIPS = "pixels, unit chips"
CONTROLS = ("pixels", UNIT_CHIPS, "statistics")
"""Ways to see a chip without a network; tokens have no unit chips."""
_SPLIT = 1
_PICTURES = tuple(suffix for suffix in SUFFIXES if not suffix.startswith(".tif"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Role:
    """Chips of one role, read."""

    pixels: np.ndarray
    """float32 (chip, channel, y, x)."""
    valid: np.ndarray
    """bool (chip, y, x)."""
    labels: np.ndarray
    """int64 or float32 (chip,); int64 (chip, y, x) for segmentation, under 0 where there is none."""
    groups: np.ndarray
    """int (chip,)."""


def read_chips(settings: Probe) -> LabelledChips:
    """The source's chips, with the roles it has; drawn by group where it has none.

    Raises:
        SettingsError: The settings do not go together.
        DataError: Roles overlap, or there are no train or test chips.
        ProductError: The source cannot be read.
    """
    chips = _listed(settings)
    if chips.kind != settings.task:
        raise SettingsError(f"expected labels for {settings.task}, found {chips.kind}, in {settings.source}")
    if not any(chips.roles):
        shares = {"train": 1 - settings.test_share, "test": settings.test_share}
        chips = split_groups(chips, shares, rng=np.random.default_rng([settings.seed, _SPLIT]))
    return chips


def read_roles(chips: LabelledChips) -> tuple[Role, Role]:
    """Train and test chips, checked to be apart; those of other roles are left out.

    Raises:
        DataError: A chip or group is in two roles, or a role is missing.
    """
    parts = chips.parts()
    missing = [role for role in ("train", "test") if role not in parts]
    if missing:
        raise DataError(f"expected chips of role {missing[0]}, found {', '.join(parts)}, in {chips.where}")
    return _role(parts["train"]), _role(parts["test"])


def unit_of(settings: Probe, chips: LabelledChips) -> Any:
    """What the numbers of the chips are: as told, or `picture` for PNG and JPEG.

    Raises:
        SettingsError: TIFF does not tell.
    """
    names = [(file.member or file.path.name).lower() for file in chips.files]
    if settings.unit is None and any(name.endswith((".tif", ".tiff")) for name in names):
        raise SettingsError(
            "expected --unit (db, power, amplitude or picture) for TIFF, which does not tell, found none"
        )
    return settings.unit or "picture"


def chip_views(settings: Probe, role: Role, encoders: dict[str, Pretrained], unit: Any) -> dict[str, Any]:
    """Name -> vectors (chip, dim): the controls, then each encoder's mean and spread of tokens."""
    from sarcast.encoders.chips import chip_tokens

    side = role.pixels.shape[-1]
    found = {
        "pixels": cell_means(role.pixels, role.valid, cell_edges(side, settings.pixel_side)),
        "statistics": cell_statistics(role.pixels, role.valid, cell_edges(side, 1)),
    }
    views = {name: values.reshape(len(values), -1) for name, values in found.items()}
    views[UNIT_CHIPS] = unit_chips(views["pixels"])
    for name, encoder in encoders.items():
        tokens = chip_tokens(encoder, role.pixels, role.valid, unit=unit)
        views[name] = np.concatenate([tokens.mean((1, 2)), tokens.std((1, 2))], 1)
    return views


def token_views(role: Role, encoders: dict[str, Pretrained], unit: Any, *, token: int) -> dict[str, Any]:
    """Name -> vectors (chip, row, col, dim), all on cells of `token` pixels.

    Raises:
        DataError: An encoder has other tokens.
    """
    from sarcast.encoders.chips import chip_tokens

    n, channels, side, _ = role.pixels.shape
    count = side // token
    blocks = np.where(role.valid[:, None], role.pixels, 0).reshape(n, channels, count, token, count, token)
    views = {
        "pixels": blocks.transpose(0, 2, 4, 1, 3, 5).reshape(n, count, count, -1),
        "statistics": cell_statistics(role.pixels, role.valid, cell_edges(side, count)),
    }
    for name, encoder in encoders.items():
        if encoder.vit.patch != token:
            raise DataError(f"expected encoders with tokens of {token} px, found {encoder.vit.patch}, {name}")
        views[name] = chip_tokens(encoder, role.pixels, role.valid, unit=unit)
    return views


def token_labels(labels: np.ndarray, token: int, classes: int) -> np.ndarray:
    """The commonest class of each token's labelled pixels, int (chip, row, col); -1 where there are none."""
    n, side = labels.shape[:2]
    count = side // token
    blocks = labels.reshape(n, count, token, count, token).swapaxes(2, 3).reshape(n, count, count, -1)
    votes = np.stack([(blocks == one).sum(-1) for one in range(classes)], -1)
    return np.where(votes.any(-1), votes.argmax(-1), -1)


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
        found[f"{name}, random weights"] = untrained(encoder, seed=seed)
    return found


def _role(chips: LabelledChips) -> Role:
    pixels, valid = chips.pixels()
    labels, known = chips.targets()
    if chips.kind == "regression" and labels.ndim == 3:
        if not known.any((1, 2)).all():
            raise DataError(f"expected a label in every chip, found one without, in {chips.where}")
        labels = np.mean(labels, (1, 2), where=known)
    groups = np.unique(chips.groups, return_inverse=True)[1]
    return Role(pixels=pixels, valid=valid, labels=labels, groups=groups)


def _listed(settings: Probe) -> LabelledChips:
    source, pattern, side = settings.source, settings.group_in_path, settings.side
    if not source.exists():
        raise ProductError(f"expected a folder, CSV file or ZIP archive of chips, found nothing, in {source}")
    if settings.labels is not None:
        dense = settings.task == "segmentation"
        return from_pairs(
            source,
            settings.labels,
            side=side,
            kind=settings.task,
            classes=(settings.classes or WORLD_COVER) if dense else None,
            ignored=settings.ignored,
            group_in_path=pattern,
        )
    if settings.task == "segmentation":
        raise SettingsError("expected --labels, the folder of label images, for segmentation, found none")
    if source.is_dir():
        return from_folder(source, side=side, group_in_path=pattern)
    return from_manifest(
        _manifest(source),
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


def _manifest(source: Path) -> Path | ChipFile:
    """The CSV file, or the one in the archive."""
    if source.suffix.lower() != ".zip":
        return source
    try:
        with zipfile.ZipFile(source) as archive:
            found = [name for name in archive.namelist() if name.lower().endswith(".csv")]
    except (OSError, zipfile.BadZipFile) as error:
        raise ProductError(f"expected a ZIP archive, found {error}, in {source}") from None
    if len(found) != 1:
        raise ProductError(f"expected one CSV file in the archive, found {len(found)}, in {source}")
    return ChipFile(path=source, member=found[0])
