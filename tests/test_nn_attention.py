"""Attention and its relative term against plain loops; buckets against their table and on rectangles."""

import math

import pytest
import torch
from jaxtyping import install_import_hook

from sarcast.errors import ShapeError

with install_import_hook(["sarcast.nn", "sarcast.objectives"], "beartype.beartype"):
    from sarcast.nn.attention import Attention, initialise
    from sarcast.nn.relative_position import BUCKETS, bin_of, buckets

NEAR = {0: 0, 1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 3, 13: 3, 100: 3}


def bucket_of(query, key, cols):
    """Slow reference: tokens are numbered row by row, 0 is the class token."""
    if query == 0 or key == 0:
        return 49
    down = (query - 1) // cols - (key - 1) // cols
    right = (query - 1) % cols - (key - 1) % cols
    binned = [int(math.copysign(NEAR[min(abs(d), 6)], d)) for d in (down, right)]
    return 7 * (binned[0] + 3) + binned[1] + 3


def explicit(attention, x, cols):
    """Slow reference: every score by itself, then softmax; (mixed tokens, maps)."""
    b, n, dim = x.shape
    d = dim // attention.heads
    table = attention.rpe_k.lookup_table_weight[0]
    q, k, v = (part.reshape(b, n, attention.heads, d) for part in attention.qkv(x).chunk(3, 2))
    scores = torch.empty(b, attention.heads, n, n)
    for i in range(n):
        for j in range(n):
            own = (q[:, i] * k[:, j]).sum(2) / math.sqrt(d)
            scores[:, :, i, j] = own + q[:, i] @ table[:, bucket_of(i, j, cols)]
    maps = torch.exp(scores) / torch.exp(scores).sum(3, keepdim=True)
    return attention.proj(torch.einsum("bhij,bjhd->bihd", maps, v).reshape(b, n, dim)), maps


@pytest.fixture
def attention():
    made = Attention(12, 3)
    initialise(made, rng=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made.rpe_k.lookup_table_weight.normal_(generator=torch.Generator().manual_seed(2))
    return made


@pytest.mark.parametrize(("distance", "expected"), NEAR.items())
def test_bins_grow_by_the_log_and_stop(distance, expected):
    assert (bin_of(distance), bin_of(-distance)) == (expected, -expected)


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (7, 7), (2, 9), (8, 3)])
def test_buckets_of_any_rectangle(rows, cols):
    n = 1 + rows * cols
    expected = [[bucket_of(i, j, cols) for j in range(n)] for i in range(n)]
    found = buckets(rows, cols)
    assert found.tolist() == expected
    assert found.max() == BUCKETS - 1


@pytest.mark.parametrize(("rows", "cols"), [(2, 2), (2, 5), (6, 1)])
def test_equals_explicit_scores(attention, rows, cols):
    x = torch.randn(2, 1 + rows * cols, 12, generator=torch.Generator().manual_seed(3))
    mixed, maps = explicit(attention, x, cols)
    torch.testing.assert_close(attention(x, buckets(rows, cols)), mixed, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(attention.maps(x, buckets(rows, cols)), maps, atol=1e-6, rtol=1e-5)


def test_gradients_equal_those_of_explicit_scores(attention):
    x = torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(3))
    weights = list(attention.parameters())
    fused = torch.autograd.grad(attention(x, buckets(2, 3)).square().sum(), weights)
    slow = torch.autograd.grad(explicit(attention, x, 3)[0].square().sum(), weights)
    for a, b in zip(fused, slow, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_position_matters_only_through_the_table(attention):
    """Swapping two tokens' contents moves the outputs unless the table is zero."""
    x = torch.randn(1, 7, 12, generator=torch.Generator().manual_seed(3))
    order = [0, 2, 1, 3, 4, 5, 6]
    assert (attention(x[:, order], buckets(2, 3))[:, order] - attention(x, buckets(2, 3))).abs().max() > 1e-3
    with torch.no_grad():
        attention.rpe_k.lookup_table_weight.zero_()
    torch.testing.assert_close(attention(x[:, order], buckets(2, 3))[:, order], attention(x, buckets(2, 3)))


def test_tables_of_buckets_stay_out_of_the_state_dict(attention):
    attention(torch.zeros(1, 7, 12), buckets(2, 3))
    assert set(attention.state_dict()) == {
        "qkv.weight", "qkv.bias", "proj.weight", "proj.bias", "rpe_k.lookup_table_weight",
    }  # fmt: skip


def test_buckets_first_asked_for_in_inference_serve_training(attention):
    with torch.inference_mode():
        attention(torch.zeros(1, 1 + 3 * 17, 12), buckets(3, 17))
    attention(torch.ones(1, 1 + 3 * 17, 12), buckets(3, 17)).sum().backward()
    assert attention.rpe_k.lookup_table_weight.grad is not None


def test_a_width_the_heads_do_not_divide_is_refused():
    with pytest.raises(ShapeError, match="multiples of 5 heads, found 12"):
        Attention(12, 5)
