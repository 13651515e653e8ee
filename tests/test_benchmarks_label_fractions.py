"""The label-fraction benchmark: what is labelled, what is judged, how it is told, and a quick run of all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks import label_fractions
from benchmarks.label_fractions_data import Seen, by_statistics, region, together, without_texture
from benchmarks.label_fractions_found import Found
from benchmarks.label_fractions_judge import Judging, cover_figures, curves, number_curves
from benchmarks.label_fractions_text import FIGURES, as_text, limits
from scipy.stats import ttest_1samp

from sarcast.errors import ArtefactError
from sarcast.probes.hand_made import cell_edges, cell_statistics

QUICK = label_fractions.QUICK
HOW = Judging(fractions=(0.1, 1.0), draws=2, cover_draws=1, steps=60)


@pytest.fixture(scope="module")
def place():
    return region("temperate", 3, QUICK.land)


def seen_as(place, tiles, tokens):
    """Vectors that say what the functions tell of each role."""
    roles = (place.train, place.test)
    return Seen(tiles=tuple(map(tiles, roles)), tokens=tuple(map(tokens, roles)))


def one_hot(role):
    return np.eye(len(role.class_names))[role.token_labels]


def test_a_token_has_the_commonest_class_of_its_pixels(place):
    for tile, row, col in ((0, 0, 0), (1, 2, 3), (4, 3, 0)):
        pixels = place.train.cover[tile, 8 * row : 8 * row + 8, 8 * col : 8 * col + 8].ravel()
        assert place.train.token_labels[tile, row, col] == np.bincount(pixels).argmax()


def test_land_cover_is_judged_on_every_test_pixel(place):
    truth, names = place.test.cover, place.test.class_names
    guess = np.random.default_rng(0).integers(len(names), size=place.test.token_labels.size)
    said = np.kron(guess.reshape(place.test.token_labels.shape), np.ones((1, 8, 8), int))
    found = cover_figures(guess, place)
    assert found["accuracy"] == pytest.approx((said == truth).mean())
    overlap = [
        ((said == c) & (truth == c)).sum() / ((said == c) | (truth == c)).sum()
        for c in np.union1d(said, truth)
    ]
    assert found["miou"] == pytest.approx(np.mean(overlap))


def test_labels_grow_and_are_the_same_for_all(place):
    few, many = (HOW.labelled(place, fraction, 1) for fraction in (0.1, 0.5))
    assert len(few) == max(2, round(0.1 * len(place.train.db)))
    assert set(few) < set(many)
    assert (few == HOW.labelled(place, 0.1, 1)).all()
    assert set(few) != set(HOW.labelled(place, 0.1, 0))
    assert set(few) != set(HOW.labelled(replace(place, seed=4), 0.1, 1))


def test_vectors_that_tell_the_truth_leave_no_error_and_noise_leaves_all(place):
    def numbers(role):
        return np.stack(list(role.numbers.values()), 1)

    def noise(role):
        return np.random.default_rng(len(role.db)).standard_normal((len(role.db), 3))

    good = curves(seen_as(place, numbers, one_hot), place, HOW)
    bad = number_curves(seen_as(place, noise, one_hot), place, HOW)
    for name in place.test.numbers:
        assert good[f"{name}_r2"][-1] > 0.999 > 0.3 > bad[f"{name}_r2"][-1]
    best = cover_figures(place.test.token_labels.ravel(), place)
    assert good["cover_accuracy"][-1] > best["accuracy"] - 0.05


def test_without_texture_level_and_spread_are_left(place):
    every = by_statistics(place)
    found, channels = without_texture(every, channels=12), place.test.db
    np.testing.assert_allclose(found.tiles[1][:, :12], channels.mean((2, 3)), rtol=1e-4)
    np.testing.assert_allclose(found.tiles[1][:, 12:], channels.std((2, 3)), rtol=1e-3)
    tokens = cell_statistics(channels, place.test.valid, cell_edges(32, 4))
    assert found.tokens[1].shape[-1] == 48 and tokens.shape[-1] == 120
    np.testing.assert_array_equal(found.tokens[1], tokens[..., np.r_[0:24, 60:84]])
    assert together(every, found).tiles[0].shape[-1] == 60 + 24


def test_intervals_are_students(rng):
    values = rng.normal(3, 1, 5)
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    assert limits(values) == pytest.approx((values.mean(), low, high))
    assert np.isnan(limits(values[:1])[1:]).all()


def test_differences_are_paired_by_seed(monkeypatch):
    """A row that is always 1 below random init says so exactly, however much seeds differ."""
    plan = replace(QUICK, objectives={"MAE": None})
    rows = {"pixels": 0, "statistics": 0, "random init": 0, "MAE": -1}

    def found(seed, level):
        home = {row: {f: [10 + level + d] * 2 for f in FIGURES} for row, d in rows.items()}
        return Found(seed=seed, home=home, tiles={"train": 9, "test": 3})

    monkeypatch.setattr("benchmarks.label_fractions_text._spent", lambda *_: [])
    text = as_text(plan, [found(0, 0), found(1, 5)])
    assert "| MAE less random init | -1.00 [-1.00, -1.00] | -1.00 [-1.00, -1.00] |" in text
    assert "| MAE | 11.50 [-20.27, 43.27] |" in text


def test_quick_run(tmp_path):
    found = label_fractions.of_seed(QUICK, 3, tmp_path)
    table, figure = tmp_path / "table.md", tmp_path / "curves.png"
    label_fractions.write(QUICK, [found], out=table, figure=figure)
    text = table.read_text(encoding="utf-8")
    for words in ("| MAE less random init |", "| statistics |", "boreal, Land cover", "without texture"):
        assert words in text
    assert 10_000 < figure.stat().st_size < 200_000
    assert label_fractions.of_seed(QUICK, 3, tmp_path) == found
    longer = replace(QUICK, training=QUICK.training.model_copy(update={"batch": 5}))
    with pytest.raises(ArtefactError, match="expected a checkpoint of this training"):
        label_fractions.of_seed(longer, 3, tmp_path, as_is=True)
