"""The judged cells: positives at their onset, clean negatives, everything in between left out."""

import numpy as np
import pytest

from sarcast.errors import ShapeError
from sarcast.evaluate.onset import cell_cover, onset_cells, onset_index
from sarcast.values import PatchGrid

TIMES, ROWS, COLS = 6, 5, 7
VALID = np.ones((TIMES, ROWS, COLS), bool)
JUDGED = np.array([False, False, True, True, True, True])


def cover_of(*events):
    """One cover map an event, from {(row, col): share}."""
    cover = np.zeros((len(events), ROWS, COLS))
    for e, cells in enumerate(events):
        for cell, share in cells.items():
            cover[e][cell] = share
    return cover


def as_maps(cells):
    """-2 left out, -1 negative, else the event: (time, row, col)."""
    found = np.full(VALID.size, -2)
    found[cells.index] = cells.event_ids
    return found.reshape(VALID.shape)


def slow(cover, onset, valid, judged, least):
    found = np.full(valid.shape, -2)
    for t, r, c in np.argwhere(valid & judged[:, None, None]):
        begun = [e for e in range(len(cover)) if onset[e] <= t and cover[e, r, c] > 0]
        starting = [e for e in begun if onset[e] == t and cover[e, r, c] >= least]
        if starting:
            found[t, r, c] = max(starting, key=lambda e: cover[e, r, c])
        elif not begun:
            found[t, r, c] = -1
    return found


def test_one_event_is_positive_once_then_left_out():
    cells = onset_cells(
        cover_of({(1, 1): 1.0, (1, 2): 0.5, (1, 3): 0.49}), np.array([3]), valid=VALID, judged=JUDGED
    )
    found = as_maps(cells)
    assert found[:, 1, 1].tolist() == [-2, -2, -1, 0, -2, -2]
    assert found[:, 1, 2].tolist() == [-2, -2, -1, 0, -2, -2]
    assert found[:, 1, 3].tolist() == [-2, -2, -1, -2, -2, -2]
    assert found[:, 0, 0].tolist() == [-2, -2, -1, -1, -1, -1]
    assert cells.labels.sum() == 2
    assert cells.missed == ()


def test_equals_a_loop(rng):
    for _ in range(20):
        cover = np.where(rng.random((5, ROWS, COLS)) < 0.2, rng.random((5, ROWS, COLS)), 0)
        onset = rng.integers(0, TIMES + 2, 5)
        valid, judged = rng.random(VALID.shape) > 0.2, rng.random(TIMES) > 0.3
        cells = onset_cells(cover, onset, valid=valid, judged=judged, least=0.4)
        expected = slow(cover, onset, valid, judged, 0.4)
        np.testing.assert_array_equal(as_maps(cells), expected)
        np.testing.assert_array_equal(cells.labels, cells.event_ids >= 0)
        assert set(cells.missed) == set(range(5)) - set(expected[expected >= 0].tolist())
        assert (np.diff(cells.index) > 0).all()


def test_events_without_a_positive_are_named():
    cover = cover_of({(0, 0): 0.3}, {(1, 1): 1.0}, {(2, 2): 1.0}, {(3, 3): 1.0}, {(4, 4): 1.0})
    valid = VALID.copy()
    valid[4, 3, 3] = False
    onset = np.array([3, 0, TIMES, 4, 5])
    cells = onset_cells(cover, onset, valid=valid, judged=JUDGED)
    assert cells.missed == (0, 1, 2, 3)
    found = as_maps(cells)
    assert (found[:, 1, 1] == -2).all()
    assert (found[2:, 2, 2] == -1).all()


def test_no_events_leaves_only_negatives():
    cells = onset_cells(np.zeros((0, ROWS, COLS)), np.zeros(0, int), valid=VALID, judged=JUDGED)
    assert len(cells) == JUDGED.sum() * ROWS * COLS
    assert not cells.labels.any()


def test_blocks_hold_a_place_through_all_dates():
    cells = onset_cells(cover_of({}), np.array([3]), valid=VALID, judged=JUDGED, block=4)
    time, row, col = np.unravel_index(cells.index, VALID.shape)
    assert len(np.unique(cells.block_ids)) == 2 * 2
    assert len(set(zip(cells.block_ids.tolist(), row // 4, col // 4, strict=True))) == 4
    assert set(time) == {2, 3, 4, 5}


@pytest.mark.parametrize("stride", [4, 2])
def test_cover_is_the_mean_of_the_mask_in_each_cell(rng, stride):
    grid = PatchGrid(image=(22, 31), patch=4, stride=stride)
    mask = rng.random((3, 22, 31)) > 0.6
    got = cell_cover(mask, grid)
    assert got.shape == (3, *grid.shape)
    for i, top in enumerate(grid.tops):
        for j, left in enumerate(grid.lefts):
            expected = mask[:, top : top + 4, left : left + 4].mean(axis=(1, 2))
            np.testing.assert_array_equal(got[:, i, j], expected)


def test_onset_is_the_first_date_at_or_after():
    times = np.array(["2024-01-01", "2024-01-13", "2024-01-25"], "datetime64[ns]")
    assert onset_index(times, np.datetime64("2023-06-01")) == 0
    assert onset_index(times, np.datetime64("2024-01-13")) == 1
    assert onset_index(times, np.datetime64("2024-01-13T00:00:01")) == 2
    assert onset_index(times, np.datetime64("2024-02-01")) == 3


def test_bad_shapes_raise():
    with pytest.raises(ShapeError):
        onset_cells(np.zeros((1, 3, 3)), np.array([1]), valid=VALID, judged=JUDGED)
    with pytest.raises(ShapeError):
        onset_cells(cover_of({}), np.array([1, 2]), valid=VALID, judged=JUDGED)
    with pytest.raises(ShapeError):
        cell_cover(np.zeros((8, 9), bool), PatchGrid(image=(8, 8), patch=4, stride=4))
