"""The training throughput table: every objective, against the plain pass of as many channels."""

import pytest
import torch
from benchmarks.throughput import PLAIN, WAYS, Load, measure, section, settings_of, speckled

from sarcast.nn.vit import ViT
from sarcast.objectives import OBJECTIVES

LOAD = Load(size="micro", device="cpu", batch=1, side=64, patch=8)


def test_every_objective_is_timed_against_the_plain_pass_of_its_channels():
    rows = measure(LOAD, repeats=1)
    assert {row.way.objective for row in rows} == {None, *OBJECTIVES}
    for row in rows:
        assert row.seconds[0] > 0 and row.peak_mb is None
        assert row.ratios == [1] if row.way.name == PLAIN else 0.01 < row.ratios[0] < 100
    lines = section(LOAD, rows)
    assert lines[1] == "## micro, CPU, 1 images of 64 x 64, patches of 8"
    cells = [line.strip("|").split("|") for line in lines[3:] if line]
    assert len(cells) == len(WAYS) + 2 and {len(row) for row in cells} == {5}
    assert cells[2][4].split() == ["1.00", "[1.00,", "1.00]"]
    speed, tokens = float(cells[4][2].split()[0]), float(cells[4][3])
    assert tokens == pytest.approx(64 * speed, rel=0.01)


def test_pixels_are_speckle_and_settings_those_of_pretrain():
    pixels = speckled(LOAD, 12, seed=0)
    assert pixels.shape == (1, 12, 64, 64) and 0.05 < float(pixels.std()) < 0.3
    assert float((pixels == 0).float().mean()) < 0.01
    vit = ViT.named("tiny", patch=8, rng=torch.Generator())
    found = settings_of(next(way for way in WAYS if way.objective == "mae"), vit)
    assert found == {"target": "pixels", "predictor_dim": 96, "predictor_heads": 3, "predictor_depth": 4}
