"""Rows of the operational product's own package, `distmetrics`, where it is installed: never a dependency.

Its transformers predict mean and standard deviation of the next image, per pixel and polarisation, from
images given oldest first as the logit of despeckled gamma0; the score is the larger of the two |z|
(Hardiman-Mostow et al., 2025). Other input (dB, linear, another order) gives plausible maps that mean
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import DataError
from sarcast.steps.bench_maps import pixel_scores

if TYPE_CHECKING:
    from sarcast.values import Scores, Split, Stack

INSTALLED = find_spec("distmetrics") is not None


@dataclass(frozen=True, kw_only=True)
class PeerTransformer:
    """A transformer of `distmetrics`."""

    weights: str
    """Name of a set of weights."""
    dates: int = 10
    """Last dates before the judged one that it is given."""
    least: int = 5
    """Earlier dates a date of history must have to be scored."""
    stride: int = 8
    """Step of its windows, pixels."""

    def learn(self, stack: Stack, split: Split, *, seed: int) -> _Peer:  # noqa: ARG002
        """Despeckle history once, predict the judged date once.

        Raises:
            DataError: Not gamma0 of VV and VH.
        """
        import torch
        from distmetrics import load_transformer_model

        if set(stack.bands) != {"VH", "VV"} or stack.radiometry != "gamma0":
            raise DataError(
                f"expected gamma0 of VV and VH for distmetrics, found {stack.radiometry} of "
                f"{' and '.join(stack.bands)}, in {stack.name}"
            )
        torch.set_num_threads(1)
        model = load_transformer_model(self.weights, device="cpu")
        past = np.stack([_logits(stack, int(t)) for t in np.flatnonzero(split.fit)])
        return _Peer(
            settings=self,
            model=model,
            past=past,
            now=_predicted(model, past, self),
            stack=stack,
            fit=np.flatnonzero(split.fit),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Peer:
    settings: PeerTransformer
    model: Any
    past: np.ndarray
    """float64 (time, band, y, x): logits, VV then VH; NaN where not valid."""
    now: tuple[np.ndarray, np.ndarray]
    """Mean and standard deviation of the judged date, (band, y, x)."""
    stack: Stack
    fit: np.ndarray
    local: bool = False

    def history(self) -> Scores:
        """Every date of history by the dates before it; the first few cannot be scored."""
        z = [np.full(self.past.shape[2:], np.nan)] * self.settings.least
        for t in range(self.settings.least, len(self.past)):
            z.append(_distance(self.past[t], _predicted(self.model, self.past[:t], self.settings)))
        return pixel_scores(self.stack, self.fit, *_known(np.stack(z)))

    def judge(self, stack: Stack) -> Scores:
        """The last date by history."""
        last = len(stack.times) - 1
        found = _known(_distance(_logits(stack, last), self.now)[None])
        return pixel_scores(stack, np.array([last]), *found)


def _predicted(model: Any, past: np.ndarray, settings: PeerTransformer) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (band, y, x) of the image after `past`."""
    from distmetrics import estimate_normal_params

    given = past[-settings.dates :]
    mean, deviation = estimate_normal_params(
        model, list(given[:, 0]), list(given[:, 1]), stride=settings.stride, device="cpu",
        tqdm_enabled=False, memory_strategy="low",
    )  # fmt: skip
    return np.asarray(mean), np.asarray(deviation)


def _logits(stack: Stack, t: int) -> np.ndarray:
    """Logits of despeckled gamma0, (band, y, x), VV then VH."""
    from distmetrics import despeckle_one_rtc_arr_with_tv
    from scipy.special import logit

    valid = np.asarray(stack.valid[t])
    power = np.asarray(stack.amplitude[t], np.float64) ** 2
    images = [np.where(valid, power[stack.bands.index(band)], np.nan) for band in ("VV", "VH")]
    return np.stack([logit(despeckle_one_rtc_arr_with_tv(image)) for image in images])


def _distance(image: np.ndarray, predicted: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    mean, deviation = predicted
    distance: np.ndarray = (np.abs(image - mean) / deviation).max(0)
    return distance


def _known(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(distance)
    return np.where(known, distance, 0), known
