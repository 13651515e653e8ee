"""Coherence equals a slow reference, is blind to what was not measured; its statistics are what is seen."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import hyp2f1

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.sar.coherence import coherence
from sarcast.sar.coherence_statistics import (
    coherence_p_value,
    coherence_spread,
    effective_looks,
    expected_coherence,
    looks_of_floor,
    unbiased_coherence,
)
from sarcast.sar.simulate import complex_pair

WINDOWS = [(5, 5), (3, 11), (7, 7)]


def slow(a, b, window, valid, step):
    """Pixel by pixel, in float64."""
    seen = valid & np.isfinite(a) & np.isfinite(b) & (a != 0) & (b != 0)
    rows, cols = (range((s - 1) // 2, n, s) for n, s in zip(a.shape, step, strict=True))
    found = np.full((len(rows), len(cols)), np.nan)
    for i, y in enumerate(rows):
        for j, x in enumerate(cols):
            box = np.s_[
                max(y - window[0] // 2, 0) : y + window[0] // 2 + 1,
                max(x - window[1] // 2, 0) : x + window[1] // 2 + 1,
            ]
            one, other = (image[box][seen[box]].astype(np.complex128) for image in (a, b))
            if 2 * len(one) >= window[0] * window[1]:
                size = np.sqrt((np.abs(one) ** 2).sum() * (np.abs(other) ** 2).sum())
                found[i, j] = np.abs((one * other.conj()).sum()) / size
    return found


def oversampled(rng, shape, factor):
    """Speckle with `factor` samples per independent one along both axes."""
    white = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    spectrum = np.fft.fft2(white)
    for axis, n in enumerate(shape):
        keep = np.abs(np.fft.fftfreq(n)) < 0.5 / factor
        spectrum *= keep[:, None] if axis == 0 else keep
    return np.fft.ifft2(spectrum).astype(np.complex64)


@pytest.mark.parametrize("window", [(1, 3), (3, 11), (5, 5), (9, 3)])
@pytest.mark.parametrize("step", [(1, 1), (3, 2)])
def test_equals_a_slow_reference(rng, window, step, monkeypatch):
    monkeypatch.setattr("sarcast.sar.coherence._STRIP_BYTES", 4 * 37 * 9)
    a, b = complex_pair(rng.gamma(1, 1, (41, 37)), coherence=0.6, rng=rng)
    a[20, 20] *= 1e4
    a[3:9, 4:20], b[30, 5], b[0, 0] = 0, np.nan, np.inf
    valid = rng.random(a.shape) > 0.1
    found, enough = coherence(a, b, window=window, valid=valid, step=step)
    expected = slow(a, b, window, valid, step)
    np.testing.assert_array_equal(enough, np.isfinite(expected))
    np.testing.assert_allclose(found[enough], expected[enough], atol=1e-5)
    assert (found[~enough] == 0).all()


def test_all_measured_equals_a_slow_reference(rng):
    a, b = complex_pair(np.full((40, 30), 1e8), coherence=0.3, phase_rad=0.4, rng=rng)
    found, enough = coherence(a, b, window=(5, 7))
    expected = slow(a, b, (5, 7), np.ones(a.shape, bool), (1, 1))
    np.testing.assert_array_equal(enough, np.isfinite(expected))
    np.testing.assert_allclose(found[enough], expected[enough], atol=1e-5)


def test_one_bad_sample_stays_in_its_window(rng):
    a, b = complex_pair(np.ones((40, 40)), coherence=0.8, rng=rng)
    clean, seen = coherence(a, b)
    a[20, 20] = np.nan
    found, enough = coherence(a, b)
    np.testing.assert_array_equal(enough, seen)
    reached = np.zeros(a.shape, bool)
    reached[18:23, 18:23] = True
    np.testing.assert_array_equal(found[~reached], clean[~reached])
    assert (np.abs(found - clean)[reached] < 0.3).all()


def test_empty_margin_is_no_estimate_rather_than_no_coherence(rng):
    a, b = complex_pair(np.ones((40, 40)), coherence=0.9, rng=rng)
    b[:, :15] = 0
    found, enough = coherence(a, b)
    assert not enough[:, :15].any()
    assert enough[2:-2, 15:-2].all()
    assert found[enough].min() > 0.5


def test_wrong_input_is_refused():
    a = np.ones((8, 8), np.complex64)
    with pytest.raises(ShapeError, match="one shape"):
        coherence(a, a[:4])
    with pytest.raises(ShapeError, match="complex"):
        coherence(a, a.real)
    with pytest.raises(SettingsError, match="odd window"):
        coherence(a, a, window=(4, 5))
    with pytest.raises(SettingsError, match="more than one look"):
        expected_coherence(0.5, 1)
    with pytest.raises(ShapeError, match="one shape"):
        effective_looks(a, a[:4], window=(3, 3))
    with pytest.raises(DataError, match="valid pixels"):
        effective_looks(a, a, window=(5, 5))


@pytest.mark.parametrize("window", WINDOWS)
def test_known_coherence_comes_back(rng, window):
    looks = window[0] * window[1]
    for true in np.arange(0, 1, 0.1):
        a, b = complex_pair(np.ones((200, 200)), coherence=true, rng=rng)
        found, enough = coherence(a, b, window=window, step=window)
        found = found[enough]
        assert abs(found.mean() - expected_coherence(true, looks)) < 0.01
        assert abs(found.std() - coherence_spread(true, looks)) < 0.01
        assert abs(unbiased_coherence(found, looks).mean() - true) < 0.1
        if true > 0.15:
            assert abs(unbiased_coherence(found.mean(), looks) - true) < 0.02


@pytest.mark.parametrize(("true", "looks"), [(0.0, 5), (0.3, 9), (0.8, 16.8), (0.97, 33)])
def test_moments_are_those_of_the_density(true, looks):
    def density(d):
        level = 2 * (looks - 1) * (1 - true**2) ** looks * d * (1 - d**2) ** (looks - 2)
        return level * hyp2f1(looks, looks, 1, (d * true) ** 2)

    mean = quad(lambda d: d * density(d), 0, 1, limit=200)[0]
    square = quad(lambda d: d**2 * density(d), 0, 1, limit=200)[0]
    assert abs(expected_coherence(true, looks) - mean) < 2e-4
    assert abs(coherence_spread(true, looks) - np.sqrt(square - mean**2)) < 2e-4
    assert abs(unbiased_coherence(mean, looks) - true) < 2e-3
    assert abs(looks_of_floor(float(expected_coherence(0, looks))) - looks) < 0.01 * looks


def test_p_values_are_uniform_where_nothing_is_coherent(rng):
    a, b = complex_pair(rng.gamma(1, 1, (300, 300)), coherence=0, rng=rng)
    found, _ = coherence(np.exp(1j * np.angle(a)), np.exp(1j * np.angle(b)), step=(5, 5))
    plain, _ = coherence(*complex_pair(np.ones((300, 300)), coherence=0, rng=rng), step=(5, 5))
    for estimate in (found, plain):
        p = coherence_p_value(estimate, 25)
        np.testing.assert_allclose([(p < q).mean() for q in (0.05, 0.2, 0.5)], [0.05, 0.2, 0.5], atol=0.035)


@pytest.mark.parametrize("factor", [1.0, 1.2, 1.5, 2.0])
def test_oversampled_speckle_has_fewer_looks(rng, factor):
    a, b = (oversampled(rng, (240, 240), factor) * rng.gamma(4, 0.25, (240, 1)) for _ in range(2))
    looks = effective_looks(a, b, window=(5, 5))
    found, _ = coherence(a, b, window=(5, 5), step=(5, 5))
    assert looks < 25.5 / factor
    assert abs(found.mean() - expected_coherence(0, looks)) < 0.02


def test_amsterdam(shared):
    """Sentinel-1, 12 days: 0.753, and its noise floor when shifted."""
    zarr = pytest.importorskip("zarr")
    pair = []
    for name, day in (("20230331-coreg.znap", "31Mar2023"), ("20230319-coreg.znap", "19Mar2023")):
        group = zarr.open_group(str(shared / "data/slc_pair_amsterdam" / name), mode="r", zarr_format=2)
        i, q = (group[f"{part}_VV_{day}"][:] for part in "iq")
        pair.append(np.asarray(i + 1j * q, np.complex64))
    found, enough = coherence(*pair, window=(3, 11))
    assert abs(found[enough].mean() - 0.75) < 0.02
    looks = effective_looks(*pair, window=(3, 11))
    shifted, enough = coherence(pair[0], np.roll(pair[1], (20, 100), (0, 1)), window=(3, 11))
    assert abs(shifted[enough].mean() - 0.22) < 0.02
    assert abs(shifted[enough].mean() - expected_coherence(0, looks)) < 0.02
