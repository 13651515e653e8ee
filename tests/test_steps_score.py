"""score and forecast: the fitted model stays, only new dates are scored, another model starts again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sarcast.detectors import DETECTORS
from sarcast.detectors.z_score import ZScore, ZScorer
from sarcast.errors import ArtefactError, DataError, SettingsError
from sarcast.runtime.artefact import content_hash, digest, verify, writing
from sarcast.stack.cells import read_scores, write_features
from sarcast.steps.forecast import Forecast, forecast
from sarcast.steps.learn import load, split_of
from sarcast.steps.score import Score, score

SMALL = {
    "ensemble": {
        "members": [{"detector": n, "options": {"neighbours": 10}} for n in ("z_score", "linear_ar")]
    },
    "linear_ar": {"neighbours": 10},
    "matched_network": {"steps": 3, "batch": 2, "crop": 8, "width": 4, "device": "cpu"},
    "padim": {"neighbours": 10},
    "rx": {"neighbours": 10},
    "transformer": {"epochs": 1, "width": 16, "layers": 1, "heads": 2, "neighbours": 10, "device": "cpu"},
    "z_score": {"neighbours": 10},
}
SAME_SCORER = ("geometry_transformer", "gru", "lstm", "probabilistic_transformer", "tcn")
CUTOFF = 12


def write(folder: Path, features, usable=None) -> Path:
    path = folder / "features.zarr"
    with writing(path, settings={}, inputs={}) as partial:
        write_features(partial, features)
    times = features.times
    dates = [
        {"scene_id": s, "time": f"{t}Z", "usable": True if usable is None else bool(usable[i])}
        for i, (s, t) in enumerate(zip(times.scene_id, times.time, strict=True))
    ]
    told = {"cutoff": f"{times.time[0] + np.timedelta64(6 * (CUTOFF - 1), 'D')}Z", "dates": dates}
    (folder / "quality.json").write_text(json.dumps(told))
    return path


def some(features, index):
    from dataclasses import replace

    index = np.asarray(index)
    return replace(
        features,
        values=features.values[index], valid=features.valid[index], times=features.times.take(index),
    )  # fmt: skip


@pytest.fixture
def features(make_features, rng):
    return make_features(rng, dates=18, cells=(10, 10))


@pytest.fixture(params=[name for name in DETECTORS if name not in SAME_SCORER])
def told(request):
    return {"detector": request.param, "options": SMALL.get(request.param, {})}


@pytest.fixture
def worked_on(monkeypatch):
    seen: dict[str, list] = {"scored": [], "fitted": []}
    fit, scored = ZScore.fit, ZScorer.score

    def spy_fit(self, *args, **kwargs):
        seen["fitted"].append(1)
        return fit(self, *args, **kwargs)

    def spy_score(self, features, times=None):
        seen["scored"].append(list(times))
        return scored(self, features, times)

    monkeypatch.setattr(ZScore, "fit", spy_fit)
    monkeypatch.setattr(ZScorer, "score", spy_score)
    return seen


def test_scores_with_p_values_of_every_date(features, tmp_path, told):
    path = score(Score(features=write(tmp_path, features), **told))
    verify(path)
    verify(tmp_path / "detector")
    found = read_scores(path)
    assert found.times.scene_id == features.times.scene_id and found.detector == told["detector"]
    assert found.p_value is not None and found.change_db is not None
    assert found.valid[CUTOFF:].all()
    p = found.p_value[:CUTOFF][found.valid[:CUTOFF]]
    assert np.quantile(p, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.02)


def test_levels_are_relative_to_history_and_the_frame(features, tmp_path):
    values = features.values.copy()
    values[14:, 3:5, 3:5, 0] += 9
    values[15] += 5
    from dataclasses import replace

    found = read_scores(score(Score(features=write(tmp_path, replace(features, values=values)))))
    assert found.change_db is not None
    assert found.change_db[14:, 3:5, 3:5].mean() == pytest.approx(9, abs=1)
    np.testing.assert_allclose(np.median(found.change_db, axis=(1, 2)), 0, atol=1e-4)


@pytest.mark.parametrize(("late", "scored"), [([17], [17]), ([16, 17], [16, 17]), ([14], [14, 15, 16, 17])])
def test_only_new_dates_are_scored_and_the_model_stays(features, tmp_path, worked_on, late, scored):
    first = [i for i in range(18) if i not in late]
    path = score(Score(features=write(tmp_path / "parts", some(features, first))))
    model = content_hash(path.parent / "detector")
    worked_on["fitted"].clear()
    worked_on["scored"].clear()
    score(Score(features=write(tmp_path / "parts", features)))
    assert not worked_on["fitted"] and worked_on["scored"] == [scored]
    assert content_hash(path.parent / "detector") == model
    whole = score(Score(features=write(tmp_path / "whole", features)))
    assert digest(path) == digest(whole)


def test_incremental_scores_equal_those_from_scratch(features, tmp_path, told):
    path = score(Score(features=write(tmp_path / "parts", some(features, range(16))), **told))
    score(Score(features=write(tmp_path / "parts", features), **told))
    whole = score(Score(features=write(tmp_path / "whole", features), **told))
    assert digest(path) == digest(whole)
    assert digest(path.parent / "detector") == digest(whole.parent / "detector")


def test_again_does_nothing(features, tmp_path, worked_on):
    settings = Score(features=write(tmp_path, features))
    path = score(settings)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.name != ".lock"}
    worked_on["scored"].clear()
    assert score(settings) == path and not worked_on["scored"]
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.name != ".lock"} == before


@pytest.mark.parametrize("change", ["history", "flag", "seed", "options", "detector"])
def test_what_the_model_depends_on_makes_a_new_one(features, tmp_path, change):
    settings = Score(features=write(tmp_path, features))
    path = score(settings)
    before = content_hash(tmp_path / "detector")
    if change == "history":
        write(tmp_path, some(features, [i for i in range(18) if i != 5]))
    elif change == "flag":
        write(tmp_path, features, usable=np.arange(18) != 5)
    elif change == "seed":
        settings = settings.model_copy(update={"seed": 1})
    elif change == "options":
        settings = settings.model_copy(update={"options": {"pooled": 0.9}})
    else:
        settings = settings.model_copy(update={"detector": "transformer", "options": SMALL["transformer"]})
    score(settings)
    if change != "seed":
        assert content_hash(tmp_path / "detector") != before
    again = digest(path)
    shutil.rmtree(path)
    assert digest(score(settings)) == again


def test_a_flagged_date_of_history_teaches_nothing(features, tmp_path):
    values = features.values.copy()
    values[5] += 40 * np.random.default_rng(0).normal(size=values[5].shape)
    from dataclasses import replace

    usable = np.arange(18) != 5
    a = read_scores(score(Score(features=write(tmp_path / "a", features, usable))))
    spoiled = replace(features, values=values)
    b = read_scores(score(Score(features=write(tmp_path / "b", spoiled, usable))))
    np.testing.assert_array_equal(a.values[CUTOFF:], b.values[CUTOFF:])
    np.testing.assert_array_equal(a.p_value[CUTOFF:], b.p_value[CUTOFF:])


def test_a_fitted_detector_can_be_given(features, tmp_path):
    model = forecast(
        Forecast(features=write(tmp_path, features), out=tmp_path / "model", options=SMALL["transformer"])
    )
    a = score(Score(features=tmp_path / "features.zarr", detector=str(model), out=tmp_path / "a" / "s.zarr"))
    b = score(
        Score(features=tmp_path / "features.zarr", detector="transformer", options=SMALL["transformer"])
    )
    assert digest(a) == digest(b)
    with pytest.raises(SettingsError, match="no options"):
        score(Score(features=tmp_path / "features.zarr", detector=str(model), options={"width": 8}))


def test_a_given_detector_that_is_none(features, tmp_path):
    path = write(tmp_path, features)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtefactError):
        score(Score(features=path, detector=str(tmp_path / "empty")))
    for wrong in ("nope", str(tmp_path / "none")):
        with pytest.raises(SettingsError):
            score(Score(features=path, detector=wrong))
    with pytest.raises(ArtefactError):
        load(tmp_path / "empty")


def test_too_little(make_features, rng, tmp_path):
    with pytest.raises(DataError):
        score(Score(features=write(tmp_path / "a", make_features(rng, dates=6))))
    few = make_features(rng, dates=18, cells=(2, 2))
    with pytest.raises(DataError):
        score(Score(features=write(tmp_path / "b", few)))
    assert not list(tmp_path.rglob("scores.zarr"))


def test_without_quality_the_first_half_is_history(features, tmp_path):
    write(tmp_path, features)
    (tmp_path / "quality.json").unlink()
    split, usable = split_of(features.times, tmp_path)
    assert split.fit.sum() == 10 and usable.all()
    assert read_scores(score(Score(features=tmp_path / "features.zarr"))).valid[10:].all()


def test_unfinished_features(features, tmp_path):
    path = write(tmp_path, features)
    shutil.rmtree(path / "valid")
    with pytest.raises(ArtefactError):
        score(Score(features=path))
