"""The simulated scene keeps its promises: speckle, events, dynamics, sensor, repeatability."""

import numpy as np
import pytest
from pydantic import ValidationError
from rasterio.features import geometry_mask
from scipy import ndimage

from sarcast.errors import ShapeError
from sarcast.sar.looks import equivalent_looks
from sarcast.sar.simulate import KINDS, SimulateScene, add_step, event_truth, k_clutter, simulate, speckle

STILL = {"dynamics": 0.0, "gain_db": 0.0, "jitter_px": 0.0, "incidence_spread_deg": 0.0}
SMALL = SimulateScene(shape=(128, 160), dates=12, events=5)


def make(seed=0, **settings):
    return simulate(SimulateScene(**settings), rng=np.random.default_rng(seed))


@pytest.fixture(scope="module")
def small():
    return simulate(SMALL, rng=np.random.default_rng(1))


@pytest.fixture(scope="module")
def quiet():
    """Events of every kind and nothing else that moves, at 256 px."""
    return make(seed=3, shape=(256, 256), dates=12, events=10, transient=0.0, **STILL)


def db(power):
    return 10 * np.log10(power)


def level(image, mask):
    return db(np.asarray(image, np.float64)[..., mask].mean(-1))


@pytest.mark.parametrize("looks", [1.0, 4.5, 9.0])
def test_flat_clutter_has_the_looks_asked_for(looks):
    scene = make(shape=(128, 128), dates=4, land_cover="flat", stationary=True, looks=looks, edge_px=0)
    power = scene.stack.amplitude[:, 0].astype(np.float64) ** 2
    measured = power.mean((1, 2)) ** 2 / power.var((1, 2))
    np.testing.assert_allclose(measured.mean(), looks, rtol=0.033)
    assert abs(equivalent_looks(power[0]) - looks) < 0.06 * looks + 0.1


def test_speckle_is_independent_between_dates_and_pixels(rng):
    noise = speckle((2, 128, 128), looks=9, rng=rng) - 1
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(noise[0, :, 1:].ravel(), noise[0, :, :-1].ravel())[0, 1]) < 0.03


def test_oversampled_speckle_correlates_and_keeps_its_looks(rng):
    noise = speckle((4, 128, 128), looks=4, oversampling=2.0, rng=rng)
    assert abs(noise.mean() - 1) < 0.02
    np.testing.assert_allclose(1 / noise.var(), 4, rtol=0.08)
    assert np.corrcoef(noise[..., 1:].ravel(), noise[..., :-1].ravel())[0, 1] > 0.4


@pytest.mark.parametrize(("looks", "order"), [(9.0, 4.0), (1.0, 2.0)])
def test_k_clutter_has_its_variance(rng, looks, order):
    values = k_clutter((700, 700), looks=looks, order=order, rng=rng).astype(np.float64)
    assert abs(values.mean() - 1) < 0.01
    np.testing.assert_allclose(values.var(), (1 + 1 / order) * (1 + 1 / looks) - 1, rtol=0.04)


def test_k_scene_is_spikier_than_a_gamma_scene():
    settings = {"shape": (128, 128), "dates": 1, "land_cover": "flat", "stationary": True, "edge_px": 0}
    scenes = {clutter: make(clutter=clutter, k_order=2.0, **settings) for clutter in ("gamma", "k")}
    spread = {clutter: np.var(scene.stack.amplitude**2) for clutter, scene in scenes.items()}
    assert spread["k"] > 1.5 * spread["gamma"]


def test_every_kind_is_planted_where_labels_say(quiet):
    assert {label.kind for label in quiet.labels.labels} == set(KINDS)
    assert quiet.masks.sum(0).max() == 1
    transform = quiet.stack.geobox.transform
    for label, mask in zip(quiet.labels.labels, quiet.masks, strict=True):
        drawn = geometry_mask([label.geometry], mask.shape, transform, invert=True)
        np.testing.assert_array_equal(drawn, mask)
        area = mask.sum() * quiet.settings.pixel_m**2
        np.testing.assert_allclose(label.geometry.area, area, rtol=1e-9)


def test_change_is_what_the_label_says(quiet):
    """Mean power over the mask, at full strength and a date with nothing yet, without and with speckle."""
    truth = event_truth(quiet)
    power = quiet.stack.amplitude[:, 0] ** 2
    for index, label in enumerate(quiet.labels.labels):
        on = np.flatnonzero(truth[:, index])
        mask = quiet.masks[index]
        if label.kind == "construction":
            assert np.all(np.diff(level(quiet.clean[on, 0], mask)[:3]) > 0)
            if len(on) < 3:
                continue
        now, before = on[-1], on[0] - 1
        clean = level(quiet.clean[now, 0], mask) - level(quiet.clean[before, 0], mask)
        assert abs(clean - label.change_db) < 0.02, label.kind
        seen = level(power[on], mask).mean() - level(power[: on[0]], mask).mean()
        if label.kind not in ("construction", "ship", "vehicles"):
            assert abs(seen - label.change_db) < 0.3, label.kind


@pytest.mark.parametrize("kind", ["capella", "opera"])
def test_texture_only_changes_texture_and_not_the_mean(kind):
    scene = make(
        seed=5, kind=kind, shape=(192, 192), dates=10, kinds=("texture",), events=8, transient=0.0, **STILL
    )
    assert len(scene.labels.labels) == 8
    last = scene.clean[-1]
    for label, mask in zip(scene.labels.labels, scene.masks, strict=True):
        assert label.texture_only
        assert label.change_db == 0
        for before, after in zip(scene.clean[0], last, strict=True):
            assert abs(level(after, mask) - level(before, mask)) < 0.05
            change = np.std(db(after[mask]) - db(before[mask]))
            assert change > (1.5 if kind == "capella" else 0.6)


def test_cross_polarisation_stays_under_co_polarisation():
    scene = make(kind="opera", shape=(128, 128), dates=10, events=10)
    assert scene.stack.bands == ("VH", "VV")
    medians = np.median(scene.clean, axis=(2, 3))
    assert np.all(medians[:, 0] < 0.4 * medians[:, 1])
    for mask in scene.masks:
        assert np.all(level(scene.clean[:, 0], mask) < level(scene.clean[:, 1], mask))


def test_truth_follows_the_labels(small):
    truth = event_truth(small)
    time, settings = small.stack.times.time, small.settings
    onsets = [label.onset for label in small.labels.labels]
    assert onsets == sorted(onsets)
    for index, label in enumerate(small.labels.labels):
        on = np.flatnonzero(truth[:, index])
        assert time[on[0]] == label.onset
        assert 0.55 * settings.dates <= on[0] <= 0.9 * settings.dates
        assert np.all(np.diff(on) == 1)
        assert (label.end is None) == (on[-1] == len(time) - 1)
        assert small.stack.valid[:, small.masks[index]].all()


def test_brief_kinds_are_brief_and_strength_is_kept():
    scene = make(shape=(256, 256), dates=20, kinds=("ship", "burnt", "lava"), events=9, strength_db=(1, 2))
    truth = event_truth(scene)
    for index, label in enumerate(scene.labels.labels):
        assert 1 <= abs(label.change_db) <= 2
        assert np.sign(label.change_db) == (-1 if label.kind == "burnt" else 1)
        if label.kind == "ship":
            assert truth[:, index].sum() <= 2


def test_stationary_does_not_drift():
    scene = make(shape=(128, 128), dates=8, stationary=True)
    assert not scene.labels.labels
    assert scene.masks.shape == (0, 128, 128)
    assert event_truth(scene).shape == (8, 0)
    np.testing.assert_array_equal(scene.clean, np.broadcast_to(scene.clean[:1], scene.clean.shape))
    assert not scene.shifts_px.any()
    assert not scene.gains_db.any()
    power = np.where(scene.stack.valid, scene.stack.amplitude[:, 0] ** 2, np.nan)
    assert np.ptp(db(np.nanmedian(power, axis=(1, 2)))) < 0.15
    assert not np.array_equal(scene.stack.amplitude[0], scene.stack.amplitude[1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_places_move_but_not_the_whole_frame_at_once(seed):
    scene = make(seed=seed, shape=(256, 256), events=0, gain_db=0.0)
    medians = np.array([db(np.median(image)) for image in scene.clean[:, 0]])
    assert np.abs(np.diff(medians)).max() < 0.75
    fields = scene.clean[:, 0, ::4, ::4][:, scene.land_cover[::4, ::4] == scene.class_names.index("fields")]
    assert np.median(np.std(db(fields), axis=0)) > 0.25
    urban = scene.clean[:, 0, ::4, ::4][:, scene.land_cover[::4, ::4] == scene.class_names.index("urban")]
    assert np.median(np.std(db(urban), axis=0)) < 0.25


def test_crops_repeat():
    """What a forecaster can learn: hay meadows rise and fall with one period."""
    scene = make(seed=2, shape=(192, 192), dates=120, events=0, gap_days=0.0, interval_days=1.0, edge_px=0)
    fields = scene.land_cover == scene.class_names.index("fields")
    days = scene.stack.times.days
    series = db(ndimage.uniform_filter(scene.clean[:, 0], (0, 9, 9)))[:, fields][:, ::17]
    series = series - series.mean(0)
    waves = np.exp(-2j * np.pi * days[:, None] / np.array([9.0, 6.1]))
    hay, other = (np.abs(waves.T @ series) / len(days)) ** 2
    assert np.percentile(hay, 90) > 5 * np.percentile(other, 90)


def test_gain_and_shift_are_the_ones_told():
    scene = make(
        shape=(128, 128), dates=6, events=0, dynamics=0.0, jitter_px=1.0, gain_db=1.0, looks=200.0, edge_px=0
    )
    assert np.abs(scene.shifts_px).max() > 0.5
    middle = np.s_[16:-16, 16:-16]
    for index, (shift, gain) in enumerate(zip(scene.shifts_px, scene.gains_db, strict=True)):
        seen = scene.stack.amplitude[index, 0] ** 2
        told = ndimage.shift(scene.clean[index, 0], shift, order=3, mode="nearest")
        other = ndimage.shift(scene.clean[index, 0], shift + 0.3, order=3, mode="nearest")
        assert abs(db(np.median((seen / told)[middle])) - gain) < 0.05
        right, wrong = (np.std(db(seen[middle] / np.maximum(t, 1e-6)[middle])) for t in (told, other))
        assert right < 0.7 * wrong


def test_dates_are_irregular_with_a_gap(small):
    steps = np.diff(small.stack.times.days)
    assert steps.max() > 30
    assert np.sort(steps)[len(steps) // 4] < 4
    assert len(set(small.stack.times.platform)) > 1
    assert np.ptp(small.stack.times.incidence_deg) <= 0.6


def test_edges_without_data_differ_between_dates(small):
    valid = small.stack.valid
    assert 0.8 < valid.mean() < 1
    assert len({frame.tobytes() for frame in valid}) > len(valid) // 2
    assert not small.stack.amplitude[:, 0][~valid].any()
    assert (small.stack.amplitude[:, 0][valid] > 0).all()


def test_the_same_seed_gives_the_same_bytes(small):
    again = simulate(SMALL, rng=np.random.default_rng(1))
    other = simulate(SMALL, rng=np.random.default_rng(2))
    for name in ("clean", "masks", "land_cover", "shifts_px", "gains_db"):
        np.testing.assert_array_equal(getattr(again, name), getattr(small, name))
    np.testing.assert_array_equal(again.stack.amplitude, small.stack.amplitude)
    assert again.labels == small.labels
    assert again.stack.times.scene_id == small.stack.times.scene_id
    assert not np.array_equal(other.land_cover, small.land_cover)
    assert not np.array_equal(other.stack.amplitude, small.stack.amplitude)


def test_events_do_not_change_what_happens_elsewhere(small):
    without = simulate(SMALL.model_copy(update={"events": 0}), rng=np.random.default_rng(1))
    far = ~ndimage.binary_dilation(small.masks.any(0), iterations=6)
    first = min(np.flatnonzero(event_truth(small).any(1)))
    np.testing.assert_array_equal(without.clean[:first], small.clean[:first])
    change = db(without.clean[:, 0][:, far]) - db(small.clean[:, 0][:, far])
    assert np.percentile(np.abs(change), 99) < 0.6
    assert np.median(np.abs(change)) < 1e-3


@pytest.mark.parametrize("shift", [(1.0, 0.0), (-2.0, 3.0)])
def test_add_step_moves_whole_pixels_exactly(small, shift):
    moved = add_step(small.stack, index=4, shift_px=shift)
    dy, dx = (int(side) for side in shift)
    expected = np.roll(small.stack.amplitude[4, 0], (dy, dx), (0, 1))
    inner = np.s_[4:-4, 4:-4]
    both = moved.valid[4][inner]
    np.testing.assert_allclose(moved.amplitude[4, 0][inner][both], expected[inner][both], rtol=1e-6)
    np.testing.assert_array_equal(moved.amplitude[5], small.stack.amplitude[5])
    assert both.mean() > 0.9
    assert not moved.amplitude[4, 0][~moved.valid[4]].any()


def test_add_step_raises_power_by_its_gain(small):
    raised = add_step(small.stack, index=3, gain_db=1.0)
    valid = small.stack.valid[3]
    ratio = raised.amplitude[3, 0][valid] ** 2 / small.stack.amplitude[3, 0][valid] ** 2
    np.testing.assert_allclose(db(ratio), 1.0, atol=1e-4)
    with pytest.raises(ShapeError, match="expected a date within 0 and 11, found 12"):
        add_step(small.stack, index=12)


def test_offsets_put_a_date_on_its_own_grid():
    settings = {"shape": (96, 96), "dates": 3, "events": 0, "edge_px": 0, "looks": 1000.0, **STILL}
    offsets = np.array([[0, 0], [2, -1], [0.5, 0.25]])
    here = make(**settings)
    there = simulate(SimulateScene(**settings), rng=np.random.default_rng(0), offsets_px=offsets)
    expected = np.roll(here.clean[1, 0], (-2, 1), (0, 1))[8:-8, 8:-8]
    found = there.stack.amplitude[1, 0][8:-8, 8:-8] ** 2
    assert np.std(db(found / expected)) < 0.3
    with pytest.raises(ShapeError, match="offsets_px"):
        simulate(SimulateScene(**settings), rng=np.random.default_rng(0), offsets_px=offsets[:2])


@pytest.mark.parametrize(
    "settings",
    [
        {"shape": (8, 64)},
        {"strength_db": (3, 1)},
        {"onset": (0.9, 0.5)},
        {"kinds": ()},
        {"kinds": ("earthquake",)},
        {"kind": "opera", "look_side": "left"},
        {"start": "someday"},
        {"colour": "grey"},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValidationError):
        SimulateScene(**settings)
