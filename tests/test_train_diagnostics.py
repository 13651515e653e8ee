"""Planted collapse is named, whichever way it came; an encoder that learned, or is young, is not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sarcast.nn.pretrained import load_encoder
from sarcast.nn.rank import mean_cosine
from sarcast.nn.vit import Size, ViT
from sarcast.objectives import OBJECTIVES
from sarcast.train.checkpoint import Epoch, History, load_state, rows, save_state, tensors_of, write_log
from sarcast.train.diagnostics import Health, collapse, health

HEAD = {"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2}
OPTIONS = {
    "across_dates": {"radii": (1, 2)},
    "dino": {"locals": 2, "head_dim": 16, "bottleneck": 8, "prototypes": 16, "decay": (0.9, 1.0)},
    "gradient_jepa": {**HEAD, "radii": (1, 2), "decay": (0.9, 1.0)},
    "local_masked_gradient": {**HEAD, "window": (3, 3), "windows": 2, "radii": (1, 2)},
    "mae": HEAD,
}
STARTED = Epoch(
    epoch=0, step=0, loss=1, held_out=1, normalised_error=1, spread=1, rank=30, cosine=0.995, learning_rate=0
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def new():
    return ViT(Size(dim=24, depth=2, heads=2), patch=4, rng=seeded())


def images(count, side, seed=0):
    """Waves of many directions, lengths and heights under noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    down, across = rng.uniform(-3, 3, (2, count, 1, 1))
    begin, height = rng.uniform(0, 2 * np.pi, (count, 1, 1)), rng.uniform(0.1, 0.35, (count, 1, 1))
    waves = 0.5 + height * np.sin(2 * np.pi * (down * y + across * x) + begin)
    pixels = np.clip(waves + rng.normal(0, 0.03, waves.shape), 0, 1).astype(np.float32)
    return torch.from_numpy(pixels)[:, None], torch.ones(count, side, side, dtype=torch.bool)


@pytest.fixture(params=OBJECTIVES)
def module(request):
    return OBJECTIVES[request.param](**OPTIONS[request.param]).module(new(), rng=seeded(1))


def one_vector(vit):
    vit.norm.weight.zero_()
    vit.norm.bias.copy_(torch.randn(24, generator=seeded(2)))


def one_line(vit):
    """Vectors of many lengths, to both sides, along one line."""
    direction = torch.nn.functional.normalize(torch.randn(24, generator=seeded(2)), dim=0)
    plain = vit.norm.forward
    vit.norm.forward = lambda x: (plain(x)[..., :1]) * direction


def one_direction(vit):
    """As different from each other as before, and all far out to one side."""
    vit.norm.bias.add_(30 * torch.randn(24, generator=seeded(2)))


def shrunk(vit):
    vit.norm.weight.mul_(0.01)


PLANTED = {one_vector: "effective rank 1.00", one_line: "effective rank 1.00",
           one_direction: "nearly parallel", shrunk: "spread of the tokens fell"}  # fmt: skip


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_collapse_is_named_in_every_objective(module, plant):
    held = images(8, 24)
    start = health(module, *held, seed=0)
    assert collapse(replace(start, answers=None), start) is None, "as it was"
    with torch.no_grad():
        plant(module.encoder)
    assert PLANTED[plant] in (collapse(health(module, *held, seed=0), start) or "")


def test_a_young_encoder_is_not_a_collapsed_one(module):
    """In the first steps vectors draw nearer to each other, whatever is learned from."""
    held, (pixels, valid) = images(8, 24, seed=1), images(16, 24)
    start = health(module, *held, seed=0)
    optimiser = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=3e-3)
    for step in range(12):
        module(pixels, valid, rng=seeded(step)).backward()
        optimiser.step()
        optimiser.zero_grad()
        module.stepped(step / 100)
    now = health(module, *held, seed=0)
    assert collapse(now, start, done=0.12) is None
    nothing_learned = now.cosine > 0.99
    assert (collapse(now, start, done=0.5) is not None) == nothing_learned, "when half of it is over"


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_encoder_that_learned_is_healthy(objective):
    """sarcast-tiny against a new network of its size; the answers of a head of any weights, told apart."""
    learned = load_encoder(Path("sarcast-tiny")).vit
    own = {"teacher_temperature": (1e-3, 1e-3)} if objective == "dino" else {}
    settings = OBJECTIVES[objective](**OPTIONS[objective] | own)
    young = ViT(learned.size, patch=learned.patch, rng=seeded())
    held = images(16, 4 * learned.patch)
    start, now = (health(settings.module(vit, rng=seeded(1)), *held, seed=0) for vit in (young, learned))
    assert start.cosine > 0.98 and now.cosine < 0.95
    assert collapse(now, start) is None


def test_a_head_of_one_answer_is_named_though_tokens_differ():
    """Every image gets one prototype, or all get all alike: no error says so when the teacher does it too."""
    learned, held = load_encoder(Path("sarcast-tiny")).vit, images(16, 32)
    settings = OBJECTIVES["dino"](**OPTIONS["dino"] | {"teacher_temperature": (1e-3, 1e-3)})
    module = settings.module(learned, rng=seeded(1))
    start = health(module, *held, seed=0)
    value = module.targets(*held)[0][:, 0].double()
    doubt = -torch.xlogy(value, value).sum(1).mean()
    mean = value.mean(0)
    assert start.answers == pytest.approx(float((-torch.xlogy(mean, mean).sum() - doubt).exp()), rel=1e-6)
    assert start.answers > 1.1 and collapse(start, start) is None
    for planted in (
        module.teacher_head.narrow.weight.zero_,
        lambda: module.centre.copy_(-9 * torch.eye(16)[3]),
    ):
        with torch.no_grad():
            planted()
        now = health(module, *held, seed=0)
        assert now.answers == pytest.approx(1, abs=1e-3) and now.rank == start.rank
        assert "nearly one answer" in (collapse(now, start) or "")
        assert collapse(now, start, done=0.1) is None


def test_mean_cosine_is_that_of_a_loop_over_pairs(rng):
    vectors = rng.normal(0.3, 1, (9, 5))
    vectors[4] = 0
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
    pairs = [(i, j) for i in range(9) for j in range(9) if i != j]
    each = [vectors[i] @ vectors[j] / lengths[i] / lengths[j] for i, j in pairs]
    assert mean_cosine(vectors) == pytest.approx(np.mean(each))
    assert mean_cosine(7 * vectors) == pytest.approx(np.mean(each))
    assert mean_cosine(np.ones((50, 3))) == pytest.approx(1) and mean_cosine(np.ones((1, 3))) == 1
    assert mean_cosine(np.concatenate([vectors, -vectors])) < 0


def test_a_history_from_before_there_were_cosines_goes_on(tmp_path):
    linear = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(linear.parameters())
    old = replace(STARTED, cosine=None)
    save_state(tmp_path / "state", tensors_of(linear, optimiser), History(epochs=[old]), fingerprint="a")
    told = (tmp_path / "state").read_bytes()
    for name in (b'\\"cosine\\": null, ', b'\\"answers\\": null, '):
        assert name in told
        told = told.replace(name, b" " * len(name))
    (tmp_path / "state").write_bytes(told)
    found = load_state(tmp_path / "state", linear, optimiser, fingerprint="a")
    assert found.epochs == [old]
    assert collapse(replace(STARTED, cosine=0.9999), found.epochs[0]) is None, "nothing to compare with"
    found.epochs.append(STARTED)
    write_log(tmp_path / "log.csv", rows(found))
    names, first, second = (line.split(",") for line in (tmp_path / "log.csv").read_text().split())
    assert first[names.index("cosine")] == "" and second[names.index("cosine")] == "0.995"
    assert "answers" not in names


def test_health_and_a_line_of_the_log_are_judged_alike():
    now = Health(loss=1, spread=1, rank=30, cosine=0.9999, normalised_error=1)
    line = replace(STARTED, cosine=0.9999)
    assert collapse(now, STARTED) == collapse(line, STARTED)
    assert "nearly parallel, mean cosine 0.9999 (0.9950 at the start)" in (collapse(line, STARTED) or "")
    assert collapse(now, now) is None, "no more so than at the start"
