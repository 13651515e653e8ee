"""Complex pairs have the coherence and the power they were asked to have."""

import numpy as np
import pytest

from sarcast.errors import ShapeError
from sarcast.sar.simulate import class_coherence, complex_pair, complex_series


def correlation(a, b):
    """Complex correlation over everything: a slow reference is not needed where the mean is over all."""
    return (a * b.conj()).mean() / np.sqrt((np.abs(a) ** 2).mean() * (np.abs(b) ** 2).mean())


@pytest.mark.parametrize("coherence", [0.0, 0.3, 0.753, 1.0])
def test_pair_has_its_coherence_power_and_phase(rng, coherence):
    power = np.full((256, 256), 0.25, np.float32)
    a, b = complex_pair(power, coherence=coherence, phase_rad=0.7, power_b=2 * power, rng=rng)
    assert a.dtype == b.dtype == np.complex64
    found = correlation(a, b)
    assert abs(abs(found) - coherence) < 0.012
    if coherence:
        assert abs(np.angle(found) - 0.7) < 0.02
    np.testing.assert_allclose([(np.abs(x) ** 2).mean() for x in (a, b)], [0.25, 0.5], rtol=0.03)


def test_pair_follows_a_map(rng):
    coherence = np.where(np.arange(200)[None, :] < 100, 0.9, 0.2) * np.ones((200, 1))
    a, b = complex_pair(np.ones((200, 200)), coherence=coherence, rng=rng)
    assert abs(abs(correlation(a[:, :100], b[:, :100])) - 0.9) < 0.02
    assert abs(abs(correlation(a[:, 100:], b[:, 100:])) - 0.2) < 0.03


def test_one_look_intensity_is_exponential(rng):
    a, _ = complex_pair(np.ones((300, 300)), coherence=0.5, rng=rng)
    power = np.abs(a) ** 2
    np.testing.assert_allclose(power.var(), 1, rtol=0.05)


def test_series_decorrelates_step_by_step(rng):
    images = list(complex_series(np.ones((4, 200, 200)), coherence=0.8, rng=rng))
    for later in (1, 2, 3):
        assert abs(abs(correlation(images[0], images[later])) - 0.8**later) < 0.02


def test_coherence_out_of_range_is_refused(rng):
    with pytest.raises(ShapeError, match="expected coherence within 0 and 1"):
        complex_pair(np.ones((4, 4)), coherence=1.2, rng=rng)
    with pytest.raises(ShapeError, match="expected coherence within 0 and 1"):
        list(complex_series(np.ones((2, 4, 4)), coherence=-0.1, rng=rng))


def test_land_cover_sets_coherence():
    found = class_coherence(np.array([[0, 5, 6]], np.uint8))
    assert found.dtype == np.float32
    assert found[0, 0] < found[0, 1] < found[0, 2]
