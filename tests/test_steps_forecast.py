"""forecast: its skill against the two simple forecasts is saved, printed, and what a plain loop finds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from sarcast.cli import main
from sarcast.detectors.forecaster import train
from sarcast.detectors.linear_ar import Window, _moments
from sarcast.detectors.series import Series
from sarcast.detectors.transformer import Transformer
from sarcast.errors import SettingsError
from sarcast.runtime.artefact import writing
from sarcast.stack.cells import write_features
from sarcast.steps.forecast import Forecast, as_dict, as_text, forecast

WORDS = ["--options.epochs", "1", "--options.width", "16", "--options.heads", "2", "--options.device", "cpu"]


@pytest.fixture
def features_path(make_features, rng, tmp_path):
    path = tmp_path / "features.zarr"
    with writing(path, settings={}, inputs={}) as partial:
        write_features(partial, make_features(rng, dates=16, cells=(12, 12)))
    return path


def test_both_skills_are_always_shown(features_path, tmp_path, capsys):
    assert main(["forecast", str(features_path), *WORDS]) == 0
    shown = capsys.readouterr().out
    assert "against the mean of the context" in shown and "against persistence" in shown
    assert main(["forecast", str(features_path), *WORDS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    config = json.loads((tmp_path / "detector" / "config.json").read_text())
    assert found["path"] == str(tmp_path / "detector")
    for name in ("skill", "skill_last"):
        assert found[name] == pytest.approx(np.mean(config[name])) and len(config[name]) == 2
        assert f"{found[name]:+.3f}" in shown
    assert found["skill_last"] > 0.2 > abs(found["skill"]), "noise: the mean is good, the last one is not"


@pytest.mark.parametrize("detector", ["lstm", "probabilistic_transformer", "linear_ar"])
def test_every_forecasting_detector_says_its_skill(features_path, tmp_path, detector):
    tiny = {"epochs": 1, "width": 8, "device": "cpu"} if detector != "linear_ar" else {}
    told = Forecast(features=features_path, detector=detector, options=tiny)
    found = as_dict(forecast(told))
    assert found["detector"] == detector and f"skill of {detector}" in as_text(tmp_path / "detector")
    assert found["skill_last"] > 0.2 > abs(found["skill"])


@pytest.mark.parametrize("detector", ["z_score", "nothing"])
def test_a_detector_that_does_not_forecast_is_refused(features_path, detector):
    with pytest.raises(SettingsError, match=r"expected a detector that forecasts in .*lstm.*, found"):
        forecast(Forecast(features=features_path, detector=detector))


def test_persistence_of_the_linear_model_is_the_plain_loss(rng):
    """Of a ridge model, against squared errors of the last acquisition, window by window."""
    inputs, mean = rng.normal(size=(50, 1, 4)), rng.normal(size=(50, 1))
    value = mean + 0.7 * inputs[:, :, 0] + rng.normal(size=(50, 1))
    window = Window(value=value, mean=mean, design=inputs, valid=np.ones(50, bool))
    weights = np.array([[0.5, 0.1, 0, 0]])
    ours = ((value - mean - (inputs * weights).sum(-1)) ** 2).sum()
    last = ((value - mean - inputs[:, :, 0]) ** 2).sum()
    assert _moments(window, window.valid).skill_last(weights) == pytest.approx(1 - ours / last)


def test_skills_are_those_of_a_plain_loop(rng):
    """Of an untrained forecaster, the context mean: none against that, the loop's against the last."""
    values = rng.normal(0, 1, (12, 30, 2)).astype(np.float32)
    valid = rng.random((12, 30)) < 0.8
    values[~valid] = 0
    zeros = np.zeros((12, 3), np.float32)
    series = Series(
        values=values,
        valid=valid,
        frame=zeros[:, :2],
        days=np.arange(12.0),
        geometry=zeros,
        begin=np.zeros(12, int),
    )
    windows = np.array(
        [(t, c) for t in range(5, 12) for c in range(30) if valid[t, c] and valid[t - 5 : t, c].any()]
    )
    told = Transformer(context=5, epochs=1, width=16, heads=2, layers=1, learning_rate=1e-12, device="cpu")
    found = train(series, windows[:50], windows[50:], told, rng=np.random.default_rng(0))
    mean, last = [], []
    for t, c in windows[50:]:
        seen = [k for k in range(t - 5, t) if valid[k, c]]
        mean.append(values[t, c] - values[seen, c].mean(0))
        last.append(values[t, c] - values[seen[-1], c])
    loss = [
        float(torch.nn.functional.smooth_l1_loss(torch.tensor(np.array(e)), torch.zeros(len(e), 2)))
        for e in (mean, last)
    ]
    assert found.skill == pytest.approx(0, abs=1e-6)
    assert found.skill_last == pytest.approx(1 - loss[0] / loss[1], abs=1e-5)
