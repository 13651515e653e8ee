"""Wide features are reduced to the directions in which history differs most; narrow ones are left alone."""

from dataclasses import replace

import numpy as np
import pytest

from sarcast.detectors import DETECTORS, SCORERS
from sarcast.detectors.directions import KEPT, WIDE, along, directions
from sarcast.errors import DataError
from sarcast.values import Split

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
LEVELS = ("coefficient_of_variation", "log_ratio", "mahalanobis", "omnibus")
"""Detectors that read levels in dB and nothing else."""
FIT = np.arange(18) < 12


def wide(features, rng, dim=48):
    """The same features seen through a random map to `dim` ones, with a little noise."""
    seen = features.values @ rng.normal(size=(features.values.shape[-1], dim))
    seen = (seen + 0.01 * rng.normal(size=seen.shape)).astype(np.float32)
    return replace(features, values=seen, names=tuple(f"f{i}" for i in range(dim)))


def test_equal_to_a_plain_decomposition(make_features, rng):
    features = wide(make_features(rng, dates=18), rng)
    valid = rng.random(features.valid.shape) > 0.1
    features = replace(features, valid=valid, values=np.where(valid[..., None], features.values, np.nan))
    found = directions(features, FIT, wanted=5)
    vectors = features.values[FIT][valid[FIT]].astype(float)
    _, _, plain = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    overlap = np.abs((found * plain[:5].T).sum(0))
    np.testing.assert_allclose(overlap, 1, atol=1e-4)
    np.testing.assert_allclose(found.T @ found, np.eye(5), atol=1e-6)
    reduced = along(features, found)
    assert reduced.values.shape[-1] == 5 == len(reduced.names) and (reduced.values[~valid] == 0).all()


def test_what_is_reduced(make_features, rng):
    narrow = make_features(rng, dates=18)
    assert along(narrow, directions(narrow, FIT, wanted=None)) is narrow
    features = wide(narrow, rng, dim=WIDE + 1)
    assert directions(features, FIT, wanted=None).shape == (WIDE + 1, KEPT)
    assert directions(features, FIT, wanted=0).shape[1] == 0
    assert directions(features, FIT, wanted=WIDE + 1).shape[1] == 0, "all of them is no reduction"
    later = replace(features, values=features.values + 5 * (~FIT)[:, None, None, None])
    np.testing.assert_array_equal(
        directions(later, FIT, wanted=4), directions(features, FIT, wanted=4), "judged dates are not seen"
    )


@pytest.mark.parametrize("name", LEVELS)
def test_what_reads_levels_refuses_other_features(name, make_features, rng):
    with pytest.raises(DataError, match="levels in dB"):
        DETECTORS[name]().fit(wide(make_features(rng, dates=18), rng), Split(fit=FIT, judge=~FIT), rng=rng)


@pytest.mark.parametrize("name", [name for name in DETECTORS if name not in LEVELS])
def test_a_change_is_found_in_wide_features_and_what_was_fitted_is_kept(name, make_features, rng, tmp_path):
    features = make_features(rng, dates=18)
    values = features.values.copy()
    values[14, 4:6, 5:7, 0] += 10
    features = wide(replace(features, values=values), rng)
    alike = {"neighbours": 20} if "neighbours" in DETECTORS[name].model_fields else {}
    detector = DETECTORS[name](**{**alike, **FAST.get(name, {})})
    scorer = detector.fit(features, Split(fit=FIT, judge=~FIT), rng=np.random.default_rng(7))
    assert scorer.directions.shape == (48, KEPT)
    at = scorer.score(features, [14]).values[0]
    inside = at[4:6, 5:7].min()
    at[3:7, 4:8] = 0
    assert inside > at.max()
    scorer.save(tmp_path)
    again = SCORERS[name].from_pretrained(tmp_path).score(features)
    np.testing.assert_array_equal(again.values, scorer.score(features).values)
