"""ROC-AUC, average precision and recall at a false-alarm rate against scikit-learn and against loops."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, roc_auc_score

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.evaluate.curves import average_precision, recall_at_false_alarms, roc_auc

FIGURES = (roc_auc, average_precision, partial(recall_at_false_alarms, rate=0.1))


def drawn(rng, n=400, positives=30, ties=False):
    labels = np.zeros(n, bool)
    labels[rng.permutation(n)[:positives]] = True
    scores = rng.normal(size=n) + 1.5 * labels
    return (np.round(scores) if ties else scores), labels


@st.composite
def judged(draw):
    n = draw(st.integers(2, 40))
    scores = draw(hnp.arrays(np.float64, n, elements=st.integers(-4, 4).map(float)))
    labels = draw(hnp.arrays(bool, n))
    labels[0], labels[1] = True, False
    weights = draw(hnp.arrays(np.float64, n, elements=st.integers(0, 3).map(float)))
    weights[:2] = 1
    return scores, labels, weights


def slow_recall(scores, labels, weights, rate):
    best = 0.0
    for threshold in np.unique(scores):
        over = scores >= threshold
        if weights[over & ~labels].sum() <= rate * weights[~labels].sum() + 1e-12:
            best = max(best, weights[over & labels].sum() / weights[labels].sum())
    return best


@given(judged())
def test_equals_scikit_learn_with_ties_and_weights(case):
    scores, labels, weights = case
    assert roc_auc(scores, labels, weights=weights) == pytest.approx(
        roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12
    )
    assert average_precision(scores, labels, weights=weights) == pytest.approx(
        average_precision_score(labels, scores, sample_weight=weights), abs=1e-12
    )


@given(judged())
def test_auc_is_the_chance_to_score_higher(case):
    scores, labels, weights = case
    a, b = scores[labels][:, None], scores[~labels][None, :]
    w = weights[labels][:, None] * weights[~labels][None, :]
    expected = (w * ((a > b) + 0.5 * (a == b))).sum() / w.sum()
    assert roc_auc(scores, labels, weights=weights) == pytest.approx(expected, abs=1e-12)


@given(judged(), st.sampled_from([0.0, 1e-3, 0.1, 0.25, 0.5, 0.9]))
def test_recall_equals_a_loop_over_thresholds(case, rate):
    scores, labels, weights = case
    got = recall_at_false_alarms(scores, labels, rate=rate, weights=weights)
    assert got == pytest.approx(slow_recall(scores, labels, weights, rate), abs=1e-12)


@given(judged())
def test_a_weight_of_two_is_the_cell_twice(case):
    scores, labels, weights = case
    times = weights.astype(int)
    for figure in FIGURES:
        repeated = figure(np.repeat(scores, times), np.repeat(labels, times))
        assert figure(scores, labels, weights=weights) == pytest.approx(repeated, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_many_weightings_at_once_are_each_alone(rng, ties):
    scores, labels = drawn(rng, ties=ties)
    weights = rng.integers(0, 4, (7, len(scores))).astype(float)
    for figure in FIGURES:
        together = figure(scores, labels, weights=weights)
        assert together.shape == (7,)
        alone = [float(figure(scores, labels, weights=w)) for w in weights]
        np.testing.assert_allclose(together, alone, atol=1e-12)


@pytest.mark.parametrize("change", [np.exp, lambda s: 3 * s - 7, np.arctan, lambda s: s.astype(np.float32)])
def test_only_the_order_matters(rng, change):
    scores, labels = drawn(rng)
    order = rng.permutation(len(scores))
    for figure in FIGURES:
        assert figure(change(scores), labels) == pytest.approx(float(figure(scores, labels)), abs=1e-12)
        assert figure(scores[order], labels[order]) == pytest.approx(float(figure(scores, labels)), abs=1e-12)


def test_turning_scores_round_turns_auc_round(rng):
    scores, labels = drawn(rng, ties=True)
    assert roc_auc(-scores, labels) == pytest.approx(1 - roc_auc(scores, labels), abs=1e-12)


def test_perfect_useless_and_wrong():
    labels = np.array([True] * 5 + [False] * 95)
    perfect = labels.astype(float)
    assert [float(f(perfect, labels)) for f in FIGURES] == [1, 1, 1]
    assert float(roc_auc(np.zeros(100), labels)) == 0.5
    assert float(average_precision(np.zeros(100), labels)) == pytest.approx(0.05)
    assert float(recall_at_false_alarms(np.zeros(100), labels, rate=0.1)) == 0
    assert float(roc_auc(-perfect, labels)) == 0


def test_too_few_negatives_for_the_rate_allow_none():
    labels = np.array([True, True, False, False])
    scores = np.array([3.0, 1.0, 2.0, 0.0])
    assert recall_at_false_alarms(scores, labels, rate=0.4) == 0.5
    assert recall_at_false_alarms(scores, labels, rate=0.5) == 1


def test_a_tie_with_a_negative_over_the_rate_is_not_counted():
    labels = np.array([True, False, True, False, False])
    scores = np.array([1.0, 1.0, 2.0, 0.0, 0.0])
    assert recall_at_false_alarms(scores, labels, rate=1e-3) == 0.5


@pytest.mark.parametrize("labels", [[True, True], [False, False], []])
@pytest.mark.parametrize("figure", FIGURES)
def test_a_missing_class_raises(figure, labels):
    with pytest.raises(DataError, match=r"no (positives|negatives)"):
        figure(np.arange(len(labels), dtype=float), np.array(labels, bool))


@pytest.mark.parametrize("figure", FIGURES)
def test_bad_requests_raise(figure):
    labels = np.array([True, False])
    with pytest.raises(DataError, match="finite"):
        figure(np.array([1.0, np.nan]), labels)
    with pytest.raises(ShapeError):
        figure(np.zeros(3), labels)
    with pytest.raises(ShapeError):
        figure(np.zeros(2), labels, weights=np.ones((4, 3)))
    with pytest.raises(SettingsError):
        recall_at_false_alarms(np.zeros(2), labels, rate=1.0)
