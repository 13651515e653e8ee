"""The injected bench: a strong planted change is found by every fast row, end to end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.errors import ArtefactError, DataError, SettingsError
from sarcast.evaluate.curves import roc_auc
from sarcast.stack.store import write_stack
from sarcast.steps.bench_injected import Injected, judge, places, truth
from sarcast.steps.bench_maps import to_pixels
from sarcast.steps.bench_rows import FAST, choose, named
from sarcast.values import PatchGrid

SETTINGS = Injected(
    stacks=(), references=14, gap_days=10, levels_db=(-10.0,), ellipses=12, share=0.08, draws=1, margin=2
)


@pytest.fixture(scope="module")
def source(make_stack, tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "stacks" / "one" / "stack.zarr"
    write_stack(path, make_stack(np.random.default_rng(5), (64, 64), dates=18, side_m=30.0))
    return path.parents[2]


@pytest.fixture(scope="module")
def place(source):
    return places(source, SETTINGS)[0]


def test_history_is_the_dates_before_the_gap(place):
    days = place.stack.times.days
    assert len(days) == 15 and place.split.fit.sum() == 14 and place.split.judge[-1]
    assert days[-1] - days[-2] > 10
    assert np.ptp(np.diff(days[:-1])) == 0


@pytest.mark.parametrize("name", FAST)
def test_every_fast_row_finds_ten_decibels(name, place):
    found = judge(name, [place], SETTINGS, seeds=(0,))
    chips = truth([place], SETTINGS, seeds=(0,))
    assert found.scores.shape == (3, 64 * 64) == found.surprise.shape
    assert found.valid.all() and np.isfinite(found.surprise).all()
    auc = roc_auc(found.scores[0], chips.event >= 0)
    assert auc > 0.85, name
    assert found.learn_seconds > 0 and found.memory_mb > 10


def test_history_is_learned_once_and_the_judged_date_plays_no_part(place):
    row = named("statistics, z_score")
    amplitude = place.stack.amplitude.copy()
    amplitude[-1] *= 7
    other = replace(place.stack, amplitude=amplitude)
    a, b = (row.learn(stack, place.split, seed=0) for stack in (place.stack, other))
    np.testing.assert_array_equal(a.history().values, b.history().values)
    np.testing.assert_array_equal(a.judge(other).values, b.judge(other).values)


def test_cells_are_spread_to_the_pixels_they_cover(rng):
    grid = PatchGrid(image=(10, 13), patch=4, stride=4)
    values = rng.normal(size=(1, *grid.shape))
    valid = np.ones(values.shape, bool)
    valid[0, 0, 0] = False
    found, seen = to_pixels(values, valid, grid)
    assert not seen[0, :4, :4].any() and seen.sum() == 10 * 13 - 16
    assert found[0, 5, 5] == pytest.approx(values[0, 1, 1], rel=1e-6)
    assert found[0, 7, 5] == pytest.approx((values[0, 1, 1] + values[0, 2, 1]) / 2, rel=1e-6)


def test_what_cannot_be_done_is_said_in_one_line(source, tmp_path):
    with pytest.raises(SettingsError, match=r"expected rows among .* found 'no such'"):
        choose(("no such",), default=())
    with pytest.raises(ArtefactError, match="expected stacks named 999, found one, in"):
        places(source, SETTINGS.model_copy(update={"stacks": ("999",)}))
    with pytest.raises(ArtefactError, match="expected a folder of products or a run folder, found none"):
        places(tmp_path / "nowhere", SETTINGS)
    with pytest.raises(DataError, match="expected at least 20 dates 180 days before the last, found 0"):
        places(source, Injected(stacks=()))
