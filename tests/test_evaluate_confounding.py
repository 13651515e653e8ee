"""Do scores follow the acquisition: planted effects are found, chance is not, figures are scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, pearsonr, spearmanr

from sarcast.errors import DataError, ShapeError
from sarcast.evaluate.confounding import acquisition_covariates, associations, frame_scores, rotation_p
from sarcast.evaluate.correlation import eta_squared, pearson, ranks, spearman
from sarcast.values import Times


def times_of(n, *, platform=("S1A", "S1B"), incidence=None, side=("right",)):
    return Times(
        time=np.datetime64("2024-01-01", "ns") + np.arange(n) * np.timedelta64(6 * 86400, "s"),
        scene_id=tuple(f"s{i}" for i in range(n)),
        platform=tuple(platform[i % len(platform)] for i in range(n)),
        incidence_deg=np.asarray(np.full(n, np.nan) if incidence is None else incidence, np.float32),
        look_side=tuple(side[i % len(side)] for i in range(n)),
        orbit_direction=("unknown",) * n,
        relative_orbit=("137",) * n,
    )


def test_correlations_are_scipys(rng):
    a, b = rng.integers(0, 6, 50).astype(float), rng.normal(size=50)
    assert pearson(a, b) == pytest.approx(pearsonr(a, b).statistic, abs=1e-14)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-14)
    assert ranks(np.array([3.0, 1, 3, 2])).tolist() == [3.5, 1, 3.5, 2]
    assert np.isnan(pearson(a, np.ones(50))) and np.isnan(eta_squared(b, np.full(50, "x")))


def test_eta_squared_is_the_fit_of_the_group_means(rng):
    groups = rng.choice(["a", "b", "c"], 60)
    values = rng.normal(size=60) + 2 * (groups == "b")
    means = np.array([values[groups == g].mean() for g in groups])
    assert eta_squared(values, groups) == pytest.approx(means.var() / values.var(), rel=1e-12)


def test_frames_are_counted_once(rng):
    scores, valid = rng.normal(size=(9, 4, 5)), rng.uniform(size=(9, 4, 5)) < 0.7
    valid[3] = False
    found = frame_scores(np.where(valid, scores, np.nan), valid)
    assert np.isnan(found[3]) and found[0] == pytest.approx(scores[0][valid[0]].mean())
    with pytest.raises(ShapeError):
        frame_scores(scores, valid[:5])


def test_a_satellite_and_an_angle_that_scores_follow_are_found(rng):
    angle = rng.uniform(30, 40, 60)
    times = times_of(60, incidence=angle, platform=tuple(rng.choice(["S1A", "S1B"], 60)))
    series = 0.2 * rng.normal(size=60) + (np.array(times.platform) == "S1B") + 0.2 * (angle - 35)
    found = {(a.covariate, a.measure): a for a in associations(series, acquisition_covariates(times), seed=0)}
    # look side, orbit: one value; nothing to follow
    assert {name for name, _ in found} == {"satellite", "new_satellite", "incidence_deg"}
    for key in (("satellite", "eta squared"), ("incidence_deg", "spearman"), ("incidence_deg", "pearson")):
        assert found[key].p_value <= 3 / 60, key
        assert 0.1 < found[key].estimate.low <= found[key].estimate.value <= found[key].estimate.high
        assert found[key].estimate.n == 60
    assert sum(found["satellite", "eta squared"].groups.values()) == 60


def test_rotation_p_is_uniform_for_series_with_a_course(rng):
    """Two unrelated smooth series correlate strongly; rotating one of them allows for that."""
    p_values, naive = [], []
    for _ in range(200):
        a, b = (np.convolve(rng.normal(size=90), np.ones(20), "same")[10:70] for _ in range(2))
        p_values.append(rotation_p(a, b, pearson) - rng.uniform() / 60)
        naive.append(pearsonr(a, b).pvalue)
    assert np.mean(np.array(naive) < 0.05) > 0.3
    assert np.mean(np.array(p_values) < 0.05) < 0.15
    white = [rotation_p(*rng.normal(size=(2, 60)), pearson) - rng.uniform() / 60 for _ in range(200)]
    assert kstest(white, "uniform").pvalue > 0.01


def test_unknown_is_left_out_and_the_first_date_has_no_previous(rng):
    times = times_of(12, platform=("S1A", "unknown", "S1B"))
    covariates = acquisition_covariates(times)
    assert np.isnan(covariates["days_since_previous"][0]) and covariates["days_since_previous"][1] == 6
    # S1A, ?, S1B, S1A, ?, ...: the one comparison of two known satellites is the third
    np.testing.assert_array_equal(covariates["new_satellite"][:5], [np.nan, np.nan, np.nan, 1, np.nan])
    found = associations(rng.normal(size=12), covariates, seed=0)
    assert [(a.covariate, a.groups) for a in found] == [("satellite", {"S1A": 4, "S1B": 4})]


def test_repeatable_and_refusals(rng):
    series, covariates = rng.normal(size=20), {"angle": rng.normal(size=20)}
    assert associations(series, covariates, seed=1) == associations(series, covariates, seed=1)
    with pytest.raises(DataError, match="at least 3 dates"):
        associations(np.full(20, np.nan), covariates, seed=1)
    with pytest.raises(ShapeError, match="angle"):
        associations(series, {"angle": np.ones(3)}, seed=1)
