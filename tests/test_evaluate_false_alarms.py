"""The share of small p-values, pooled over stacks, with an interval that covers."""

import numpy as np
import pytest

from sarcast.errors import DataError, ShapeError
from sarcast.evaluate.false_alarms import share_below


def stacks(rng, count=3, shape=(4, 16, 16)):
    p = [rng.random(shape) for _ in range(count)]
    return p, [np.ones(shape, bool) for _ in range(count)]


def test_share_is_pooled_over_valid_cells(rng):
    p, valid = stacks(rng)
    valid = [rng.random(v.shape) > 0.4 for v in valid]
    got = share_below(p, valid, below=0.05, seed=1)
    flags = np.concatenate([a[v] for a, v in zip(p, valid, strict=True)]) < 0.05
    assert got.value == pytest.approx(flags.mean())
    assert got.low < got.value < got.high
    assert got.n == 3 * 4
    assert got.name == "share of p < 0.05"


def test_stacks_do_not_share_blocks(rng):
    p, valid = stacks(rng, count=5)
    assert share_below(p, valid, below=0.1, cells=None, dates=1, seed=0).n == 5 * 4
    assert share_below(p, valid, below=0.1, cells=4, dates=2, seed=0).n == 5 * 2 * 16


def test_stacks_may_differ_in_shape(rng):
    first, second = rng.random((3, 8, 8)), rng.random((2, 20, 9))
    got = share_below([first, second], [np.ones(a.shape, bool) for a in (first, second)], below=0.5, seed=0)
    assert got.n == 1 + 3 * 2


def test_interval_covers_where_cells_of_a_place_go_together():
    held = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        bad = np.kron(rng.random((6, 6)) < 0.2, np.ones((8, 8)))
        p = np.where(bad, rng.random((4, 48, 48)) * 0.1, 0.05 + 0.95 * rng.random((4, 48, 48)))
        got = share_below([p], [np.ones(p.shape, bool)], below=0.05, draws=300, seed=seed)
        held += got.low <= 0.2 * 0.5 <= got.high
    assert 0.87 <= held / 150 <= 1


def test_none_below_still_has_an_upper_bound():
    p = np.full((2, 10, 10), 0.5)
    got = share_below([p], [np.ones(p.shape, bool)], below=1e-3, seed=0)
    assert (got.value, got.low) == (0, 0)
    assert got.high == pytest.approx(1 - 0.025 ** (1 / 200))


def test_exactly_the_level_does_not_count():
    p = np.full((1, 8, 8), 0.01)
    assert share_below([p], [np.ones(p.shape, bool)], below=0.01, seed=0).value == 0


def test_bad_requests_raise(rng):
    p, valid = stacks(rng)
    with pytest.raises(DataError):
        share_below(p, [~v for v in valid], seed=0)
    with pytest.raises(DataError):
        share_below([], [], seed=0)
    with pytest.raises(ShapeError):
        share_below(p, [v[:2] for v in valid], seed=0)
