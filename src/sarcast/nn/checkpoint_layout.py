"""Weights in the layout of the public SAR-JEPA checkpoint: read without running any code in it, written back.

Such a file is a dict with "model" (name -> tensor), often "optimizer", "epoch", "scaler" and "args" (an
`argparse.Namespace`, the only class that is let through). Our modules bear the same names; an objective keeps
its encoder's under "encoder.". Two things in the file are constants: `pos_embed`, which is never added to
anything, and the gradient kernels `sarfeature{1..4}`; they are checked on loading and made anew on writing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sarcast.errors import ArtefactError
from sarcast.nn.gradient import RADII
from sarcast.nn.vit import Size

HEAD = ("mask_token", "encoder_pred.", "decoder_")
"""How the names begin that only pretraining needs: an encoder alone does without them."""


def read_public(path: Path) -> dict[str, Tensor]:
    """Tensors of a file in the public layout, by name.

    Raises:
        ArtefactError: The file cannot be read, would run code, or has no "model".
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ArtefactError(f"expected a checkpoint, found nothing, in {path}") from None
    except Exception as error:  # a spoiled pickle raises whatever its bytes happen to mean
        raise ArtefactError(f"expected plain tensors, found {_reason(error)}, in {path}") from None
    model = found.get("model") if isinstance(found, dict) else None
    if not isinstance(model, dict) or not all(isinstance(value, Tensor) for value in model.values()):
        raise ArtefactError(f'expected tensors by name under "model", found none, in {path}')
    return dict(model)


def load_public(module: nn.Module, weights: Mapping[str, Tensor], *, where: str = "the checkpoint") -> None:
    """Put weights in the public layout into an encoder or an objective; all, or none if one does not fit.

    Args:
        module: Encoder, or an objective with its encoder under "encoder.".
        weights: From `read_public`.
        where: Named in errors.

    Raises:
        ArtefactError: A tensor is missing, misshapen or unknown; named.
    """
    names = {_public(name): name for name in module.state_dict()}
    state = module.state_dict()
    for public, own in names.items():
        if public not in weights:
            raise ArtefactError(
                f"expected a tensor {public} {tuple(state[own].shape)}, found none, in {where}"
            )
        if weights[public].shape != state[own].shape:
            raise ArtefactError(
                f"expected {public} of shape {tuple(state[own].shape)}, "
                f"found {tuple(weights[public].shape)}, in {where}"
            )
    alone = not any(public.startswith(HEAD) for public in names)
    for public in weights.keys() - names.keys():
        if not (public == "pos_embed" or _is_kernel(public, weights[public], where)) and not (
            alone and public.startswith(HEAD)
        ):
            raise ArtefactError(f"expected no tensor {public}, found one, in {where}")
    module.load_state_dict({own: weights[public] for public, own in names.items()})


def to_public(module: nn.Module, *, grid: tuple[int, int], radii: Sequence[int] = RADII) -> dict[str, Tensor]:
    """All tensors of the public layout, float32 on the CPU: the module's own and the constants.

    Args:
        module: Encoder or objective.
        grid: (rows, cols) of patches `pos_embed` is made for; 14 x 14 in the public file.
        radii: Of the gradient kernels; written only for an objective.
    """
    state = {
        _public(name): value.detach().float().cpu().clone() for name, value in module.state_dict().items()
    }
    state["pos_embed"] = position_constants(grid, state["cls_token"].shape[2])
    if any(name.startswith(HEAD) for name in state):
        for i, radius in enumerate(radii, 1):
            state |= {f"sarfeature{i}.weight_{side}": half for side, half in _kernels(radius).items()}
    return state


def write_public(path: Path, weights: Mapping[str, Tensor], *, epoch: int = 0) -> None:
    """Write a file that `read_public` and the public code read."""
    torch.save({"model": dict(weights), "epoch": epoch}, path)


def size_of(weights: Mapping[str, Tensor], *, blocks: str = "blocks", where: str = "the checkpoint") -> Size:
    """Width, depth and heads of the encoder ("blocks") or the predictor ("decoder_blocks") in a file.

    Raises:
        ArtefactError: The tensors that tell are not there.
    """
    numbers = {name.split(".")[1] for name in weights if name.startswith(f"{blocks}.")}
    try:
        dim = len(weights[f"{blocks}.0.norm1.weight"])
        head = weights[f"{blocks}.0.attn.rpe_k.lookup_table_weight"].shape[1]
    except KeyError as error:
        raise ArtefactError(f"expected a tensor {error.args[0]}, found none, in {where}") from None
    return Size(dim=dim, depth=len(numbers), heads=dim // head)


def position_constants(grid: tuple[int, int], dim: int) -> Tensor:
    """Sines and cosines of a patch's column and row, (1, 1 + rows * cols, dim); zero for the class token."""
    quarter = dim // 4
    omega = 10000.0 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    row, col = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    angles = (axis.flatten()[:, None] * omega for axis in (col, row))
    table = torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], 1)
    return torch.cat([torch.zeros(1, table.shape[1], dtype=torch.float64), table])[None].float()


def _reason(error: Exception) -> str:
    """One line of a reader's error: what it would not let through, where that is what it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {next((line for line in lines if 'GLOBAL' in line), lines[0])[:200]}"


def _public(name: str) -> str:
    return name.removeprefix("encoder.")


def _kernels(radius: int) -> dict[str, Tensor]:
    """Ones over the left, right, top and bottom half of a window, centre line in both, (1, 1, side, side)."""
    near = torch.arange(2 * radius + 1) <= radius
    lines = {
        "x1": near[None, :],
        "x2": near.flip(0)[None, :],
        "y1": near[:, None],
        "y2": near.flip(0)[:, None],
    }
    side = 2 * radius + 1
    return {name: line.float().expand(side, side).clone()[None, None] for name, line in lines.items()}


def _is_kernel(name: str, found: Tensor, where: str) -> bool:
    """True for a gradient kernel as `RADII` and the formula make it; one that differs is refused by name."""
    feature, _, part = name.partition(".weight_")
    number = feature.removeprefix("sarfeature")
    if number == feature or not number.isdigit() or not 1 <= int(number) <= len(RADII):
        return False
    expected = _kernels(RADII[int(number) - 1]).get(part)
    if expected is None:
        return False
    if found.shape != expected.shape or not torch.equal(found.float(), expected):
        raise ArtefactError(
            f"expected {name} to be the half-window kernel of radius {RADII[int(number) - 1]}, "
            f"found shape {tuple(found.shape)} or other values, in {where}"
        )
    return True
