"""Learning rate through training, and which parameters are decayed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

KEPT = ("lookup_table_weight", "cls_token", "mask_token")
"""Ends of the names of parameters that are tables or tokens: never decayed, as biases and norms."""


def rate(step: int, steps: int, *, peak: float, warm_up: float, final: float = 0.01) -> float:
    """Learning rate at `step` of `steps`: a straight rise to `peak`, then a half cosine to final * peak.

    Args:
        step: From 0 on.
        steps: Of the whole training.
        peak: Highest rate.
        warm_up: Share of the steps spent rising.
        final: Share of `peak` at the end.
    """
    rising = round(warm_up * steps)
    if step < rising:
        return peak * (step + 1) / rising
    done = min((step - rising) / max(steps - 1 - rising, 1), 1.0)
    return peak * (final + (1 - final) * (1 + math.cos(math.pi * done)) / 2)


def groups(
    module: nn.Module, *, weight_decay: float, shares: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Groups for an optimiser: matrices, decayed; biases, norms, tables and tokens, not.

    Parameters that need no gradient are in none.

    Args:
        module: What is trained.
        weight_decay: Of the matrices.
        shares: Beginning of names -> share of the schedule's learning rate, written as `share` into groups
            of their own; all others have 1.
    """
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    found = []
    for begin, share in {**(shares or {}), "": 1.0}.items():
        some = [(name, p) for name, p in trained if name.startswith(begin)]
        trained = [pair for pair in trained if not pair[0].startswith(begin)]
        decayed = [p for name, p in some if p.dim() >= 2 and not name.endswith(KEPT)]
        kept = [p for name, p in some if p.dim() < 2 or name.endswith(KEPT)]
        found += [
            {"params": decayed, "weight_decay": weight_decay, "share": share},
            {"params": kept, "weight_decay": 0.0, "share": share},
        ]
    return found
