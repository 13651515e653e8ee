"""The omnibus detector keeps the p-value it names on pure speckle, and equals a slow test of every cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.detectors.omnibus import Omnibus
from sarcast.errors import DataError
from sarcast.sar.omnibus import factors
from sarcast.values import Split

HISTORY = 12


def speckle(make_features, rng, *, looks, bands, dates=40, cells=(40, 40)):
    """Levels in dB of plain speckle, over a lasting ground, under a gain that differs by date and band."""
    features = make_features(rng, dates=dates, cells=cells, dim=bands)
    power = rng.gamma(looks, 1 / looks, features.values.shape) * 10 ** rng.normal(0, 0.5, (*cells, bands))
    values = 10 * np.log10(power) + rng.normal(0, 0.5, (dates, 1, 1, bands))
    names = tuple(f"{name}_mean" for name in ("vv", "vh")[:bands])
    return replace(features, values=values.astype(np.float32), names=names)


def split_at(dates):
    fit = np.arange(dates) < HISTORY
    return Split(fit=fit, judge=~fit)


@pytest.mark.parametrize("reference", ["history", "last"])
@pytest.mark.parametrize("bands", [1, 2])
@pytest.mark.parametrize("looks", [4.5, 9.0])
@pytest.mark.parametrize("told", [True, False])
def test_keeps_its_nominal_false_alarms_on_speckle(make_features, rng, looks, bands, reference, told):
    features = speckle(make_features, rng, looks=looks, bands=bands)
    detector = Omnibus(reference=reference, looks=looks if told else None)
    scores = detector.fit(features, split_at(40), rng=rng).score(features)
    for part in (slice(0, HISTORY), slice(HISTORY, None)):
        seen = scores.values[part][scores.valid[part]]
        for level in (0.01, 0.001):
            assert 0.5 < (seen >= -np.log10(level)).mean() / level < 2, (part, level)


def test_equals_the_factor_of_the_last_date(make_features, rng):
    """R_j of every cell by itself; a date's gain is the median over cells of their deviation from history."""
    features = speckle(make_features, rng, looks=6, bands=2, dates=14, cells=(4, 5))
    valid = rng.random(features.valid.shape) > 0.1
    valid[13] = True
    features = replace(features, valid=valid)
    scorer = Omnibus(looks=6).fit(features, split_at(14), rng=rng)
    found = scorer.score(features, [13]).values[0].ravel()
    flat, seen = features.values.reshape(14, 20, 2).astype(float), valid.reshape(14, 20)
    mean = (flat * seen[..., None])[:HISTORY].sum(0) / seen[:HISTORY].sum(0)[:, None]
    gain = [np.median((flat[t] - mean)[seen[t]], axis=0) for t in range(14)]
    for c in range(20):
        dates = [t for t in (*range(HISTORY), 13) if seen[t, c]]
        power = np.array([10 ** ((flat[t, c] - gain[t]) / 10) for t in dates])
        p = factors(power[:, None], looks=6).p_value[-1, 0]
        assert 10.0 ** -found[c] == pytest.approx(p, rel=1e-3)


def test_looks_are_estimated(make_features, rng):
    features = speckle(make_features, rng, looks=4.5, bands=2)
    scorer = Omnibus().fit(features, split_at(40), rng=rng)
    assert [m.looks[0] for m in scorer.models] == pytest.approx([4.5] * 5, rel=0.05)


@pytest.mark.parametrize("reference", ["history", "last"])
def test_a_lasting_change_persists_or_is_new(make_features, rng, reference):
    """Against history it is seen for as long as it lasts; against the last dates while it is new."""
    features = speckle(make_features, rng, looks=9, bands=1, dates=36, cells=(12, 12))
    values = features.values.copy()
    values[16:, 4:7, 4:7] += 6
    features = replace(features, values=values)
    scores = Omnibus(reference=reference, context=6).fit(features, split_at(36), rng=rng).score(features)
    inside, quiet = scores.values[:, 4:7, 4:7].mean((1, 2)), np.median(scores.values[HISTORY:])
    assert inside[16] > 10 * quiet
    assert (inside[30:].mean() > 10 * quiet) == (reference == "history")


def test_needs_levels(make_features, rng):
    features = replace(make_features(rng, dates=14), names=("a", "b", "c", "d"))
    with pytest.raises(DataError, match=r"expected levels in dB, named \*_mean.*found a, b, c") as error:
        Omnibus().fit(features, split_at(14), rng=rng)
    assert "\n" not in str(error.value)
