"""Pretraining that benchmarks share: one start and the same images for all, and killed ones go on alike."""

from __future__ import annotations

import json

import pytest
import torch
from benchmarks import pretrained as pretraining

from sarcast.errors import ArtefactError
from sarcast.objectives.dino import Dino
from sarcast.objectives.gradient_jepa import GradientJepa
from sarcast.objectives.local_masked_gradient import LocalMaskedGradient
from sarcast.objectives.mae import Mae
from sarcast.train.loop import Training

SMALL = {"predictor_dim": 24, "predictor_depth": 1, "predictor_heads": 3}
EVERY = {
    "local": LocalMaskedGradient(window=(3, 3), windows=2, hidden=0.5, radii=(1,), **SMALL),
    "jepa": GradientJepa(radii=(1,), **SMALL),
    "mae": Mae(**SMALL),
    "dino": Dino(locals=1, head_dim=16, bottleneck=8, prototypes=8),
}
START = pretraining.Start(patch=4, channels=2, seed=3)
TRAINING = Training(epochs=2, steps=1, batch=2, device="cpu")


class Seen:
    """Draws images, and keeps what it was asked for."""

    def __init__(self, stop: int | None = None) -> None:
        self.steps, self.pixels, self.stop = [], [], stop

    def __call__(self, step: int, part: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step == self.stop:
            raise KeyboardInterrupt
        pixels = torch.rand(2, 2, 24, 24, generator=torch.Generator().manual_seed(1000 * step + part))
        self.steps.append(step)
        self.pixels.append(pixels)
        return pixels, torch.ones(2, 24, 24, dtype=torch.bool)


def images(draw: Seen, seed: int = 99) -> pretraining.Images:
    rng = torch.Generator().manual_seed(seed)
    held_out = torch.rand(3, 2, 24, 24, generator=rng), torch.ones(3, 24, 24, dtype=torch.bool)
    return pretraining.Images(draw=draw, held_out=held_out)


@pytest.mark.parametrize("name", EVERY)
def test_a_killed_training_goes_on_to_the_same_bytes(name, tmp_path):
    def run(folder, draw, **how):
        return pretraining.pretrained(name, EVERY[name], START, images(draw), TRAINING, work=folder, **how)

    plain = run(tmp_path / "plain", whole := Seen())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", Seen(stop=1))
    resumed = run(tmp_path / "killed", rest := Seen())
    assert (whole.steps, rest.steps) == ([0, 1], [1])
    begun = START.network()[0].state_dict()
    for own, other in ((plain, resumed), (plain, run(tmp_path / "killed", Seen(stop=0), as_is=True))):
        assert own.history == other.history and len(own.history.losses) == 2
        for key, value in own.vit.state_dict().items():
            assert torch.equal(value, other.vit.state_dict()[key]), key
    assert any(not torch.equal(value, begun[key]) for key, value in plain.vit.state_dict().items())
    assert plain.cpu_seconds > 0 and resumed.cpu_seconds > 0
    told = json.loads((tmp_path / "killed" / "seed-3" / f"{name}.cpu.json").read_text())
    assert list(told["epochs"]) == ["0", "1", "2"]


def test_all_objectives_start_alike_and_see_the_same(tmp_path):
    seen = {}
    for name, objective in EVERY.items():
        draw = Seen()
        pretraining.pretrained(name, objective, START, images(draw), TRAINING, work=tmp_path)
        seen[name] = draw.pixels
    first = seen.pop("local")
    assert all(torch.equal(a, b) for other in seen.values() for a, b in zip(first, other, strict=True))
    one, other = START.network()[0], START.network()[0]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("what", ["objective", "start", "images", "training"])
def test_a_checkpoint_of_another_training_is_not_taken(what, tmp_path):
    said = {"objective": EVERY["mae"], "start": START, "images": images(Seen()), "training": TRAINING}
    pretraining.pretrained("mae", *said.values(), work=tmp_path)
    other = {
        "objective": Mae(hidden=0.5, **SMALL),
        "start": pretraining.Start(patch=8, channels=2, seed=3),
        "images": images(Seen(), seed=98),
        "training": Training(epochs=3, steps=1, batch=2, device="cpu"),
    }
    with pytest.raises(ArtefactError, match="expected a checkpoint of this training"):
        pretraining.pretrained("mae", *(said | {what: other[what]}).values(), work=tmp_path, as_is=True)
