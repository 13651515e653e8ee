"""Looks from how a series scatters in time: the variance of ln power of L-look speckle is trigamma(L)."""

from __future__ import annotations

from scipy.special import polygamma


def looks_of_log_variance(variance: float) -> float:
    """The L at which gamma-distributed power of L looks has this variance of its natural logarithm.

    Args:
        variance: Above 0. Of dB: divide by (10 / ln 10)^2 first.

    Returns:
        Inverse of the trigamma function, by Newton steps on 1 / trigamma from an asymptotic start.
    """
    looks = 0.5 + 1 / variance
    for _ in range(50):
        value, slope = polygamma(1, looks), polygamma(2, looks)
        step = value * (1 - value / variance) / slope
        looks += step
        if abs(step) < 1e-12 * looks:
            break
    return float(looks)
