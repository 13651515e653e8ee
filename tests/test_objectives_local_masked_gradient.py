"""The contract of an objective, and the golden numbers of SAR-JEPA's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError, install_import_hook
from pydantic import ValidationError

from sarcast.errors import SettingsError, ShapeError

with install_import_hook(["sarcast.nn", "sarcast.objectives"], "beartype.beartype"):
    from sarcast.nn.checkpoint_layout import load_public, read_public, size_of
    from sarcast.nn.gradient import RADII, ratio_gradients
    from sarcast.nn.masks import Views, views
    from sarcast.nn.patch import patchify
    from sarcast.nn.vit import Size, ViT
    from sarcast.objectives import OBJECTIVES

    LocalMaskedGradient = OBJECTIVES["local_masked_gradient"]

SMALL = {
    "window": (3, 4),
    "windows": 2,
    "radii": (2, 3),
    "predictor_dim": 16,
    "predictor_depth": 1,
    "predictor_heads": 2,
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def objective(channels=1, **settings):
    rng = seeded()
    encoder = ViT(Size(dim=24, depth=2, heads=2), patch=4, channels=channels, rng=rng)
    return LocalMaskedGradient(**{**SMALL, **settings}).module(encoder, rng=rng)


@pytest.fixture
def images(rng):
    return torch.from_numpy(rng.gamma(4, 0.08, (3, 1, 16, 24)).astype(np.float32))


@pytest.mark.shared
def test_golden_prediction_and_loss(shared):
    weights = read_public(shared / "golden" / "sarjepa_small.pth")
    golden = np.load(shared / "golden" / "sarjepa_small.npz")
    head = size_of(weights, blocks="decoder_blocks")
    settings = LocalMaskedGradient(
        predictor_dim=head.dim, predictor_depth=head.depth, predictor_heads=head.heads
    )
    model = settings.module(ViT(size_of(weights), rng=seeded()), rng=seeded())
    load_public(model, weights)
    images = torch.from_numpy(golden["images"])
    seen = Views(
        image=torch.from_numpy(golden["row_image"]),
        patch=torch.from_numpy(golden["window_patch_index"]),
        hidden=torch.from_numpy(golden["mask"]),
        window=(7, 7),
    )
    with torch.no_grad():
        predicted = model.predict(images, seen)
        np.testing.assert_allclose(predicted, golden["pred"], atol=1e-5, rtol=0)
        loss = model.loss(predicted, *model.targets(images), seen)
    assert float(loss) == pytest.approx(float(golden["loss"]), abs=1e-5)


def test_targets_are_patchified_gradients_scale_after_scale(images):
    model = objective()
    value, counts = model.targets(images)
    gradients, _ = ratio_gradients(images, radii=(2, 3))
    expected = torch.cat([patchify(gradients[:, :, i], 4) for i in range(2)], 3).flatten(1, 2)
    assert torch.equal(value, expected)
    assert counts.all()


def test_pixels_in_db_become_amplitudes_before_ratios(images):
    """A card without a lower limit gives negative pixels, of which no ratio can be taken."""
    centred = 20 * torch.log10(images) / 8
    value, counts = objective(span_db=8).targets(centred)
    plain, _ = objective().targets(images)
    assert (centred < 0).any() and counts.all()
    torch.testing.assert_close(value, plain, atol=1e-4, rtol=1e-4)


def test_pixel_targets_are_the_patches_own_pixels(images):
    model = objective(channels=2, target="pixels")
    both = torch.cat([images, 1 - images], 1)
    value, counts = model.targets(both)
    for image in range(3):
        for patch in range(24):
            top, left = 4 * (patch // 6), 4 * (patch % 6)
            own = both[image, :, top : top + 4, left : left + 4].flatten()
            assert torch.equal(value[image, patch], own)
    assert counts.all()
    assert model(both, rng=seeded()).isfinite()


def test_pixel_targets_change_nothing_else(images):
    """The same weights at the start and the same masks: only the last layer is of another size."""
    ours, pixels = objective().state_dict(), objective(target="pixels").state_dict()
    assert ours.keys() == pixels.keys()
    apart = [name for name in ours if not torch.equal(ours[name][: len(pixels[name])], pixels[name])]
    assert apart in ([], ["decoder_pred.weight"])
    seen = []
    for target in ("gradients", "pixels"):
        model = objective(target=target)
        model.predict = lambda x, views, valid, kept=model.predict: (
            seen.append(views) or kept(x, views, valid)
        )
        model(images, rng=seeded(3))
    assert torch.equal(seen[0].hidden, seen[1].hidden)
    assert torch.equal(seen[0].patch, seen[1].patch)


def test_pixel_targets_do_not_count_where_pixels_do_not(images):
    valid = torch.ones(3, 16, 24, dtype=torch.bool)
    valid[1, 5, 6] = False
    spoiled = torch.where(valid[:, None], images, torch.nan)
    value, counts = objective(target="pixels").targets(spoiled, valid)
    assert value.isfinite().all()
    assert (~counts).sum() == 1
    assert not counts[1, 7, 4 + 2], "row 1 of 4, column 2 of patch 7"


@pytest.mark.parametrize("extra", [{}, {"standardise": True}, {"level": True, "standardise": True}])
def test_same_generator_same_loss_other_generator_other_loss(images, extra):
    model = objective(**extra)
    a, b, c = (float(model(images, rng=seeded(seed)).detach()) for seed in (1, 1, 2))
    assert a == b
    assert a != c
    assert np.isfinite(a)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("level", [False, True])
def test_every_parameter_gets_a_gradient(images, channels, level):
    model = objective(channels, level=level)
    model(images.expand(-1, channels, -1, -1), rng=seeded()).backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []


def test_learns_one_batch(images):
    model = objective()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = model(images, rng=seeded(7))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    value, _ = model.targets(images)
    assert losses[-1] < float(value.var())


def test_hidden_patches_reach_no_prediction(images):
    """Other pixels in patches hidden in every view change no prediction; in seen ones they do."""
    model, seen = objective(), views((4, 6), batch=3, window=(3, 4), count=1, rng=seeded())
    other = images.clone().unflatten(3, (6, 4)).unflatten(2, (4, 4))
    for image, patches, hidden in zip(seen.image, seen.patch, seen.hidden, strict=True):
        for patch in patches[hidden].tolist():
            other[image, :, patch // 6, :, patch % 6] = 9.0
    other = other.flatten(4).flatten(2, 3)
    assert not torch.equal(other, images)
    with torch.no_grad():
        assert torch.equal(model.predict(images, seen), model.predict(other, seen))
        assert not torch.equal(model.predict(images, seen), model.predict(images + 0.1, seen))


def test_the_loss_counts_hidden_patches_only(images):
    model, seen = objective(), views((4, 6), batch=3, window=(3, 4), count=2, rng=seeded())
    value, counts = model.targets(images)
    exact = value[seen.image[:, None], seen.patch]
    wrong_where_seen = exact + 5 * ~seen.hidden[..., None]
    assert float(model.loss(wrong_where_seen, value, counts, seen)) == 0
    assert float(model.loss(exact + 2 * seen.hidden[..., None], value, counts, seen)) == pytest.approx(4)


@pytest.mark.parametrize("extra", [{}, {"standardise": True, "level": True}])
@pytest.mark.parametrize("bad", [0.0, 50.0, float("nan")])
def test_blind_to_invalid_pixels(images, extra, bad):
    valid = torch.ones(3, 16, 24, dtype=torch.bool)
    valid[0, :9, :13] = False
    valid[1, 5, 6] = False
    valid[2] = torch.rand(16, 24, generator=seeded(3)) < 0.8
    model, spoiled = objective(**extra), torch.where(valid[:, None], images, bad)
    with torch.no_grad():
        a, b = (model(x, valid, rng=seeded(1)) for x in (images, spoiled))
        assert torch.equal(a, b)
        assert a != model(images, rng=seeded(1))


def test_all_valid_is_the_plain_loss_and_nothing_valid_is_zero(images):
    model, every = objective(), torch.ones(3, 16, 24, dtype=torch.bool)
    with torch.no_grad():
        assert torch.equal(model(images, every, rng=seeded()), model(images, rng=seeded()))
    loss = model(images, ~every, rng=seeded())
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_standardised_targets_weigh_alike(images):
    value, _ = objective(standardise=True, level=True).targets(images)
    by_scale = value.unflatten(2, (3, 16))
    torch.testing.assert_close(by_scale.mean((0, 1, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(by_scale.square().mean((0, 1, 3)), torch.ones(3), atol=1e-4, rtol=0)


def test_level_tells_gains_apart_and_gradients_do_not(images):
    bright = 3 * images
    for level, apart in ((False, 1e-4), (True, 0.5)):
        model = objective(level=level, offset=1e-9)
        change = (model.targets(images)[0] - model.targets(bright)[0]).abs().max()
        assert (change > apart) == level


def test_the_encoder_is_shared_and_the_defaults_are_the_papers():
    encoder = ViT(Size(dim=24, depth=2, heads=2), patch=4, rng=seeded())
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    model = LocalMaskedGradient(**SMALL).module(encoder, rng=seeded(5))
    assert model.encoder is encoder
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    paper = LocalMaskedGradient()
    assert (paper.window, paper.windows, paper.hidden, paper.radii) == ((7, 7), 4, 0.8, RADII)
    assert not paper.level
    assert not paper.standardise


def test_what_does_not_fit_is_refused(images):
    with pytest.raises(ShapeError, match="window within the grid"):
        objective(window=(7, 7))(images, rng=seeded())
    with pytest.raises(ShapeError, match="multiples of 4"):
        objective()(images[..., :-1], rng=seeded())
    with pytest.raises((ShapeError, TypeCheckError), match="valid"):
        objective()(images, torch.ones(3, 16, 20, dtype=torch.bool), rng=seeded())
    with pytest.raises(ValidationError, match="level goes with target gradients"):
        objective(target="pixels", level=True)
    with pytest.raises(SettingsError, match="expected an objective in local_masked_gradient"):
        OBJECTIVES["hog"]


def test_an_empty_patch_is_as_if_hidden(images):
    model, valid = objective(), torch.ones(3, 16, 24, dtype=torch.bool)
    valid[:, 4:8, 8:12] = False
    seen = views((4, 6), batch=3, window=(4, 6), count=1, share=0.1, rng=seeded(1))
    hidden = replace(seen, hidden=seen.hidden | (seen.patch == 8))
    assert not torch.equal(hidden.hidden, seen.hidden)
    with torch.no_grad():
        torch.testing.assert_close(model.predict(images, seen, valid), model.predict(images, hidden))


def test_a_lost_pixel_takes_the_mean_of_its_patch(images):
    model, valid = objective(), torch.ones(3, 16, 24, dtype=torch.bool)
    valid[1, 6, 9] = False
    filled = images.clone()
    filled[1, 0, 6, 9] = (images[1, 0, 4:8, 8:12].sum() - images[1, 0, 6, 9]) / 15
    seen = views((4, 6), batch=3, window=(4, 6), count=1, share=0.1, rng=seeded(1))
    assert not seen.hidden[1, 8]
    with torch.no_grad():
        torch.testing.assert_close(model.predict(images, seen, valid), model.predict(filled, seen))
