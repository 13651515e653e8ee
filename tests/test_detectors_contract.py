"""What every detector promises: honest about history, blind to what it may not see, repeatable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.detectors import DETECTORS, SCORERS
from sarcast.errors import DataError, SarcastError
from sarcast.runtime.settings import build
from sarcast.values import Features, Scores, Split

SMALL = {"epochs": 1, "width": 8, "batch": 256, "device": "cpu"}
FAST = {
    "ensemble": {
        "members": [{"detector": n, "options": {"neighbours": 20}} for n in ("z_score", "linear_ar")]
    },
    "geometry_transformer": {**SMALL, "layers": 1, "heads": 2},
    "gru": SMALL,
    "lstm": SMALL,
    "matched_network": {"steps": 3, "batch": 2, "crop": 8, "width": 4, "device": "cpu"},
    "probabilistic_transformer": {**SMALL, "layers": 1, "heads": 2},
    "tcn": SMALL,
    "transformer": {"epochs": 1, "width": 16, "layers": 1, "heads": 2, "batch": 128, "device": "cpu"},
}
DATES, HISTORY = 18, 12
FIRST = HISTORY


@pytest.fixture(params=DETECTORS)
def name(request):
    return request.param


@pytest.fixture
def detector(name):
    return built(name, {"neighbours": 20})


def built(name, told):
    """A detector with those of the settings that it has."""
    kind = DETECTORS[name]
    return kind(**{**FAST.get(name, {}), **{k: v for k, v in told.items() if k in kind.model_fields}})


@pytest.fixture
def features(make_features, rng):
    return make_features(rng, dates=DATES)


def seeded():
    return np.random.default_rng(7)


def split_at(dates=DATES, history=HISTORY) -> Split:
    fit = np.arange(dates) < history
    return Split(fit=fit, judge=~fit)


def fit_and_score(detector, features: Features, split: Split | None = None, times=None) -> Scores:
    return detector.fit(features, split or split_at(len(features.times)), rng=seeded()).score(features, times)


def same(a: Scores, b: Scores) -> None:
    np.testing.assert_array_equal(a.valid, b.valid)
    np.testing.assert_array_equal(a.values, b.values)


def changed(features: Features, where, by: float) -> Features:
    values = features.values.copy()
    values[where] += by
    return replace(features, values=values)


def test_scores_fit_the_features(detector, name, features):
    scores = fit_and_score(detector, features)
    assert scores.values.dtype == np.float32 and scores.valid.dtype == bool
    assert scores.detector == name and scores.encoder == features.encoder and scores.stack == features.stack
    assert scores.grid == features.grid and scores.times.scene_id == features.times.scene_id
    assert scores.valid[FIRST:].all()
    assert (scores.values[~scores.valid] == 0).all()
    assert (scores.values[scores.valid] >= 0).all()


@pytest.mark.parametrize("sign", [10, -10])
def test_finds_a_planted_10_db_change(detector, features, sign):
    planted = changed(features, np.s_[14, 4:6, 5:7, 0], sign)
    scores = fit_and_score(detector, planted)
    at = scores.values[14].copy()
    inside = at[4:6, 5:7].copy()
    at[3:7, 4:8] = 0
    assert inside.min() > at.max()
    assert inside.min() > np.quantile(scores.values[:HISTORY][scores.valid[:HISTORY]], 0.999)


def test_higher_is_more_anomalous(detector, features):
    scores = [
        fit_and_score(detector, changed(features, np.s_[15, 7, 8, 0], by)).values[15, 7, 8]
        for by in (6, 12, 40)
    ]
    assert (np.diff(scores) > 0).all()


def test_does_not_look_at_the_judged_times(detector, features):
    other = changed(features, np.s_[FIRST:], 100)
    a = detector.fit(features, split_at(), rng=seeded()).score(features)
    b = detector.fit(other, split_at(), rng=seeded()).score(features)
    same(a, b)


def test_looks_at_fit_times_only(detector, features):
    """A date that is neither learned from nor judged (flagged) teaches nothing."""
    split = split_at()
    fit = split.fit.copy()
    fit[5] = False
    split = replace(split, fit=fit)
    a = detector.fit(features, split, rng=seeded()).score(features)
    b = detector.fit(changed(features, np.s_[5, 2:6], 50), split, rng=seeded()).score(features)
    same(a, b)


@pytest.mark.parametrize("under", [1e6, np.nan, np.inf])
def test_blind_to_invalid_cells(detector, features, rng, under):
    valid = rng.random(features.valid.shape) > 0.15
    valid[6] = False
    valid[:, 3, 3] = False
    clean = replace(features, valid=valid, values=np.where(valid[..., None], features.values, 0))
    dirty = replace(clean, values=np.where(valid[..., None], features.values, np.float32(under)))
    a, b = fit_and_score(detector, clean), fit_and_score(detector, dirty)
    same(a, b)
    assert not a.valid[6].any() and not a.valid[:, 3, 3].any()
    assert (a.valid <= valid).all() and a.valid[FIRST:].any()


def test_repeatable_and_without_a_hidden_draw(detector, features):
    a = fit_and_score(detector, features)
    np.random.seed(99)  # noqa: NPY002
    import torch

    torch.manual_seed(99)
    same(a, fit_and_score(detector, features))


def test_global_randomness_is_left_alone(detector, features):
    import torch

    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    fit_and_score(detector, features)
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


def test_a_date_alone_equals_the_date_in_the_whole(detector, features):
    scorer = detector.fit(features, split_at(), rng=seeded())
    whole = scorer.score(features)
    for t in (0, 4, HISTORY - 1, FIRST, DATES - 1):
        alone = scorer.score(features, [t])
        np.testing.assert_array_equal(alone.values[0], whole.values[t])
        np.testing.assert_array_equal(alone.valid[0], whole.valid[t])
        assert alone.times.scene_id == (features.times.scene_id[t],)
    some = scorer.score(features, [3, 15, 16])
    np.testing.assert_array_equal(some.values, whole.values[[3, 15, 16]])


def test_a_later_date_never_moves_an_earlier_score(detector, features):
    scorer = detector.fit(features, split_at(), rng=seeded())
    whole = scorer.score(features)
    index = np.arange(DATES - 2)
    shorter = replace(
        features,
        values=features.values[index],
        valid=features.valid[index],
        times=features.times.take(index),
    )
    found = scorer.score(shorter)
    np.testing.assert_array_equal(found.values, whole.values[:-2])
    np.testing.assert_array_equal(
        detector.fit(shorter, split_at(DATES - 2), rng=seeded()).score(shorter).values, whole.values[:-2]
    )


def test_saved_and_loaded_it_scores_the_same(detector, name, features, rng, tmp_path):
    features = replace(features, valid=rng.random(features.valid.shape) > 0.1)
    scorer = detector.fit(features, split_at(), rng=seeded())
    scorer.save(tmp_path / "detector")
    loaded = SCORERS[name].from_pretrained(tmp_path / "detector")
    same(scorer.score(features), loaded.score(features))
    names = sorted(p.name for p in (tmp_path / "detector").iterdir())
    assert names == ["config.json", "model.safetensors"]
    scorer.save(tmp_path / "again")
    for file in names:
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "detector" / file).read_bytes()


def test_dates_missing_for_some_cells(detector, features):
    valid = features.valid.copy()
    valid[3, :6], valid[8, 6:], valid[14, :, :7] = False, False, False
    planted = changed(replace(features, valid=valid), np.s_[15, 4:6, 3:5, 0], 12)
    scores = fit_and_score(detector, planted)
    assert scores.valid[15].all() and not scores.valid[14, :, :7].any()
    assert scores.values[15, 4:6, 3:5].min() > np.quantile(scores.values[15], 0.95)


def test_one_feature_is_enough(detector, make_features, rng):
    features = changed(make_features(rng, dates=DATES, dim=1), np.s_[14, 2, 2], 15)
    scores = fit_and_score(detector, features)
    assert scores.values[14].argmax() == 2 * 14 + 2


@pytest.mark.parametrize("cells", [(1, 40), (3, 3), (2, 5)])
def test_few_cells(detector, make_features, rng, cells):
    features = make_features(rng, dates=DATES, cells=cells)
    try:
        scores = fit_and_score(detector, features)
    except DataError:
        return
    assert np.isfinite(scores.values).all()


def test_irregular_dates_and_two_on_one_day(detector, make_features, rng):
    days = np.sort(np.concatenate([rng.uniform(0, 900, DATES - 2), [100.0, 100.0]]))
    features = changed(make_features(rng, dates=DATES, days=days), np.s_[14, 2:4, 2:4, 0], 15)
    scores = fit_and_score(detector, features)
    assert scores.valid[FIRST:].all()
    assert scores.values[14, 2:4, 2:4].min() > np.quantile(scores.values[14], 0.95)


def test_unknown_geometry(detector, features):
    unknown = ("unknown",) * DATES
    times = replace(
        features.times,
        incidence_deg=np.full(DATES, np.nan, np.float32),
        look_side=unknown,
        orbit_direction=unknown,
        relative_orbit=unknown,
        platform=unknown,
    )
    assert np.isfinite(fit_and_score(detector, replace(features, times=times)).values).all()


def test_a_level_that_all_cells_share_is_no_event(detector, features):
    """The whole frame 3 dB up on one date: nearly no score moves past history's own."""
    scores = fit_and_score(detector, features)
    wet = fit_and_score(detector, changed(features, np.s_[15], 3))
    top = np.quantile(scores.values[15], 0.99)
    assert (wet.values[15] > top).mean() < 0.05


def test_history_scores_are_held_out(detector, features):
    """History is scored by what left it out, so its scores look like those of quiet judged dates."""
    scores = fit_and_score(detector, features)
    history = scores.values[:HISTORY][scores.valid[:HISTORY]]
    judged = scores.values[FIRST:]
    for q in (0.5, 0.9):
        assert np.quantile(judged, q) == pytest.approx(np.quantile(history, q), rel=0.35)


@pytest.mark.parametrize("dates", [0, 1, 2])
def test_too_little_history(detector, make_features, rng, dates):
    features = make_features(rng, dates=6)
    split = Split(fit=np.arange(6) < dates, judge=np.arange(6) >= 3)
    with pytest.raises(DataError) as error:
        detector.fit(features, split, rng=seeded())
    assert "\n" not in str(error.value)


def test_nothing_valid_in_history(detector, features):
    valid = features.valid.copy()
    valid[:HISTORY] = False
    with pytest.raises(DataError):
        detector.fit(replace(features, valid=valid), split_at(), rng=seeded())


@pytest.mark.parametrize("dates", range(3, 9))
def test_short_history_fits_or_says_so(detector, make_features, rng, dates):
    features = make_features(rng, dates=dates + 3)
    try:
        scores = fit_and_score(detector, features, split_at(dates + 3, dates))
    except DataError:
        assert dates < 8
        return
    assert np.isfinite(scores.values).all()


def test_constant_features_stay_finite(detector, features):
    values = features.values.copy()
    values[..., 1] = 4.0
    assert np.isfinite(fit_and_score(detector, replace(features, values=values)).values).all()


@pytest.mark.parametrize(
    "told", [{"neighbours": 0, "clusters": 0}, {"components": 40}, {"pooled": 0.0}, {"pooled": 1.0}]
)
def test_edges_of_the_settings(name, features, told):
    scores = fit_and_score(built(name, told), changed(features, np.s_[14, 4:6, 5:7, 0], 15))
    assert scores.values[14, 4:6, 5:7].min() > np.quantile(scores.values[14], 0.9)


@pytest.mark.parametrize("told", [{"neighbours": -1}, {"pooled": 1.5}, {"unknown": 1}, {"components": 0}])
def test_wrong_settings_are_one_line(name, told):
    with pytest.raises(SarcastError):
        build(DETECTORS[name], told, where="the test")
