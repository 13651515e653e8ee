"""The bench of labelled sites: real series of a few pixels, and whether the place changed.

Every series is laid on one axis of dates: the mean power of its pixels in bins of some days. So the series
are cells of one frame, without a place of their own, and every detector that looks at no surroundings meets
them as it meets cells; what the frame did together is close to nothing, since the sites lie on all
continents. Cells alike are not looked for.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from sarcast.errors import DataError, ProductError, SettingsError
from sarcast.runtime.settings import Settings
from sarcast.values import Features, PatchGrid, Split, Times

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN = ("mean shift, dB", "coefficient of variation", "z to the same season")
"""Rows that are no detector."""
DETECTORS_DEFAULT = ("z_score", "log_ratio", "mahalanobis", "omnibus", "cusum", "linear_ar")
UNCHANGED = "noChange"
_BANDS = ("vv", "vh")
_LABELS = "val_sites_subset.geojson"


class Sites(Settings):
    """How labelled series are read and judged."""

    history_end: date = date(2021, 9, 30)
    """Last day of history."""
    bin_days: int = Field(12, ge=1)
    """Days of a bin of dates."""
    least: int = Field(30, ge=10)
    """Dates with valid pixels a series must have."""
    window_days: float = Field(45, gt=0)
    """How far in the year a date is of the same season."""
    level: float = Field(0.01, gt=0, lt=1)
    """Alarm: p under this, calibrated on the history of all series."""
    within_days: float = Field(90, gt=0)
    """An alarm counts up to this long after the change was first seen."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """All usable series as cells of one frame."""

    features: Features
    """(time, 1, series, band), dB."""
    split: Split
    site: np.ndarray
    """int (series,)."""
    changed: np.ndarray
    """bool (series,)."""
    clear: tuple[np.datetime64, ...]
    """Last look without change; NaT where nothing changed."""
    first: tuple[np.datetime64, ...]
    """First look with it; NaT where nothing changed."""

    @property
    def level(self) -> np.ndarray:
        """(time, series, band), dB."""
        return self.features.values[:, 0]

    @property
    def valid(self) -> np.ndarray:
        """Bool (time, series)."""
        return self.features.valid[:, 0]


@dataclass(frozen=True, kw_only=True, eq=False)
class RowScores:
    """What a row says of every series."""

    typical: np.ndarray
    """float64 (series,): mean score of the judged dates, or the one number there is."""
    largest: np.ndarray | None = None
    """float64 (series,): largest score of the judged dates."""
    p: np.ndarray | None = None
    """(time, series), 1 where not valid; None where there is no score a date."""


def read_sites(source: Path, settings: Sites) -> Series:
    """Every usable labelled series of a folder (`series/*.csv` and the labels' GeoJSON).

    Raises:
        ProductError: A file is missing or not what it should be.
        DataError: No series is usable.
    """
    labels = _labels(source / _LABELS)
    found = []
    for path in sorted((source / "series").glob("*.csv")):
        site, times, power = _read(path)
        if site in labels and len(times) >= settings.least:
            found.append((site, times, power))
    if not found:
        raise DataError(
            f"expected labelled series of at least {settings.least} dates, found none, in {source / 'series'}"
        )
    return _frame(found, labels, settings)


def score(name: str, series: Series, settings: Sites, *, seed: int) -> RowScores:
    """One row on all series.

    Raises:
        SettingsError: There is no such row.
        DataError: The detector cannot work on them.
    """
    from sarcast.detectors import DETECTORS

    if name in PLAIN:
        return _PLAIN[name](series, settings)
    if name not in DETECTORS:
        raise SettingsError(f"expected rows among {'; '.join(PLAIN)}; {', '.join(DETECTORS)}; found {name!r}")
    model = DETECTORS[name]
    detector = model(**({"neighbours": 0} if "neighbours" in model.model_fields else {}))
    scorer = detector.fit(series.features, series.split, rng=np.random.default_rng(seed))
    scores = scorer.score(series.features)
    return _by_date(scores.values[:, 0].astype(np.float64), scores.valid[:, 0], series.split)


def _by_date(values: np.ndarray, valid: np.ndarray, split: Split) -> RowScores:
    from sarcast.decide.calibrate import learn_null

    null = learn_null(values[split.fit][valid[split.fit]])
    seen = valid & split.judge[:, None]
    if not seen.any(0).all():
        raise DataError(f"expected every series to be scored, found {int((~seen.any(0)).sum())} that are not")
    return RowScores(
        typical=np.where(seen, values, 0).sum(0) / seen.sum(0),
        largest=np.where(seen, values, -np.inf).max(0),
        p=np.where(valid, null.p_value(values), 1),
    )


def _shift(series: Series, _: Sites) -> RowScores:
    from sarcast.evaluate.site_scores import mean_shift

    split = series.split
    return RowScores(typical=mean_shift(series.level, series.valid, split.fit, split.judge))


def _variation(series: Series, _: Sites) -> RowScores:
    from sarcast.evaluate.site_scores import variation

    return RowScores(typical=variation(series.level, series.valid))


def _season(series: Series, settings: Sites) -> RowScores:
    from sarcast.evaluate.site_scores import anniversary_z

    days = series.features.times.days
    found = anniversary_z(
        series.level, series.valid, days, series.split.fit, window_days=settings.window_days
    )
    return _by_date(*found, series.split)


_PLAIN: dict[str, Callable[[Series, Sites], RowScores]] = dict(
    zip(PLAIN, (_shift, _variation, _season), strict=True)
)


def _labels(path: Path) -> dict[int, dict[str, Any]]:
    """Properties of every labelled site."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["features"]
        return {int(one["properties"]["site_id"]): one["properties"] for one in found}
    except (OSError, ValueError, KeyError, TypeError):
        raise ProductError(f"expected labelled sites as GeoJSON, found something else, in {path}") from None


def _read(path: Path) -> tuple[int, np.ndarray, np.ndarray]:
    """Site, times (datetime64[ns]) and mean power (time, band) of a series; only dates with valid pixels."""
    times, power, sites = [], [], set()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                sites.add(int(row["site_id"]))
                pixels = np.array([_pixels(row[band]) for band in _BANDS])
                good = np.isfinite(pixels).all(0) & (pixels > 0).all(0)
                if good.mean() > 0.5:
                    times.append(np.datetime64(row["datetime"].replace(" ", "T"), "ns"))
                    power.append(pixels[:, good].mean(1))
        (site,) = sites
    except (OSError, ValueError, KeyError, TypeError):
        raise ProductError(
            f"expected a series of one site with datetime, site_id, {' and '.join(_BANDS)}, "
            f"found something else, in {path}"
        ) from None
    return site, np.array(times, "datetime64[ns]"), np.array(power).reshape(-1, len(_BANDS))


def _pixels(text: str) -> list[float]:
    return [np.nan if value is None else float(value) for value in json.loads(text.replace("nan", "NaN"))]


def _frame(
    found: Sequence[tuple[int, np.ndarray, np.ndarray]], labels: dict[int, dict[str, Any]], settings: Sites
) -> Series:
    start = min(times.min() for _, times, _ in found)
    step = np.timedelta64(settings.bin_days, "D")
    bins = 1 + max(int((times.max() - start) // step) for _, times, _ in found)
    total, count = np.zeros((bins, len(found), len(_BANDS))), np.zeros((bins, len(found)), int)
    for k, (_, times, power) in enumerate(found):
        at = ((times - start) // step).astype(int)
        np.add.at(total[:, k], at, power)
        np.add.at(count[:, k], at, 1)
    when = start + np.arange(bins) * step + step // 2
    fit = when <= np.datetime64(settings.history_end, "D") + np.timedelta64(1, "D")
    told = [labels[site] for site, _, _ in found]
    changed = np.array([one["change_label"] != UNCHANGED for one in told])
    return Series(
        features=_features(total, count, when),
        split=Split(fit=fit, judge=~fit),
        site=np.array([site for site, _, _ in found]),
        changed=changed,
        clear=tuple(_day(one["last_observation_time"]) for one in told),
        first=tuple(_day(one["change_time"]) for one in told),
    )


def _features(total: np.ndarray, count: np.ndarray, when: np.ndarray) -> Features:
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from sarcast.sar.decibel import to_db

    bins, series = count.shape
    shape = (3, 3 * series)
    power = np.divide(total, count[..., None], out=np.zeros_like(total), where=count[..., None] > 0)
    values = np.where(count[..., None] > 0, to_db(power), 0)
    return Features(
        values=values[:, None].astype(np.float32),
        valid=(count > 0)[:, None],
        times=Times(
            time=when.astype("datetime64[ns]"),
            scene_id=tuple(str(np.datetime_as_string(one, "D")) for one in when),
            incidence_deg=np.full(bins, np.nan, np.float32),
            **dict.fromkeys(
                ("platform", "look_side", "orbit_direction", "relative_orbit"), ("unknown",) * bins
            ),
        ),
        grid=PatchGrid(image=shape, patch=3, stride=3),
        geobox=GeoBox(shape, Affine(30, 0, 0, 0, -30, 90), "EPSG:3857"),
        names=tuple(f"{band}_mean" for band in _BANDS),
        encoder="statistics",
        stack="sites",
    )


def _day(text: str | None) -> np.datetime64:
    return np.datetime64(text, "ns") if text else np.datetime64("NaT", "ns")
