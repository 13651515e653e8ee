"""The table of what learning adds: all ways meet on the same cells, and a fused score is calibrated."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from benchmarks import learned

from sarcast.nn.card import Card
from sarcast.nn.pretrained import Pretrained, save_encoder
from sarcast.nn.vit import Size, ViT
from sarcast.sar.simulate import SimulateScene
from sarcast.train.loop import Training


def test_a_fused_score_is_calibrated_on_history_and_finds_what_either_finds(rng):
    fit = np.arange(40) < 30
    surprises = [-np.log10(rng.random((40, 20, 20))) for _ in range(2)]
    surprises[0][35, 3, 3] = surprises[1][36, 5, 5] = 6
    seen = np.ones((40, 20, 20), bool)
    seen[:, :2] = False
    found = learned.fused(surprises, seen, fit)
    assert (found[:, :2] == 0).all()
    quiet = found[~fit][:, 2:]
    assert np.mean(quiet > 2) == pytest.approx(0.01, abs=0.006)
    assert found[35, 3, 3] > 3 and found[36, 5, 5] > 3


def test_every_way_is_judged_on_the_same_cells(tmp_path, monkeypatch):
    vit = ViT(Size(dim=24, depth=1, heads=2), patch=8, rng=torch.Generator().manual_seed(0))
    save_encoder(tmp_path / "weights", Pretrained(vit=vit, card=Card(), window=4))
    few = Training(epochs=1, steps=2, batch=2, device="cpu")
    monkeypatch.setattr(learned, "ADAPT", few)
    scene = SimulateScene(shape=(128, 128), dates=20, events=3)
    judged, seconds = learned.judge(scene, 3, weights=tmp_path / "weights", detectors=("z_score",))
    assert set(judged.surprise) == {
        f"{name}, z_score" for name in (*learned.SINGLE, *(f"statistics + {o}" for o in learned.FUSED))
    }
    assert {len(s) for s in judged.surprise.values()} == {len(judged.labels)} and judged.labels.any()
    assert set(seconds) == set(learned.SINGLE)
    different = [judged.surprise[f"{name}, z_score"] for name in learned.LEARNED]
    assert not any(np.array_equal(a, b) for a, b in pairwise(different))
    text = learned.tables([judged], detectors=("z_score",), draws=20)
    assert "| statistics + adapted | statistics + pretrained |" in text and "All events, z_score" in text
