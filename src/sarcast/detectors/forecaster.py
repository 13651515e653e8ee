"""How a forecasting network is trained on a series, what it is worth, and how it forecasts one date."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from sarcast.nn.tokens import context_last

if TYPE_CHECKING:
    from sarcast.detectors.forecasting import Forecasting
    from sarcast.detectors.series import Series

_CELLS = 4096


@dataclass(frozen=True)
class Trained:
    """A forecaster and what it is worth."""

    model: nn.Module
    skill: float
    """On held-out windows: 1 - smooth-L1 loss / that of the context mean. 0 when no training helped."""
    skill_last: float
    """On held-out windows: 1 - smooth-L1 loss / that of the last valid acquisition (persistence)."""


def train(
    series: Series, windows: np.ndarray, held_out: np.ndarray, settings: Forecasting, *, rng: Generator
) -> Trained:
    """A forecaster fitted by the settings' loss, AdamW, one-cycle cosine.

    Args:
        series: Normalised history.
        windows: int (window, 2): target date and cell to learn from.
        held_out: The same of cells not learned from: the epoch with the lowest loss here is kept, the
            untrained context mean included.
        settings: The detector's.
        rng: Seeds the parameters and the order.
    """
    device = _device(settings)
    told = {"geometry": series.geometry.shape[1], "seed": int(rng.integers(2**31))}
    model = settings.network(series.values.shape[-1], **told).to(device)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    steps = settings.epochs * -(-len(windows) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=max(steps, 2)
    )
    data = _Data(series, settings.context, device)
    lowest, start = _losses(model, data, held_out, settings.loss)
    _, last = _losses(_last, data, held_out, smooth_l1_loss)
    reached = start
    best = copy.deepcopy(model.state_dict())
    for _ in range(settings.epochs):
        order = rng.permutation(len(windows))
        for first in range(0, len(order), settings.batch):
            some = windows[order[first : first + settings.batch]]
            inputs, target = data.batch(some[:, 0], some[:, 1])
            loss = settings.loss(model(*inputs), target)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        now, point = _losses(model, data, held_out, settings.loss)
        if now < lowest:
            lowest, reached, best = now, point, copy.deepcopy(model.state_dict())
    model.load_state_dict(best)
    return Trained(model.eval(), _skill(reached, start), _skill(reached, last))


def _skill(loss: float, simple: float) -> float:
    """1 - loss / that of a simple forecast; 0 where there is nothing to forecast."""
    return 1 - loss / simple if simple else 0.0


def _last(values: Tensor, valid: Tensor, *_: Tensor) -> Tensor:
    """Persistence."""
    return context_last(values, valid)


@torch.inference_mode()
def _losses(
    model: Callable[..., Tensor], data: _Data, windows: np.ndarray, loss: Callable[[Tensor, Tensor], Tensor]
) -> tuple[float, float]:
    """Mean over windows of a loss, and of the smooth L1 of the forecast itself; 0 where there are none."""
    total = np.zeros(2)
    for first in range(0, len(windows), _CELLS):
        some = windows[first : first + _CELLS]
        inputs, target = data.batch(some[:, 0], some[:, 1])
        predicted = model(*inputs)
        point = predicted if predicted.ndim == 2 else predicted[:, 0]
        found = loss(predicted, target), smooth_l1_loss(point, target)
        total += np.array([float(each) for each in found]) * len(some)
    own, plain = total / max(1, len(windows))
    return float(own), float(plain)


@torch.inference_mode()
def forecast(model: nn.Module, window: Series) -> np.ndarray:
    """The last date of `window` forecast from those before it: float32 (cell, dim) or (cell, 2, dim)."""
    device = next(model.parameters()).device
    data = _Data(window, len(window.values) - 1, device)
    last = len(window.values) - 1
    cells = np.arange(window.values.shape[1])
    parts = []
    for first in range(0, len(cells), _CELLS):
        some = cells[first : first + _CELLS]
        inputs, _ = data.batch(np.full(len(some), last), some)
        parts.append(model(*inputs).float().cpu().numpy())
    return np.concatenate(parts)


def load(state: dict[str, np.ndarray], settings: Forecasting, *, dim: int, geometry: int) -> nn.Module:
    """A forecaster from its saved parameters."""
    model = settings.network(dim, geometry=geometry, seed=0)
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in state.items()})
    return model.to(_device(settings)).eval()


class _Data:
    """Windows gathered from a series on the device; a context shorter than K is padded as not valid."""

    def __init__(self, series: Series, context: int, device: torch.device) -> None:
        self.values = torch.from_numpy(series.values).to(device)
        self.valid = torch.from_numpy(series.valid).to(device)
        self.frame = torch.from_numpy(series.frame).to(device)
        self.days = torch.from_numpy(series.days.astype(np.float32)).to(device)
        self.geometry = torch.from_numpy(series.geometry).to(device)
        self.begin = torch.from_numpy(series.begin).to(device)
        self.context = context

    def batch(self, target: np.ndarray, cell: np.ndarray) -> tuple[tuple[Tensor, ...], Tensor]:
        t = torch.from_numpy(target).to(self.values.device)
        c = torch.from_numpy(cell).to(self.values.device)
        back = t[:, None] - torch.arange(self.context, 0, -1, device=t.device)
        at = back.clamp(min=0)
        valid = self.valid[at, c[:, None]] & (back >= self.begin[t][:, None])
        values = self.values[at, c[:, None]] * valid[..., None]
        every = torch.cat([at, t[:, None]], 1)
        days = (self.days[t][:, None] - self.days[at]).clamp(min=0)
        return (values, valid, self.frame[every], days, self.geometry[every]), self.values[t, c]


def _device(settings: Forecasting) -> torch.device:
    if settings.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(settings.device)
