"""Two SLCs become a map on the ground: what lost its coherence lies where it lay, and nothing is guessed."""

import warnings

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from scipy.ndimage import gaussian_filter

from sarcast.cli import main
from sarcast.errors import DataError, ProductError, SettingsError
from sarcast.readers.coherence_maps import find_maps, read_map
from sarcast.readers.slc import DeclaredSlc
from sarcast.sar.simulate import complex_pair
from sarcast.steps.coherence import Coherence, as_text, coherence

SHAPE = (160, 200)
SIDE_DEG = 1e-4
TIMES = ("2024-05-01T06:00:00Z", "2024-05-13T06:00:00Z")
DECLARED = DeclaredSlc(band="VV", sensor="own", look_side="right")


def write_slc(path, samples, *, placed=True):
    """Complex GeoTIFF whose columns run east to west and rows south to north, as radar images may."""
    points = [
        GroundControlPoint(row=r, col=c, x=5 - SIDE_DEG * c, y=50 + SIDE_DEG * r)
        for r in (0, SHAPE[0])
        for c in (0, SHAPE[1])
    ]
    more = {"gcps": points, "crs": "EPSG:4326"} if placed else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", height=SHAPE[0], width=SHAPE[1], count=1, dtype="complex64", **more
        ) as dataset:
            dataset.write(samples, 1)
    return path


def pair(folder, rng, *, coherence_map, moved=(0, 0), **more):
    power = np.exp(8 * gaussian_filter(rng.normal(size=SHAPE), 4))
    a, b = complex_pair(power, coherence=coherence_map, rng=rng)
    return (
        write_slc(folder / "a.tif", a, **more),
        write_slc(folder / "b.tif", np.roll(b, moved, (0, 1)), **more),
    )


def settings(first, second, folder, **more):
    return Coherence(first=first, second=second, out=folder / "maps", times=TIMES, declare=DECLARED, **more)


def test_what_lost_its_coherence_lies_where_it_lay(tmp_path, rng):
    true = np.full(SHAPE, 0.9)
    true[20:60, 130:180] = 0
    first, second = pair(tmp_path, rng, coherence_map=true, moved=(4, -7))
    found = coherence(settings(first, second, tmp_path, figure=True))
    assert found["shift_px"] == pytest.approx([4, -7], abs=0.1)
    assert found["mean_before"] < found["floor"] + 0.05 < found["mean"]
    (one,) = find_maps(tmp_path / "maps")
    assert (str(one.first), str(one.second)) == ("2024-05-01", "2024-05-13")
    values, valid, raster = read_map(one)
    assert raster.crs == "EPSG:32631"
    with rasterio.open(one.path) as dataset:
        for row, col in ((40, 155), (110, 60), (30, 60), (110, 155)):
            from pyproj import Transformer

            x, y = Transformer.from_crs(4326, dataset.crs, always_xy=True).transform(
                5 - SIDE_DEG * col, 50 + SIDE_DEG * row
            )
            at = dataset.index(x, y)
            near = np.s_[at[0] - 1 : at[0] + 2, at[1] - 1 : at[1] + 2]
            lost = 20 < row < 60 and 130 < col < 180
            assert valid[near].all()
            assert (values[near].mean() < 0.35) == lost
    assert (tmp_path / "maps" / (one.path.stem + ".png")).stat().st_size > 5000
    assert "mean coherence" in as_text(found)
    before = one.path.stat().st_mtime_ns
    assert coherence(settings(first, second, tmp_path)) == found
    assert one.path.stat().st_mtime_ns == before


def test_what_cannot_be_judged_is_refused(tmp_path, rng, capsys):
    first, second = pair(tmp_path, rng, coherence_map=0.0)
    with pytest.raises(DataError, match="more coherent than noise"):
        coherence(settings(first, second, tmp_path))
    assert not list((tmp_path / "maps").glob("*.tif"))
    with pytest.raises(SettingsError, match="expected two days"):
        coherence(
            Coherence(
                first=first,
                second=second,
                out=tmp_path,
                times=(TIMES[0], "2024-05-01T07:00"),
                declare=DECLARED,
            )
        )
    with pytest.raises(ProductError, match="declared time and band"):
        coherence(Coherence(first=first, second=second, out=tmp_path))
    with pytest.raises(SettingsError, match="odd sides"):
        coherence(settings(first, second, tmp_path, window=(4, 5)))
    bare = tmp_path / "bare"
    bare.mkdir()
    first, second = pair(bare, rng, coherence_map=0.9, placed=False)
    with pytest.raises(DataError, match="expected where the pixels are"):
        coherence(settings(first, second, tmp_path))
    assert main(["coherence", str(first), str(tmp_path / "nothing")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_amsterdam(shared, tmp_path):
    days = [shared / "data/slc_pair_amsterdam" / f"{day}-coreg.znap" for day in ("20230331", "20230319")]
    found = coherence(Coherence(first=days[0], second=days[1], out=tmp_path, window=(3, 11)))
    assert (found["first"], found["second"]) == ("2023-03-19", "2023-03-31")
    assert abs(found["mean"] - 0.75) < 0.02 and abs(found["floor"] - 0.22) < 0.02
    values, valid, _ = read_map(find_maps(tmp_path)[0])
    assert abs(values[valid].mean() - 0.75) < 0.03
    assert valid.mean() > 0.6
