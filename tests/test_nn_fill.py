"""Lost pixels take their patch's mean, lost patches the image's."""

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

with install_import_hook(["sarcast.nn"], "beartype.beartype"):
    from sarcast.nn.fill import fill


def test_against_a_loop(rng):
    pixels = rng.random((3, 2, 8, 12)).astype(np.float32)
    valid = rng.random((3, 8, 12)) > 0.4
    valid[0, :4, :8] = False
    valid[2] = False
    found, share = fill(torch.from_numpy(pixels), torch.from_numpy(valid), 4)
    for b, c, row, col in np.ndindex(3, 2, 2, 3):
        box = (b, slice(4 * row, 4 * row + 4), slice(4 * col, 4 * col + 4))
        own, ok, whole = pixels[:, c][box], valid[box], pixels[b, c][valid[b]]
        lost = own[ok].mean() if ok.any() else whole.mean() if whole.size else 0
        np.testing.assert_allclose(found[:, c][box], np.where(ok, own, lost), atol=1e-6)
        assert float(share[b, row, col]) == pytest.approx(ok.mean())


@pytest.mark.parametrize("under", [float("nan"), float("inf"), 1e9])
def test_what_lies_under_the_mask_reaches_nothing(rng, under):
    pixels, valid = torch.from_numpy(rng.random((1, 1, 8, 8))), torch.from_numpy(rng.random((1, 8, 8)) > 0.5)
    pixels = pixels.float()
    other = torch.where(valid[:, None], pixels, under)
    assert torch.equal(fill(pixels, valid, 4)[0], fill(other, valid, 4)[0])
