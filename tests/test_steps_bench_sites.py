"""Labelled sites: series read as cells of one frame, plain statistics against loops, sites resampled."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from sarcast.cli import main
from sarcast.errors import DataError, ProductError
from sarcast.evaluate.site_scores import anniversary_z, delays, mean_shift, site_auc, variation
from sarcast.steps.bench_sites import Sites, read_sites, score

CHANGED_ON = "2021-12-20T00:00:00"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Twelve sites of one series, one of two; every second one rises by 6 dB at a known day."""
    folder, rng = tmp_path_factory.mktemp("sites"), np.random.default_rng(8)
    (folder / "series").mkdir()
    features = []
    for site in range(12):
        changed = site % 2 == 0
        told = {"site_id": site, "change_label": "VLmaj" if changed else "noChange"}
        told |= {"change_time": CHANGED_ON, "last_observation_time": "2021-12-10T00:00:00"} if changed else {
            "change_time": None, "last_observation_time": None,
        }  # fmt: skip
        features.append({"type": "Feature", "properties": told, "geometry": None})
        for track in range(1 + (site == 0)):
            write(folder / "series" / f"{site}-{track}.csv", site, changed, rng)
    labels = {"type": "FeatureCollection", "features": features}
    (folder / "val_sites_subset.geojson").write_text(json.dumps(labels))
    return folder


def write(path, site, changed, rng, *, dates=60):
    times = np.datetime64("2020-10-04T00:39:26") + np.arange(dates) * np.timedelta64(12, "D")
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["", "datetime", "site_id", "vv", "vh"])
        for k, time in enumerate(times):
            gain = 4.0 if changed and time >= np.datetime64(CHANGED_ON) else 1.0
            vv, vh = (list(gain * mean * rng.gamma(5, 0.2, 9)) for mean in (0.1, 0.02))
            if k == 3:
                vv[0] = float("nan")
            rows.writerow([k, str(time).replace("T", " "), site, json.dumps(vv), json.dumps(vh)])


def test_series_become_cells_with_their_labels(source):
    series = read_sites(source, Sites())
    assert series.level.shape[1:] == (13, 2) and series.changed.sum() == 7
    assert series.valid.all() and np.isfinite(series.level).all()
    judged = series.features.times.time[series.split.judge]
    assert judged[0] > np.datetime64("2021-09-30") and series.split.fit.sum() == 30
    assert list(series.site).count(0) == 2


@pytest.mark.parametrize("row", ["mean shift, dB", "coefficient of variation", "z_score"])
def test_a_lasting_rise_of_six_decibels_is_told_from_none(source, row):
    series = read_sites(source, Sites())
    found = score(row, series, Sites(), seed=0)
    assert site_auc(found.typical, series.changed, series.site, draws=20, seed=0).value == 1


def test_plain_statistics_against_loops(rng):
    level, valid = rng.normal(-10, 2, (40, 3, 2)), rng.random((40, 3)) < 0.9
    days, fit = np.arange(40) * 12.0, np.arange(40) < 30
    shift, cv = mean_shift(level, valid, fit, ~fit), variation(level, valid)
    z, known = anniversary_z(level, valid, days, fit, window_days=45)
    for s in range(3):
        seen = valid[:, s]
        before, after = level[seen & fit, s].mean(0), level[seen & ~fit, s].mean(0)
        assert shift[s] == pytest.approx(np.abs(after - before).max())
        amplitude = 10 ** (level[seen, s] / 20)
        assert cv[s] == pytest.approx((amplitude.std(0) / amplitude.mean(0)).max())
        t = 35
        near = [
            k
            for k in range(30)
            if valid[k, s] and min(abs(days[t] - days[k] + y * 365.25) for y in (-1, 0, 1)) <= 45
        ]
        assert known[t, s] == (valid[t, s] and len(near) >= 3)
        if known[t, s]:
            away = np.abs(level[t, s] - level[near, s].mean(0))
            assert (z[t, s] > 0) and np.argmax(away) in (0, 1)
    assert np.median(z[known]) < 1.5


def test_delay_counts_from_the_first_look_with_the_change():
    times = np.datetime64("2022-01-01", "ns") + np.arange(10) * np.timedelta64(10, "D")
    alarm = np.zeros((10, 4), bool)
    alarm[[1, 6], 0] = alarm[4, 1] = alarm[9, 2] = True
    clear, first = [np.datetime64("2022-01-31", "ns")] * 4, [np.datetime64("2022-02-15", "ns")] * 4
    found = delays(alarm, times, clear, first, np.arange(4), within_days=30)
    np.testing.assert_array_equal(found.days, [15, -5, np.nan, np.nan])
    assert found.share_seen(draws=20, seed=0).value == 0.5
    assert found.median(draws=20, seed=0).value == 5


def test_series_of_one_site_are_drawn_together(rng):
    changed, site = np.repeat([True, False], 30), np.arange(60)
    scores = rng.normal(size=60) + 0.8 * changed
    alone = site_auc(scores, changed, site, draws=400, seed=0)
    copies = site_auc(np.tile(scores, 4), np.tile(changed, 4), np.tile(site, 4), draws=400, seed=0)
    assert alone.value == pytest.approx(copies.value)
    assert copies.high - copies.low == pytest.approx(alone.high - alone.low, rel=1e-9)


def test_the_verb_prints_a_row_each_and_says_what_is_wrong(source, tmp_path, capsys):
    assert main(["bench", "sites", "--source", str(source), "--quick", "--rows", "z_score"]) == 0
    said = capsys.readouterr().out
    assert "13 series of 12 sites, 7 changed and 6 not" in said and "z_score" in said
    assert main(["bench", "sites", "--source", str(source), "--rows", "magic"]) == 2
    assert "expected rows among mean shift, dB;" in capsys.readouterr().err
    with pytest.raises(ProductError, match="expected labelled sites as GeoJSON"):
        read_sites(tmp_path, Sites())
    with pytest.raises(DataError, match="expected labelled series of at least 90 dates, found none"):
        read_sites(source, Sites(least=90))


@pytest.mark.shared
def test_real_sites_are_read(shared):
    series = read_sites(shared / "data" / "rtc_site_series", Sites())
    assert len(series.site) > 50 and 30 < series.changed.sum() < 45
    found = score("mean shift, dB", series, Sites(), seed=0)
    assert 0.6 < site_auc(found.typical, series.changed, series.site, draws=20, seed=0).value < 0.8
