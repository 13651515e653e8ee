"""An encoder with what must be known to use it: a folder of ours, or a file in the public SAR-JEPA layout."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from sarcast.errors import ArtefactError, SettingsError
from sarcast.nn.card import Card
from sarcast.nn.checkpoint_layout import load_public, read_public, size_of
from sarcast.nn.vit import Size, ViT
from sarcast.runtime.model import load_model, save_model
from sarcast.runtime.settings import as_json, build

KIND, VERSION = "vit", 1
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


def save_encoder(folder: Path, encoder: Pretrained) -> None:
    """Write config.json and model.safetensors into `folder` (made here)."""
    vit = encoder.vit
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
    state = {name: value.detach().float().cpu().numpy() for name, value in vit.state_dict().items()}
    save_model(folder, config=config, arrays=state)


def load_encoder(path: Path, *, card: Card | None = None) -> Pretrained:
    """An encoder from a folder `save_encoder` wrote, or a .pth file in the public layout.

    Args:
        path: Folder or file.
        card: Scaling of the input: required for a file, which does not tell; None for a folder, which does.

    Raises:
        ArtefactError: Missing, unreadable, or a tensor is missing or misshapen (named).
        SettingsError: A file without a card, or a folder with another.
    """
    return _from_folder(path, card) if path.is_dir() else _from_file(path, card)


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
    vit = ViT(
        size, patch=patch, channels=channels, ratio=hidden.shape[0] / hidden.shape[1], rng=torch.Generator()
    )
    load_public(vit, weights, where=where)
    return Pretrained(vit=vit.eval(), card=card, window=PUBLIC_WINDOW, about={"file": path.name})
