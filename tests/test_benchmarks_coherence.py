"""Both ways of the coherence benchmark estimate the same."""

import numpy as np
from benchmarks.coherence import WAYS, measure


def test_both_ways_agree():
    ours, other = (measure(name, 120, (3, 11))["sample"] for name in WAYS)
    np.testing.assert_allclose(ours, other, atol=1e-5)
