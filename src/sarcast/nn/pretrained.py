"""An encoder with what must be known to use it: a folder of ours, or a file in the public SAR-JEPA layout.

Weights that come with sarcast are such folders too, in weights/, and go by their name.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sarcast.errors import ArtefactError, SettingsError
from sarcast.nn.card import Card
from sarcast.nn.checkpoint_layout import load_public, read_public, size_of
from sarcast.nn.vit import Size, ViT
from sarcast.runtime.model import CONFIG, WEIGHTS, load_model, save_model
from sarcast.runtime.settings import as_json, build

KIND, VERSION = "vit", 1
SHIPPED = Path(__file__).parents[1] / "weights"
"""One folder for each encoder that comes with sarcast."""
PUBLIC_WINDOW = 14
"""Tokens a side of the images the public weights were trained on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pretrained:
    """An encoder, the scaling of its input, and the image size it knows."""

    vit: ViT
    card: Card
    window: int
    """Tokens a side of the images it was trained on."""
    about: dict[str, Any] = field(default_factory=dict)
    """JSON-able: objective, data, steps, whether judged dates were seen ..."""


def find_weights(path: Path) -> Path:
    """`path` where it exists, else the weights of that name that come with sarcast.

    Raises:
        ArtefactError: Neither is there; says which names come with sarcast.
    """
    if path.exists():
        return path
    shipped = sorted(p.name for p in SHIPPED.iterdir()) if SHIPPED.is_dir() else []
    if str(path) in shipped:
        return SHIPPED / path
    raise ArtefactError(
        f"expected a folder or file of weights, or a name in {', '.join(shipped) or 'none'} that comes with "
        f"sarcast, found nothing, in {path}"
    )


def weight_files(path: Path) -> tuple[Path, ...]:
    """Files whose content decides what `load_encoder` gives; `path` as there."""
    found = find_weights(path)
    return (found / CONFIG, found / WEIGHTS) if found.is_dir() else (found,)


def save_encoder(folder: Path, encoder: Pretrained, *, half: bool = False) -> None:
    """Write config.json and model.safetensors into `folder` (made here); `half`: 16 bits a weight, not 32.

    Raises:
        SettingsError: The card is for another number of channels than the network.
    """
    vit = encoder.vit
    _check_channels(encoder.card, vit.channels, where=str(folder))
    config = {
        "encoder": KIND,
        "version": VERSION,
        "size": asdict(vit.size),
        "patch": vit.patch,
        "channels": vit.channels,
        "ratio": vit.ratio,
        "window": encoder.window,
        "card": as_json(encoder.card),
        "about": encoder.about,
    }
    kind = np.float16 if half else np.float32
    state = {name: value.detach().float().cpu().numpy() for name, value in vit.state_dict().items()}
    state = {name: value.astype(kind) for name, value in state.items()}
    save_model(folder, config=config, arrays=state)


def load_encoder(path: Path, *, card: Card | None = None) -> Pretrained:
    """An encoder from a folder `save_encoder` wrote, or a .pth file in the public layout; float32.

    Args:
        path: Folder, file, or name of weights that come with sarcast.
        card: Scaling of the input: required for a file, which does not tell; None for a folder, which does.

    Raises:
        ArtefactError: Missing, unreadable, or a tensor is missing or misshapen (named).
        SettingsError: A file without a card, a folder with another, or a card for other channels.
    """
    found = find_weights(path)
    return _from_folder(found, card) if found.is_dir() else _from_file(found, card)


def stages(about: dict[str, Any]) -> list[str]:
    """What was done to an encoder, in order, such as pretrain, adapt; from its `Pretrained.about`."""
    return list(about.get("stages") or (["pretrain"] if "objective" in about else []))


def _from_folder(folder: Path, card: Card | None) -> Pretrained:
    config, arrays = load_model(folder)
    if config.get("encoder") != KIND or config.get("version") != VERSION:
        raise ArtefactError(
            f"expected a {KIND} encoder of version {VERSION}, found {config.get('encoder')!r} of version "
            f"{config.get('version')!r}, in {folder}"
        )
    try:
        vit = ViT(
            Size(**config["size"]),
            patch=config["patch"],
            channels=config["channels"],
            ratio=config["ratio"],
            rng=torch.Generator(),
        )
        own = build(Card, config["card"], where=str(folder))
        window, about = int(config["window"]), dict(config["about"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"expected a whole config.json, found {error!r} wrong, in {folder}") from None
    _check_channels(own, vit.channels, where=str(folder))
    if card is not None and card != own:
        raise SettingsError(f"expected no card beside a folder that has its own, found another, for {folder}")
    load_public(
        vit,
        {name: torch.from_numpy(array.astype("float32")) for name, array in arrays.items()},
        where=str(folder),
    )
    return Pretrained(vit=vit.eval(), card=own, window=window, about=about)


def _from_file(path: Path, card: Card | None) -> Pretrained:
    weights = read_public(path)
    if card is None:
        raise SettingsError(f"expected a card, because a checkpoint does not tell its scaling, for {path}")
    where = str(path)
    size = size_of(weights, where=where)
    try:
        proj, hidden = weights["patch_embed.proj.weight"], weights["blocks.0.mlp.fc1.weight"]
        _, channels, patch, _ = proj.shape
    except (KeyError, ValueError) as error:
        raise ArtefactError(
            f"expected patch_embed.proj and mlp.fc1, found {error} wrong, in {path}"
        ) from None
    _check_channels(card, channels, where=where)
    vit = ViT(
        size, patch=patch, channels=channels, ratio=hidden.shape[0] / hidden.shape[1], rng=torch.Generator()
    )
    load_public(vit, weights, where=where)
    return Pretrained(
        vit=vit.eval(), card=card, window=PUBLIC_WINDOW, about={"file": path.name, "stages": ["pretrain"]}
    )


def _check_channels(card: Card, channels: int, *, where: str) -> None:
    """A card without channels scales each image by itself, whatever the network takes."""
    if card.channels and len(card.channels) != channels:
        raise SettingsError(
            f"expected a card of {channels} channels as the network has, found {', '.join(card.channels)}, "
            f"for {where}"
        )
