"""Self-distillation against slow references: loss, centre, Sinkhorn-Knopp, KoLeo, crops, and what follows."""

import math

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

with install_import_hook(["sarcast.nn", "sarcast.objectives"], "beartype.beartype"):
    from sarcast.errors import SettingsError
    from sarcast.nn.multi_crop import Looks, crops, places
    from sarcast.nn.prototypes import koleo, sinkhorn
    from sarcast.nn.vit import Size, ViT
    from sarcast.objectives.dino import Dino
    from sarcast.train.diagnostics import health

PATCH = 4
SMALL = {"locals": 2, "head_dim": 16, "bottleneck": 8, "prototypes": 12}
STILL = Looks(gain_db=0.0, looks=None, flips=False, span_db=40.0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def made(channels=1, **options):
    encoder = ViT(Size(dim=24, depth=2, heads=2), patch=PATCH, channels=channels, rng=seeded())
    return Dino(**(SMALL | options)).module(encoder, rng=seeded(1))


@pytest.fixture
def images():
    return torch.rand(3, 1, 32, 40, generator=seeded(5))


@pytest.mark.parametrize("balance", ["centre", "sinkhorn"])
def test_loss_is_that_of_a_loop_over_pairs(images, balance):
    valid = torch.ones(3, 32, 40, dtype=torch.bool)
    valid[1] = False
    model = made(balance=balance)
    model.centre.copy_(0.3 * torch.rand(12, generator=seeded(8)))
    model.done.fill_(0.15)
    large, small = model.views(images, valid, rng=seeded(1))
    views = [*large.pixels, *small.pixels]
    with torch.no_grad():
        found = float(model(images, valid, rng=seeded(1)))
        told = [model.teacher_head(model.teacher.tokens(x)[:, 0]).numpy() / 0.055 for x in large.pixels]
        said = [model.head(model.encoder.tokens(x)[:, 0]).numpy() / 0.1 for x in views]
    if balance == "centre":
        goals = [np.exp(x - model.centre.numpy() / 0.055) for x in told]
    else:
        both = np.exp(np.concatenate([x[[0, 2]] for x in told]).astype(np.float64))
        for _ in range(3):
            both /= both.sum(0) * 12
            both /= both.sum(1, keepdims=True) * len(both)
        goals = [np.insert(x, 1, 1.0, axis=0) for x in np.split(both, 2)]
    total = []
    for g, goal in enumerate(goals):
        for v, logits in enumerate(said):
            for b in (0, 2):
                if g != v:
                    p = goal[b] / goal[b].sum()
                    q = np.exp(logits[b]) / np.exp(logits[b]).sum()
                    total.append(-(p * np.log(q)).sum())
    assert len(total) == 2 * 3 * 2
    assert found == pytest.approx(np.mean(total), rel=1e-4)


def test_sinkhorn_gives_every_image_one_answer_and_every_prototype_its_share():
    scores = 5 * torch.randn(40, 8, generator=seeded(1))
    found = sinkhorn(scores, iterations=60)
    torch.testing.assert_close(found.sum(1), torch.ones(40))
    torch.testing.assert_close(found.sum(0), torch.full((8,), 5.0), atol=1e-2, rtol=0)
    uneven = scores.softmax(1).sum(0)
    assert (sinkhorn(scores).sum(0) - 5).abs().sum() < 0.7 * (uneven - 5).abs().sum()
    one_sided = torch.zeros(40, 8)
    one_sided[:, 0] = 50
    torch.testing.assert_close(sinkhorn(one_sided), torch.full((40, 8), 1 / 8))
    assert sinkhorn(torch.zeros(0, 8)).shape == (0, 8)


def test_koleo_is_the_distance_to_the_nearest_other():
    vectors = torch.randn(9, 5, generator=seeded(2), requires_grad=True)
    unit = (vectors / vectors.norm(dim=1, keepdim=True)).detach().numpy()
    near = [min(np.linalg.norm(a - b) for j, b in enumerate(unit) if j != i) for i, a in enumerate(unit)]
    found = koleo(vectors)
    assert float(found.detach()) == pytest.approx(-np.mean(np.log(near)), rel=1e-4)
    found.backward()
    with torch.no_grad():
        assert koleo(vectors - 0.05 * vectors.grad) < found
    assert float(koleo(vectors[:1]).detach()) == 0 and math.isfinite(koleo(torch.ones(4, 3)))


def test_crops_are_windows_of_their_image_anywhere():
    number = torch.arange(3 * 32 * 40, dtype=torch.float32).view(3, 1, 32, 40)
    found = crops(number, None, STILL, side=12, count=60, patch=4, rng=seeded(1))
    assert found.pixels.shape == (60, 3, 1, 12, 12) and found.counts.all()
    at = set()
    for view in found.pixels:
        for b, one in enumerate(view[:, 0]):
            first = int(one[0, 0]) - b * 32 * 40
            top, left = divmod(first, 40)
            at.add((top, left))
            assert torch.equal(one, number[b, 0, top : top + 12, left : left + 12])
    tops, lefts = zip(*at, strict=True)
    assert (min(tops), max(tops), min(lefts), max(lefts)) == (0, 20, 0, 28)
    turned = crops(number, None, Looks(gain_db=0.0, looks=None, flips=True, span_db=40.0), side=32, count=40,
                   patch=4, rng=seeded())  # fmt: skip
    up = (turned.pixels[..., 0, 0] > turned.pixels[..., -1, 0]).float().mean()
    assert 0.3 < up < 0.7


def test_every_crop_has_speckle_and_gain_of_its_own():
    flat = torch.full((2, 3, 64, 64), 0.5)
    how = Looks(gain_db=0.0, looks=4, flips=False, span_db=40.0)
    power = 10 ** (4 * (crops(flat, None, how, side=64, count=2, patch=4, rng=seeded()).pixels - 0.5))
    assert power.mean() == pytest.approx(1, abs=0.01) and 1 / power.var() == pytest.approx(4, rel=0.05)
    assert abs(np.corrcoef(power.flatten(2).flatten(0, 1).numpy())[0, 1]) < 0.05
    how = Looks(gain_db=2.0, looks=None, flips=False, span_db=40.0)
    gain = 40 * (crops(flat, None, how, side=8, count=50, patch=4, rng=seeded()).pixels - 0.5)
    level = gain.mean((2, 3, 4))
    assert level.abs().max() <= 2.001 and np.ptp(level.numpy()) > 3 and gain.std((2, 3, 4)).max() < 1e-3


def test_crops_are_steered_to_edges():
    image = torch.full((1, 1, 64, 64), 0.3)
    image[..., 40:, 40:] = 0.6
    drawn = {}
    for candidates in (1, 8):
        model = made(candidates=candidates)
        edges = model._edges(image, None) if candidates > 1 else None
        rng = seeded(3)
        at = [places(image, side=16, rng=rng, edges=edges, candidates=candidates) for _ in range(60)]
        ends = torch.tensor([[int(top), int(left)] for top, left in at]) + 16
        drawn[candidates] = float((ends > 40).all(1).float().mean())
    assert drawn[1] < 0.5 < 0.8 < drawn[8]


def test_crops_without_a_valid_pixel_are_left_out(images):
    valid = torch.zeros(3, 32, 40, dtype=torch.bool)
    valid[:, :, 30:] = True
    found = crops(images, valid, STILL, side=8, count=30, patch=4, rng=seeded())
    assert 0.1 < found.counts.float().mean() < 0.9 and found.pixels.isfinite().all()
    assert (found.pixels[~found.counts] == 0).all()


def test_teacher_and_centre_follow_after_a_step_and_only_then(images):
    model = made(decay=(0.9, 0.9), centre_decay=0.8)
    model.centre.fill_(0.1)
    with torch.no_grad():
        model(images, rng=seeded(9))
        large, _ = model.views(images, rng=seeded(1))
        answers = model.teacher_head(model.teacher.tokens(large.pixels.flatten(0, 1))[:, 0]).mean(0)
    model(images, rng=seeded(1)).backward()
    assert (model.centre == 0.1).all()
    old = model.teacher.norm.weight.clone()
    with torch.no_grad():
        model.encoder.norm.weight.add_(1)
    model.stepped(0.6)
    torch.testing.assert_close(model.centre, 0.8 * 0.1 + 0.2 * answers)
    torch.testing.assert_close(model.teacher.norm.weight, 0.9 * old + 0.1 * (old + 1))
    assert float(model.done) == pytest.approx(0.6)
    centre = model.centre.clone()
    model.stepped(0.7)
    assert torch.equal(centre, model.centre)
    assert {"centre", "done"} <= model.state_dict().keys()


def test_the_teacher_warms_up():
    model, answers = made(), torch.rand(2, 3, 12, generator=seeded(4))
    for done, temperature in ((0, 0.04), (0.15, 0.055), (0.3, 0.07), (1, 0.07)):
        model.done.fill_(done)
        goal = model.goal(answers, torch.ones(2, 3, dtype=torch.bool))
        torch.testing.assert_close(goal, (answers / temperature).softmax(2))


def test_koleo_counts_in_the_loss_and_nothing_valid_teaches_nothing(images):
    plain, apart = made(), made(koleo=0.5)
    large, _ = plain.views(images, rng=seeded(1))
    with torch.no_grad():
        vectors = [plain.encoder.tokens(x)[:, 0] for x in large.pixels]
        more = 0.5 * sum(float(koleo(v)) for v in vectors) / 2
        a, b = (float(m(images, rng=seeded(1))) for m in (plain, apart))
    assert b == pytest.approx(a + more, rel=1e-4)
    none = apart(images, torch.zeros(3, 32, 40, dtype=torch.bool), rng=seeded(1))
    assert float(none.detach()) == 0


def test_one_answer_for_everything_is_no_better_than_a_constant(images):
    model, ok = made(), torch.ones(3, 32, 40, dtype=torch.bool)
    with torch.no_grad():
        for head in (model.head, model.teacher_head):
            head.narrow.weight.zero_()
            head.narrow.bias.copy_(torch.ones(8))
        model.settings = model.settings.model_copy(update={"teacher_temperature": (0.1, 0.1)})
    assert health(model, images, ok, seed=0).normalised_error == pytest.approx(1, abs=1e-3)


def test_two_numbers_in_order():
    with pytest.raises(ValueError, match="teacher_temperature must be two positive numbers in order"):
        Dino(teacher_temperature=(0.1, 0.05))
    with pytest.raises(ValueError, match="decay must be two numbers of 0 to 1 in order"):
        Dino(decay=(1.0, 0.5))


def test_all_options_together_are_blind_to_invalid_pixels_and_reach_every_parameter():
    both, ok = torch.rand(3, 2, 32, 40, generator=seeded(5)), torch.ones(3, 2, 32, 40, dtype=torch.bool)
    ok[0, :, :14], ok[1, 1] = False, False
    model = made(2, candidates=3, looks=4, koleo=0.1, balance="sinkhorn")
    a, b = (model(torch.where(ok, both, x), ok, rng=seeded(1)) for x in (0.0, torch.nan))
    assert torch.equal(a, b)
    a.backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in trained)


def test_a_ratio_gets_what_its_bands_get():
    """Speckle of both, gain of neither: VV-VH stays VV less VH in every crop, whatever it was."""
    images = 0.5 + 0.1 * torch.rand(4, 2, 32, 32, generator=seeded(2))
    images = torch.cat([images[:, :1] - images[:, 1:], images], 1)
    how = Looks(gain_db=3.0, looks=5, flips=True, span_db=40.0, channels=("VV-VH", "VV", "VH"))
    ratio, vv, vh = crops(images, None, how, side=16, count=6, patch=4, rng=seeded()).pixels.unbind(2)
    torch.testing.assert_close(ratio, vv - vh)
    named = Looks(gain_db=3.0, looks=5, flips=True, span_db=40.0, channels=("VV", "VH"))
    plain = Looks(gain_db=3.0, looks=5, flips=True, span_db=40.0)
    a, b = (
        crops(images[:, 1:], None, one, side=16, count=2, patch=4, rng=seeded()) for one in (named, plain)
    )
    assert torch.equal(a.pixels, b.pixels)
    settings = Dino(**SMALL, channels=("VV-VH", "VV", "VH"), gain_db=2.0, looks=4)
    three, two = (ViT(Size(dim=24, depth=2, heads=2), patch=PATCH, channels=c, rng=seeded()) for c in (3, 2))
    large, _ = settings.module(three, rng=seeded(1)).views(images, rng=seeded(1))
    torch.testing.assert_close(large.pixels[:, :, 0], large.pixels[:, :, 1] - large.pixels[:, :, 2])
    with pytest.raises(SettingsError, match="expected names of 2 channels, found VV-VH, VV, VH"):
        settings.module(two, rng=seeded(1))
