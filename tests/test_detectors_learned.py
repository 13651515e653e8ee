"""What is specific to one learned detector: calibrated spread, platforms explained, an ensemble's order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.detectors import DETECTORS, SCORERS
from sarcast.detectors.cross_fit import local_noise
from sarcast.detectors.ensemble import Ensemble
from sarcast.detectors.geometry_transformer import GeometryTransformer
from sarcast.detectors.lstm import LSTM
from sarcast.detectors.probabilistic_transformer import ProbabilisticTransformer
from sarcast.detectors.tcn import TCN
from sarcast.detectors.transformer import Transformer
from sarcast.detectors.z_score import ZScore
from sarcast.errors import SarcastError
from sarcast.runtime.model import load_model, save_model
from sarcast.runtime.settings import build
from sarcast.values import Split

NET = {"neighbours": 0, "width": 16, "device": "cpu", "batch": 256}
ATTENTION = {**NET, "layers": 1, "heads": 2}


def split_at(dates, history):
    fit = np.arange(dates) < history
    return Split(fit=fit, judge=~fit)


def fit(detector, features, history):
    split = split_at(len(features.times), history)
    return detector.fit(features, split, rng=np.random.default_rng(0))


@pytest.mark.parametrize("likelihood", ["gaussian", "student"])
def test_spread_is_calibrated_where_noise_differs(make_features, rng, likelihood):
    """An autoregressive series of two noise levels: |z| > 2 as often in both, on dates not learned from."""
    dates, history = 40, 30
    features = make_features(rng, dates=dates, dim=2)
    row, col = np.indices(features.valid.shape[1:])
    loud = (row + col) % 2 == 1
    values = rng.normal(size=features.values.shape)
    for t in range(1, dates):
        values[t] = 0.5 * values[t - 1] + 0.87 * values[t]
    values *= np.where(loud, 3.0, 1.0)[..., None]
    features = replace(features, values=values.astype(np.float32))
    shares = {}
    told = {
        **ATTENTION,
        "pooled": 1.0,
        "today": 0,
        "noise": "frame",
        "batch": 128,
        "learning_rate": 5e-3,
        "epochs": 10,
    }
    for name, detector in (
        ("plain", Transformer(**told)),
        ("sure", ProbabilisticTransformer(**told, likelihood=likelihood)),
    ):
        scorer = fit(detector, features, history)
        errors, valid = scorer.errors(features, range(history, dates))
        z = np.abs(errors / scorer.noise).reshape(dates - history, *loud.shape, 2)
        assert valid.all()
        shares[name] = [float((z[:, where] > 2).mean()) for where in (~loud, loud)]
    assert shares["plain"][0] < 0.01 and shares["plain"][1] > 0.08
    assert all(0.015 < share < 0.08 for share in shares["sure"])


@pytest.mark.parametrize("left_out", [None, 3])
def test_noise_is_that_of_the_cell_and_its_like_without_the_date(rng, left_out):
    errors, valid = rng.normal(size=(9, 30, 2)), rng.random((9, 30)) < 0.7
    valid[:, 4] = False
    errors *= valid[..., None]
    near = rng.integers(0, 30, (30, 5))
    told = (errors**2).sum(0), valid.sum(0)
    without = None if left_out is None else (errors[left_out], valid[left_out])
    found = local_noise(*told, near, without=without)
    kept = np.arange(9) != left_out
    every = [np.mean(errors[kept][valid[kept]][:, d] ** 2) for d in range(2)]

    def own(c, d):
        seen = valid[:, c] & kept
        return np.mean(errors[seen, c, d] ** 2) if seen.any() else every[d]

    for c in range(30):
        for d in range(2):
            like = np.mean([own(n, d) for n in near[c]])
            mine = own(c, d) if (valid[:, c] & kept).any() else like
            assert found[c, d] == pytest.approx(np.sqrt((mine + like) / 2), abs=1e-5)
    alone = local_noise(*told, near[:, :0], without=without)
    assert alone[4] == pytest.approx(np.sqrt(every), abs=1e-5)


def test_a_loud_cell_counts_its_errors_in_its_own_size(make_features, rng):
    """One land cover is five times as noisy: its cells score like the others, on dates not learned from."""
    features = make_features(rng, dates=30, dim=2)
    row, col = np.indices(features.valid.shape[1:])
    loud = (row // 3 + col // 2) % 2 == 1
    values = rng.normal(size=features.values.shape) * np.where(loud, 5.0, 1.0)[..., None]
    features = replace(features, values=values.astype(np.float32))
    ratio = {}
    for noise in ("alike", "frame"):
        told = {**NET, "neighbours": 20, "epochs": 1, "pooled": 1.0, "noise": noise}
        later = fit(LSTM(**told), features, 22).score(features).values[22:]
        ratio[noise] = float(np.median(later[:, loud]) / np.median(later[:, ~loud]))
    assert ratio["alike"] < 1.2 < 2 < ratio["frame"]


def test_a_platform_that_sees_otherwise_is_explained(make_features, rng):
    """A rarer satellite sees some cells brighter, as many darker: no event, if one knows who looks."""
    dates, history = 48, 36
    features = make_features(rng, dates=dates, dim=2)
    rare = np.random.default_rng(5).random(dates) < 0.3
    row, col = np.indices(features.valid.shape[1:])
    offset = 4.0 * ((row + 2 * col) % 6 == 0) - 4.0 * ((row + 2 * col) % 6 == 3)
    values = rng.normal(size=features.values.shape) + (rare[:, None, None] * offset)[..., None]
    times = replace(features.times, platform=tuple("rare" if r else "usual" for r in rare))
    features = replace(features, values=values.astype(np.float32), times=times)
    told = {**ATTENTION, "batch": 128, "context": 10, "learning_rate": 5e-3, "epochs": 5}
    higher = {}
    for kind in (Transformer, GeometryTransformer):
        later = fit(kind(**told), features, history).score(features).values[history:, offset != 0]
        seen = rare[history:]
        higher[kind.detector] = float(np.median(later[seen]) / np.median(later[~seen]))
    assert higher["transformer"] > 1.25 > 1.15 > higher["geometry_transformer"]


def test_a_platform_never_seen_is_legal(make_features, rng):
    features = make_features(rng, dates=18)
    scorer = fit(GeometryTransformer(**ATTENTION, epochs=1), features, 12)
    assert scorer.platforms == tuple(sorted(set(features.times.platform) - {"unknown"}))
    times = replace(features.times, platform=(*features.times.platform[:17], "new"))
    assert np.isfinite(scorer.score(replace(features, times=times)).values).all()


def test_an_ensemble_of_one_keeps_its_order(make_features, rng):
    features = make_features(rng, dates=18)
    alone = fit(ZScore(), features, 12).score(features)
    found = fit(Ensemble(members=("z_score",)), features, 12).score(features)
    np.testing.assert_array_equal(found.valid, alone.valid)
    order = np.argsort(alone.values[12:], axis=None)
    ordered = found.values[12:].ravel()[order]
    assert (np.diff(ordered) >= 0).all() and len(np.unique(ordered)) > 0.9 * len(ordered)


def test_an_ensemble_is_the_mean_of_its_members_surprise(make_features, rng):
    features = make_features(rng, dates=18)
    parts = [fit(DETECTORS[n](), features, 12).score(features) for n in ("z_score", "linear_ar")]
    found = fit(Ensemble(members=("z_score", "linear_ar")), features, 12).score(features)
    assert (found.valid == parts[0].valid & parts[1].valid).all()
    expected = np.zeros(found.values[12:].shape)
    for part in parts:
        past = np.sort(part.values[:12][part.valid[:12]])
        share = 1 - np.searchsorted(past, part.values[12:]) / len(past)
        expected += -np.log10(np.maximum(share, 1e-9)) / 2
    bulk = expected < 1.5
    assert bulk.mean() > 0.8
    np.testing.assert_allclose(found.values[12:][bulk], expected[bulk], atol=0.05)


@pytest.mark.parametrize(
    "members", [[], ["nothing"], [{"detector": "z_score", "options": {"neighbours": -1}}], [3], "z_score"]
)
def test_wrong_members_are_one_line(members):
    with pytest.raises(SarcastError) as error:
        build(Ensemble, {"members": members}, where="the test")
    assert "\n" not in str(error.value)


def test_an_ensemble_centres_if_all_members_do():
    assert Ensemble().neighbours == 60
    loose = {"detector": "z_score", "options": {"neighbours": 0}}
    assert Ensemble(members=("transformer", loose)).neighbours == 0


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (LSTM, {"layers": 2}),
        (LSTM, {"time_encoding": "linear"}),
        (TCN, {"layers": 1}),
        (TCN, {"context": 30}),
        (TCN, {"time_encoding": "ctlpe", "width": 9}),
        (GeometryTransformer, {"layers": 2, "heads": 4}),
        (ProbabilisticTransformer, {"likelihood": "student", "freedom": 3}),
    ],
    ids=str,
)
def test_every_setting_works(make_features, rng, kind, told):
    features = make_features(rng, dates=16, cells=(8, 8))
    scores = fit(kind(**{**NET, "epochs": 1, **told}), features, 11).score(features)
    assert np.isfinite(scores.values).all() and scores.valid[11:].all()
    with pytest.raises(SarcastError):
        build(kind, {"likelihood": "cauchy", "layers": 0}, where="the test")


@pytest.mark.parametrize("name", ["transformer", "linear_ar"])
def test_detectors_saved_before_these_facts_still_load(make_features, rng, tmp_path, name):
    features = make_features(rng, dates=16, cells=(8, 8))
    told = {**ATTENTION, "epochs": 1, "noise": "frame"} if name == "transformer" else {}
    scorer = fit(DETECTORS[name](**told), features, 11)
    scorer.save(tmp_path)
    config, arrays = load_model(tmp_path)
    if name == "transformer":
        del config["settings"]["noise"]
    for new in ("platforms", "skill_last"):
        if new != "skill_last" or name == "linear_ar":
            config.pop(new, None)
    save_model(tmp_path, config=config, arrays=arrays)
    again = SCORERS[name].from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.score(features).values, scorer.score(features).values)
