"""forecast: its skill against the two simple forecasts is saved, printed, and what a plain loop finds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from sarcast.cli import main
from sarcast.detectors.forecaster import train
from sarcast.detectors.series import Series
from sarcast.detectors.transformer import Transformer
from sarcast.runtime.artefact import writing
from sarcast.stack.cells import write_features

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
