"""Omnibus test for equal intensity over a series of dates, and its factors: from which date on is it another?

Speckle of L looks makes a date's mean intensity X gamma-distributed. For k dates of one polarisation

    ln Q   = L {k ln k + sum of ln X_i - k ln(sum of X_i)}
    ln R_j = L {j ln j - (j-1) ln(j-1) + (j-1) ln(X_1 + ... + X_(j-1)) + ln X_j - j ln(X_1 + ... + X_j)}

R_j tests whether date j equals the j-1 before it, given that those are equal, and Q = R_2 R_3 ... R_k.
Several polarisations, taken as independent (a diagonal covariance), add up. Without change -2 rho ln Q is
chi-square with f = (k-1) bands degrees of freedom to second order (Box, 1949), -2 rho ln R_j with f = bands:

    p = Pr{chi2(f) > z} + omega2 [Pr{chi2(f+4) > z} - Pr{chi2(f) > z}],  omega2 = -f / 4 (1 - 1/rho)^2
    rho = 1 - (k + 1) / (6 k L) for Q, 1 - {1 + 1/(j (j-1))} / (6 L) for R_j

Source: Conradsen, Nielsen, Schou and Skriver, IEEE TGRS 41(1), 2003; Conradsen, Nielsen and Skriver, IEEE
TGRS 54(5), 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, log_ndtr, xlogy

from sarcast.errors import SettingsError, ShapeError

FEWEST_LOOKS = 0.5
"""Looks under which the chi-square is no approximation at all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tested:
    """A likelihood-ratio test of every cell."""

    statistic: np.ndarray
    """float64, -2 rho ln of the ratio; 0 or more, higher is less equal; 0 where nothing can be compared."""
    log_p: np.ndarray
    """float64, natural logarithm of the p-value; finite however small that is; 0 where nothing can be."""

    @property
    def p_value(self) -> np.ndarray:
        """float64 in [0, 1]."""
        return np.exp(self.log_p)


def omnibus(power: np.ndarray, *, looks: float, valid: np.ndarray | None = None) -> Tested:
    """Are all dates of a cell equal?

    Args:
        power: Linear power (time, ..., band), above 0 where valid.
        looks: Equivalent number of looks of one date, at least 0.5.
        valid: bool (time, ...); None means everywhere.

    Returns:
        The test of Q over each cell's valid dates, arrays of shape (...).

    Raises:
        ShapeError: No time or band axis, or `valid` misfits.
        SettingsError: Too few looks.
    """
    power, valid = _checked(power, valid, looks)
    k = valid.sum(0)
    some = np.maximum(k, 1)[..., None]
    total = np.where(k[..., None] > 0, power.sum(0), 1)
    logs = np.log(np.where(valid[..., None], power, 1)).sum(0)
    ratio = looks * (some * np.log(some) + logs - some * np.log(total)).sum(-1)
    rho = 1 - (np.maximum(k, 1) + 1) / (6 * np.maximum(k, 1) * looks)
    return _tested(ratio, rho, np.maximum(k - 1, 0) * power.shape[-1])


def factors(power: np.ndarray, *, looks: float, valid: np.ndarray | None = None) -> Tested:
    """Is each date equal to all dates before it? Arguments as in `omnibus`.

    Returns:
        The tests of R_j for the second date and all later ones, arrays (time - 1, ...); independent of each
        other while there is no change.
    """
    power, valid = _checked(power, valid, looks)
    total, count = np.cumsum(power, axis=0)[:-1], np.cumsum(valid, axis=0)[:-1]
    return one_more(total, count, power[1:], looks=looks, valid=valid[1:])


def one_more(
    total: np.ndarray, count: np.ndarray, power: np.ndarray, *, looks: float, valid: np.ndarray | None = None
) -> Tested:
    """Is a date equal to a reference of equal dates? R_j with j - 1 dates of reference.

    Args:
        total: Sum of the reference's linear power (..., band).
        count: int (...): how many dates are in it.
        power: The date's linear power (..., band).
        looks: As in `omnibus`.
        valid: bool (...): where the date was seen; None means everywhere.
    """
    both = (count > 0) if valid is None else (count > 0) & valid
    before = np.maximum(count, 1).astype(np.float64)
    j, old = before + 1, np.where(both[..., None], total, 1.0)
    new = np.where(both[..., None], power, old / before[..., None])
    bands = power.shape[-1]
    counts = bands * (xlogy(j, j) - xlogy(before, before))
    sums = before[..., None] * np.log(old) + np.log(new) - j[..., None] * np.log(old + new)
    rho = 1 - (1 + 1 / (j * before)) / (6 * looks)
    return _tested(looks * (counts + sums.sum(-1)), rho, np.where(both, bands, 0))


def changes(power: np.ndarray, *, looks: float, level: float, valid: np.ndarray | None = None) -> np.ndarray:
    """Dates at which a cell begins to differ, bool (time, ...); the first date never does.

    From a start the remaining dates are tested by Q; where that says they differ (p < level), the change is
    the first later date whose R_j does (p < level), and the search begins anew from it.

    Args:
        power: As in `omnibus`; so are `looks` and `valid`.
        looks: As there.
        level: Significance of each test, in (0, 1).
        valid: As there.
    """
    power, valid = _checked(power, valid, looks)
    rest = np.stack([omnibus(power[s:], looks=looks, valid=valid[s:]).log_p for s in range(len(power))])
    differs = rest < np.log(level)
    found = np.zeros(valid.shape, bool)
    total, count, moving = power[0].copy(), valid[0].astype(int), differs[0]
    for t in range(1, len(power)):
        test = one_more(total, count, power[t], looks=looks, valid=valid[t])
        found[t] = moving & (test.log_p < np.log(level))
        new = found[t] | (count == 0)
        total = np.where(new[..., None], power[t], total + power[t])
        count = np.where(new, valid[t], count + valid[t])
        moving = np.where(new, differs[t], moving)
    return found


def _tested(log_ratio: np.ndarray, rho: np.ndarray, freedom: np.ndarray) -> Tested:
    """-2 rho ln of the ratio, and its p; the second-order term at most halves it, far out in the tail."""
    statistic = np.where(freedom > 0, np.maximum(-2 * rho * log_ratio, 0), 0)
    log_p = np.zeros_like(statistic)
    for f in np.unique(freedom[freedom > 0]):
        at = freedom == f
        omega = -f / 4 * (1 - 1 / rho[at]) ** 2
        first, more = (_log_chi2_tail(statistic[at], g) for g in (int(f), int(f) + 4))
        log_p[at] = first + np.log1p(np.maximum(omega * np.expm1(np.minimum(more - first, 700)), -0.5))
    return Tested(statistic=statistic, log_p=np.minimum(log_p, 0))


def _log_chi2_tail(z: np.ndarray, freedom: int) -> np.ndarray:
    """Logarithm of Pr{chi2(freedom) > z} by recursion of the incomplete gamma function; no underflow."""
    x = z / 2
    a, tail = (1.0, -x) if freedom % 2 == 0 else (0.5, np.log(2) + log_ndtr(-np.sqrt(z)))
    while 2 * a < freedom:
        tail = np.logaddexp(tail, xlogy(a, x) - x - gammaln(a + 1))
        a += 1
    return tail


def _checked(power: np.ndarray, valid: np.ndarray | None, looks: float) -> tuple[np.ndarray, np.ndarray]:
    """float64 power, 0 where not valid, and bool validity."""
    if power.ndim < 2 or (valid is not None and valid.shape != power.shape[:-1]):
        found = (power.shape, None if valid is None else valid.shape)
        raise ShapeError(f"expected power (time, ..., band) and valid (time, ...), found {found}")
    if not looks >= FEWEST_LOOKS:
        raise SettingsError(f"expected at least {FEWEST_LOOKS} looks, found {looks}")
    seen = np.ones(power.shape[:-1], bool) if valid is None else valid
    return np.where(seen[..., None], power, 0).astype(np.float64), seen
