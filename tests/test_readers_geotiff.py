"""Plain GeoTIFFs: nothing is guessed, and a declaration the pixels contradict raises."""

import numpy as np
import pytest
import rasterio

from sarcast.errors import ProductError, SettingsError
from sarcast.readers.catalogue import find_products
from sarcast.readers.geotiff import GeoTIFF
from sarcast.readers.pixels import read_power

TIME = "2024-07-09T04:03:29Z"


def speckled(rng, *, looks=4.0, level=0.1, side=160):
    """Linear power of plain clutter."""
    return level * rng.gamma(looks, 1 / looks, (side, side))


def write(path, *bands, kind=np.float32, left=5e5, **profile):
    shape = {"count": len(bands), "height": bands[0].shape[0], "width": bands[0].shape[1], "dtype": kind}
    transform = rasterio.Affine(10, 0, left, 0, -10, 4e6)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32611", transform=transform, **shape, **profile
    ) as out:
        for index, band in enumerate(bands, start=1):
            out.write(band.astype(kind), index)
    return path


def declare(**said):
    return GeoTIFF(**{"unit": "power", "time": TIME, "bands": ("VV",), **said})


def read(source, **said):
    return find_products(source, "geotiff", declare(**said)).scenes


def test_what_is_declared_is_what_the_scene_says(tmp_path, rng):
    write(tmp_path / "a.tif", speckled(rng))
    said = {
        "radiometry": "gamma0",
        "geometry": "terrain",
        "sensor": "sentinel1",
        "platform": "S1A",
        "track": "T137",
        "orbit_direction": "ascending",
        "look_side": "right",
        "incidence_deg": 38.5,
        "looks": 4.0,
        "place": "here",
        "calibration": "full",
    }
    (scene,) = read(tmp_path, **said)
    for name, value in said.items():
        assert getattr(scene, name) == value
        assert scene.extra["declared"][name] == value
    assert scene.extra["declared"]["unit"] == "power"
    assert scene.extra["measured_looks"]["VV"] == pytest.approx(4, rel=0.2)
    assert scene.time == np.datetime64("2024-07-09T04:03:29")


@pytest.mark.parametrize("missing", ["unit", "time", "bands"])
def test_nothing_is_guessed(missing, tmp_path, rng):
    write(tmp_path / "S1A_20240709T040329_VV_power.tif", speckled(rng))
    with pytest.raises(ProductError, match=rf"declared {missing}.*S1A_20240709T040329_VV_power\.tif"):
        read(tmp_path, **{missing: () if missing == "bands" else None})


def test_the_same_place_in_every_unit(tmp_path, rng):
    power = speckled(rng)
    stored = {"power": power, "amplitude": np.sqrt(power), "db": 10 * np.log10(power)}
    found = []
    for unit, pixels in stored.items():
        write(tmp_path / unit / "a.tif", pixels)
        (scene,) = read(tmp_path / unit, unit=unit, looks=4.0)
        found.append(read_power(scene.files[0])[0])
    for one in found:
        np.testing.assert_allclose(one, power, rtol=1e-5)


@pytest.mark.parametrize("declared", ["power", "amplitude"])
def test_db_declared_linear_raises(declared, tmp_path, rng):
    write(tmp_path / "a.tif", 10 * np.log10(speckled(rng)))
    with pytest.raises(ProductError, match=rf"linear {declared}.*negative numbers.*dB.*a\.tif"):
        read(tmp_path, unit=declared)


def test_a_few_negative_numbers_declared_linear_raise(tmp_path, rng):
    power = speckled(rng)
    power[40:42, 60:64] = -9999
    write(tmp_path / "a.tif", power)
    with pytest.raises(ProductError, match="nodata value that was not declared"):
        read(tmp_path)
    (scene,) = read(tmp_path, nodata=-9999.0)
    assert (~read_power(scene.files[0])[1]).sum() == 8


@pytest.mark.parametrize("radiometry", ["gamma0", "uncalibrated"])
def test_linear_declared_db_raises(radiometry, tmp_path, rng):
    write(tmp_path / "a.tif", speckled(rng))
    with pytest.raises(ProductError, match=r"expected dB.*linear\?.*a\.tif"):
        read(tmp_path, unit="db", radiometry=radiometry)
    write(tmp_path / "a.tif", 300 * np.sqrt(speckled(rng)), kind=np.uint16)
    with pytest.raises(ProductError, match="expected dB"):
        read(tmp_path, unit="db", radiometry=radiometry)


def test_uncalibrated_db_may_be_positive(tmp_path, rng):
    write(tmp_path / "a.tif", 50 + 10 * np.log10(speckled(rng)))
    assert len(read(tmp_path, unit="db")) == 1
    with pytest.raises(ProductError, match="expected dB"):
        read(tmp_path, unit="db", radiometry="sigma0")


def test_raw_numbers_declared_calibrated_raise(tmp_path, rng):
    write(tmp_path / "a.tif", 300 * np.sqrt(speckled(rng)), kind=np.uint16)
    assert len(read(tmp_path, unit="amplitude")) == 1
    with pytest.raises(ProductError, match="expected calibrated amplitude"):
        read(tmp_path, unit="amplitude", radiometry="sigma0")


@pytest.mark.parametrize(("stored", "declared"), [("amplitude", "power"), ("power", "amplitude")])
def test_looks_that_contradict_the_unit_raise(stored, declared, tmp_path, rng):
    power = speckled(rng, looks=9)
    write(tmp_path / "a.tif", np.sqrt(power) if stored == "amplitude" else power)
    assert len(read(tmp_path, unit=stored, looks=9.0)) == 1
    with pytest.raises(ProductError, match=r"expected 9 looks.*a\.tif"):
        read(tmp_path, unit=declared, looks=9.0)


def test_swapped_polarisations_raise(tmp_path, rng):
    co, cross = speckled(rng), speckled(rng, level=0.02)
    write(tmp_path / "a.tif", co, cross)
    (scene,) = read(tmp_path, bands=("VV", "VH"))
    assert read_power(scene.files[0])[0].mean() == pytest.approx(0.02, rel=0.1)
    assert [file.band for file in scene.files] == ["VH", "VV"]
    with pytest.raises(ProductError, match="polarisations swapped"):
        read(tmp_path, bands=("VH", "VV"))


def test_every_band_needs_its_polarisation(tmp_path, rng):
    write(tmp_path / "a.tif", speckled(rng), speckled(rng))
    with pytest.raises(ProductError, match="each of 2 bands"):
        read(tmp_path)


def table(folder, *rows, head="file,time,band"):
    path = folder / "times.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_csv_joins_bands_and_dates(tmp_path, rng):
    for day in (1, 2):
        write(tmp_path / f"vv{day}.tif", speckled(rng))
        write(tmp_path / f"sub/vh{day}.tif", speckled(rng, level=0.02))
    csv = table(
        tmp_path,
        "vv1.tif,2024-07-01T04:00:00Z,VV,34.5",
        "sub/vh1.tif,2024-07-01T04:00:00Z,VH,34.5",
        "vv2.tif,2024-07-13T04:00:00Z,VV,",
        "vh2.tif,2024-07-13T04:00:00Z,VH,",
        head="file,time,band,incidence_deg",
    )
    scenes = read(tmp_path, time=None, times_csv=csv)
    assert [scene.bands for scene in scenes] == [("VH", "VV"), ("VH", "VV")]
    assert [scene.incidence_deg for scene in scenes] == [34.5, None]
    assert [str(scene.time)[:10] for scene in scenes] == ["2024-07-01", "2024-07-13"]


def test_mixed_units_in_one_scene_raise(tmp_path, rng):
    write(tmp_path / "vv.tif", speckled(rng))
    write(tmp_path / "vh.tif", 10 * np.log10(speckled(rng, level=0.02)))
    csv = table(tmp_path, f"vv.tif,{TIME},VV,power", f"vh.tif,{TIME},VH,db", head="file,time,band,unit")
    with pytest.raises(ProductError, match="one unit"):
        read(tmp_path, times_csv=csv)


@pytest.mark.parametrize(
    ("rows", "head", "error"),
    [
        (["a.tif,yes"], "file,quality", "column 'quality'"),
        (["a.tif,x", "a.tif,y"], "file,time", "each file once"),
        (["a.tif,x,y,z"], "file,time", "too many cells"),
        ([f",{TIME}"], "file,time", "no file"),
    ],
)
def test_bad_csv(rows, head, error, tmp_path, rng):
    write(tmp_path / "a.tif", speckled(rng))
    with pytest.raises(SettingsError, match=rf"{error}.*times\.csv"):
        read(tmp_path, times_csv=table(tmp_path, *rows, head=head))
    with pytest.raises(SettingsError, match=r"readable CSV.*no\.csv"):
        read(tmp_path, times_csv=tmp_path / "no.csv")


@pytest.mark.parametrize(
    ("column", "text"),
    [("unit", "decibel"), ("looks", "-1"), ("incidence_deg", "120"), ("look_side", "up"), ("band", "XX")],
)
def test_bad_cells_name_the_setting_and_the_file(column, text, tmp_path, rng):
    write(tmp_path / "a.tif", speckled(rng))
    csv = table(tmp_path, f"a.tif,{text}", head=f"file,{column}")
    with pytest.raises(ProductError, match=rf"{'bands' if column == 'band' else column}.*a\.tif"):
        read(tmp_path, times_csv=csv)


@pytest.mark.parametrize("text", ["yesterday", "2024-13-01", "09/07/2024", "20240709T25:00", "1066-10-14"])
def test_bad_times(text, tmp_path, rng):
    write(tmp_path / "a.tif", speckled(rng))
    with pytest.raises(ProductError, match=r"expected a UTC time.*a\.tif"):
        read(tmp_path, time=text)


def test_time_in_the_name(tmp_path, rng):
    write(tmp_path / "S1A_20240709T040329_x.tif", speckled(rng))
    write(tmp_path / "S1A_20240721T040330_x.tif", speckled(rng))
    scenes = read(tmp_path, time=None, time_format="%Y%m%dT%H%M%S")
    assert [str(scene.time)[:19] for scene in scenes] == ["2024-07-09T04:03:29", "2024-07-21T04:03:30"]
    with pytest.raises(ProductError, match="declared time"):
        read(tmp_path, time=None, time_format="%Y-%m-%d")
    for bad in ("%q", "%Y%Y%m%d", "%H%M", ""):
        with pytest.raises(SettingsError, match="time_format"):
            read(tmp_path, time=None, time_format=bad)


def test_one_file_for_two_dates_is_refused(tmp_path, rng):
    pixels = speckled(rng)
    write(tmp_path / "a_20240709.tif", pixels)
    write(tmp_path / "b_20240721.tif", pixels)
    with pytest.raises(ProductError, match="pixels of its own"):
        read(tmp_path, time=None, time_format="%Y%m%d")


def test_two_files_for_one_date_are_refused_and_a_copy_is_left_out(tmp_path, rng):
    pixels = speckled(rng)
    write(tmp_path / "a.tif", pixels)
    write(tmp_path / "b.tif", pixels)
    found = find_products(tmp_path, "geotiff", declare())
    assert len(found.scenes) == 1
    assert "a copy" in found.notes[0]
    write(tmp_path / "c.tif", speckled(rng))
    with pytest.raises(ProductError, match="one file for each time, grid and polarisation"):
        read(tmp_path)
    write(tmp_path / "c.tif", speckled(rng), left=6e5)
    assert len(read(tmp_path)) == 2


def test_declarations_only_where_they_count(tmp_path, rng):
    write(tmp_path / "a.tif", speckled(rng))
    with pytest.raises(ProductError, match="--reader geotiff"):
        find_products(tmp_path)
    with pytest.raises(SettingsError, match="named reader"):
        find_products(tmp_path, "auto", declare())
    with pytest.raises(SettingsError, match="declarations of opera"):
        find_products(tmp_path, "opera", declare())
    with pytest.raises(SettingsError, match="a reader in"):
        find_products(tmp_path, "envisat")
