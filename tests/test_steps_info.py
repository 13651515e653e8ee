"""Info tells what is there, what would be refused and what it would cost, and raises for no bad product."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio

from sarcast.errors import ArtefactError, ProductError
from sarcast.readers.catalogue import find_products
from sarcast.readers.geotiff import GeoTIFF
from sarcast.steps.info import Info, _gaps, info
from sarcast.steps.ingest import Ingest, ingest

GRANULE = "OPERA_L2_RTC-S1_T137-{burst}-IW2_{day}T{clock}Z_20250222T234616Z_S1A_30_v1.0_VV.tif"


def write(path, pixels, *, left=5e5):
    shape = {"count": 1, "height": pixels.shape[0], "width": pixels.shape[1], "dtype": "float32"}
    transform = rasterio.Affine(30, 0, left, 0, -30, 4e6)
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32611", transform=transform, **shape) as out:
        out.write(pixels.astype(np.float32), 1)
    return path


@pytest.fixture
def products(tmp_path, rng):
    """Two bursts that lie apart; one has a gap and two acquisitions on one day."""
    folder = tmp_path / "products"
    folder.mkdir()
    for burst, left, days in (
        ("292318", 5e5, ("20220101", "20220113", "20220125", "20220901")),
        ("292320", 6e5, ("20220101",)),
    ):
        for day in days:
            name = GRANULE.format(burst=burst, day=day, clock="015900")
            write(folder / name, rng.random((64, 96)), left=left)
    write(folder / GRANULE.format(burst="292318", day="20220113", clock="140000"), rng.random((64, 96)))
    return folder


def test_products(products, capsys):
    found = info(Info(source=products))
    assert (found["kind"], found["scenes"], found["files"]) == ("products", 6, 6)
    assert (found["units"], found["radiometry"]) == (["power"], ["gamma0"])
    assert len(found["stacks"]) == 2
    long = max(found["stacks"], key=lambda one: one["dates"])
    assert (long["dates"], long["pixels"], long["bands"]) == (5, 64 * 96, ["VV"])
    assert [gap["days"] for gap in long["gaps"]] == [219.0]
    assert long["same_day"] == ["2022-01-13"]
    assert (long["orbit_direction"], long["incidence_deg"]) == ("ascending", None)
    printed = capsys.readouterr().out
    assert "6 scenes" in printed
    assert "gap of 219 days after 2022-01-25" in printed
    assert "two acquisitions on 2022-01-13" in printed
    assert found["predicted"]["peak_memory_mb"] > 0
    assert found["predicted"]["stack_mb_uncompressed"] > 0


def test_json_is_the_same_and_plain(products, capsys):
    found = info(Info(source=products, as_json=True))
    assert json.loads(capsys.readouterr().out) == found


def test_refusals_are_listed_with_their_reason(products):
    bad = sorted(products.glob("*20220125*"))[0]
    bad.write_bytes(bad.read_bytes()[:700])
    (products / "dem.tif").write_bytes(b"II*\0")
    found = info(Info(source=products))
    assert [one["path"] for one in found["refused"]] == [str(bad), str(products / "dem.tif")]
    assert all(one["path"] in one["reason"] for one in found["refused"])
    assert found["scenes"] == 5


def test_duplicates_are_listed(products):
    (products / "again").mkdir()
    path = sorted(products.glob("*20220125*"))[0]
    (products / "again" / path.name).write_bytes(path.read_bytes())
    found = info(Info(source=products))
    assert found["scenes"] == 6
    assert len(found["left_out"]) == 1


def test_catalogue_and_run_folder(products, tmp_path, capsys):
    target = ingest(Ingest(source=products, out=tmp_path / "run"))
    of_file, of_run = info(Info(source=target)), info(Info(source=tmp_path / "run"))
    assert (of_file["kind"], of_run["kind"]) == ("catalogue", "run")
    assert of_run["artefacts"] == {"scenes.json": "finished"}
    assert [one["name"] for one in of_file["stacks"]] == [one["name"] for one in of_run["stacks"]]
    assert "scenes.json finished" in capsys.readouterr().out


def test_declared_geotiffs_print_their_declaration(tmp_path, rng, capsys):
    write(tmp_path / "a.tif", rng.gamma(4, 0.025, (64, 64)))
    declare = GeoTIFF(unit="power", time="2024-07-09", bands=("VV",), looks=4.0)
    found = info(Info(source=tmp_path, reader="geotiff", declare=declare))
    assert found["stacks"][0]["declared"]["unit"] == "power"
    assert "declared: " in capsys.readouterr().out


def test_mixed_calibration_is_said_and_not_raised(products, monkeypatch):
    found = find_products(products)
    bare = replace(found.scenes[0], scene_id="bare", radiometry="uncalibrated")
    monkeypatch.setattr(
        "sarcast.steps.info.scan", lambda *_: replace(found, scenes=(bare, *found.scenes[1:]))
    )
    told = info(Info(source=products))
    assert "calibration" in told["mixed"]
    assert told["stacks"] == []


def test_nothing_there(tmp_path):
    with pytest.raises(ProductError, match="none"):
        info(Info(source=tmp_path))
    with pytest.raises(ArtefactError, match="nothing"):
        info(Info(source=tmp_path / "stack.zarr"))


def test_a_stack(tmp_path, capsys):
    from odc.geo.geobox import GeoBox

    from sarcast.stack.store import write_stack
    from sarcast.values import Stack, Times

    time = np.datetime64("2022-01-01", "ns") + np.array([0, 12, 24, 124]) * np.timedelta64(1, "D")
    unknown = ("unknown",) * 4
    times = Times(
        time=time,
        scene_id=("a", "b", "c", "d"),
        platform=("S1A",) * 4,
        incidence_deg=np.full(4, np.nan, np.float32),
        look_side=unknown,
        orbit_direction=unknown,
        relative_orbit=unknown,
    )
    stack = Stack(
        amplitude=np.ones((4, 1, 16, 24), np.float32),
        valid=np.ones((4, 16, 24), bool),
        times=times,
        bands=("VV",),
        geobox=GeoBox((16, 24), rasterio.Affine(30, 0, 5e5, 0, -30, 4e6), "EPSG:32611"),
        name="here",
        radiometry="gamma0",
    )
    write_stack(tmp_path / "stack.zarr", stack)
    found = info(Info(source=tmp_path / "stack.zarr"))
    assert (found["kind"], found["dates"], found["bands"]) == ("stack", 4, ["VV"])
    assert found["shape"] == {"time": 4, "band": 1, "y": 16, "x": 24}
    assert found["resolution_m"] == [30.0, 30.0]
    assert not found["finished"]
    assert len(found["gaps"]) == 1
    assert "gamma0" in capsys.readouterr().out


def test_gaps_are_long_intervals():
    days = np.datetime64("2022-01-01", "ns") + np.array([0, 12, 24, 60, 72, 90]) * np.timedelta64(1, "D")
    assert [gap["days"] for gap in _gaps(days)] == []
    days[-1] += np.timedelta64(100, "D")
    assert [gap["days"] for gap in _gaps(days)] == [118.0]
    assert _gaps(days[:1]) == []
