"""Labels by loss of coherence: a planted loss is found, quiet ground is not, and water is never judged."""

from dataclasses import replace

import numpy as np
import pytest

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.evaluate.coherence_labels import CoherenceSeries, cell_means, label_changes
from sarcast.evaluate.within_dates import auc_within_dates
from sarcast.sar.coherence import coherence
from sarcast.sar.coherence_statistics import expected_coherence
from sarcast.sar.simulate import complex_pair
from sarcast.values import PatchGrid

CELLS = (24, 30)
N = 16
"""Dates, twelve days apart; the first ten are history."""
DATES = (np.datetime64("2024-01-01T06:00", "ns") + np.arange(N) * np.timedelta64(12, "D")).astype(
    "datetime64[ns]"
)
HISTORY = np.arange(N) < 10
LOOKS = 25


def ground(rng):
    """True coherence of cells over 12 days: the left third is water, the rest from 0.3 to 0.9."""
    true = rng.uniform(0.3, 0.9, CELLS)
    true[:, :10] = 0
    return true


def series(rng, true, *, loss=None, frame=None):
    """Coherence of neighbouring dates, 25 independent looks a cell; `loss` (date, row, col) takes it all."""
    maps = []
    for date in range(1, N):
        here = np.clip(true * (1 if frame is None else frame[date]), 0, 1)
        if loss is not None:
            here = np.where(loss[date], 0, here)
        fine = np.kron(here, np.ones((5, 5)))
        maps.append(coherence(*complex_pair(np.ones(fine.shape), coherence=fine, rng=rng), step=(5, 5))[0])
    days = DATES.astype("datetime64[D]")
    values = np.stack(maps)
    return CoherenceSeries(values=values, valid=np.ones(values.shape, bool), first=days[:-1], second=days[1:])


def kept(one, maps):
    return CoherenceSeries(
        values=one.values[maps], valid=one.valid[maps], first=one.first[maps], second=one.second[maps]
    )


def test_planted_loss_is_found_and_frames_do_not_matter(rng):
    true = ground(rng)
    loss = np.zeros((N, *CELLS), bool)
    loss[12, 5:9, 15:20] = loss[14, 15:22, 4:14] = True
    frame = rng.uniform(0.85, 1, N)
    found = label_changes(
        series(rng, true, loss=loss, frame=frame), dates=DATES, history=HISTORY, judged=~HISTORY
    )
    assert list(found.dates) == list(range(10, N))
    assert abs(found.floor - expected_coherence(0, LOOKS)) < 0.03
    at = list(found.dates).index(12)
    strong = true[5:9, 15:20] > 0.7
    assert found.changed[at, 5:9, 15:20][strong].mean() > 0.7
    assert not found.changed[at, :, :10].any() and not found.unchanged[at, :, :10].any()
    quiet = found.changed.copy()
    for date, box in ((12, np.s_[5:9, 15:20]), (14, np.s_[15:22, 4:14])):
        quiet[list(found.dates).index(date)][box] = False
    assert quiet.sum() <= 0.003 * found.informative.sum()
    assert found.drop[at, 5:9, 15:20][strong].mean() > 0.3


def test_nothing_happens_and_labels_keep_their_rate(rng):
    shares, unchanged = [], []
    for _ in range(4):
        found = label_changes(
            series(rng, ground(rng)),
            dates=DATES,
            history=HISTORY,
            judged=~HISTORY,
            looks=LOOKS,
            changed_p=0.02,
        )
        shares.append(found.changed.sum() / found.informative.sum())
        unchanged.append(found.unchanged.sum() / found.informative.sum())
    assert 0.005 < np.mean(shares) < 0.04
    assert 0.7 < np.mean(unchanged) < 0.9


def test_never_coherent_is_no_information(rng):
    found = label_changes(series(rng, ground(rng)), dates=DATES, history=HISTORY, judged=~HISTORY)
    assert not found.informative[:, :, :10].any()
    assert found.informative[:, :, 10:].mean() > 0.5
    assert not (found.changed & found.unchanged).any()


def test_shortest_pair_with_a_history_is_taken(rng):
    plain = series(rng, ground(rng))
    days = DATES.astype("datetime64[D]")
    longer = replace(
        plain,
        values=np.concatenate([plain.values, plain.values[-3:]]),
        valid=np.concatenate([plain.valid, plain.valid[-3:]]),
        first=np.concatenate([plain.first, days[[5, 6, 7]]]),
        second=np.concatenate([plain.second, days[[13, 14, 15]]]),
    )
    found = label_changes(longer, dates=DATES, history=HISTORY, judged=~HISTORY)
    assert (longer.days[found.pairs] == 12).all()
    with pytest.raises(DataError, match="expected a pair of maps that ends on a judged date"):
        label_changes(kept(longer, slice(-3, None)), dates=DATES, history=HISTORY, judged=~HISTORY)
    with pytest.raises(SettingsError, match="changed_p"):
        label_changes(plain, dates=DATES, history=HISTORY, judged=~HISTORY, changed_p=0.5)


def test_what_is_not_measured_is_not_judged(rng):
    plain = series(rng, ground(rng))
    valid = plain.valid.copy()
    valid[:, 3] = False
    values = np.where(valid, plain.values, 0)
    found = label_changes(
        replace(plain, values=values, valid=valid), dates=DATES, history=HISTORY, judged=~HISTORY
    )
    for part in (found.changed, found.unchanged, found.informative, found.drop):
        assert not part[:, 3].any()


def test_cell_means_equal_a_loop(rng):
    grid = PatchGrid(image=(22, 31), patch=8, stride=4)
    values, valid = rng.random(grid.image).astype(np.float32), rng.random(grid.image) > 0.4
    valid[:9, :9] = False
    found, enough = cell_means(values, valid, grid)
    for i, top in enumerate(grid.tops):
        for j, left in enumerate(grid.lefts):
            box = np.s_[top : top + 8, left : left + 8]
            assert enough[i, j] == (valid[box].mean() >= 0.5)
            expected = values[box][valid[box]].mean() if enough[i, j] else 0
            assert found[i, j] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ShapeError, match="expected a map"):
        cell_means(values[:5], valid[:5], grid)


def test_scores_that_only_tell_dates_apart_win_nothing_within(rng):
    shape = (8, *CELLS)
    changed = np.zeros(shape, bool)
    changed[0] = rng.random(CELLS) < 0.5
    changed[1:, :2, :3] = True
    noise = rng.normal(0, 1, shape)
    date_wise = noise + np.array([50.0] + [0] * 7)[:, None, None]
    found = auc_within_dates(date_wise, np.ones(shape, bool), changed, ~changed, seed=0, draws=100)
    assert found["pooled"].value > 0.7
    assert found["within"].low < 0.5 < found["within"].high
    assert abs(found["centred"].value - 0.5) < 0.05
    good = auc_within_dates(noise + 4 * changed, np.ones(shape, bool), changed, ~changed, seed=0, draws=100)
    assert good["within"].low > 0.95 and good["within"].n == 8
    none = auc_within_dates(noise, np.ones(shape, bool), changed & False, ~changed, seed=0)
    assert set(none.values()) == {None}
    with pytest.raises(ShapeError, match="one shape"):
        auc_within_dates(noise, np.ones(shape, bool), changed[1:], ~changed, seed=0)


def test_pairs_are_checked():
    day = np.array(["2024-01-01"], "datetime64[D]")
    with pytest.raises(ShapeError, match="earlier"):
        CoherenceSeries(values=np.zeros((1, 2, 2)), valid=np.ones((1, 2, 2), bool), first=day, second=day)
    with pytest.raises(ShapeError, match="masks and dates"):
        CoherenceSeries(values=np.zeros((1, 2, 2)), valid=np.ones((2, 2, 2), bool), first=day, second=day)
