"""The peer's rows give it what it asks for: logit of despeckled gamma0, VV first, oldest date first."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sarcast.errors import DataError
from sarcast.steps.bench_peers import PeerTransformer
from sarcast.values import Split


@pytest.fixture
def given(monkeypatch):
    """What a stand-in for the package was handed."""
    calls = []

    def predict(model, copol, crosspol, **told):
        calls.append((model, np.array(copol), np.array(crosspol), told))
        shape = (2, *np.shape(copol)[1:])
        return np.stack([np.mean(copol, 0), np.mean(crosspol, 0)]), np.full(shape, 0.5)

    fake = SimpleNamespace(
        load_transformer_model=lambda name, device: (name, device),
        estimate_normal_params=predict,
        despeckle_one_rtc_arr_with_tv=lambda image: np.clip(image, 1e-7, 1 - 1e-7),
    )
    monkeypatch.setitem(sys.modules, "distmetrics", fake)
    return calls


@pytest.fixture
def stack(make_stack, rng):
    return replace(make_stack(rng, (24, 24), dates=12, bands=("VH", "VV")), radiometry="gamma0")


def logits(stack, t, band):
    power = np.clip(stack.amplitude[t, stack.bands.index(band)].astype(float) ** 2, 1e-7, 1 - 1e-7)
    return np.log(power / (1 - power))


def test_it_is_fed_as_it_asks_and_scored_by_the_larger_polarisation(given, stack):
    fit = np.arange(12) < 11
    learned = PeerTransformer(weights="w", dates=4).learn(stack, Split(fit=fit, judge=~fit), seed=0)
    scores = learned.judge(stack)
    model, vv, vh, told = given[0]
    assert model == ("w", "cpu") and told["memory_strategy"] == "low"
    for image, t in zip(vv, range(7, 11), strict=True):
        np.testing.assert_allclose(image, logits(stack, t, "VV"), rtol=1e-6)
    for image, t in zip(vh, range(7, 11), strict=True):
        np.testing.assert_allclose(image, logits(stack, t, "VH"), rtol=1e-6)
    away = [np.abs(logits(stack, 11, band) - image.mean(0)) / 0.5 for band, image in (("VV", vv), ("VH", vh))]
    np.testing.assert_allclose(scores.values[0], np.maximum(*away), rtol=1e-5)
    assert scores.valid.all() and scores.times.scene_id == stack.times.scene_id[11:]


def test_history_is_scored_by_earlier_dates_alone(given, stack):
    fit = np.arange(12) < 11
    learned = PeerTransformer(weights="w", dates=4, least=5).learn(stack, Split(fit=fit, judge=~fit), seed=0)
    given.clear()
    past = learned.history()
    assert not past.valid[:5].any() and past.valid[5:].all()
    for t, (_, vv, _, _) in zip(range(5, 11), given, strict=True):
        np.testing.assert_allclose(vv[-1], logits(stack, t - 1, "VV"), rtol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"radiometry": "sigma0"}, {"bands": ("HH", "HV")}], ids=["radiometry", "bands"]
)
@pytest.mark.usefixtures("given")
def test_anything_else_is_refused(stack, wrong):
    fit = np.arange(12) < 11
    with pytest.raises(DataError, match="expected gamma0 of VV and VH for distmetrics"):
        PeerTransformer(weights="w").learn(replace(stack, **wrong), Split(fit=fit, judge=~fit), seed=0)
