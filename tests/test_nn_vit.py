"""The encoder: golden tokens, any grid and any channels, sizes, attention maps, repeatable weights."""

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

from sarcast.errors import SettingsError, ShapeError

with install_import_hook(["sarcast.nn", "sarcast.objectives"], "beartype.beartype"):
    from sarcast.nn.checkpoint_layout import load_public, read_public, size_of
    from sarcast.nn.vit import SIZES, Size, ViT

SMALL = Size(dim=24, depth=2, heads=2)


def encoder(seed=0, **options):
    return ViT(SMALL, rng=torch.Generator().manual_seed(seed), **{"patch": 8, **options})


@pytest.mark.shared
def test_golden_tokens_and_pooled_vectors(shared):
    weights = read_public(shared / "golden" / "sarjepa_small.pth")
    golden = np.load(shared / "golden" / "sarjepa_small.npz")
    vit = ViT(size_of(weights), rng=torch.Generator())
    load_public(vit, weights)
    images = torch.from_numpy(golden["images"])
    with torch.no_grad():
        np.testing.assert_allclose(vit.tokens(images), golden["tokens"], atol=1e-5, rtol=0)
        np.testing.assert_allclose(vit.pooled(images), golden["pooled"], atol=1e-5, rtol=0)
        tokens = vit(images)
    np.testing.assert_allclose(tokens.flatten(1, 2), golden["tokens"][:, 1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("grid", [(1, 1), (2, 5), (6, 3)])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rectangle_and_any_channels(grid, channels):
    vit = encoder(channels=channels)
    pixels = torch.rand(3, channels, 8 * grid[0], 8 * grid[1])
    assert vit(pixels).shape == (3, *grid, 24)
    assert vit.pooled(pixels).shape == (3, 24)
    assert vit.attention(pixels).shape == (3, 2, 1 + grid[0] * grid[1], 1 + grid[0] * grid[1])


def test_images_of_a_batch_do_not_see_each_other():
    vit, pixels = encoder(), torch.rand(3, 1, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(vit(pixels)[1:2], vit(pixels[1:2]))


def test_rows_and_columns_are_told_apart():
    """Transposing an image is not transposing its tokens."""
    vit, pixels = encoder(), torch.rand(1, 1, 24, 24)
    with torch.no_grad():
        for block in vit.blocks:
            block.attn.rpe_k.lookup_table_weight.normal_(generator=torch.Generator().manual_seed(5))
        flat = pixels.mean().expand_as(pixels).clone()
        flat[..., 0, 0] += 1
        a, b = vit(flat), vit(flat.transpose(2, 3))
    assert (a[0, 0, 2] - b[0, 2, 0]).abs().max() > 1e-4


def test_attention_rows_sum_to_one_and_the_block_is_chosen():
    vit, pixels = encoder(), torch.rand(2, 1, 16, 24)
    with torch.no_grad():
        first, last = vit.attention(pixels, block=0), vit.attention(pixels, block=1)
        torch.testing.assert_close(last.sum(3), torch.ones(2, 2, 7))
        assert torch.equal(last, vit.attention(pixels))
        assert not torch.allclose(first, last)
    with pytest.raises(ShapeError, match=r"expected a block in -2\.\.1, found 2"):
        vit.attention(pixels, block=2)


def test_the_generator_decides_the_weights():
    same, again, other = encoder(1).state_dict(), encoder(1).state_dict(), encoder(2).state_dict()
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert not torch.equal(same["blocks.0.mlp.fc1.weight"], other["blocks.0.mlp.fc1.weight"])


@pytest.mark.parametrize(("size", "millions"), [("tiny", 5.4), ("small", 21.4)])
def test_sizes(size, millions):
    vit = ViT.named(size, rng=torch.Generator())
    assert sum(p.numel() for p in vit.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    assert vit.blocks[0].norm1.eps == vit.norm.eps == 1e-6


def test_sizes_are_those_of_the_literature():
    assert {name: (s.dim, s.depth, s.heads) for name, s in SIZES.items()} == {
        "micro": (96, 4, 3),
        "tiny": (192, 12, 3),
        "small": (384, 12, 6),
        "base": (768, 12, 12),
        "large": (1024, 24, 16),
    }
    with pytest.raises(
        SettingsError, match="expected a size in micro, tiny, small, base, large, found 'huge'"
    ):
        ViT.named("huge", rng=torch.Generator())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_exports_with_any_batch_size():
    vit = encoder().eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(vit, (torch.rand(2, 1, 16, 24),), dynamic_shapes=({0: batch},)).module()
    for n in (1, 5):
        pixels = torch.rand(n, 1, 16, 24)
        torch.testing.assert_close(exported(pixels), vit(pixels))


def test_some_patches_see_only_each_other(encoder_24):
    """All patches equal the plain pass; of some, others change nothing, and place in the grid counts."""
    model, pixels = encoder_24, torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        embedded = model.patch_embed(pixels)
        every = model.encode_some(embedded, torch.arange(24))
        torch.testing.assert_close(every, model.encode(embedded), atol=1e-6, rtol=0)
        some = torch.tensor([0, 3, 7, 19])
        other = embedded.flatten(1, 2).clone()
        other[:, [i for i in range(24) if i not in some]] = 5.0
        a, b = (model.encode_some(x, some) for x in (embedded, other.unflatten(1, (4, 6))))
        assert torch.equal(a, b) and a.shape == (2, 5, 24)
        moved = model.encode_some(embedded[:, :, [0, 3, 1, 2, 4, 5]], torch.tensor([0, 2, 7, 19]))
        assert not torch.allclose(a[:, 2], moved[:, 2])


@pytest.fixture
def encoder_24():
    return ViT(Size(dim=24, depth=2, heads=2), patch=4, rng=torch.Generator().manual_seed(0))


def test_class_attention_is_the_class_tokens_row_relative_to_an_even_look():
    vit, pixels = encoder(), torch.rand(2, 1, 16, 24)
    with torch.no_grad():
        maps = vit.attention(pixels, block=0)
        found = vit.class_attention(pixels, block=0)
        vit.blocks[0].attn.qkv.weight.zero_()
        even = vit.class_attention(pixels, block=0)
    assert found.shape == (2, 2, 3, 2)
    for row, col, head in np.ndindex(2, 3, 2):
        torch.testing.assert_close(found[:, row, col, head], 7 * maps[:, head, 0, 1 + 3 * row + col])
    torch.testing.assert_close(found.sum((1, 2)) + 7 * maps[:, :, 0, 0], torch.full((2, 2), 7.0))
    torch.testing.assert_close(even, torch.ones(2, 2, 3, 2))


def _flow(vit, pixels):
    """Rollout as in the paper, matrix by matrix: mean over heads, add the identity, rows to 1, multiply."""
    flow = None
    for block in range(len(vit.blocks)):
        looks = vit.attention(pixels, block=block)
        for image in looks:
            mean = sum(head for head in image) / len(image) + torch.eye(image.shape[1])
            mean = mean / mean.sum(1, keepdim=True)
            flow = mean if flow is None else mean @ flow
    return flow


@torch.no_grad()
def test_the_rollout_multiplies_attention_from_the_output_down():
    vit = ViT(Size(dim=24, depth=3, heads=2), patch=4, rng=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.mul_(3)
    pixels = torch.rand(1, 1, 12, 20, generator=torch.Generator().manual_seed(4))
    heads, rollout, vectors = vit.inside(pixels, block=1)
    torch.testing.assert_close(rollout.flatten(), _flow(vit, pixels)[0, 1:] * 16, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(heads, vit.class_attention(pixels, block=1))
    torch.testing.assert_close(vectors, vit(pixels))
    with pytest.raises(ShapeError, match=r"expected a block in -3\.\.2, found 3"):
        vit.inside(pixels, block=3)
