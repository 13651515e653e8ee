"""The linear map on oneDNN against PyTorch's own: values, gradients, and where it must step aside."""

import pytest
import torch
from jaxtyping import install_import_hook
from torch.nn.functional import gelu, linear

with install_import_hook(["sarcast.nn"], "beartype.beartype"):
    from sarcast.nn.linear import Linear, on_onednn


@pytest.fixture
def layer():
    made = Linear(7, 4)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(0))
    return made


@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7), (2, 0, 7), (1, 3, 2, 7)])
@pytest.mark.parametrize("contiguous", [True, False])
def test_values_and_gradients_are_those_of_torch(layer, shape, contiguous):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    x = x if contiguous or x.dim() < 2 else x.transpose(0, -2).contiguous().transpose(0, -2)
    x.requires_grad_()
    ours, theirs = layer(x), linear(x, layer.weight, layer.bias)
    given = [x, *layer.parameters()]
    push = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    for a, b in zip(
        torch.autograd.grad(ours, given, push), torch.autograd.grad(theirs, given, push), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), theirs, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(layer.with_gelu(x), gelu(theirs), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(layer.with_gelu(x), gelu(theirs), atol=1e-6, rtol=1e-5)


def test_only_what_is_learned_gets_a_gradient(layer):
    layer.weight.requires_grad_(False)
    x = torch.ones(2, 7, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None and layer.bias.grad is not None
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(2, -1))
    layer.requires_grad_(False)
    assert not layer(torch.ones(2, 7)).requires_grad


def test_it_steps_aside_where_onednn_would_be_wrong(layer):
    x = torch.ones(2, 7)
    assert on_onednn(x, layer.weight)
    assert not on_onednn(x.double(), layer.weight.double())
    assert layer.double()(x.double()).dtype == torch.float64
    layer.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


def test_a_traced_graph_holds_ordinary_operators(layer):
    program = torch.export.export(layer, (torch.ones(2, 7),))
    assert not any("mkldnn" in str(node.target) for node in program.graph.nodes)
