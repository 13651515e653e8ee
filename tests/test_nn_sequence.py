"""The layer over short sequences against PyTorch's own, which has the same parameters."""

import pytest
import torch
from jaxtyping import install_import_hook
from torch import nn

with install_import_hook(["sarcast.nn"], "beartype.beartype"):
    from sarcast.nn.sequence import Layer


@pytest.fixture
def layers():
    """(ours, PyTorch's) with the same weights."""
    theirs = nn.TransformerEncoderLayer(12, 3, 20, 0.0, "gelu", batch_first=True, norm_first=True)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    ours = Layer(12, 3, 20)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("hide", [False, True])
def test_values_and_gradients_are_those_of_torch(layers, hide):
    ours, theirs = layers
    x = torch.randn(4, 5, 12, generator=torch.Generator().manual_seed(1))
    hidden = torch.rand(4, 5, generator=torch.Generator().manual_seed(2)) < 0.5 if hide else None
    if hidden is not None:
        hidden[:, 0] = False
    a, b = ours(x, hidden), theirs(x, src_key_padding_mask=hidden)
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    found, expected = (
        torch.autograd.grad(y.square().sum(), list(m.parameters())) for y, m in ((a, ours), (b, theirs))
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(x, hidden), b, atol=1e-5, rtol=1e-5)


def test_a_hidden_step_reaches_no_other(layers):
    x, hidden = torch.randn(1, 4, 12), torch.tensor([[False, False, True, False]])
    other = x.clone()
    other[0, 2] = torch.randn(12)
    a, b = layers[0](x, hidden), layers[0](other, hidden)
    torch.testing.assert_close(a[:, [0, 1, 3]], b[:, [0, 1, 3]])
    assert (layers[0](other) - layers[0](x))[:, 0].abs().max() > 1e-3


def test_dropout_only_while_training():
    layer, x = Layer(12, 3, 20, dropout=0.5), torch.randn(2, 4, 12)
    nn.init.xavier_uniform_(layer.self_attn.in_proj_weight)
    torch.manual_seed(0)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))
