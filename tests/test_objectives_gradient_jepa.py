"""The contract of an objective, kept by gradient-domain JEPA, and where its blocks can lie."""

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook
from pydantic import ValidationError

from sarcast.errors import ShapeError

with install_import_hook(["sarcast.nn", "sarcast.objectives"], "beartype.beartype"):
    from sarcast.nn.gradient import ratio_gradients
    from sarcast.nn.vit import Size, ViT
    from sarcast.objectives import OBJECTIVES

    GradientJepa = OBJECTIVES["gradient_jepa"]

SMALL = {"radii": (2, 3), "predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def objective(channels=1, **settings):
    rng = seeded()
    encoder = ViT(Size(dim=24, depth=2, heads=2), patch=4, channels=channels, rng=rng)
    return GradientJepa(**{**SMALL, **settings}).module(encoder, rng=rng)


@pytest.fixture
def images(rng):
    return torch.from_numpy(np.clip(rng.normal(0.5, 0.2, (3, 1, 24, 32)), 0, 1).astype(np.float32))


def test_same_generator_same_loss_other_generator_other_loss(images):
    model = objective()
    a, b, c = (float(model(images, rng=seeded(seed)).detach()) for seed in (1, 1, 2))
    assert a == b
    assert a != c
    assert np.isfinite(a)


@pytest.mark.parametrize("channels", [1, 2])
def test_every_trained_parameter_gets_a_gradient_and_the_slow_copy_none(images, channels):
    model = objective(channels)
    model(images.expand(-1, channels, -1, -1), rng=seeded()).backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert [n for n, p in trained.items() if p.grad is None or not p.grad.abs().max() > 0] == []
    assert {n.partition(".")[0] for n, p in model.named_parameters() if not p.requires_grad} == {"target"}
    assert all(p.grad is None for p in model.target.parameters())


def test_learns_one_batch(images):
    model = objective()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(250):
        loss = model(images, rng=seeded(7))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    assert losses[-1] < 0.3, "a constant has loss 1: targets have variance 1"


@pytest.mark.parametrize("grid", [(6, 8), (14, 14), (5, 9)])
def test_every_patch_can_be_a_target_the_last_row_and_column_too(grid):
    model, hit = objective(), torch.zeros(grid)
    for seed in range(200):
        hit += model.draw(grid, rng=seeded(seed)).sum(0)
    assert (hit > 0).all()
    assert hit[-1].sum() == pytest.approx(float(hit[0].sum()), rel=0.35)
    assert hit[:, -1].sum() == pytest.approx(float(hit[:, 0].sum()), rel=0.35)


def test_blocks_are_rectangles_of_one_size_within_their_share():
    model = objective(share=(0.1, 0.2), aspect=(0.75, 1.5))
    for seed in range(50):
        drawn = model.draw((14, 14), rng=seeded(seed))
        assert drawn.shape == (4, 14, 14)
        rows, cols = drawn.any(2).sum(1), drawn.any(1).sum(1)
        assert torch.equal(rows * cols, drawn.sum((1, 2)))
        assert len(rows.unique()) == len(cols.unique()) == 1
        assert 0.05 * 196 < int(rows[0] * cols[0]) <= 0.2 * 196


def test_the_last_row_and_column_are_learned_from(images):
    """Their targets are in the loss: change them and it changes by what that is worth."""
    model, hidden = objective(), torch.zeros(1, 6, 8, dtype=torch.bool)
    hidden[0, -1, :] = hidden[0, :, -1] = True
    with torch.no_grad():
        predicted = model.predict(images, hidden)
        value, counts = model.targets(images)
        exact = [value[:, hidden[0].flatten()]]
        assert predicted[0].shape == exact[0].shape == (3, 13, 24)
        assert float(model.loss(exact, value, counts, hidden)) == 0
        other = value.clone()
        other.unflatten(1, (6, 8))[:, -1, -1] += 2
        assert float(model.loss(exact, other, counts, hidden)) == pytest.approx(4 / 13, rel=1e-5)


def test_hidden_patches_reach_no_prediction(images):
    model, hidden = objective(), objective().draw((6, 8), rng=seeded(3))
    covered = hidden.any(0).repeat_interleave(4, 0).repeat_interleave(4, 1)
    other = torch.where(covered, 0.9, images)
    with torch.no_grad():
        a, b = model.predict(images, hidden), model.predict(other, hidden)
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        c = model.predict(torch.where(covered, images, 0.9), hidden)
        assert not torch.equal(a[0], c[0])


@pytest.mark.parametrize(("normalise", "axes"), [("token", (2,)), ("batch", (0, 1))])
def test_targets_are_the_slow_copys_view_of_gradients(images, normalise, axes):
    model = objective(span_db=0.0, normalise=normalise)
    value, counts = model.targets(images)
    gradients, _ = ratio_gradients(images, radii=(2, 3))
    with torch.no_grad():
        expected = model.target(gradients.mean(2)).flatten(1, 2)
    mean, spread = expected.mean(axes, keepdim=True), expected.std(axes, correction=0, keepdim=True)
    torch.testing.assert_close(value, (expected - mean) / spread, atol=1e-3, rtol=1e-3)
    assert counts.all()
    torch.testing.assert_close(
        value.square().mean(axes), torch.ones(value.mean(axes).shape), atol=1e-2, rtol=0
    )


@pytest.mark.parametrize(("normalise", "low", "high"), [("batch", 0.999, 1.001), ("token", 0.0, 0.2)])
def test_what_all_vectors_share_is_worth_nothing(images, normalise, low, high):
    """The best constant has loss 1: shrinking cannot pay. By token it nearly wins at first."""
    model = objective(normalise=normalise)
    value, counts = model.targets(images)
    whole = torch.ones(1, 6, 8, dtype=torch.bool)
    constant = [value.mean((0, 1)).expand(3, 48, 24)]
    assert low <= float(model.loss(constant, value, counts, whole)) <= high


def test_level_is_no_part_of_the_target():
    """Ratios of amplitudes: 4 dB more everywhere (0.1 of the card's 40 dB) changes next to nothing."""
    images = 0.3 + 0.4 * torch.rand(2, 1, 24, 32, generator=seeded(4))
    model = objective()
    a, b = (model.targets(x)[0] for x in (images, images + 0.1))
    assert (a - b).abs().max() < 0.05
    assert (a - model.targets(images.flip(3))[0]).abs().max() > 0.1


@pytest.mark.parametrize("bad", [0.0, 50.0, float("nan")])
def test_blind_to_invalid_pixels(images, bad):
    valid = torch.ones(3, 24, 32, dtype=torch.bool)
    valid[0, :9, :13] = False
    valid[1, 5, 6] = False
    valid[2] = torch.rand(24, 32, generator=seeded(3)) < 0.8
    model, spoiled = objective(), torch.where(valid[:, None], images, bad)
    with torch.no_grad():
        a, b = (model(x, valid, rng=seeded(1)) for x in (images, spoiled))
        assert torch.equal(a, b)
        assert a != model(images, rng=seeded(1))


def test_all_valid_is_the_plain_loss_and_nothing_valid_is_zero(images):
    model, every = objective(), torch.ones(3, 24, 32, dtype=torch.bool)
    with torch.no_grad():
        torch.testing.assert_close(model(images, every, rng=seeded()), model(images, rng=seeded()))
    loss = model(images, ~every, rng=seeded())
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_the_slow_copy_follows():
    model = objective(decay=(0.9, 1.0))
    assert all(
        torch.equal(a, b)
        for a, b in zip(*map(list, (model.encoder.parameters(), model.target.parameters())), strict=True)
    )
    with torch.no_grad():
        model.encoder.norm.bias += 1
    model.stepped(0.0)
    torch.testing.assert_close(model.target.norm.bias, torch.full((24,), 0.1))
    before = model.target.norm.bias.clone()
    model.stepped(1.0)
    assert torch.equal(model.target.norm.bias, before), "decay ends at 1"


def test_what_does_not_fit_is_refused(images):
    with pytest.raises(ShapeError, match="grid larger than 4 blocks of 1 x 1"):
        objective()(images[..., :8, :8], rng=seeded())
    with pytest.raises(ShapeError, match="multiples of 4"):
        objective()(images[..., :-1], rng=seeded())
    for wrong in ({"share": (0.3, 0.2)}, {"aspect": (0.0, 1.0)}, {"decay": (1.0, 0.9)}):
        with pytest.raises(ValidationError, match="in order"):
            GradientJepa(**wrong)
