"""A slowly following copy of a network: its weights are an exponential moving average of the online ones."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import nn

from sarcast.errors import SettingsError

M = TypeVar("M", bound=nn.Module)


def follower(online: M) -> M:
    """A copy of `online` that no gradient reaches, in evaluation mode."""
    return copy.deepcopy(online).requires_grad_(False).eval()


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, *, decay: float) -> None:
    """Move `target` in place: target = decay * target + (1 - decay) * online; buffers are copied.

    Raises:
        SettingsError: `decay` is not in [0, 1].
    """
    if not 0 <= decay <= 1:
        raise SettingsError(f"expected a decay in 0..1, found {decay}")
    old, new = dict(target.named_parameters()), dict(online.named_parameters())
    torch._foreach_lerp_([old[name] for name in new], list(new.values()), 1 - decay)
    buffers = dict(online.named_buffers())
    for name, buffer in target.named_buffers():
        buffer.copy_(buffers[name])


def decay_at(step: int, steps: int, *, start: float = 0.996, end: float = 1.0) -> float:
    """Decay at `step` of `steps`: a half cosine from `start` to `end` (BYOL, arXiv 2006.07733)."""
    done = min(max(step / max(steps, 1), 0.0), 1.0)
    return end - (end - start) * (math.cos(math.pi * done) + 1) / 2
