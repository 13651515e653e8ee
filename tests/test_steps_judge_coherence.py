"""Coherence maps judge a run on its own cells; no map says more than its dates and its history allow."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from sarcast.cli import main
from sarcast.errors import ProductError, SettingsError
from sarcast.evaluate.coherence_labels import label_changes
from sarcast.readers.coherence_maps import find_maps, read_map
from sarcast.sar.coherence import coherence
from sarcast.sar.simulate import complex_pair
from sarcast.steps.evaluate import Evaluate, as_text, evaluate
from sarcast.steps.judge_coherence import on_grid, series_on_cells
from sarcast.steps.judged import places_of

NAMES = ("x_20180106-20180130_VV_cc.tif", "y_20180307-20180319_cc.tiff")


def write_map(path, values, *, transform, crs="EPSG:32611", nodata=None):
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype=values.dtype,
        crs=crs, transform=transform, nodata=nodata,
    ) as dataset:  # fmt: skip
        dataset.write(values, 1)


def plain(path, values=None, **more):
    values = np.full((6, 8), 0.5, np.float32) if values is None else values
    write_map(path, values, transform=Affine(30, 0, 500_000, 0, -30, 4_000_000), **more)


def test_maps_are_found_by_their_dates(tmp_path):
    for name in (*NAMES, "notes_2018.tif", "z_120180106-20180130.tif"):
        plain(tmp_path / name)
    (tmp_path / "20180106-20180130.txt").write_text("no map")
    found = find_maps(tmp_path)
    assert [one.path.name for one in found] == list(NAMES)
    assert (found[0].first, found[0].second) == (np.datetime64("2018-01-06"), np.datetime64("2018-01-30"))
    plain(tmp_path / "S1_2018-02-01__2018-01-20.tif")
    (other,) = find_maps(tmp_path, "{second:%Y-%m-%d}__{first:%Y-%m-%d}")
    assert other.first < other.second == np.datetime64("2018-02-01")


def test_what_names_no_pair_is_refused(tmp_path):
    with pytest.raises(ProductError, match="expected GeoTIFFs with"):
        find_maps(tmp_path)
    with pytest.raises(SettingsError, match="once each"):
        find_maps(tmp_path, "{first:%Y%m%d}")
    with pytest.raises(SettingsError, match="expected dates made of"):
        find_maps(tmp_path, "{first:%Y%m%d}-{second:%A}")
    plain(tmp_path / "a_20181301-20180130.tif")
    with pytest.raises(ProductError, match="expected a date"):
        find_maps(tmp_path)
    (tmp_path / "a_20181301-20180130.tif").unlink()
    for name in ("a", "b"):
        plain(tmp_path / f"{name}_20180106-20180130.tif")
    with pytest.raises(ProductError, match="one map for each pair"):
        find_maps(tmp_path)


def test_zero_and_nodata_are_not_coherence(tmp_path):
    values = np.full((6, 8), 0.5, np.float32)
    values[0], values[1], values[2] = 0, np.nan, -1
    plain(tmp_path / NAMES[0], values, nodata=-1)
    found, valid, _ = read_map(find_maps(tmp_path)[0])
    assert not valid[:3].any() and valid[3:].all() and (found[:3] == 0).all()
    plain(tmp_path / NAMES[0], values * 255)
    with pytest.raises(ProductError, match="expected coherence from 0 to 1"):
        read_map(find_maps(tmp_path)[0])
    plain(tmp_path / NAMES[0], np.ones((6, 8), np.uint8))
    with pytest.raises(ProductError, match="floating point"):
        read_map(find_maps(tmp_path)[0])


@pytest.mark.parametrize("factor", [0.25, 1, 3])
def test_a_map_lands_on_the_same_ground(tmp_path, factor):
    from odc.geo.geobox import GeoBox

    side = 30 * factor
    rows, cols = round(24 * 30 / side) + 2, round(32 * 30 / side) + 2
    transform = Affine(side, 0, 500_000 - side, 0, -side, 4_000_000 + side)
    y, x = np.mgrid[:rows, :cols]
    north, east = 4_000_000 + side - (y + 0.5) * side, 500_000 - side + (x + 0.5) * side
    values = (0.2 + 3e-4 * (4_000_000 - north) + 4e-4 * (east - 500_000)).astype(np.float32)
    write_map(tmp_path / NAMES[0], values, transform=transform)
    geobox = GeoBox((24, 32), Affine(30, 0, 500_000, 0, -30, 4_000_000), "EPSG:32611")
    found, seen = on_grid(find_maps(tmp_path)[0], geobox)
    y, x = np.mgrid[:24, :32] + 0.5
    expected = 0.2 + 3e-4 * y * 30 + 4e-4 * x * 30
    assert seen.all()
    assert np.abs(found - expected).max() < 0.7e-3 * max(side / 2, 1) + 1e-3


def test_a_planted_loss_is_what_the_scores_are_judged_by(small_run, tmp_path, rng):
    """Maps of a run's own dates: the loss lies on the cells that score highest, then elsewhere."""
    run = small_run / "run"
    (place,) = places_of(run)
    own = place.own
    days = own.times.time.astype("datetime64[D]")
    gaps = np.diff(days, prepend=days[0]).astype(int)
    peak = np.flatnonzero(place.judged & place.usable & (gaps == np.median(gaps[1:])))[-1]
    scores = np.where(own.valid[peak], own.values[peak], -np.inf)
    highest = scores >= np.sort(scores.ravel())[-20]
    for where, lost in (("on", highest), ("off", np.roll(highest, 5, axis=1) & ~highest)):
        folder = tmp_path / where
        folder.mkdir()
        for date in range(1, len(days)):
            true = np.full(own.grid.shape, 0.85)
            true[:2] = 0
            if date == peak:
                true[lost] = 0
            fine = np.kron(true, np.ones((8, 8)))
            values = coherence(*complex_pair(np.ones(fine.shape), coherence=fine, rng=rng), step=(2, 2))[0]
            a = own.geobox.transform
            side = a.a * own.grid.stride * own.grid.shape[1] / values.shape[1]
            stem = "-".join(str(day).replace("-", "") for day in (days[date - 1], days[date]))
            write_map(
                folder / f"cc_{stem}.tif",
                values,
                crs=str(own.geobox.crs),
                transform=Affine(side, 0, a.c, 0, -side, a.f),
            )
        found = evaluate(Evaluate(run=run, coherence=folder, out=tmp_path / f"out-{where}"))
        (row,) = found["coherence"]
        assert 0.1 < row["floor"] < 0.3
        (last,) = (one for one in row["dates"] if one["date"] == str(days[peak]))
        assert last["first"] == str(days[peak - 1])
        assert last["changed"] > 0.5 * lost[2:].sum()
        assert last["informative"] <= own.grid.shape[1] * (own.grid.shape[0] - 1)
        (auc,) = row["pairs"].values()
        assert (auc["within"]["value"] > 0.8) == (where == "on")
        assert "coherence, " in as_text(found) and "within" in as_text(found)


def test_maps_of_other_dates_judge_nothing_and_say_why(small_run, tmp_path, capsys):
    run = small_run / "run"
    (place,) = places_of(run)
    transform = place.own.geobox.transform
    write_map(
        tmp_path / NAMES[0],
        np.full((70, 70), 0.5, np.float32),
        crs=str(place.own.geobox.crs),
        transform=transform,
    )
    found = evaluate(Evaluate(run=run, coherence=tmp_path, out=tmp_path / "out"))
    assert "expected a pair of maps that ends on a judged date" in found["coherence"][0]["why_not"]
    assert "not judged: expected" in as_text(found)
    assert main(["evaluate", "--published", str(tmp_path), "--coherence", str(tmp_path)]) == 2
    assert "expected a run to judge with --coherence" in capsys.readouterr().err


def test_mexico(shared):
    """Thirty real maps read, land on cells, and label little where nothing is known to have happened."""
    from odc.geo.geobox import GeoBox

    from sarcast.values import PatchGrid

    maps = find_maps(shared / "data/coherence_mexico")
    assert len(maps) == 30
    assert {str(d) for one in maps for d in (one.first, one.second)} >= {"2018-01-06", "2018-07-17"}
    geobox = GeoBox((60, 100), Affine(150, 0, 480_000, 0, -150, 2_150_600), "EPSG:32614")
    grid = PatchGrid(image=(60, 100), patch=4, stride=4)
    series = series_on_cells(maps, geobox, grid)
    assert series.valid.mean() > 0.5
    assert 0.4 < series.values[series.valid].mean() < 0.8
    dates = np.unique(np.concatenate([series.first, series.second])).astype("datetime64[ns]")
    history = dates < np.datetime64("2018-05-10")
    found = label_changes(series, dates=dates, history=history, judged=~history)
    assert found.informative.any()
    assert found.changed.sum() < 0.05 * found.informative.sum()
