"""Patches: what is taken apart comes together again, and each token sees its own patch only."""

import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError, install_import_hook, jaxtyped

from sarcast.errors import ShapeError

with install_import_hook(["sarcast.nn", "sarcast.objectives"], "beartype.beartype"):
    from sarcast.nn.patch import PatchEmbed, grid_of, patchify, unpatchify


@settings(max_examples=25, deadline=None)
@given(*(st.integers(1, 4) for _ in range(5)))
def test_unpatchify_undoes_patchify(batch, channels, rows, cols, patch):
    image = torch.arange(batch * channels * rows * patch * cols * patch).float()
    image = image.reshape(batch, channels, rows * patch, cols * patch)
    patches = patchify(image, patch)
    assert patches.shape == (batch, rows, cols, channels * patch**2)
    assert torch.equal(unpatchify(patches, patch), image)


def test_a_patch_is_its_block_channel_by_channel_and_row_by_row():
    image = torch.rand(2, 3, 8, 12)
    expected = torch.stack([image[1, c, 4:8, 8:12] for c in range(3)]).flatten()
    assert torch.equal(patchify(image, 4)[1, 1, 2], expected)


def test_the_embedding_is_one_linear_map_of_the_patch():
    embed = PatchEmbed(patch=4, channels=2, dim=5)
    image = torch.rand(3, 2, 8, 12)
    expected = patchify(image, 4) @ embed.proj.weight.flatten(1).T + embed.proj.bias
    torch.testing.assert_close(embed(image), expected)


@pytest.mark.parametrize("side", [(9, 8), (8, 9), (0, 8)])
def test_an_image_that_is_not_whole_patches_is_refused(side):
    with pytest.raises(ShapeError, match="multiples of 4"):
        grid_of(torch.zeros(1, 1, *side), 4)


def test_other_channels_and_torn_patches_are_refused():
    with pytest.raises(ShapeError, match="expected 2 channels, found 1"):
        PatchEmbed(patch=4, channels=2, dim=5)(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ShapeError, match="multiple of 16"):
        unpatchify(torch.zeros(1, 2, 2, 15), 4)


def test_signatures_say_the_shapes():
    checked = jaxtyped(typechecker=beartype)(patchify)
    assert checked(torch.zeros(1, 1, 8, 8), 4).shape == (1, 2, 2, 16)
    with pytest.raises(TypeCheckError, match="b c y x"):
        checked(torch.zeros(8, 8), 4)
