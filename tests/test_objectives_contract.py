"""What every objective promises, whatever it predicts."""

import math

import numpy as np
import pytest
import torch

from sarcast.errors import ShapeError
from sarcast.nn.vit import Size, ViT
from sarcast.objectives import OBJECTIVES

SMALL = {"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2}
OWN = {
    "mae": {"predictor_dim": 32, "predictor_depth": 2},
    "dino": {"locals": 2, "head_dim": 16, "prototypes": 64, "teacher_temperature": (0.01, 0.01)},
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


WAYS = [
    *((name, {}) for name in OBJECTIVES),
    ("local_masked_gradient", {"target": "pixels"}),
]


@pytest.fixture(params=WAYS, ids=lambda way: " ".join([way[0], *way[1].values()]))
def make(request):
    name, options = request.param

    def make(channels=1):
        encoder = ViT(Size(dim=24, depth=2, heads=2), patch=4, channels=channels, rng=seeded())
        own = OBJECTIVES[name]
        small = {k: v for k, v in (SMALL | OWN.get(name, {})).items() if k in own.model_fields}
        return own(**small, **options).module(encoder, rng=seeded(1))

    return make


@pytest.fixture
def images(rng):
    """A grid that is not square: 9 x 10 patches of 4 px; waves under noise: neighbours tell something."""
    y, x = np.mgrid[:36, :40] / 12
    wave = 0.2 * np.sin(y + np.arange(3)[:, None, None, None]) * np.cos(x)
    return torch.from_numpy(np.clip(rng.normal(0.5 + wave, 0.15), 0, 1).astype(np.float32))


def test_same_generator_same_loss_other_generator_other_loss(make, images):
    model = make()
    a, b, c = (float(model(images, rng=seeded(seed)).detach()) for seed in (1, 1, 2))
    assert a == b != c and np.isfinite(a)


@pytest.mark.parametrize("channels", [1, 12])
def test_every_trained_parameter_gets_a_gradient(make, images, channels):
    model = make(channels)
    model(images.expand(-1, channels, -1, -1), rng=seeded()).backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert trained and [n for n, p in trained.items() if p.grad is None or not p.grad.abs().max() > 0] == []
    assert {id(p) for p in model.encoder.parameters()} <= {id(p) for p in trained.values()}


def test_learns_one_batch(make, images):
    model = make()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    value, counts = model.targets(images)
    told = getattr(model, "distribution", False)
    enough, losses = math.inf if told else 0.95 * float(value[counts].var()), []
    for _ in range(400):
        loss = model(images, rng=seeded(7))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        if losses[-1] < min(0.6 * losses[0], enough):
            break
    assert losses[-1] < 0.6 * losses[0]
    assert losses[-1] < enough, "better than a constant"


@pytest.mark.parametrize("bad", [0.0, 50.0, float("nan"), float("inf")])
def test_blind_to_invalid_pixels(make, images, bad):
    valid = torch.ones(3, 36, 40, dtype=torch.bool)
    valid[0, :9, :13] = False
    valid[1] = torch.rand(36, 40, generator=seeded(3)) < 0.8
    model, spoiled = make(), torch.where(valid[:, None], images, bad)
    with torch.no_grad():
        a, b = (model(x, valid, rng=seeded(1)) for x in (images, spoiled))
        assert torch.equal(a, b) and a.isfinite()
        assert a != model(images, rng=seeded(1))


def test_blind_to_a_channel_that_is_missing(make, images):
    """A season without acquisitions, in one of the images."""
    valid = torch.ones(3, 2, 36, 40, dtype=torch.bool)
    valid[0, 1], valid[2, 0, :8, :8] = False, False
    model, both = make(2), torch.cat([images, images.flip(0)], 1)
    with torch.no_grad():
        a, b = (model(torch.where(valid, both, x), valid, rng=seeded(1)) for x in (0.0, float("nan")))
        assert torch.equal(a, b) and a.isfinite()
        whole = model(both, torch.ones_like(valid), rng=seeded(1))
        assert torch.equal(whole, model(both, rng=seeded(1))) and whole != a


def test_an_image_without_a_valid_pixel_teaches_nothing(make, images):
    model = make()
    loss = model(images, torch.zeros(3, 36, 40, dtype=torch.bool), rng=seeded())
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(p.grad is None or not p.grad.abs().max() > 0 for p in model.parameters())


def test_a_step_behind_changes_no_trained_parameter(make):
    model = make()
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    model.stepped(0.5)
    assert all(torch.equal(dict(model.named_parameters())[n], value) for n, value in before.items())


def test_part_of_a_patch_is_refused(make, images):
    with pytest.raises(ShapeError, match="multiples of 4"):
        make()(images[..., :-1], rng=seeded())
