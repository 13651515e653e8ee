"""A share of 0 or 1 has an interval too: resampling zeros gives only zeros, so it is the exact bound."""

from __future__ import annotations

from dataclasses import replace

from sarcast.values import Estimate


def bounded(estimate: Estimate, n: int) -> Estimate:
    """The estimate, its interval opened to the exact binomial bound where the share is 0 or 1.

    Args:
        estimate: A share, with an interval by resampling.
        n: How many were counted, taken as independent: 0 of n allow at most 1 - ((1 - level) / 2)^(1 / n)
            (Clopper and Pearson, 1934). Nothing counted leaves the estimate as it is.
    """
    if n < 1 or estimate.value not in (0.0, 1.0):
        return estimate
    far = float(1 - ((1 - estimate.level) / 2) ** (1 / n))
    low, high = (0.0, far) if estimate.value == 0 else (1 - far, 1.0)
    return replace(estimate, low=low, high=high)
