"""A network that learns to find changes by having them planted into history's own deviations.

Nothing happened in history, so what is planted there is known: compact patches of random outline in which the
level moves, or the texture grows or fades. Self-supervised anomaly detection by synthetic anomalies, as
CutPaste (arXiv 2104.04015) and DRAEM (arXiv 2108.07610) do for photographs; here in standardised deviations,
where a change of level is an offset and the ground has already gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.random import Generator
from scipy.ndimage import gaussian_filter
from torch import nn

from sarcast.nn.change_net import ChangeNet


class Training(Protocol):
    """Settings of the training."""

    @property
    def steps(self) -> int:
        """Gradient steps."""
        ...

    @property
    def batch(self) -> int:
        """Crops a step."""
        ...

    @property
    def crop(self) -> int:
        """Side of a crop, cells."""
        ...

    @property
    def width(self) -> int:
        """Channels of the network at full resolution."""
        ...

    @property
    def learning_rate(self) -> float:
        """Peak of the one-cycle schedule."""
        ...

    @property
    def soft(self) -> float:
        """Where deviations begin to count by their logarithm."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """Deviations of some dates on which nothing happened."""

    deviations: np.ndarray
    """float32 (time, row, col, dim): standardised, not yet softened; 0 where not seen."""
    seen: np.ndarray
    """bool (time, row, col)."""
    unit: np.ndarray
    """float32 (row, col, dim): what one typical standard deviation of the feature is on this cell."""


def train(history: History, settings: Training, *, rng: Generator, device: torch.device) -> ChangeNet:
    """A network trained by binary cross-entropy on planted changes, AdamW, one-cycle cosine."""
    dim = history.deviations.shape[-1]
    model = ChangeNet(dim, width=settings.width, seed=int(rng.integers(2**31))).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=max(settings.steps, 2)
    )
    for _ in range(settings.steps):
        drawn = [_crop(history, settings.crop, rng) for _ in range(settings.batch)]
        crops = [(*planted(z, unit, rng=rng), seen) for z, unit, seen in drawn]
        inputs = np.stack([soften(z, settings.soft).transpose(2, 0, 1) for z, _, _ in crops])
        truth = torch.from_numpy(np.stack([mask for _, mask, _ in crops])).to(device)
        known = torch.from_numpy(np.stack([seen for _, _, seen in crops])).to(device)
        logits = model(torch.from_numpy(inputs).to(device), known)
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits, truth.to(logits.dtype), weight=known.to(logits.dtype)
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


@torch.inference_mode()
def apply(model: ChangeNet, deviations: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Logits float32 (row, col) of softened deviations (row, col, dim) of one date."""
    device = next(model.parameters()).device
    inputs = torch.from_numpy(np.ascontiguousarray(deviations.transpose(2, 0, 1))[None]).to(device)
    found: np.ndarray = model(inputs, torch.from_numpy(seen[None]).to(device))[0].cpu().numpy()
    return found


def load(state: dict[str, np.ndarray], *, device: torch.device) -> ChangeNet:
    """A network from its saved parameters."""
    width, inputs = state["full.0.weight"].shape[:2]
    model = ChangeNet((inputs - 1) // 2, width=width, seed=0)
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in state.items()})
    return model.to(device).eval()


def soften(z: np.ndarray, soft: float) -> np.ndarray:
    """Deviations well above `soft` by their logarithm, float32."""
    return (soft * np.arcsinh(z / soft)).astype(np.float32)


def planted(z: np.ndarray, unit: np.ndarray, *, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Deviations with a change planted, and where.

    Of ten crops about five get a change of level of 0.3 to 1.8 typical standard deviations, which may differ
    between features; two rougher and one smoother texture; one stays as it is.

    Args:
        z: (row, col, dim), not softened.
        unit: (row, col, dim).
        rng: Draws what, where and how strong.

    Returns:
        float32 (row, col, dim), and bool (row, col).
    """
    kind = rng.random()
    mask = _outline(z.shape[:2], rng)
    if kind < 0.55:
        z = z + mask[..., None] * _levels(z.shape[-1], rng) * unit
    elif kind < 0.8:
        field = gaussian_filter(rng.standard_normal(mask.shape), rng.uniform(0.3, 1.2))
        field = (field - field[mask].mean()) / (field.std() + 1e-6) * rng.uniform(0.4, 1.8)
        z = z + (mask * field)[..., None] * unit
    elif kind < 0.9:
        z = np.where(mask[..., None], z * rng.uniform(0.3, 0.7), z)
    else:
        mask = np.zeros_like(mask)
    return z.astype(np.float32), mask


def _levels(dim: int, rng: Generator) -> np.ndarray:
    """Change of every feature: mostly of one sign, sometimes one feature alone."""
    strength = rng.uniform(0.3, 1.8) * rng.uniform(0.3, 1.2, dim) ** rng.integers(2)
    if rng.random() < 0.2:
        return np.where(np.arange(dim) == rng.integers(dim), strength, 0) * rng.choice([-1, 1])
    signs = rng.choice([-1, 1], dim) if rng.random() < 0.25 else rng.choice([-1, 1])
    return np.asarray(strength * signs)


def _outline(shape: tuple[int, int], rng: Generator) -> np.ndarray:
    """Patches of random outline over 1 to 15 % of the crop, at least one cell."""
    sigma = float(np.exp(rng.uniform(np.log(0.7), np.log(5))))
    field = gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return np.asarray(field >= np.quantile(field, rng.uniform(0.85, 0.99)))


def _crop(history: History, side: int, rng: Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Deviations, unit and validity of a random place on a random date, turned and mirrored at random."""
    times, rows, cols, _ = history.deviations.shape
    side_y, side_x = min(side, rows), min(side, cols)
    t, top, left = (int(rng.integers(n)) for n in (times, rows - side_y + 1, cols - side_x + 1))
    here = (slice(top, top + side_y), slice(left, left + side_x))
    parts = (history.deviations[(t, *here)], history.unit[here], history.seen[(t, *here)])
    flips = [axis for axis in (0, 1) if rng.random() < 0.5]
    turned = rng.random() < 0.5 and side_y == side_x
    flipped = [np.flip(part, tuple(flips)) for part in parts]
    z, unit, seen = (np.swapaxes(part, 0, 1) if turned else part for part in flipped)
    return z, unit, np.ascontiguousarray(seen)
