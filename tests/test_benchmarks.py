"""The quality benchmarks on tiny settings: they run, their rows make sense, and easy truths come out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks import ablation, events, false_alarms

from sarcast.detectors.transformer import Transformer
from sarcast.detectors.z_score import ZScore
from sarcast.encoders.statistics import Statistics
from sarcast.sar.simulate import SimulateScene
from sarcast.train.loop import Training
from sarcast.values import PatchGrid, Split

SMALL = SimulateScene(
    shape=(192, 192), dates=16, kinds=("lava", "texture"), strength_db=(8.0, 10.0), events=4, dynamics=0.3
)
ROWS = {
    events.DEFAULT: events.Way(encoder=Statistics(), detector=ZScore()),
    "baseline: log-ratio to history's mean": events.Way(encoder=Statistics(groups=("mean",)), detector=None),
}


def _cells(table: str, way: str) -> list[str]:
    return [part.strip() for part in next(x for x in table.splitlines() if way in x).split("|")[1:-1]]


@pytest.fixture(scope="module")
def scenes() -> list[events.Judged]:
    return [events.judge(SMALL, ROWS, seed=seed) for seed in (0, 1)]


def test_strong_events_are_found_and_the_baseline_is_blind_to_texture(scenes):
    table = events.tables(scenes, settings=SMALL, seeds=[0, 1], draws=20)
    rows = [line for line in table.splitlines() if line.startswith("| statistics, z_score (l2)")]
    everything, texture = ([part.strip() for part in row.split("|")[1:-1]] for row in rows[:2])
    assert float(everything[1].split()[0]) > 0.9 and float(texture[1].split()[0]) > 0.9
    found = [scene.only({"texture"}) for scene in scenes]
    pooled = events.pool(found)
    ours, plain = (events.average_precision(s, pooled.labels) for s in pooled.surprise.values())
    assert ours > plain + 0.2


def test_pooling_keeps_events_and_blocks_apart(scenes):
    pooled = events.pool(scenes)
    count = sum(len(set(s.events[s.labels])) for s in scenes)
    assert len(set(pooled.events[pooled.labels])) == count
    assert len(set(pooled.blocks)) == sum(len(set(s.blocks)) for s in scenes)
    assert (pooled.labels == (pooled.events >= 0)).all()
    kinds = np.array(pooled.kinds)[pooled.events[pooled.labels]]
    alone = pooled.only({"lava"})
    assert alone.labels.sum() == (kinds == "lava").sum() > 0
    assert (~alone.labels).sum() == (~pooled.labels).sum()


def test_log_ratio_leaves_a_history_date_out_of_its_own_mean(make_features, rng):
    features = make_features(rng, dates=12)
    fit = np.arange(12) < 8
    other = features.values.copy()
    other[3] += 5
    split = Split(fit=fit, judge=~fit)
    (before, seen), (after, _) = (
        events.log_ratio(replace(features, values=v), split) for v in (features.values, other)
    )
    level = features.values[..., 0]
    np.testing.assert_allclose(before[3], np.abs(level[3] - level[fit][np.arange(8) != 3].mean(0)), rtol=1e-4)
    np.testing.assert_allclose(after[9], np.abs(level[9] - other[fit][..., 0].mean(0)), rtol=1e-4)
    assert seen.all()


def test_the_forecaster_claims_no_skill_that_later_dates_deny(make_features, rng):
    """On noise around a lasting mean, more dates than the context holds are all there is to win."""
    features = make_features(rng, dates=20, cells=(20, 20), dim=2)
    fit = np.arange(20) < 10
    split = Split(fit=fit, judge=~fit)
    detector = Transformer(
        width=16, layers=1, heads=2, device="cpu", neighbours=20, epochs=10, learning_rate=5e-3, batch=128
    )
    scorer = detector.fit(features, split, rng=np.random.default_rng(0))
    past, past_last, later, later_last = events.skills(scorer, features, split, np.ones(400, bool))
    assert past < 0.1 and past - later < 0.05
    assert past_last > 0.2 and later_last > 0.2


def test_simple_losses_against_a_loop(rng):
    from sarcast.detectors.series import Series

    values = rng.normal(0, 2, (9, 5, 3))
    valid = rng.random((9, 5)) < 0.7
    begin = np.array([0, 0, 0, 0, 4, 4, 4, 4, 4])
    series = Series(
        values=values,
        valid=valid,
        frame=values[:, 0],
        days=np.arange(9.0),
        geometry=values[:, 0],
        begin=begin,
    )
    windows, means, lasts = [], [], []
    for t in range(9):
        for c in range(5):
            context = [k for k in range(max(t - 3, begin[t]), t) if valid[k, c]]
            if context:
                windows.append((t, c))
                means.append(values[t, c] - values[context, c].mean(0))
                lasts.append(values[t, c] - values[context[-1], c])
    found = events.simple_losses(series, np.array(windows), 3)

    def slow(errors):
        flat = np.abs(np.concatenate(errors))
        return np.mean([e**2 / 2 if e < 1 else e - 0.5 for e in flat])

    np.testing.assert_allclose(found, [slow(means), slow(lasts)])


def test_stationary_shares_are_near_their_level():
    scenes = [
        (SimulateScene(kind="opera", shape=(64, 64), dates=16, stationary=True, edge_px=0), 7),
        (SimulateScene(shape=(192, 192), dates=16, clutter="k", stationary=True), 8),
    ]
    rows = {"z": events.Way(encoder=Statistics(), detector=ZScore())}
    table = false_alarms.stationary_table(scenes, rows)
    everything = _cells(table, "| z | all (2)")
    assert float(everything[2].split()[0]) < 5e-3 and 2e-3 < float(everything[3].split()[0]) < 3e-2
    assert "opera, gamma (1)" in table and "capella, k (1)" in table and "opera, k" not in table


@pytest.mark.slow
def test_a_spoiled_date_is_flagged_and_begins_no_event(tmp_path):
    table = false_alarms.steps_table(None, tmp_path, capella=1, opera=0, side=160, dates=16)
    plain, moved, raised = (
        [*map(str.strip, x.split("|"))] for x in table.splitlines() if "| capella 0 | 20" in x
    )
    assert [row[4] for row in (plain, moved, raised)] == ["yes", "no", "no"]
    assert moved[5].startswith("shift") and raised[5].startswith("gain")
    assert moved[9] == raised[9] == "0"
    rates = _cells(table, "| capella 0 | 0 /")
    assert rates[2] == "24 / 24"


@pytest.mark.shared
@pytest.mark.slow
def test_real_bursts_give_a_row_each(shared, tmp_path):
    found = false_alarms.chain(shared / false_alarms.DATASET, tmp_path)
    lines = false_alarms.by_date_lines(found)
    assert len([line for line in lines if line.startswith("| 2923")]) == 5
    parts = [(one.p_value[one.judge & one.usable], one.valid[one.judge & one.usable]) for one in found]
    assert 0 < false_alarms.share(parts, 1e-2, cells=None, dates=1).value < 0.1


OPTIONS = {"context": 5, "width": 16, "layers": 1, "heads": 2, "epochs": 1, "directions": 2}


def test_the_ablation_varies_one_choice_at_a_time_and_starts_with_the_one_in_use():
    rows = ablation.ways(["context", "time_encoding", "pooling"], detector=ZScore(), options=OPTIONS)
    assert next(iter(rows)) == ("context", "K = 5")
    assert [value for axis, value in rows if axis == "time_encoding"] == ["sinusoidal", "ctlpe", "linear"]
    for (axis, value), way in rows.items():
        if axis == "pooling":
            assert way.encoder.pool == value and way.detector == ZScore()
        else:
            assert (way.detector.width, way.detector.layers, way.detector.epochs) == (16, 1, 1)
            assert f"K = {way.detector.context}" == value or way.detector.context == 5
    both = ablation.ways(["context", "cell"], detector=ZScore(), options=OPTIONS, cross=True)
    crossed = [value for axis, value in both if axis == "context x time_encoding"]
    assert len(set(crossed)) == 12 and crossed[0] == "K = 5, sinusoidal"
    assert len(both) == 12 + len(ablation.CELLS)


def test_the_ablation_judges_cells_of_any_size_on_the_smallest():
    small = SMALL.model_copy(update={"shape": (128, 128), "dates": 14})
    wide, narrow = (events.Way(encoder=Statistics(patch=side), detector=ZScore()) for side in (16, 8))
    rows = {("cell", "16 px"): wide, ("cell", "8 px"): narrow, ("again", "16 px"): wide}
    scenes = [ablation.judge(small, rows, seed=seed) for seed in (0, 1)]
    found, alone = (scenes[0].judged[axis] for axis in ("cell", "again"))
    assert len(found.labels) > 3 * len(alone.labels)
    kinds = {n: len(np.unique(s)) for n, s in found.surprise.items()}
    assert kinds["cell = 8 px"] > 2 * kinds["cell = 16 px"]
    table = ablation.table(scenes, settings=small, seeds=[0, 1], draws=10)
    lines = [line for line in table.splitlines() if line.startswith("| cell") or line.startswith("| again")]
    assert [line.count("–") for line in lines] == [1, 0, 1]


def test_a_fine_cell_has_the_value_of_the_cell_its_centre_is_in():
    image = (40, 40)
    wide, fine = (PatchGrid(image=image, patch=side, stride=side) for side in (16, 8))
    values = np.arange(9.0).reshape(1, 3, 3)
    got = ablation.on(values, wide, fine)
    assert got.shape == (1, 5, 5)
    np.testing.assert_array_equal(got[0], values[0][np.ix_([0, 0, 1, 1, 2], [0, 0, 1, 1, 2])])
    np.testing.assert_array_equal(ablation.on(values, wide, wide), values)


@pytest.mark.slow
def test_the_ablation_trains_for_each_target_and_prints_skill():
    small = SMALL.model_copy(update={"shape": (128, 128), "dates": 14})
    quick = Training(epochs=1, steps=2, batch=2, device="cpu")
    rows = {
        ("target", name): events.Way(
            encoder=ablation.Trained(target=target, seed=0, training=quick), detector=ZScore()
        )
        for name, target in (("gradients", "gradients"), ("pixels", "pixels"), ("none", None))
    }
    own = ablation.ways(["context"], detector=ZScore(), options={**OPTIONS, "context": 3})
    rows[next(iter(own))] = next(iter(own.values()))
    scene = ablation.judge(small, rows, seed=0)
    some = [scene.judged["target"].surprise[f"target = {name}"] for name in ("gradients", "pixels", "none")]
    assert not np.array_equal(some[0], some[1]) and not np.array_equal(some[0], some[2])
    (line,) = [
        x for x in ablation.table([scene], settings=small, seeds=[0], draws=5).splitlines() if "| K" in x
    ]
    assert line.split("|")[7].strip()[0] in "+-"
