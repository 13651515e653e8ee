"""Temporal predictors: golden predictions and attention; times matter; nothing is masked."""

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

from sarcast.errors import SettingsError, ShapeError

with install_import_hook(["sarcast.nn", "sarcast.objectives"], "beartype.beartype"):
    from sarcast.nn.temporal import TemporalPredictor
    from sarcast.nn.time_encoding import TIME_ENCODINGS, time_encoding


def predictor(encoding, dim=12, seed=0):
    return TemporalPredictor(
        dim=dim,
        layers=2,
        heads=3,
        feedforward=16,
        encoding=encoding,
        rng=torch.Generator().manual_seed(seed),
    )


@pytest.mark.shared
@pytest.mark.parametrize("encoding", TIME_ENCODINGS)
@pytest.mark.parametrize("training", [True, False])
def test_golden(shared, encoding, training):
    golden = np.load(shared / "golden" / "temporal_small.npz")
    weights = torch.load(shared / "golden" / "temporal_small.pth", weights_only=True)
    model = TemporalPredictor(
        dim=96, layers=2, heads=3, feedforward=128, encoding=encoding, rng=torch.Generator()
    )
    model.load_state_dict(weights[encoding])
    model.train(training)
    given = torch.from_numpy(golden["context"]), torch.from_numpy(golden["days"])
    with torch.no_grad():
        np.testing.assert_allclose(model(*given), golden[f"{encoding}_pred"], atol=1e-5, rtol=0)
        np.testing.assert_allclose(
            model.attention(*given), golden[f"{encoding}_attention"], atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("encoding", TIME_ENCODINGS)
def test_every_context_date_and_time_matters(encoding):
    model = predictor(encoding)
    context, times = torch.randn(2, 4, 12), torch.rand(2, 4)
    given = context.requires_grad_(), times.requires_grad_()
    moved = torch.autograd.grad(model(*given).square().sum(), given)
    assert (moved[0].abs().amax((0, 2)) > 0).all()
    assert (moved[1].abs().amax(0) > 0).all()


@pytest.mark.parametrize("encoding", TIME_ENCODINGS)
def test_order_is_known_by_time_alone(encoding):
    model, order = predictor(encoding).eval(), [2, 0, 3, 1]
    context, times = torch.randn(2, 4, 12), torch.rand(2, 4)
    with torch.no_grad():
        torch.testing.assert_close(model(context[:, order], times[:, order]), model(context, times))
        assert (model(context[:, order], times) - model(context, times)).abs().max() > 1e-5


def test_layers_start_differently_and_the_generator_decides():
    a, b = predictor("linear").state_dict(), predictor("linear").state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["layers.0.linear1.weight"], a["layers.1.linear1.weight"])


def test_the_papers_size():
    model = TemporalPredictor(rng=torch.Generator())
    assert sum(p.numel() for p in model.parameters()) == 23_238_656


def test_unknown_encodings_and_odd_widths_are_refused():
    with pytest.raises(SettingsError, match="sinusoidal, ctlpe, linear, found 'rotary'"):
        time_encoding("rotary", 12)
    with pytest.raises(ShapeError, match="even width"):
        time_encoding("sinusoidal", 11)
