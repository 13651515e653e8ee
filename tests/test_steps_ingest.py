"""Ingest writes one catalogue, whole or not at all, and adding to it equals starting over."""

import json
import logging

import numpy as np
import pytest
import rasterio

from sarcast.errors import ArtefactError, ProductError, SettingsError
from sarcast.readers.catalogue import read_catalogue
from sarcast.readers.geotiff import GeoTIFF
from sarcast.runtime.artefact import finished, run_entry
from sarcast.steps.ingest import Ingest, ingest

GRANULE = "OPERA_L2_RTC-S1_T137-292318-IW2_2022{day}T015900Z_20250222T234616Z_S1A_30_v1.0_{band}.tif"


@pytest.fixture
def products(tmp_path, rng):
    """Two dates of one burst, VV and VH."""
    folder = tmp_path / "products"
    folder.mkdir()
    for day in ("1114", "1126"):
        for band in ("VV", "VH"):
            write(folder / GRANULE.format(day=day, band=band), rng.random((32, 32)))
    return folder


def write(path, pixels):
    shape = {"count": 1, "height": pixels.shape[0], "width": pixels.shape[1], "dtype": "float32"}
    transform = rasterio.Affine(30, 0, 5e5, 0, -30, 4e6)
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32611", transform=transform, **shape) as out:
        out.write(pixels.astype(np.float32), 1)
    return path


def test_writes_a_finished_catalogue(products, tmp_path):
    target = ingest(Ingest(source=products, out=tmp_path / "run"))
    assert target == tmp_path / "run" / "scenes.json"
    assert finished(target)
    assert [scene.bands for scene in read_catalogue(target).scenes] == [("VH", "VV")] * 2
    assert run_entry(target)["settings"]["source"] == str(products)


def test_out_may_be_the_file(products, tmp_path):
    assert ingest(Ingest(source=products, out=tmp_path / "my.json")) == tmp_path / "my.json"
    assert ingest(Ingest(source=tmp_path / "my.json", out=tmp_path / "run")).is_file()


def test_adding_equals_starting_over(products, tmp_path, rng):
    ingest(Ingest(source=products, out=tmp_path / "added"))
    for band in ("VV", "VH"):
        write(products / GRANULE.format(day="1120", band=band), rng.random((32, 32)))
    added = ingest(Ingest(source=products, out=tmp_path / "added")).read_bytes()
    assert added == ingest(Ingest(source=products, out=tmp_path / "fresh")).read_bytes()
    assert added == ingest(Ingest(source=products, out=tmp_path / "added")).read_bytes()
    assert len(json.loads(added)["scenes"]) == 3


def test_catalogues_of_two_folders_meet(products, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for path in sorted(products.glob("*1126*")):
        path.rename(other / path.name)
    ingest(Ingest(source=products, out=tmp_path / "run"))
    target = ingest(Ingest(source=other, out=tmp_path / "run"))
    assert len(read_catalogue(target).scenes) == 2


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_product_leaves_nothing(share, products, tmp_path):
    bad = next(products.glob("*1126*VV*"))
    bad.write_bytes(bad.read_bytes()[: int(bad.stat().st_size * share)])
    with pytest.raises(ProductError, match=bad.name):
        ingest(Ingest(source=products, out=tmp_path / "run"))
    assert not list((tmp_path / "run").glob("*.json"))
    target = ingest(Ingest(source=products, out=tmp_path / "run", skip_bad=True))
    found = read_catalogue(target)
    assert len(found.scenes) == 1
    assert bad.name in found.refused[0].reason


def test_a_failed_ingest_leaves_the_old_catalogue(products, tmp_path):
    target = ingest(Ingest(source=products, out=tmp_path / "run"))
    before = target.read_bytes()
    next(products.glob("*1126*VV*")).write_bytes(b"")
    with pytest.raises(ProductError):
        ingest(Ingest(source=products, out=tmp_path / "run"))
    assert target.read_bytes() == before
    assert finished(target)


def test_a_folder_without_products(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProductError, match="empty"):
        ingest(Ingest(source=tmp_path / "empty", out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_what_is_no_catalogue_is_not_overwritten(products, tmp_path):
    (tmp_path / "scenes.json").write_text("{}")
    with pytest.raises(ArtefactError, match=r"scenes\.json"):
        ingest(Ingest(source=products, out=tmp_path))
    assert (tmp_path / "scenes.json").read_text() == "{}"


def test_declarations_reach_the_scene_and_nothing_else(tmp_path, rng):
    plain = tmp_path / "plain"
    plain.mkdir()
    write(plain / "a.tif", rng.gamma(4, 0.025, (64, 64)))
    declare = GeoTIFF(unit="power", time="2024-07-09", bands=("VV",), nodata=float("nan"))
    target = ingest(Ingest(source=plain, out=tmp_path / "run", reader="geotiff", declare=declare))
    (scene,) = read_catalogue(target).scenes
    assert scene.extra["declared"]["unit"] == "power"
    assert scene.extra["declared"]["nodata"] is None
    for reader in ("auto", "opera"):
        with pytest.raises(SettingsError, match="declarations with reader 'geotiff' only"):
            ingest(Ingest(source=plain, out=tmp_path / "run", reader=reader, declare=declare))


def test_gdal_says_nothing_of_its_own(products, tmp_path, caplog):
    """Errors are one line of ours."""
    with caplog.at_level(logging.ERROR):
        ingest(Ingest(source=products, out=tmp_path / "run"))
    assert not caplog.records


@pytest.mark.shared
def test_the_real_stack(shared, tmp_path):
    target = ingest(Ingest(source=shared / "data/opera_rtc_t137", out=tmp_path))
    assert len(read_catalogue(target).scenes) == 110
