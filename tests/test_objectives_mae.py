"""The masked autoencoder against slow references: what it sees, what it predicts, what its loss counts."""

import math

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

with install_import_hook(["sarcast.nn", "sarcast.objectives"], "beartype.beartype"):
    from sarcast.errors import ShapeError
    from sarcast.nn.gradient import ratio_gradients
    from sarcast.nn.hog import oriented_gradients
    from sarcast.nn.low_pass import low_pass
    from sarcast.nn.patch import patchify
    from sarcast.nn.vit import Size, ViT
    from sarcast.objectives.mae import Mae

PATCH = 4
SMALL = {"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def made(channels=2, **options):
    encoder = ViT(Size(dim=24, depth=2, heads=2), patch=PATCH, channels=channels, rng=seeded())
    return Mae(**SMALL, **options).module(encoder, rng=seeded(1))


@pytest.fixture
def images():
    return torch.rand(3, 2, 20, 24, generator=seeded(5))


@pytest.fixture
def valid():
    """A corner of one image, single pixels of another, one channel of the third."""
    ok = torch.ones(3, 2, 20, 24, dtype=torch.bool)
    ok[0, :, :7, :9] = False
    ok[1] = torch.rand(20, 24, generator=seeded(3)) < 0.8
    ok[2, 1] = False
    return ok


@pytest.mark.parametrize("norm_pix", [False, True])
def test_loss_of_pixels_is_that_of_a_loop_over_hidden_patches(images, valid, norm_pix):
    model = made(norm_pix=norm_pix)
    seen = model.draw(images, valid, rng=seeded(1))
    with torch.no_grad():
        predicted = model.predict(images, seen, valid).numpy()
        found = float(model(images, valid, rng=seeded(1)))
    total, number = 0.0, 0
    for b, c, patch in np.ndindex(3, 2, 30):
        if patch in seen[b].tolist():
            continue
        row, col = divmod(patch, 6)
        box = (b, c, slice(4 * row, 4 * row + 4), slice(4 * col, 4 * col + 4))
        goal, ok = images[box].numpy().ravel(), valid[box].numpy().ravel()
        if norm_pix and ok.any():
            goal = (goal - goal[ok].mean()) / math.sqrt(goal[ok].var() + 1e-6)
        error = predicted[b, patch].reshape(2, 16)[c] - goal
        total, number = total + (error[ok] ** 2).sum(), number + ok.sum()
    assert found == pytest.approx(total / number, rel=1e-4)


def test_what_is_hidden_reaches_no_prediction_and_every_image_hides_its_own(images):
    model = made()
    seen = model.draw(images, rng=seeded(2))
    assert seen.shape == (3, 30 - int(0.75 * 30)) and len({tuple(s.tolist()) for s in seen}) == 3
    kept = torch.zeros(3, 30, dtype=torch.bool).scatter(1, seen, True).view(3, 1, 5, 6)
    inside = kept.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    with torch.no_grad():
        a = model.predict(images, seen)
        assert torch.equal(a, model.predict(torch.where(inside, images, 9.0), seen))
        assert not torch.equal(a, model.predict(images + 0.1, seen))
        for b in range(3):
            one = model.encoder.encode_some(model.encoder.patch_embed(images[b : b + 1]), seen[b])
            all_of = model.encoder.encode_some(model.encoder.patch_embed(images), seen)
            torch.testing.assert_close(all_of[b], one[0])


def test_patches_without_a_valid_pixel_are_hidden_first(images):
    ok = torch.ones(3, 20, 24, dtype=torch.bool)
    ok[:, 4:] = False
    seen = made(hidden=0.8).draw(images, ok, rng=seeded())
    assert torch.equal(seen, torch.arange(6).expand(3, 6))


def test_every_patch_can_be_hidden(images):
    drawn = torch.cat([made().draw(images, rng=seeded(seed)) for seed in range(40)])
    often = torch.bincount(drawn.flatten(), minlength=30) / len(drawn)
    assert often.min() > 0.1 and often.max() < 0.45 and often.mean() == pytest.approx(8 / 30)


def test_a_low_pass_is_a_mean_of_known_pixels(images, valid):
    found = low_pass(images, valid, sigma=1.0)
    for b, c, y, x in [(0, 0, 8, 9), (0, 1, 0, 23), (1, 0, 10, 10), (1, 1, 19, 0)]:
        if not valid[b, c, y, x]:
            assert found[b, c, y, x] == 0
            continue
        total = weight = 0.0
        for i in range(max(0, y - 3), min(20, y + 4)):
            for j in range(max(0, x - 3), min(24, x + 4)):
                w = math.exp(-((i - y) ** 2 + (j - x) ** 2) / 2) * bool(valid[b, c, i, j])
                total, weight = total + w * float(images[b, c, i, j]), weight + w
        assert float(found[b, c, y, x]) == pytest.approx(total / weight, rel=1e-5)
    spoiled = torch.where(valid, images, torch.nan)
    assert torch.equal(low_pass(spoiled, valid, sigma=1.0), found)


def test_histograms_are_those_of_a_loop(images, valid):
    found, enough = oriented_gradients(images, valid, bins=9, cell=4)
    assert found.shape == (3, 18, 5, 6)
    for b, c, row, col in [(0, 0, 3, 3), (0, 1, 1, 2), (1, 0, 2, 2), (1, 1, 4, 5), (2, 0, 0, 0)]:
        votes, known = np.zeros(9), 0
        for y in range(4 * row, 4 * row + 4):
            for x in range(4 * col, 4 * col + 4):
                up, down = (y - 1 if y else 1), (y + 1 if y < 19 else 18)
                left, right = (x - 1 if x else 1), (x + 1 if x < 23 else 22)
                around = ((y, x), (up, x), (down, x), (y, left), (y, right))
                if not all(bool(valid[b, c, i, j]) for i, j in around):
                    continue
                gy = float(images[b, c, down, x] - images[b, c, up, x])
                gx = float(images[b, c, y, right] - images[b, c, y, left])
                votes[int(math.degrees(math.atan2(gy, gx)) % 180 // 20) % 9] += math.hypot(gy, gx)
                known += 1
        assert bool(enough[b, 9 * c, row, col]) == (known > 8)
        if known > 8:
            mine = found[b, 9 * c : 9 * c + 9, row, col].numpy()
            np.testing.assert_allclose(mine, votes / np.linalg.norm(votes), atol=1e-5)
    assert not enough[2, 9:].any()


@pytest.mark.parametrize("target", ["low_pass", "hog", "gradients"])
def test_other_targets_are_blind_to_invalid_pixels_and_reach_every_parameter(target):
    images, ok = torch.rand(2, 12, 40, 40, generator=seeded(1)), torch.ones(2, 12, 40, 40, dtype=torch.bool)
    ok[0, 3], ok[1, :, :10] = False, False
    model = made(12, target=target)
    value, counts = model.targets(images, ok)
    per_patch = 12 * {"low_pass": 16, "hog": 9, "gradients": 4 * 16}[target]
    assert value.shape == counts.shape == (2, 100, per_patch)
    assert 0.3 < counts.float().mean() < 1 and (value[~counts] == 0).all()
    a, b = (model(torch.where(ok, images, x), ok, rng=seeded(2)) for x in (0.5, torch.nan))
    assert torch.equal(a, b)
    a.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_histograms_do_not_depend_on_level_and_gradients_hardly(images):
    for target in ("hog", "gradients"):
        model = made(target=target, offset=1e-6, radii=(2,))
        a, b = (model.targets(x)[0] for x in (images, images + 0.5))
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_ratios_of_linear_pixels_are_those_of_the_pixels(images, valid):
    value, counts = made(target="gradients", span_db=0, radii=(2,)).targets(images, valid)
    goal, ok = ratio_gradients(images, radii=(2,), offset=1e-2, valid=valid)
    for found, wanted in ((value, goal), (counts, ok)):
        assert torch.equal(found, patchify(wanted.flatten(1, 2), PATCH).flatten(1, 2))


def test_what_cannot_work_is_refused(images):
    with pytest.raises(ValueError, match="norm_pix goes with target pixels or low_pass"):
        Mae(target="hog", norm_pix=True)
    with pytest.raises(ShapeError, match="patches to hide and to see, found 1 x 1"):
        made()(images[..., :4, :4], rng=seeded())
    with pytest.raises(ShapeError, match="image sides in multiples of 8 px"):
        oriented_gradients(images, images > 0, cell=8)
