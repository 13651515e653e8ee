"""Forecasting networks: the context mean until trained, causal, blind to what was not seen, likelihoods."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sarcast.nn.convolution import Convolutional, layers_to_see
from sarcast.nn.forecaster import Forecaster
from sarcast.nn.gaussian_forecaster import GaussianForecaster, gaussian_nll, student_nll
from sarcast.nn.geometry_forecaster import GeometryForecaster, like_geometry
from sarcast.nn.recurrent import Recurrent
from sarcast.nn.tokens import context_mean

B, K, DIM, G = 5, 6, 3, 4
COMMON = {"width": 8, "encoding": "sinusoidal", "geometry": G, "seed": 3}
MODELS = {
    "lstm": lambda: Recurrent(DIM, cell="lstm", layers=2, **COMMON),
    "gru": lambda: Recurrent(DIM, cell="gru", layers=1, **COMMON),
    "tcn": lambda: Convolutional(DIM, layers=2, **COMMON),
    "transformer": lambda: Forecaster(DIM, layers=1, heads=2, **COMMON),
    "gaussian": lambda: GaussianForecaster(DIM, layers=1, heads=2, **COMMON),
    "geometry": lambda: GeometryForecaster(DIM, layers=1, heads=2, **COMMON),
}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


@pytest.fixture
def inputs():
    rng = torch.Generator().manual_seed(0)
    valid = torch.rand(B, K, generator=rng) > 0.4
    valid[:, 2] = True
    return (
        torch.randn(B, K, DIM, generator=rng) * valid[..., None],
        valid,
        torch.randn(B, K + 1, DIM, generator=rng),
        torch.rand(B, K, generator=rng) * 200,
        torch.randn(B, K + 1, G, generator=rng),
    )


def stirred(model):
    """No parameter is zero any more, as after training."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=rng)
    return model


def test_untrained_it_is_the_context_mean(model, inputs):
    found = model(*inputs)
    point = found if found.ndim == 2 else found[:, 0]
    torch.testing.assert_close(point, context_mean(*inputs[:2]), rtol=0, atol=0)
    if found.ndim == 3:
        assert (found[:, 1] == 0).all(), "unit variance"


def test_what_was_not_seen_changes_nothing(model, inputs):
    values, valid, frame, days, geometry = inputs
    model = stirred(model)
    hole = ~valid
    other = values + 5 * hole[..., None]
    late = days + 100 * hole
    wide = torch.cat([hole, torch.zeros(B, 1, dtype=bool)], 1)[..., None]
    before = model(*inputs)
    # the frame and the geometry are those of the whole date; here they belong to the cell's own steps
    after = model(other * valid[..., None], valid, frame + 3 * wide, late, geometry + 2 * wide)
    torch.testing.assert_close(before, after)
    seen = valid.nonzero()[0]
    moved = values.clone()
    moved[seen[0], seen[1]] += 1
    assert (model(moved, valid, frame, days, geometry)[seen[0]] != before[seen[0]]).any()


@pytest.mark.parametrize("name", ["lstm", "gru", "tcn"])
def test_states_never_look_ahead(name):
    model = stirred(MODELS[name]())
    tokens = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(2, 9, dtype=bool)
    before = model.states(tokens, valid)
    for t in range(1, 9):
        later = tokens.clone()
        later[:, t:] += 7 * torch.arange(8)
        after = model.states(later, valid)
        torch.testing.assert_close(after[:, :t], before[:, :t])
        assert (after[:, t] != before[:, t]).any()


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_step_not_seen_leaves_the_state(name):
    model = stirred(MODELS[name]())
    tokens = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([True, True, False, True, False, True]).expand(2, 6)
    shorter = model.states(tokens[:, valid[0]], torch.ones(2, 4, dtype=bool))
    torch.testing.assert_close(model.states(tokens, valid)[:, -1], shorter[:, -1])


@pytest.mark.parametrize("steps", [2, 3, 4, 8, 15, 16, 31])
def test_convolutions_see_the_whole_context(steps):
    layers = layers_to_see(steps)
    model = stirred(Convolutional(DIM, layers=layers, **COMMON))
    tokens = torch.randn(1, steps, 8, generator=torch.Generator().manual_seed(0))
    first = tokens.clone()
    first[:, 0] = first[:, 0].flip(-1)
    valid = torch.ones(1, steps, dtype=bool)
    assert (model.states(first, valid)[:, -1] != model.states(tokens, valid)[:, -1]).any()
    assert 1 + 2 * (2**layers - 1) >= steps and (layers == 1 or 1 + 2 * (2 ** (layers - 1) - 1) < steps)


def test_likelihoods_equal_a_slow_reference(rng):
    from scipy import stats

    predicted, target = rng.normal(0, 1.5, (7, 2, DIM)), rng.normal(0, 2, (7, DIM))
    gauss, student = [], []
    for mean, spread, value in zip(
        predicted[:, 0].ravel(), predicted[:, 1].ravel(), target.ravel(), strict=True
    ):
        sigma = math.exp(spread / 2)
        gauss.append(-stats.norm(mean, sigma).logpdf(value))
        student.append(-stats.t(4, mean, sigma).logpdf(value))
    told = torch.from_numpy(predicted), torch.from_numpy(target)
    assert float(gaussian_nll(*told)) == pytest.approx(np.mean(gauss), rel=1e-9)
    assert float(student_nll(*told, freedom=4)) == pytest.approx(np.mean(student), rel=1e-9)


def test_like_geometry_picks_the_acquisitions_of_the_same_platform():
    values = torch.tensor([[1.0, 5.0, 1.0, 7.0, 100.0]])[..., None]
    valid = torch.tensor([[True, True, True, True, False]])
    mine, other = [0.0, 1.0], [1.0, 0.0]
    geometry = torch.tensor([[other, mine, other, mine, mine, mine]])
    assert float(like_geometry(values, valid, geometry)) == pytest.approx(6, abs=0.01)
    unknown = torch.zeros_like(geometry)
    torch.testing.assert_close(like_geometry(values, valid, unknown), context_mean(values, valid))
    nothing = like_geometry(torch.zeros(1, 5, 1), torch.zeros(1, 5, dtype=bool), geometry)
    assert (nothing == 0).all()
