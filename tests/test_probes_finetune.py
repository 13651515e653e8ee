"""Probes that train networks: rates, losses and steps are as told, and what is to be seen is learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sarcast.errors import DataError
from sarcast.nn.vit import Size, ViT
from sarcast.probes.decoder import Decode, decode
from sarcast.probes.descent import _turned, loss_of, repeatable, teach
from sarcast.probes.finetune import FineTune, finetune
from sarcast.probes.goals import Goal
from sarcast.probes.heads import Decoder, Pooled, Tuned, layer_shares
from sarcast.train.schedule import rate

CPU = torch.device("cpu")
SIDE = 16


def seeded(seed=7):
    return np.random.default_rng(seed)


def small(*, depth=2, channels=2, seed=3):
    rng = torch.Generator().manual_seed(seed)
    return ViT(Size(dim=16, depth=depth, heads=2), patch=4, channels=channels, rng=rng).eval()


def goal(labels, *, classes=0, known=None):
    return Goal(labels=labels, known=np.ones(labels.shape, bool) if known is None else known, classes=classes)


def scenes(rng, count):
    """Chips with a bright half, up or down, whose border lies anywhere: (chip, 2, y, x), and where bright."""
    row = rng.integers(3, SIDE - 3, count)
    bright = np.arange(SIDE)[None, :] < row[:, None]
    turned = rng.random(count) < 0.5
    bright = np.where(turned[:, None], ~bright, bright)
    bright = np.broadcast_to(bright[:, :, None], (count, SIDE, SIDE))
    x = np.stack([bright, ~bright], 1) * 2.0 - 1 + 0.3 * rng.normal(size=(count, 2, SIDE, SIDE))
    return torch.from_numpy(x.astype(np.float32)), bright


def slow_share(name, depth, decay):
    """As in the papers: layers numbered from the patch embedding, 0, to the head, depth + 1."""
    if name.startswith("vit.blocks."):
        layer = int(name.split(".")[2]) + 1
    else:
        layer = 0 if "patch_embed" in name or "cls_token" in name else depth + 1
    share = 1.0
    for _ in range(depth + 1 - layer):
        share *= decay
    return share


def test_lower_layers_learn_more_slowly():
    """The first step of Adam moves every weight by its rate, whatever its gradient's size."""
    depth, decay, peak = 11, 0.7, 1e-3
    vit = small(depth=depth)
    head = Pooled(16, outputs=3)
    nn.init.normal_(head.said.weight, generator=torch.Generator().manual_seed(0))
    network = Tuned(vit, head)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    settings = FineTune(steps=1, warm_up=0, weight_decay=0, learning_rate=peak, clip=1e9)
    x, _ = scenes(seeded(), 12)
    labels = np.arange(12) % 3
    teach(network, x, goal(labels, classes=3), settings, shares=layer_shares(depth, decay), rng=seeded())
    for name, value in network.named_parameters():
        moved = (value - before[name]).abs().max().item()
        assert moved == pytest.approx(peak * slow_share(name, depth, decay), rel=0.02), name
    assert layer_shares(4, 1.0) == dict.fromkeys(layer_shares(4, 1.0), 1.0)


@pytest.mark.parametrize("labelled", [1, 5, 40])
def test_few_labels_have_as_many_steps_and_the_rate_of_the_schedule(labelled, monkeypatch):
    rates, sizes = [], []
    step = torch.optim.AdamW.step

    def listen(optimiser, *args, **more):
        rates.append(optimiser.param_groups[0]["lr"])
        return step(optimiser, *args, **more)

    monkeypatch.setattr(torch.optim.AdamW, "step", listen)
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * SIDE * SIDE, 2))
    network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    x, _ = scenes(seeded(), labelled)
    settings = FineTune(steps=9, batch=16, warm_up=0.3)
    teach(network, x, goal(np.zeros(labelled, int), classes=2), settings, rng=seeded())
    assert rates == [rate(i, 9, peak=settings.learning_rate, warm_up=0.3) for i in range(9)]
    assert max(sizes) <= 16 and sum(sizes[: -(-labelled // 16)]) == labelled


def test_losses_equal_slow_sums(rng):
    said, classes = rng.normal(size=(3, 4, 5, 6)), rng.integers(0, 4, (3, 5, 6))
    known = rng.random((3, 5, 6)) < 0.6
    total, numbers = 0.0, rng.normal(size=(3, 5, 6))
    for b, y, x in np.argwhere(known):
        log = said[b, :, y, x] - np.log(np.exp(said[b, :, y, x]).sum())
        wanted = np.where(np.arange(4) == classes[b, y, x], 0.9, 0) + 0.1 / 4
        total -= (wanted * log).sum() / known.sum()
    tensors = [torch.from_numpy(one) for one in (said, classes, numbers, known)]
    smooth = FineTune(label_smoothing=0.1)
    assert loss_of(tensors[0], tensors[1], tensors[3], smooth, classes=4).item() == pytest.approx(total)
    error = np.mean((said[:, 0] - numbers)[known] ** 2)
    for loss, expected in (("mse", error), ("rmse", np.sqrt(error))):
        found = loss_of(tensors[0][:, :1], tensors[2], tensors[3], FineTune(loss=loss), classes=0)
        assert found.item() == pytest.approx(expected)


def test_label_images_turn_with_their_chips():
    x, bright = scenes(seeded(), 20)
    given = [x, torch.from_numpy(bright.copy()), torch.arange(20)]
    for flips, moved in (("none", 0), ("azimuth", 1), ("both", 1)):
        turned = _turned(given, flips, seeded())
        assert torch.equal(turned[0][:, 0] > 0.5, given[0][:, 0] > 0.5) == (moved == 0)
        inside = turned[0][:, 0][turned[1]].mean() - turned[0][:, 0][~turned[1]].mean()
        assert inside > 1.9 and torch.equal(turned[2], given[2])


FEW = {"steps": 60, "batch": 8, "learning_rate": 3e-3}


def test_fine_tuning_tells_chips_apart_to_the_last_digit_and_leaves_the_encoder_alone():
    x, bright = scenes(seeded(), 48)
    most = (bright.mean((1, 2)) > 0.5).astype(int)
    vit, settings = small(), FineTune(**FEW)
    before = [value.detach().clone() for value in vit.parameters()]

    def guess(labels, seed=7, known=None):
        learn = goal(labels, classes=2, known=known)
        return finetune(vit, x[:24], learn, x[24:], rng=seeded(seed), device=CPU, settings=settings)

    assert np.mean(guess(most[:24]) == most[24:]) > 0.85
    known = np.arange(24) < 12
    wrong = np.where(known, most[:24], 1 - most[:24])
    np.testing.assert_array_equal(guess(most[:24], known=known), guess(wrong, known=known))
    assert all(torch.equal(a, b) for a, b in zip(before, vit.parameters(), strict=True))
    with pytest.raises(DataError, match="expected labels in the 24 labelled chips, found none"):
        guess(most[:24], known=np.zeros(24, bool))
    with pytest.raises(DataError, match="expected a finite loss"):
        finetune(vit, x[:2] * np.inf, goal(most[:2], classes=2), x, rng=seeded(), device=CPU)


def test_numbers_repeat_to_the_last_digit_with_the_seed_and_have_their_unit():
    x, bright = scenes(seeded(), 48)
    share = 1000 + 50 * bright.mean((1, 2))
    vit, settings = small(), FineTune(**FEW, loss="rmse")

    def guess(seed, start=vit):
        return finetune(
            start, x[:24], goal(share[:24]), x[24:], rng=seeded(seed), device=CPU, settings=settings
        )

    found = guess(1)
    np.testing.assert_array_equal(found, guess(1))
    assert not np.array_equal(found, guess(2)) and not np.array_equal(found, guess(1, small(seed=4)))
    assert np.mean((found - share[24:]) ** 2) < 0.25 * share.var()


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("classes", [0, 2])
def test_pixels_are_told_finer_than_tokens(tuned, classes):
    """The border lies anywhere in a token of 4 px: one answer a token is at most as good as the best one."""
    x, bright = scenes(seeded(), 64)
    truth = bright.astype(int) if classes else 3.0 * bright
    known = seeded().random(truth.shape) < 0.5
    if tuned:
        learn, judge = x[:32], x[32:]
        settings, probe = FineTune(**FEW), lambda *given, **more: finetune(small(), *given, **more)
    else:
        blocks = x.numpy().reshape(64, 2, 4, 4, 4, 4).transpose(0, 2, 4, 1, 3, 5).reshape(64, 4, 4, 32)
        learn, judge = blocks[:32], blocks[32:]
        settings, probe = Decode(**FEW), decode
    told = goal(truth[:32], classes=classes, known=known[:32])
    found = probe(learn, told, judge, rng=seeded(), device=CPU, settings=settings)
    np.testing.assert_array_equal(
        found, probe(learn, told, judge, rng=seeded(), device=CPU, settings=settings)
    )
    best = truth[32:].reshape(32, 4, 4, 4, 4).mean((2, 4), keepdims=True)
    best = np.broadcast_to(np.round(best) if classes else best, (32, 4, 4, 4, 4)).reshape(32, SIDE, SIDE)
    assert found.shape == (32, SIDE, SIDE)
    assert np.mean((found - truth[32:]) ** 2) < 0.7 * np.mean((best - truth[32:]) ** 2)


@pytest.mark.parametrize("token", [1, 2, 8, 16])
def test_the_decoder_answers_every_pixel_with_numbers_of_both_signs(token):
    head = Decoder(6, width=8, outputs=3, token=token, rng=torch.Generator().manual_seed(1))
    tokens = torch.randn(2, 6, 3, 5, generator=torch.Generator().manual_seed(2))
    assert (head(tokens) == 0).all(), "every answer is alike at the start"
    nn.init.normal_(head.said.weight, generator=torch.Generator().manual_seed(3))
    said = head(tokens)
    assert said.shape == (2, 3, 3 * token, 5 * token)
    assert said.min() < 0 < said.max(), "a logit may have either sign"
    assert not any(isinstance(one, nn.BatchNorm2d | nn.ReLU) for one in head.modules())


def test_a_network_of_one_channel_sees_channel_after_channel():
    x, _ = scenes(seeded(), 3)
    vit, seen = small(channels=1), []
    head = nn.Identity()
    network = Tuned(vit, head)
    with torch.no_grad():
        seen = network(x)
        each = [vit(x[:, i : i + 1]).permute(0, 3, 1, 2) for i in range(2)]
    torch.testing.assert_close(seen, torch.cat(each, 1))


@pytest.mark.gpu
def test_a_gpu_repeats_to_the_last_digit_too():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    x, bright = scenes(seeded(), 32)
    device = torch.device("cuda")
    settings = FineTune(**FEW)
    told = goal(3.0 * bright[:16])
    found = [
        finetune(small(), x[:16], told, x[16:], rng=seeded(), device=device, settings=settings) for _ in "ab"
    ]
    np.testing.assert_array_equal(*found)
    with repeatable(device):
        assert torch.are_deterministic_algorithms_enabled()
