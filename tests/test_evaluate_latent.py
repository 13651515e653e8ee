"""Latent diagnostics see collapse, dead dimensions, frame-wide effects and drift that were planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.errors import DataError
from sarcast.evaluate.latent import latent

HISTORY = np.arange(20) < 10


def changed(features, values):
    return replace(features, values=values.astype(np.float32))


@pytest.fixture
def noise(make_features, rng):
    features = make_features(rng, dim=8)
    return changed(features, rng.normal(size=features.values.shape))


def test_noise_uses_all_dimensions_and_keeps_no_neighbours(noise):
    found = latent(noise, HISTORY, seed=0, draws=50)
    assert found.effective_rank > 7.9 and found.participation_ratio > 7.8 and found.dead == 0
    assert found.date + found.place + found.rest == pytest.approx(1) and found.rest > 0.9
    assert abs(found.cosine.value) < 0.02
    assert found.neighbours.value == pytest.approx(found.neighbours_chance, abs=0.02)
    assert found.drift < 2 * found.drift_history


def test_lasting_places_keep_their_neighbours_and_frames_show(noise, rng):
    values = noise.values
    lasting = latent(changed(noise, 0.1 * values + values[:1]), HISTORY, seed=0, draws=50)
    assert lasting.place > 0.9 and lasting.neighbours.value > 0.6
    frames = latent(changed(noise, 0.1 * values + rng.normal(size=(20, 1, 1, 8))), HISTORY, seed=0, draws=50)
    assert frames.date > 0.9 and frames.cosine.value > 0.9


def test_collapse_dead_dimensions_and_drift(noise, rng):
    line = changed(noise, noise.values[..., :1] * rng.normal(size=8))
    assert latent(line, HISTORY, seed=0, draws=50).effective_rank < 1.01
    assert latent(line, HISTORY, seed=0, draws=50).participation_ratio == pytest.approx(1, abs=1e-3)
    dead = noise.values.copy()
    dead[..., :2] = 7
    assert latent(changed(noise, dead), HISTORY, seed=0, draws=50).dead == 0.25
    moved = noise.values.copy()
    moved[-1] += 5
    found = latent(changed(noise, moved), HISTORY, seed=0, draws=50)
    assert found.drift > 4 and found.drift_history < 1


def test_participation_and_cosine_against_a_loop(noise):
    small = replace(noise, valid=noise.valid & (np.arange(14) < 2))
    found = latent(small, HISTORY, seed=0, draws=50)
    flat = small.values[:, :, :2].astype(float).reshape(-1, 8)
    eigen = np.linalg.eigvalsh(np.cov(flat.T))
    assert found.participation_ratio == pytest.approx(eigen.sum() ** 2 / (eigen**2).sum())
    cosines = []
    for date in small.values[:, :, :2].astype(float).reshape(20, -1, 8):
        unit = date / np.linalg.norm(date, axis=1, keepdims=True)
        cosines += [unit[i] @ unit[j] for i in range(len(unit)) for j in range(len(unit)) if i != j]
    assert found.cosine.value == pytest.approx(np.mean(cosines)) and found.cells == 24


def test_one_value_everywhere_and_too_few_cells_are_said(noise):
    with pytest.raises(DataError, match="differ"):
        latent(changed(noise, np.ones_like(noise.values)), HISTORY, seed=0)
    with pytest.raises(DataError, match="at least 3 cells"):
        latent(replace(noise, valid=np.zeros_like(noise.valid)), HISTORY, seed=0)
