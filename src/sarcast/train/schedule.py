"""Learning rate through training, and which parameters are decayed."""

from __future__ import annotations

import math
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


def groups(module: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimiser: matrices, decayed; biases, norms, tables and tokens, not.

    Parameters that need no gradient are in neither.
    """
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trained if p.dim() >= 2 and not name.endswith(KEPT)]
    kept = [p for name, p in trained if p.dim() < 2 or name.endswith(KEPT)]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
