"""Probes: separable data is told apart, shuffled labels are not, and each equals a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, r2_score

from sarcast.errors import DataError
from sarcast.probes import PROBES
from sarcast.probes.draws import folds, labelling_order, share_of, shots
from sarcast.probes.hand_made import cell_edges, cell_means, cell_statistics, unit_chips
from sarcast.probes.intervals import judged, told
from sarcast.probes.linear import Linear, linear
from sarcast.probes.logistic import logistic
from sarcast.probes.measures import class_figures, confusion, number_figures, overlaps, pixel_figures, squares
from sarcast.probes.nearest import nearest, plain
from sarcast.probes.ridge import STRENGTHS, ridge, ridge_path
from sarcast.probes.scaling import standardised

CLASSIFIERS = ("knn", "knn_plain", "logistic", "linear")


def seeded():
    return np.random.default_rng(7)


def toy(rng, *, count=40, classes=4, dim=12, apart=6.0):
    """Two roles of Gaussian clouds, `apart` deviations from each other."""
    centres = apart * np.eye(classes, dim)
    y = np.repeat(np.arange(classes), count)
    return [(centres[y] + rng.normal(size=(len(y), dim)), y) for _ in range(2)]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_what_is_apart_is_told_apart_the_same_each_time(name, rng):
    (x, y), (judge, truth) = toy(rng, apart=12.0)
    labels = np.array([3, 5, 8, 11])
    guesses = [PROBES[name](x, labels[y], judge, groups=np.arange(len(y)), rng=seeded()) for _ in range(2)]
    np.testing.assert_array_equal(guesses[0], labels[truth])
    np.testing.assert_array_equal(*guesses)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_shuffled_labels_give_chance(name):
    rng, found = np.random.default_rng(1), []
    for _ in range(6):
        (x, y), (judge, truth) = toy(rng)
        y = rng.permutation(y)
        found.append(np.mean(PROBES[name](x, y, judge, groups=np.arange(len(y)), rng=seeded()) == truth))
    assert abs(np.mean(found) - 0.25) < 0.1


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_one_class_and_one_vector_a_class_are_no_trouble(name, rng):
    (x, y), (judge, truth) = toy(rng, apart=30.0, dim=4)
    same = PROBES[name](x[:5], np.full(5, 2), judge, groups=np.arange(5), rng=seeded())
    np.testing.assert_array_equal(same, 2)
    one = np.array([0, 40, 80, 120])
    guess = PROBES[name](x[one], y[one], judge, groups=one, rng=seeded())
    assert np.mean(guess == truth) > 0.9


@pytest.mark.parametrize("temperature", [None, 0.07, 1.0])
def test_nearest_equals_a_slow_loop(temperature, rng):
    x, judge = rng.normal(size=(60, 5)), rng.normal(size=(30, 5))
    y = rng.integers(0, 4, 60)
    for k in (1, 4, 20, 100):
        found = nearest(x, y, judge, neighbours=k, temperature=temperature)
        for vector, guess in zip(judge, found, strict=True):
            cosine = [v @ vector / np.linalg.norm(v) / np.linalg.norm(vector) for v in x]
            votes = {c: [0.0, 0.0] for c in range(4)}
            for i in sorted(range(60), key=lambda i: -cosine[i])[:k]:
                votes[y[i]][0] += 1 if temperature is None else np.exp(cosine[i] / temperature)
                votes[y[i]][1] += 1 + cosine[i]
            assert guess == max(votes, key=lambda c: votes[c])


def test_plain_is_one_vote_each(rng):
    x, y, judge = rng.normal(size=(50, 3)), rng.integers(0, 3, 50), rng.normal(size=(20, 3))
    np.testing.assert_array_equal(plain(x, y, judge), nearest(x, y, judge, temperature=None))


@pytest.mark.parametrize("n", [30, 80, 400])
def test_ridge_equals_the_normal_equations(n, rng):
    x, y, judge = rng.normal(size=(n, 50)), rng.normal(size=n), rng.normal(size=(7, 50))
    x[:, 1], judge[:, 1] = x[:, 0], judge[:, 0]
    for strength, found in zip(STRENGTHS, ridge_path(x, y, judge, STRENGTHS), strict=True):
        centred = x - x.mean(0)
        weights = np.linalg.solve(centred.T @ centred + n * strength * np.eye(50), centred.T @ (y - y.mean()))
        np.testing.assert_allclose(found, y.mean() + (judge - x.mean(0)) @ weights, rtol=1e-6, atol=1e-8)


def test_ridge_chooses_a_strength_that_validates(rng):
    x, judge = rng.normal(size=(60, 80)), rng.normal(size=(200, 80))
    weight = np.zeros(80)
    weight[:3] = 1
    y, truth = x @ weight + rng.normal(size=60), judge @ weight
    error = np.mean((ridge(x, y, judge, groups=np.arange(60), rng=seeded()) - truth) ** 2)
    weakest = np.mean((ridge_path(x, y, judge, [STRENGTHS[-1]])[0] - truth) ** 2)
    assert error < weakest
    noise = ridge(x, rng.normal(size=60), judge, groups=np.arange(60), rng=seeded())
    assert noise.std() < 0.5, "nothing to learn: near the mean"


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_batch_norm_makes_the_linear_probe_blind_to_scale_and_shift(optimiser, rng):
    (x, y), (judge, _) = toy(rng, apart=2.0)
    settings = Linear(optimiser=optimiser, steps=50, batch=32, learning_rate=0.01)
    scale = 10.0 ** rng.uniform(-3, 3, x.shape[1])
    guess = linear(x, y, judge, rng=seeded(), settings=settings)
    other = linear(x * scale + scale, y, judge * scale + scale, rng=seeded(), settings=settings)
    np.testing.assert_array_equal(guess, other)


def test_the_linear_probe_is_soft_max_regression(rng):
    """Whole batches, long trained, are where the gradient is 0: as scikit-learn without a penalty."""
    from sklearn.linear_model import LogisticRegression

    (x, y), (judge, _) = toy(rng, apart=0.7, count=100, dim=4)
    settings = Linear(steps=2000, batch=1000, learning_rate=0.5)
    guess = linear(x, y, judge, rng=seeded(), settings=settings)
    exact = LogisticRegression(C=1e8, max_iter=2000).fit(*(standardised(x, judge)[0], y))
    assert np.mean(guess == exact.predict(standardised(x, judge)[1])) > 0.99


def test_counts_add_up_to_the_known_figures(rng):
    truth, guess = rng.integers(-1, 4, (6, 10, 10)), rng.integers(0, 4, (6, 10, 10))
    part = np.broadcast_to(np.arange(6)[:, None, None] // 2, truth.shape)
    counts = confusion(truth, guess, part, classes=5, parts=3)
    kept = truth >= 0
    np.testing.assert_array_equal(
        counts.sum(0).reshape(5, 5), confusion_matrix(truth[kept], guess[kept], labels=range(5))
    )
    figures = class_figures(counts.sum(0), ("a", "b", "c", "d", "never"))
    assert figures["accuracy"] == pytest.approx(np.mean(truth[kept] == guess[kept]))
    assert figures["macro_f1"] == pytest.approx(f1_score(truth[kept], guess[kept], average="macro"))
    assert figures["miou"] == pytest.approx(jaccard_score(truth[kept], guess[kept], average="macro"))
    assert figures["iou_b"] == pytest.approx(
        jaccard_score(truth[kept], guess[kept], average=None, labels=range(4))[1]
    )
    assert np.isnan(figures["iou_never"])


def test_the_mean_over_chips_is_of_the_classes_in_each(rng):
    truth, guess = rng.integers(-1, 4, (6, 4, 4)), rng.integers(0, 4, (6, 4, 4))
    truth[3], truth[5], guess[5] = -1, 2, 2
    group, chip = np.array([0, 0, 1, 1, 2, 2]), np.broadcast_to(np.arange(6)[:, None, None], truth.shape)
    found = overlaps(confusion(truth, guess, chip, classes=4, parts=6), group, classes=4, parts=3)
    every = confusion(truth, guess, group[chip], classes=4, parts=3)
    figures = pixel_figures(np.concatenate([every, found], 1), ("a", "b", "c", "d"))
    for one in range(3):
        own = [
            jaccard_score(truth[i][truth[i] >= 0], guess[i][truth[i] >= 0], average="macro", zero_division=0)
            for i in np.flatnonzero(group == one)
            if i != 3
        ]
        assert figures["miou_mean_of_chips"][one] == pytest.approx(np.mean(own))
    assert figures["miou_mean_of_chips"][2] > figures["miou"][2], "all of one class, and right"


def test_number_figures_equal_the_direct_ones(rng):
    truth = 1e4 + rng.normal(size=90)
    guess = truth + rng.normal(size=90) / 2
    sums = squares(truth, guess, np.arange(90) % 7, parts=7)
    figures = number_figures(sums.sum(0))
    assert figures["rmse"] == pytest.approx(np.sqrt(np.mean((guess - truth) ** 2)))
    assert figures["r2"] == pytest.approx(r2_score(truth, guess))


def test_intervals_cover_what_the_figure_would_be_elsewhere():
    """Groups of chips alike: an interval by chips would be far too narrow."""
    rng, inside = np.random.default_rng(3), 0
    for seed in range(100):
        right = np.repeat(rng.random(40) < 0.7, 10).astype(float)
        counts = np.stack([right, 1 - right], 1).reshape(40, 10, 2).sum(1)
        row = judged(counts[None], lambda c: {"accuracy": c[..., 0] / c.sum(-1)}, resamples=200, seed=seed)
        figure = told(row.by_draw["accuracy"], row.resampled["accuracy"])
        inside += figure["low"] <= 0.7 <= figure["high"]
    assert inside >= 86


def test_orders_of_labels_are_nested_and_keep_the_shares(rng):
    classes = rng.permutation(np.repeat([0, 1, 2], [80, 15, 5]))
    order = labelling_order(classes, rng=seeded())
    assert sorted(order) == list(range(100))
    few, more = (share_of(order, share, least=3) for share in (0.01, 0.2))
    assert sorted(classes[few]) == [0, 1, 2], "one of each comes first"
    assert set(few) < set(more)
    np.testing.assert_allclose(np.bincount(classes[more]) / 20, [0.8, 0.15, 0.05], atol=0.1)
    assert not np.array_equal(order, labelling_order(classes, rng=np.random.default_rng(8)))


def test_shots_are_of_every_class_and_folds_keep_groups(rng):
    classes = np.repeat([0, 1, 4], [5, 6, 7])
    assert np.bincount(classes[shots(classes, 5, rng=rng)]).tolist() == [5, 5, 0, 0, 5]
    with pytest.raises(DataError, match="expected 6 samples of every class to label, found 5"):
        shots(classes, 6, rng=rng)
    groups = rng.integers(0, 9, 60)
    fold = folds(groups, 3, rng=rng)
    assert set(fold) == {0, 1, 2}
    assert all(len(set(fold[groups == g])) == 1 for g in groups)


def test_more_labels_are_better_in_expectation(rng):
    (x, y), (judge, truth) = toy(rng, apart=2.0, count=100, dim=30)
    found = []
    for share in (0.02, 0.1, 1.0):
        scores = []
        for seed in range(5):
            some = share_of(labelling_order(y, rng=np.random.default_rng(seed)), share, least=4)
            guess = logistic(x[some], y[some], judge, groups=some, rng=seeded())
            scores.append(np.mean(guess == truth))
        found.append(np.mean(scores))
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.1


def test_cells_are_means_of_their_valid_pixels(rng):
    pixels, valid = rng.normal(size=(2, 3, 10, 10)), rng.random((2, 10, 10)) < 0.8
    edges = cell_edges(10, 3)
    assert edges.tolist() == [0, 3, 6]
    found = cell_means(pixels, valid, edges)
    assert found.shape == (2, 3, 3, 3)
    expected = pixels[1, 2, 3:6, 6:][valid[1, 3:6, 6:]].mean()
    assert found[1, 1, 2, 2] == pytest.approx(expected, rel=1e-5)
    pixels[~np.broadcast_to(valid[:, None], pixels.shape)] = 1e6
    np.testing.assert_array_equal(cell_means(pixels, valid, edges), found)
    hidden = cell_means(pixels, np.zeros_like(valid), edges)
    np.testing.assert_array_equal(hidden, 0)


def test_unit_chips_lose_level_and_contrast_and_dims_of_one_unit_keep_their_proportions(rng):
    x = rng.normal(size=(9, 6)) * [1, 2, 3, 4, 5, 100]
    np.testing.assert_allclose(unit_chips(x), unit_chips(3 * x + 7))
    np.testing.assert_array_equal(unit_chips(np.ones((2, 3))), 0)
    learn, _ = standardised(x, x, together=True)
    np.testing.assert_allclose(learn / learn[0, 0], (x - x.mean(0)) / (x - x.mean(0))[0, 0])
    assert np.sqrt(np.mean(learn**2)) == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(standardised(x, x)[0].std(0), 1, rtol=1e-4)


def test_statistics_tell_texture_from_noise(rng):
    rough = rng.normal(size=(1, 1, 32, 32))
    smooth = np.sort(rough.ravel()).reshape(1, 1, 32, 32)
    valid = np.ones((1, 32, 32), bool)
    a, b = (cell_statistics(image, valid, cell_edges(32, 1))[0, 0, 0] for image in (rough, smooth))
    np.testing.assert_allclose(a[:2], b[:2], atol=1e-5)
    assert (a[2:] > 2 * b[2:]).all()
    assert cell_statistics(rough, valid, cell_edges(32, 8)).shape == (1, 8, 8, 10)
