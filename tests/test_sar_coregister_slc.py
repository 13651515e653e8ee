"""A shifted, ramped pair comes back as coherent as it was; noise, and pairs with no shift to see, do not."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.sar.coherence import coherence
from sarcast.sar.coregister_slc import coregister_pair, flatten
from sarcast.sar.resample_slc import carrier_phase, resample
from sarcast.sar.simulate import complex_pair

SHAPE = (192, 256)


def ground(rng, shape=SHAPE):
    return np.exp(8 * gaussian_filter(rng.normal(size=shape), 4))


def oversampled(image, factor):
    """Only the middle 1 / factor of the spectrum along both axes."""
    spectrum = np.fft.fft2(image)
    for axis, n in enumerate(image.shape):
        keep = np.abs(np.fft.fftfreq(n)) < 0.5 / factor
        spectrum *= keep[:, None] if axis == 0 else keep
    return np.fft.ifft2(spectrum).astype(np.complex64)


def shifted(image, by):
    """Slow and exact: content moved by (dy, dx), by the Fourier shift theorem in float64."""
    fy, fx = (np.fft.fftfreq(n) for n in image.shape)
    turn = np.exp(-2j * np.pi * (fy[:, None] * by[0] + fx * by[1]))
    return np.fft.ifft2(np.fft.fft2(image.astype(np.complex128)) * turn).astype(np.complex64)


def mean_coherence(a, b, valid=None):
    found, enough = coherence(a, b, valid=valid)
    return found[enough].mean()


@pytest.mark.parametrize("textured", [True, False])
@pytest.mark.parametrize("ramp", [(0.0, 0.0), (0.02, -0.1)])
def test_known_shift_and_ramp_come_back(rng, textured, ramp):
    power = ground(rng) if textured else np.ones(SHAPE)
    a, b = complex_pair(power, coherence=0.7, rng=rng)
    moving = shifted(flatten(b, ramp), (0.3, 3.7))
    found = coregister_pair(a, moving)
    assert abs(found.coherence_before - found.floor) < 0.02
    np.testing.assert_allclose(found.shift_px, (0.3, 3.7), atol=0.1)
    np.testing.assert_allclose(found.ramp, (-ramp[0], -ramp[1]), atol=5e-4)
    assert abs(mean_coherence(a, found.samples, found.valid) - mean_coherence(a, b)) < 0.02
    assert not found.samples[~found.valid].any()
    assert found.valid.mean() > 0.95


@pytest.mark.parametrize("chirp", [0.0, 5e-4])
def test_shift_that_varies_is_fitted_by_a_polynomial(rng, chirp):
    shape = (320, 320)
    a, b = (oversampled(image, 4 / 3) for image in complex_pair(ground(rng, shape), coherence=0.7, rng=rng))
    y, x = np.mgrid[:320, :320] / 320 - 0.5
    dy, dx = 0.3 + 0.8 * y + 0.4 * x, -2.3 + 0.6 * x
    moving = resample(b, (-dy, -dx), carrier=(np.zeros(320), np.zeros(320)))
    at = np.arange(320)
    turned = 2 * np.pi * (0.2 * at + chirp * at**2)
    a *= np.exp(1j * turned)[:, None]
    moving *= np.exp(1j * np.interp(at[:, None] - dy, at, turned))
    b *= np.exp(1j * turned)[:, None]
    one, tiles = (coregister_pair(a, moving, degree=degree) for degree in (0, 1))
    assert one.coherence < tiles.coherence - 0.03
    assert abs(mean_coherence(a, tiles.samples, tiles.valid) - mean_coherence(a, b)) < 0.01


def test_large_images_are_measured_in_parts(rng, monkeypatch):
    """Whole pixels where there is texture, the fraction in the middle; the answer is the same."""
    monkeypatch.setattr("sarcast.sar.coregister_slc._AMPLITUDE_PX", 96)
    monkeypatch.setattr("sarcast.sar.coregister_slc._SEARCH_PX", 128)
    power = ground(rng)
    power[:, 70:] = 1
    a, b = complex_pair(power, coherence=0.35, rng=rng)
    found = coregister_pair(a, shifted(b, (1.3, -2.6)))
    np.testing.assert_allclose(found.shift_px, (1.3, -2.6), atol=0.1)
    assert abs(found.coherence - mean_coherence(a, b)) < 0.02


def test_independent_speckle_is_refused(rng):
    a, b = complex_pair(np.ones(SHAPE), coherence=0, rng=rng)
    with pytest.raises(DataError, match="expected texture that shows the shift"):
        coregister_pair(a, b)


def test_same_ground_without_coherence_is_refused(rng):
    for _ in range(3):
        a, b = complex_pair(ground(rng), coherence=0, rng=rng)
        with pytest.raises(DataError, match="expected a pair more coherent than noise"):
            coregister_pair(a, b)


def test_what_was_not_measured_stays_out(rng):
    a, b = complex_pair(ground(rng), coherence=0.8, rng=rng)
    moving = shifted(b, (2, -3))
    a[:, :20], moving[60:70, 100:120], moving[5, 5] = 0, np.nan, np.inf
    valid = np.ones(SHAPE, bool)
    valid[-12:] = False
    found = coregister_pair(a, moving, valid)
    np.testing.assert_allclose(found.shift_px, (2, -3), atol=0.05)
    assert not found.valid[:, :20].any() and not found.valid[59:67, 104:122].any()
    assert not found.valid[-14:].any()
    assert np.isfinite(found.samples).all()
    assert mean_coherence(a, found.samples, found.valid) > 0.75


def test_resampling_there_and_back_about_a_drifting_carrier(rng):
    white = rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE)
    at = np.arange(SHAPE[0])
    turned = 2 * np.pi * (0.45 * at + 1e-3 * at**2)
    image = oversampled(white, 1.5) * np.exp(1j * turned)[:, None]
    image = image.astype(np.complex64)
    carrier = carrier_phase(image, axis=0), carrier_phase(image, axis=1)
    frequency = np.diff(carrier[0]) / 2 / np.pi
    wrong = (frequency - np.diff(turned) / 2 / np.pi)[20:-20]
    assert np.abs(wrong - np.round(wrong)).max() < 0.03
    constant, zeros = 2.4, np.zeros(SHAPE)
    for shift in ((constant, -0.5), (zeros + constant, zeros - 0.5)):
        there = resample(image, shift, carrier=carrier)
        moved = tuple(
            np.interp(np.arange(len(c)) + by, np.arange(len(c)), c)
            for c, by in zip(carrier, (constant, -0.5), strict=True)
        )
        back = resample(there, (-constant, 0.5), carrier=moved)
        inside = np.s_[12:-12, 12:-12]
        error = np.abs(back - image)[inside].mean() / np.abs(image)[inside].mean()
        assert error < 0.05


def test_wrong_input_is_refused():
    a = np.ones((40, 40), np.complex64)
    with pytest.raises(ShapeError, match="one shape"):
        coregister_pair(a, a[:30])
    with pytest.raises(SettingsError, match="degree"):
        coregister_pair(a, a, degree=3)
    with pytest.raises(ShapeError, match="carrier"):
        resample(a, (0.5, 0), carrier=(np.zeros(3), np.zeros(40)))
    with pytest.raises(ShapeError, match="one number or a map"):
        resample(a, (np.zeros(40), 0), carrier=(np.zeros(40), np.zeros(40)))


def test_amsterdam_comes_back(shared):
    import zarr

    pair = []
    for name, day in (("20230331-coreg.znap", "31Mar2023"), ("20230319-coreg.znap", "19Mar2023")):
        group = zarr.open_group(str(shared / "data/slc_pair_amsterdam" / name), mode="r", zarr_format=2)
        pair.append(np.asarray(group[f"i_VV_{day}"][:] + 1j * group[f"q_VV_{day}"][:], np.complex64))
    for by in ((0, 0), (3, -5), (-7, 9)):
        found = coregister_pair(pair[0], np.roll(pair[1], by, (0, 1)), window=(3, 11))
        np.testing.assert_allclose(found.shift_px, by, atol=0.1)
        assert abs(found.coherence - 0.753) < 0.02
        assert abs(found.floor - 0.22) < 0.02
