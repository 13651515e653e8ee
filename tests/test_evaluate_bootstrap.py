"""Intervals over events and blocks: they cover, they are repeatable, and they see clusters."""

import time
from functools import partial

import numpy as np
import pytest

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.evaluate.bootstrap import block_bootstrap, cell_blocks, event_bootstrap, paired_difference
from sarcast.evaluate.curves import average_precision, recall_at_false_alarms, roc_auc

STATISTICS = {
    "auc": roc_auc,
    "ap": average_precision,
    "recall": partial(recall_at_false_alarms, rate=1e-3),
}


def judged(rng, events=20, cells=8, negatives=500, spread=1.0, block=10):
    """Scores whose positives share their event's strength, negatives their block's offset."""
    strength = 1.5 + spread * rng.normal(size=events)
    positives = np.repeat(strength, cells) + rng.normal(size=events * cells)
    offsets = 0.5 * rng.normal(size=-(-negatives // block))
    quiet = np.repeat(offsets, block)[:negatives] + rng.normal(size=negatives)
    scores = np.concatenate([positives, quiet])
    labels = np.arange(len(scores)) < len(positives)
    event_ids = np.where(labels, np.arange(len(scores)) // cells, -1)
    block_ids = np.where(labels, -1, (np.arange(len(scores)) - len(positives)) // block)
    return scores, labels, event_ids, block_ids


def test_value_is_the_plain_figure_and_lies_inside(rng):
    scores, labels, events, blocks = judged(rng)
    got = event_bootstrap(scores, labels, events, statistics=STATISTICS, block_ids=blocks, seed=3)
    for name, figure in STATISTICS.items():
        estimate = got[name]
        assert estimate.value == float(figure(scores, labels))
        assert estimate.low < estimate.value < estimate.high
        assert (estimate.n, estimate.seed, estimate.level, estimate.name) == (20, 3, 0.95, name)
        assert estimate.resampled == "event and cell block"


def test_equals_a_loop_that_repeats_the_cells_of_each_drawn_event(rng):
    scores, labels, events, _ = judged(rng, events=6, negatives=60)
    got = event_bootstrap(scores, labels, events, statistics={"auc": roc_auc}, draws=200, seed=5)["auc"]
    counts = np.random.default_rng((5, 0)).multinomial(6, np.full(6, 1 / 6), size=200)
    slow = []
    for row in counts:
        chosen = np.concatenate(
            [np.flatnonzero(~labels)]
            + [np.flatnonzero(labels & (events == e)) for e, n in enumerate(row) for _ in range(n)]
        )
        slow.append(float(roc_auc(scores[chosen], labels[chosen])))
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), abs=1e-12)


def test_repeatable_and_the_seed_matters(rng):
    case = judged(rng)
    call = partial(event_bootstrap, *case[:3], statistics=STATISTICS, block_ids=case[3], draws=100)
    assert call(seed=1) == call(seed=1)
    assert call(seed=1)["auc"].low != call(seed=2)["auc"].low


def test_the_size_of_a_chunk_does_not_matter(rng, monkeypatch):
    case = judged(rng)
    call = partial(event_bootstrap, *case[:3], statistics=STATISTICS, block_ids=case[3], draws=50, seed=1)
    whole = call()
    monkeypatch.setattr("sarcast.evaluate.bootstrap._CHUNK", 7 * len(case[0]))
    for name, estimate in call().items():
        assert (estimate.low, estimate.high) == pytest.approx((whole[name].low, whole[name].high), abs=1e-12)


def test_cells_that_go_together_widen_the_interval(rng):
    scores, labels, events, _ = judged(rng, cells=20)
    by_event = event_bootstrap(scores, labels, events, statistics={"auc": roc_auc}, seed=0)["auc"]
    each = np.arange(len(scores))
    by_cell = event_bootstrap(scores, labels, each, statistics={"auc": roc_auc}, seed=0)["auc"]
    assert by_event.high - by_event.low > 2 * (by_cell.high - by_cell.low)


def test_blocks_of_negatives_are_drawn_too(rng):
    scores, labels, events, _ = judged(rng, events=3, spread=0, cells=100)
    blocks = np.where(labels, -1, np.arange(len(scores)) // 250)
    kept = event_bootstrap(scores, labels, events, statistics={"auc": roc_auc}, seed=0)["auc"]
    scores = scores + np.where(labels, 0, 1.0 * (blocks == blocks[-1]))
    drawn = event_bootstrap(scores, labels, events, statistics={"auc": roc_auc}, block_ids=blocks, seed=0)[
        "auc"
    ]
    assert drawn.high - drawn.low > 1.5 * (kept.high - kept.low)


def test_intervals_over_events_cover_the_truth():
    """95 % intervals of the AUC over 25 events hold the true value in at least 88 % of 150 worlds."""
    truth_scores, truth_labels, _, _ = judged(np.random.default_rng(0), events=20_000, negatives=100_000)
    truth = float(roc_auc(truth_scores, truth_labels))
    held = cells_held = 0
    for seed in range(150):
        scores, labels, events, blocks = judged(np.random.default_rng(1000 + seed), events=25)
        call = partial(event_bootstrap, statistics={"auc": roc_auc}, draws=200, seed=seed)
        got = call(scores, labels, events, block_ids=blocks)["auc"]
        held += got.low <= truth <= got.high
        naive = call(scores, labels, np.arange(len(scores)))["auc"]
        cells_held += naive.low <= truth <= naive.high
    assert held / 150 >= 0.88
    assert cells_held / 150 < 0.8


def test_pairing_sees_a_difference_that_separate_intervals_do_not(rng):
    scores, labels, events, _ = judged(rng)
    better = scores + 0.25 * labels
    call = partial(event_bootstrap, statistics={"auc": roc_auc}, seed=0)
    first, second = call(better, labels, events)["auc"], call(scores, labels, events)["auc"]
    assert first.low < second.high
    gap = paired_difference(better, scores, labels, events, statistics={"auc": roc_auc}, seed=0)["auc"]
    assert gap.value == pytest.approx(first.value - second.value)
    assert 0 < gap.low < gap.value < gap.high
    back = paired_difference(scores, better, labels, events, statistics={"auc": roc_auc}, seed=0)["auc"]
    assert (back.low, back.high) == pytest.approx((-gap.high, -gap.low))


def test_no_difference_is_zero(rng):
    scores, labels, events, _ = judged(rng)
    gap = paired_difference(scores, scores, labels, events, statistics=STATISTICS, draws=20, seed=0)
    assert all((g.value, g.low, g.high) == (0, 0, 0) for g in gap.values())


def test_one_event_has_no_interval(rng):
    scores, labels, events, _ = judged(rng, events=1)
    got = event_bootstrap(scores, labels, events, statistics={"auc": roc_auc}, seed=0)["auc"]
    assert np.isnan(got.low)
    assert np.isnan(got.high)
    assert 0.5 < got.value <= 1


def test_fast_enough(rng):
    scores, labels, events, blocks = judged(rng, negatives=15_000)
    start = time.process_time()
    event_bootstrap(scores, labels, events, statistics=STATISTICS, block_ids=blocks, draws=500, seed=0)
    assert time.process_time() - start < 3


def test_block_intervals_of_a_mean_cover():
    held = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        blocks = np.repeat(np.arange(40), 10)
        values = rng.normal(size=40)[blocks] + rng.normal(size=400)
        got = block_bootstrap(values, blocks, draws=300, seed=seed)
        held += got.low <= 0 <= got.high
    assert 0.88 <= held / 300 <= 0.99


def test_block_mean_equals_the_general_statistic(rng):
    values, blocks = rng.random(200) < 0.3, rng.integers(0, 12, 200)
    fast = block_bootstrap(values, blocks, name="share", draws=100, seed=4)
    slow = block_bootstrap(values, blocks, name="share", statistic=np.mean, draws=100, seed=4)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high))
    assert fast.n == len(np.unique(blocks))
    assert str(fast).startswith(f"{values.mean():.3f} [")


def test_blocks_tile_time_and_cells():
    ids = cell_blocks((5, 10, 7), cells=4, dates=2)
    assert len(np.unique(ids)) == 3 * 3 * 2
    same = {(t // 2, r // 4, c // 4): set() for t, r, c in np.ndindex(5, 10, 7)}
    for t, r, c in np.ndindex(5, 10, 7):
        same[t // 2, r // 4, c // 4].add(int(ids[t, r, c]))
    assert all(len(found) == 1 for found in same.values())
    assert len(np.unique(cell_blocks((5, 10, 7), cells=None, dates=1))) == 5
    assert (cell_blocks((5, 10, 7), cells=4)[0] == cell_blocks((5, 10, 7), cells=4)[4]).all()


def test_bad_requests_raise(rng):
    scores, labels, events, blocks = judged(rng)
    call = partial(event_bootstrap, statistics={"auc": roc_auc}, seed=0)
    with pytest.raises(DataError):
        call(scores, np.zeros(len(labels), bool), events)
    with pytest.raises(ShapeError):
        call(scores, labels, events[:-1])
    with pytest.raises(ShapeError):
        call(scores, labels, events, block_ids=blocks[:-1])
    with pytest.raises(SettingsError):
        call(scores, labels, events, draws=0)
    with pytest.raises(DataError):
        block_bootstrap(np.zeros(0), np.zeros(0), seed=0)
    with pytest.raises(ShapeError):
        block_bootstrap(np.zeros(3), np.zeros(4), seed=0)
    with pytest.raises(SettingsError):
        cell_blocks((2, 2, 2), cells=0)
