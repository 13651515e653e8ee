"""Losses, targets and schedules against slow references, beside those in each objective's own file."""

import math

import numpy as np
import pytest
import torch

from sarcast.nn.ema import decay_at
from sarcast.nn.gradient import ratio_gradients
from sarcast.nn.hog import oriented_gradients
from sarcast.nn.low_pass import low_pass
from sarcast.nn.masks import views
from sarcast.nn.relative_position import buckets
from sarcast.nn.vit import Size, ViT
from sarcast.objectives import OBJECTIVES

HEAD = {"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2}
SMALL = {
    "mae": HEAD,
    "local_masked_gradient": {**HEAD, "window": (3, 4), "windows": 2, "radii": (1, 2)},
    "gradient_jepa": {**HEAD, "radii": (1, 2)},
    "across_dates": {"radii": (1, 2)},
    "dino": {"locals": 2, "head_dim": 16, "bottleneck": 8, "prototypes": 12},
}
ROWS, COLS = 5, 6


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def made(name, channels=2, **options):
    vit = ViT(Size(dim=24, depth=2, heads=2), patch=4, channels=channels, rng=seeded())
    return OBJECTIVES[name](**SMALL[name] | options).module(vit, rng=seeded(1))


@pytest.fixture
def images():
    return torch.rand(3, 2, 4 * ROWS, 4 * COLS, generator=seeded(5))


@pytest.fixture
def valid():
    """A corner of one image, single pixels of another, one channel of the third."""
    ok = torch.ones(3, 2, 4 * ROWS, 4 * COLS, dtype=torch.bool)
    ok[0, :, :7, :9] = False
    ok[1] = torch.rand(4 * ROWS, 4 * COLS, generator=seeded(3)) < 0.8
    ok[2, 1] = False
    return ok


def target_images(target, pixels, ok):
    """What each patch's target is cut from: (b, channel, row, col), where it counts, and a patch's side."""
    if target == "low_pass":
        return low_pass(pixels, ok, sigma=1.5), ok, 4
    if target == "hog":
        return *oriented_gradients(pixels, ok, bins=5, cell=2), 2
    amplitude = 10 ** (30 * torch.where(ok, pixels, 0) / 20)
    value, counts = ratio_gradients(amplitude, radii=(1, 2), offset=0.5, valid=ok)
    return value.flatten(1, 2), counts.flatten(1, 2), 4


@pytest.mark.parametrize("target", ["low_pass", "hog", "gradients"])
def test_targets_of_mae_are_those_of_each_patch(images, valid, target):
    """As cut out of the whole image's, channel after channel, with settings that are not the default."""
    model = made("mae", target=target, sigma=1.5, bins=5, cell=2, radii=(1, 2), offset=0.5, span_db=30.0)
    value, counts = model.targets(images, valid)
    whole, known, side = target_images(target, images, valid)
    for b, patch in np.ndindex(3, ROWS * COLS):
        row, col = divmod(patch, COLS)
        box = np.s_[b, :, side * row : side * row + side, side * col : side * col + side]
        torch.testing.assert_close(value[b, patch], whole[box].flatten())
        assert torch.equal(counts[b, patch], known[box].flatten())


def test_loss_of_local_masked_gradient_is_that_of_a_loop_over_views(images, valid):
    model = made("local_masked_gradient")
    seen = views((ROWS, COLS), batch=3, window=(3, 4), count=2, share=0.8, rng=seeded(1))
    value, counts = model.targets(images, valid)
    with torch.no_grad():
        predicted = model.predict(images, seen, valid)
        found = float(model(images, valid, rng=seeded(1)))
    total, number = 0.0, 0
    for view, place in np.ndindex(*seen.patch.shape):
        if not seen.hidden[view, place]:
            continue
        at = int(seen.image[view]), int(seen.patch[view, place])
        use = counts[at].numpy()
        total += ((predicted[view, place] - value[at]).numpy()[use] ** 2).sum()
        number += use.sum()
    assert found == pytest.approx(total / number, rel=1e-4)
    assert number < seen.hidden.sum() * counts.shape[2], "some do not count"


def test_loss_of_gradient_jepa_is_that_of_a_loop_over_blocks(images, valid):
    model = made("gradient_jepa", blocks=2)
    valid[0, :, :8, :8] = False
    hidden = model.draw((ROWS, COLS), rng=seeded(4))
    hidden[0], hidden[1] = False, False
    hidden[0, :2, 1:4], hidden[1, 1:3, 2:5] = True, True
    value, counts = model.targets(images, valid)
    with torch.no_grad():
        predicted = model.predict(images, hidden, valid)
        found = float(model.loss(predicted, value, counts, hidden))
    total, number = 0.0, 0
    for block, said in zip(hidden, predicted, strict=True):
        patches = [row * COLS + col for row, col in np.argwhere(block.numpy())]
        for b in range(3):
            for place, patch in enumerate(patches):
                use = counts[b, patch].numpy()
                total += ((said[b, place] - value[b, patch]).numpy()[use] ** 2).sum()
                number += use.sum()
    assert found == pytest.approx(total / number, rel=1e-4)
    assert number < 2 * 3 * 6 * 24, "a patch without a valid pixel does not count"


def test_the_predictor_of_gradient_jepa_knows_where_each_patch_is(images):
    """All it has in order of their places in the grid, what is seen and what is not, gives the same."""
    model = made("gradient_jepa", blocks=1)
    hidden = torch.zeros(1, ROWS, COLS, dtype=torch.bool)
    hidden[0, 1:3, 2:5] = True
    inside, table = hidden[0].flatten(), buckets(ROWS, COLS)
    with torch.no_grad():
        found = model.predict(images, hidden)[0]
        seen = (~inside).nonzero()[:, 0]
        context = model.before(model.encoder.encode_some(model.encoder.patch_embed(images), seen))
        x = model.mask_token.repeat(3, 1 + ROWS * COLS, 1)
        x[:, 0] = context[:, 0]
        for place, patch in enumerate(seen.tolist()):
            x[:, 1 + patch] = context[:, 1 + place]
        for block in model.blocks:
            x = block(x, table)
        expected = model.after(model.norm(x))[:, 1:][:, inside]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_loss_of_across_dates_is_that_of_a_loop_over_patches(images, valid):
    """Those of which the first date shows nothing do not count, though the other date shows them."""
    model, other = made("across_dates", hidden=0.0), images.flip(0)
    there = torch.ones_like(valid)
    there[1, 0, 4:9, 5:11] = False
    value, counts = model.targets(other, there)
    empty = (~valid).all(1).unflatten(1, (ROWS, 4)).unflatten(3, (COLS, 4)).all((2, 4)).flatten(1)
    with torch.no_grad():
        found = float(model(images, valid, other, there, rng=seeded()))
        filled = torch.where(empty[..., None], model.mask_token[0, 0], embedded(model, images, valid))
        tokens = model.encoder.encode(filled.unflatten(1, (ROWS, COLS)))
        predicted = model.head(model.norm(tokens))[:, 1:]
    total, number = 0.0, 0
    for b, patch in np.ndindex(3, ROWS * COLS):
        use = counts[b, patch].numpy() & (not empty[b, patch])
        total += ((predicted[b, patch] - value[b, patch]).numpy()[use] ** 2).sum()
        number += use.sum()
    assert found == pytest.approx(total / number, rel=1e-4) and number < counts.sum()


def embedded(model, images, valid):
    """Patch vectors (b, patch, dim) of images whose lost pixels have the mean of their patch and channel."""
    filled = images.clone()
    for b, c, row, col in np.ndindex(3, 2, ROWS, COLS):
        box = np.s_[b, c, 4 * row : 4 * row + 4, 4 * col : 4 * col + 4]
        known = images[box][valid[box]]
        filled[box] = torch.where(valid[box], images[box], known.mean() if len(known) else 0.0)
    return model.encoder.patch_embed(filled).flatten(1, 2)


DONE = (0.0, 0.25, 0.5, 0.9, 1.0)
DECAYS = [1 - 0.1 * (math.cos(math.pi * done) + 1) / 2 for done in DONE]


def test_the_decay_is_a_half_cosine():
    """0.900, 0.915, 0.950, 0.998, 1: not a straight line between its ends and its middle."""
    found = [decay_at(round(100 * done), 100, start=0.9, end=1.0) for done in DONE]
    assert found == pytest.approx(DECAYS) and found[1] == pytest.approx(0.91464, abs=1e-5)


@pytest.mark.parametrize(("objective", "copy"), [("gradient_jepa", "target"), ("dino", "teacher")])
def test_the_slow_copy_follows_by_the_schedule(objective, copy):
    model = made(objective, decay=(0.9, 1.0))
    slow = getattr(model, copy).norm.bias
    for done, decay in zip(DONE, DECAYS, strict=True):
        with torch.no_grad():
            slow.zero_()
            model.encoder.norm.bias.fill_(1.0)
        model.stepped(done)
        torch.testing.assert_close(slow, torch.full((24,), 1 - decay), atol=1e-6, rtol=1e-5)


def test_the_centre_is_the_mean_over_all_parts_of_a_step(images):
    """Two parts of a step, one of them with an image that has nothing valid."""
    model, ok = made("dino", centre_decay=0.5), torch.ones(3, 20, 24, dtype=torch.bool)
    ok[1] = False
    kept = []
    for seed, valid in ((1, ok), (2, torch.ones_like(ok))):
        model(images, valid, rng=seeded(seed))
        large, _ = model.views(images, valid, rng=seeded(seed))
        for view in large.pixels:
            for b in range(3):
                if valid[b].any():
                    with torch.no_grad():
                        kept.append(model.teacher_head(model.teacher.tokens(view[b : b + 1])[:, 0])[0])
    assert len(kept) == 2 * 2 + 2 * 3
    model.stepped(0.5)
    torch.testing.assert_close(model.centre, 0.5 * torch.stack(kept).mean(0), atol=1e-5, rtol=1e-4)
