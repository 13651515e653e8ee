"""Gradients: edges show at their scale, levels do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.encoders.gradients import Gradients
from sarcast.errors import SarcastError
from sarcast.runtime.settings import build


def test_blind_to_the_level(make_stack, rng):
    stack = make_stack(rng, dates=1)
    brighter = replace(stack, amplitude=stack.amplitude * np.float32(3))
    a, b = (Gradients(patch=8).encode(s).values for s in (stack, brighter))
    np.testing.assert_allclose(a, b, atol=0.02)


def test_an_edge_shows_where_it_is(make_stack, rng):
    stack = make_stack(rng, (48, 48), dates=1, bands=("VV",))
    flat = np.full_like(stack.amplitude, 0.3)
    edge = flat.copy()
    edge[..., 20:] *= 3
    a, b = (Gradients(patch=8, radii=(1, 2)).encode(replace(stack, amplitude=x)) for x in (flat, edge))
    moved = (b.values - a.values)[0, :, :, 0]
    assert (moved[:, 2] > 20).all()
    np.testing.assert_allclose(moved[:, [0, 5]], 0, atol=1e-3)
    assert a.names == ("vv_gradient_r1", "vv_gradient_rms_r1", "vv_gradient_r2", "vv_gradient_rms_r2")


def test_root_mean_square_is_never_under_the_mean(make_stack, rng):
    values = Gradients(patch=8).encode(make_stack(rng)).values
    assert (values[..., 1::2] >= values[..., 0::2] - 1e-4).all()


def test_beside_missing_pixels_a_gradient_is_known_or_the_cell_is_not_valid(make_stack, rng):
    stack = make_stack(rng, (64, 64), dates=1)
    valid = stack.valid.copy()
    valid[:, :, :12] = False
    edged = replace(stack, valid=valid, amplitude=np.where(valid[:, None], stack.amplitude, 0))
    whole, some = (Gradients(patch=4).encode(s) for s in (stack, edged))
    assert not some.valid[0, :, :4].any(), "a window of 17 px has no known pixel beside the edge"
    assert some.valid[0, :, 6:].all()
    assert np.abs(whole.values - some.values)[some.valid].max() < 25


@pytest.mark.parametrize("radii", [(0,), (-1,), (), (2000,)])
def test_radii_that_cannot_work_are_refused_or_work(make_stack, rng, radii):
    try:
        features = build(Gradients, {"patch": 8, "radii": radii}, where="x").encode(make_stack(rng, dates=1))
    except SarcastError:
        return
    assert features.values.shape[-1] == len(set(features.names)) > 0
    assert np.isfinite(features.values).all()
