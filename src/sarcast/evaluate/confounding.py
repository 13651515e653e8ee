"""Do scores follow how a frame was taken: satellite, incidence, look side, orbit, time since the last one?

A frame is one observation of its acquisition, however many cells it has: figures are of one number per date.
Both series have a course in time, so that dates are not independent either. p-values are over all rotations
of the scores against the acquisitions (circular shifts), intervals over blocks of consecutive dates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sarcast.errors import DataError, ShapeError
from sarcast.evaluate.bootstrap import moving_blocks
from sarcast.evaluate.correlation import eta_squared, pearson, spearman
from sarcast.values import Estimate, Times

_UNKNOWN = ("", "unknown")


@dataclass(frozen=True, kw_only=True)
class Association:
    """How scores of frames go with one fact of their acquisition."""

    covariate: str
    measure: str
    """spearman, pearson, or eta squared (the share of variance between categories)."""
    estimate: Estimate
    """Its interval is over blocks of dates, `n` the number of dates; NaN where it cannot be had."""
    p_value: float
    """Chance of one as strong under rotation in time: (1 + #) / dates, so never under 1 / dates."""
    groups: dict[str, int]
    """Category -> dates; empty for a number."""


def frame_scores(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Mean score of each date's valid cells: (time, row, col) -> float64 (time,), NaN where none is valid."""
    if values.shape != valid.shape or values.ndim != 3:
        raise ShapeError(
            f"expected scores and valid of one shape (time, row, col), found {values.shape}, {valid.shape}"
        )
    counts = valid.sum(axis=(1, 2))
    sums = np.where(valid, values, 0).sum(axis=(1, 2), dtype=np.float64)
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)


def acquisition_covariates(times: Times) -> dict[str, np.ndarray]:
    """Facts of each acquisition that scores should not follow: text for categories, float64 for numbers.

    `new_satellite` is 1 where the satellite is not that of the date before; the first date has none.
    """
    platform = np.array(times.platform)
    changed = np.append(np.nan, (platform[1:] != platform[:-1]).astype(float))
    for at in np.flatnonzero(np.isin(platform, _UNKNOWN)):
        changed[at : at + 2] = np.nan
    return {
        "satellite": platform,
        "new_satellite": changed[: len(times)],
        "incidence_deg": times.incidence_deg.astype(np.float64),
        "look_side": np.array(times.look_side),
        "orbit_direction": np.array(times.orbit_direction),
        "relative_orbit": np.array(times.relative_orbit),
        "days_since_previous": np.append(np.nan, np.diff(times.days))[: len(times)],
    }


def associations(
    series: np.ndarray,
    covariates: Mapping[str, np.ndarray],
    *,
    draws: int = 500,
    level: float = 0.95,
    seed: int,
) -> list[Association]:
    """How one number per date goes with each covariate that varies.

    Args:
        series: (time,) in time order, e.g. `frame_scores`; dates with NaN are left out.
        covariates: Name -> (time,): text for categories ("unknown" left out), or numbers (NaN left out).
        draws: Resamples.
        level: Of the intervals, in (0, 1).
        seed: Of the draws, the same for every covariate.

    Returns:
        Spearman and Pearson for numbers, eta squared for categories; nothing for a covariate that is unknown
        or has one value.

    Raises:
        DataError: Fewer than three dates with a score.
        ShapeError: Lengths differ.
    """
    if np.isfinite(series).sum() < 3:
        raise DataError(f"expected at least 3 dates with scores, found {np.isfinite(series).sum()}")
    found: list[Association] = []
    for name, covariate in covariates.items():
        if covariate.shape != series.shape:
            raise ShapeError(f"expected {name} of length {len(series)}, found {covariate.shape}")
        found += _measured(name, series, covariate, draws, level, seed)
    return found


def rotation_p(
    series: np.ndarray, facts: np.ndarray, figure: Callable[[np.ndarray, np.ndarray], float]
) -> float:
    """Chance of |figure| as high when the series is rotated against the facts, all rotations: (1 + #) / n."""
    observed = abs(figure(series, facts))
    turned = [abs(figure(np.roll(series, by), facts)) for by in range(1, len(series))]
    return float((1 + np.count_nonzero(np.array(turned) >= observed * (1 - 1e-12))) / len(series))


_NUMBER = {"spearman": spearman, "pearson": pearson}
_CATEGORY = {"eta squared": eta_squared}


def _measured(
    name: str, series: np.ndarray, covariate: np.ndarray, draws: int, level: float, seed: int
) -> list[Association]:
    """Every measure of one covariate, on the dates where it is known; none where it does not vary."""
    text = covariate.dtype.kind == "U"
    known = np.isfinite(series) & (~np.isin(covariate, _UNKNOWN) if text else np.isfinite(covariate))
    values, facts = series[known], covariate[known]
    if len(np.unique(facts)) < 2 or len(values) < 3:
        return []
    return [
        Association(
            covariate=name,
            measure=measure,
            estimate=_estimate(f"{measure} with {name}", figure, values, facts, draws, level, seed),
            p_value=rotation_p(values, facts, figure),
            groups=_counts(facts) if text else {},
        )
        for measure, figure in (_CATEGORY if text else _NUMBER).items()
    ]


def _estimate(
    name: str,
    figure: Callable[[np.ndarray, np.ndarray], float],
    values: np.ndarray,
    facts: np.ndarray,
    draws: int,
    level: float,
    seed: int,
) -> Estimate:
    """The figure with its interval; resamples without variation have none and are left out."""
    rows = moving_blocks(len(values), draws=draws, rng=np.random.default_rng(seed))
    drawn = np.array([figure(values[row], facts[row]) for row in rows])
    drawn = drawn[np.isfinite(drawn)]
    low, high = (
        np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if len(drawn) > draws / 2 else (np.nan, np.nan)
    )
    return Estimate(
        name=name,
        value=figure(values, facts),
        low=float(low),
        high=float(high),
        level=level,
        n=len(values),
        resampled="block of dates",
        seed=seed,
    )


def _counts(facts: np.ndarray) -> dict[str, int]:
    names, counts = np.unique(facts, return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}
