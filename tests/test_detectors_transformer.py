"""The forecaster: starts as the context mean, learns what is regular, takes every setting it offers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.detectors import DETECTORS
from sarcast.errors import SarcastError
from sarcast.runtime.settings import build
from sarcast.values import Split

FAST = {"epochs": 1, "width": 16, "layers": 1, "heads": 2, "device": "cpu", "neighbours": 10}


@pytest.mark.parametrize(
    "told",
    [
        {"context": 2},
        {"context": 3},
        {"context": 30},
        {"time_encoding": "ctlpe"},
        {"time_encoding": "linear"},
        {"width": 17},
        {"width": 18, "heads": 4},
        {"batch": 1000000},
        {"heads": 1},
        {"layers": 3},
    ],
    ids=str,
)
def test_every_setting_works_or_is_refused(make_features, rng, told):
    features = make_features(rng, dates=16)
    fit = np.arange(16) < 11
    try:
        detector = build(DETECTORS["transformer"], {**FAST, **told}, where="the test")
        scorer = detector.fit(features, Split(fit=fit, judge=~fit), rng=np.random.default_rng(0))
    except SarcastError:
        return
    scores = scorer.score(features)
    assert np.isfinite(scores.values).all() and scores.valid[~fit].all()


@pytest.mark.slow
def test_a_regular_swing_is_learned(make_features, rng):
    """Half the cells swing with their own phase every date: a forecaster that learned scores them lower."""
    features = make_features(rng, dates=30, dim=2)
    row, col = np.indices(features.valid.shape[1:])
    swing = 6 * (-1.0) ** (np.arange(30)[:, None, None] + row + col)
    values = 0.2 * features.values + swing[..., None].astype(np.float32)
    features = replace(features, values=values.astype(np.float32))
    fit = np.arange(30) < 20
    split = Split(fit=fit, judge=~fit)
    errors = []
    for epochs in (1, 25):
        told = {**FAST, "neighbours": 0, "width": 32, "batch": 256, "epochs": epochs, "learning_rate": 3e-3}
        detector = DETECTORS["transformer"](**told)
        scorer = detector.fit(features, split, rng=np.random.default_rng(0))
        planted = features.values.copy()
        planted[25, 4, 4] -= 2 * swing[25, 4, 4]
        found = scorer.score(replace(features, values=planted)).values
        errors.append(found[25, 4, 4] / np.median(found[25]))
    assert errors[1] > 2 * errors[0]
