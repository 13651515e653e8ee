"""The main job on simulated products: found, readable, repeatable, incremental, honest about bad dates."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sarcast.cli import main
from sarcast.runtime.artefact import MANIFEST, RUN, finished, verify
from sarcast.sar.simulate import SimulateScene
from sarcast.stack.cells import read_scores
from sarcast.steps.learn import split_of
from sarcast.steps.products import read_labels
from sarcast.steps.run import Run, run
from sarcast.steps.simulate import Simulate, simulate

DATES = 16
SCENES = {
    "capella": SimulateScene(
        shape=(192, 192), dates=DATES, events=2, kinds=("lava",), strength_db=(10, 12), transient=0,
        edge_px=4, onset=(0.72, 0.8),
    ),
    "opera": SimulateScene(
        kind="opera", shape=(64, 64), dates=DATES, events=2, kinds=("lava",), strength_db=(10, 12),
        transient=0, edge_px=2, onset=(0.72, 0.8),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """Products in time order, the truth, and a finished run."""

    kind: str
    folder: Path
    dates: tuple[tuple[Path, ...], ...]
    out: Path

    @property
    def labels(self):
        return read_labels(self.folder / "truth.parquet").labels


def by_date(products: Path) -> tuple[tuple[Path, ...], ...]:
    """Files of each acquisition, in time order."""
    found: dict[str, list[Path]] = {}
    for path in sorted(products.glob("*.tif")):
        parts = path.stem.split("_")
        found.setdefault(parts[5] if parts[0] == "CAPELLA" else parts[4], []).append(path)
    return tuple(tuple(found[time]) for time in sorted(found))


def go(source: Path, out: Path, **told) -> Path:
    return run(Run(source=source, out=out, workers=1, **told)).parent.parent


def bring(made: Made, folder: Path, which) -> Path:
    """A folder with some of the dates' products."""
    folder.mkdir(parents=True, exist_ok=True)
    for date in which:
        for path in made.dates[date]:
            shutil.copy(path, folder)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Every file but run.json and hidden ones."""
    return {
        name: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and (name := path.relative_to(folder).as_posix()).rpartition("/")[2] != RUN
    }


def differing(a: dict[str, bytes], b: dict[str, bytes]) -> list[str]:
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def stack_of(out: Path) -> Path:
    (folder,) = (out / "stacks").iterdir()
    return folder


def quality(out: Path) -> dict:
    return json.loads((stack_of(out) / "quality.json").read_text())


def events(out: Path):
    import geopandas as gpd

    return gpd.read_parquet(out / "detections.parquet")


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    made: dict[str, Made] = {}

    def one(kind: str) -> Made:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            products = simulate(Simulate(out=folder, scene=SCENES[kind], seed=1))
            out = go(products, folder / "run")
            made[kind] = Made(kind, folder, by_date(products), out)
        return made[kind]

    return one


@pytest.fixture(params=SCENES)
def made(request, make) -> Made:
    return make(request.param)


@pytest.fixture
def capella(make) -> Made:
    return make("capella")


@pytest.fixture
def opera(make) -> Made:
    return make("opera")


def test_every_artefact_is_there_and_finished(made):
    stack = stack_of(made.out)
    artefacts = [
        *(made.out / name for name in ("scenes.json", "detections.parquet", "detections.geojson", "site")),
        *(
            stack / name
            for name in (
                "stack.zarr", "features.zarr", "scores.zarr", "detector", "quality.json", "threshold.json",
            )
        ),
    ]  # fmt: skip
    for artefact in artefacts:
        verify(artefact)
        assert artefact.name in json.loads((artefact.parent / RUN).read_text())
    told = json.loads((made.out / RUN).read_text())["run"]["settings"]
    assert told["detector"] and told["seed"] == 0 and told["out"] == str(made.out)
    leftovers = [p.name for p in made.out.rglob(".*") if p.name != ".lock"]
    assert not leftovers
    assert (made.out / "site" / "report.html").stat().st_size > 10_000


def test_a_planted_change_is_found(made):
    from shapely.geometry import box

    scores = read_scores(stack_of(made.out) / "scores.zarr")
    limit = json.loads((stack_of(made.out) / "threshold.json").read_text())["p_value"]
    table = events(made.out).to_crs(str(scores.geobox.crs))
    assert made.labels
    for label in made.labels:
        onset = int(np.searchsorted(scores.times.time, np.datetime64(label.onset, "ns")))
        a, side = scores.geobox.transform, scores.grid.patch
        inside = np.zeros(scores.grid.shape, bool)
        for row, top in enumerate(scores.grid.tops):
            for col, left in enumerate(scores.grid.lefts):
                west, north = a.c + a.a * left, a.f + a.e * top
                cell = box(west, north + a.e * side, west + a.a * side, north)
                inside[row, col] = cell.intersection(label.geometry).area > 0.6 * cell.area
        if not inside.any():
            continue
        p = scores.p_value[onset][inside]
        assert (p < limit).mean() > 0.5, (label.kind, p)
        over = table[table.intersects(label.geometry)]
        assert len(over), label
        assert np.datetime64(over.first_seen.min().tz_localize(None), "D") <= scores.times.time[onset]
        assert (over.direction == ("brighter" if label.change_db > 0 else "darker")).any()


def test_p_values_and_changes_fit_the_scores(made):
    scores = read_scores(stack_of(made.out) / "scores.zarr")
    assert scores.p_value is not None and scores.change_db is not None
    assert ((scores.p_value > 0) & (scores.p_value <= 1)).all()
    assert (scores.p_value[~scores.valid] == 1).all() and (scores.values[~scores.valid] == 0).all()
    judge = split_of(scores.times, stack_of(made.out))[0].judge
    for row, col in np.ndindex(scores.grid.shape):
        seen = judge & scores.valid[:, row, col]
        order = np.argsort(scores.values[seen, row, col])
        assert (np.diff(scores.p_value[seen, row, col][order]) <= 1e-6).all()


def test_every_artefact_reads_with_its_own_tool_without_warnings(made):
    import geopandas as gpd
    import pystac
    import rioxarray  # noqa: F401
    import xarray as xr

    stack = stack_of(made.out)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, variable in (
            ("stack.zarr", "amplitude"),
            ("features.zarr", "feature"),
            ("scores.zarr", "score"),
        ):
            with xr.open_zarr(stack / name) as found:
                assert found.sizes["time"] == DATES and found["valid"].values.any()
                assert found[variable].dtype == np.float32
                assert found[variable].rio.crs.is_projected
        parquet, geojson = (
            gpd.read_parquet(made.out / "detections.parquet"),
            gpd.read_file(made.out / "detections.geojson"),
        )
        maps = sorted((made.out / "site" / "maps").glob("*.tif"))
        assert maps
        for path in maps:
            with rasterio.open(path) as dataset:
                assert (
                    dataset.dtypes[0] == "float32" and np.isnan(dataset.nodata) and dataset.crs.is_projected
                )
                dataset.read()
        root = next((made.out / "site" / "stac").glob("c*.json"))
        catalogue = pystac.read_file(str(root))
        items = list(catalogue.get_items(recursive=True))
        assert items
    assert len(parquet) == len(geojson) and parquet.crs.to_epsg() == geojson.crs.to_epsg() == 4326
    wanted = {
        "event_id", "stack", "first_seen", "confirmed", "last_seen", "status", "observations", "peak_time",
        "peak_score", "p_value", "direction", "area_m2", "cells", "geometry",
    }  # fmt: skip
    assert wanted <= set(parquet.columns) and parquet.geometry.is_valid.all()
    for item in items:
        for asset in item.assets.values():
            assert Path(asset.get_absolute_href()).exists()


def test_run_again_rewrites_nothing(made):
    before = {p: p.stat().st_mtime_ns for p in made.out.rglob("*") if p.is_file() and p.name != ".lock"}
    content = tree(made.out)
    go(made.folder / "products", made.out)
    assert differing(tree(made.out), content) == []
    after = {p: p.stat().st_mtime_ns for p in made.out.rglob("*") if p.is_file() and p.name != ".lock"}
    assert [p.relative_to(made.out).as_posix() for p in after if after[p] != before.get(p)] in ([], [RUN])


@pytest.fixture
def worked_on(monkeypatch):
    """What was warped, encoded, scored and fitted."""
    import sarcast.stack.build as build
    from sarcast.detectors.z_score import ZScore, ZScorer
    from sarcast.encoders.statistics import Statistics

    seen: dict[str, list] = {"warped": [], "encoded": [], "scored": [], "fitted": []}

    def spy(owner, name, note):
        original = getattr(owner, name)

        def wrapped(*args, **kwargs):
            note(*args, **kwargs)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapped)

    def times(stack, given):
        return list(stack.times.scene_id if given is None else [stack.times.scene_id[t] for t in given])

    spy(build, "warp_scene", lambda scene, *_, **__: seen["warped"].append(scene.scene_id))
    spy(Statistics, "encode", lambda _, stack, given=None: seen["encoded"].extend(times(stack, given)))
    spy(ZScorer, "score", lambda _, features, given=None: seen["scored"].extend(times(features, given)))
    spy(ZScore, "fit", lambda *_, **__: seen["fitted"].append(1))
    return seen


def last_of_history(out: Path) -> str:
    return quality(out)["cutoff"][:10]


@pytest.mark.slow
def test_one_more_date_is_all_that_is_worked_on_and_equals_a_run_from_scratch(made, tmp_path, worked_on):
    source = bring(made, tmp_path / "in", range(DATES - 1))
    out = go(source, tmp_path / "parts")
    assert worked_on["fitted"] == [1]
    for seen in worked_on.values():
        seen.clear()
    bring(made, source, [DATES - 1])
    go(source, out)
    newest = [quality(out)["dates"][-1]["scene_id"]]
    assert set(worked_on["warped"]) == set(newest)
    assert worked_on["encoded"] == newest and worked_on["scored"] == newest and not worked_on["fitted"]
    whole = go(source, tmp_path / "whole", history_end=last_of_history(out))
    assert quality(whole)["cutoff"] == quality(out)["cutoff"]
    assert differing(tree(out), tree(whole)) == []


@pytest.mark.slow
@pytest.mark.parametrize("late", [13, 4])
def test_a_late_older_date_equals_a_run_from_scratch(capella, tmp_path, worked_on, late):
    """Inside the judged part, and inside history, which is learned again."""
    end = quality(capella.out)["dates"][11]["time"][:10]
    source = bring(capella, tmp_path / "in", [d for d in range(DATES) if d != late])
    out = go(source, tmp_path / "parts", history_end=end)
    for seen in worked_on.values():
        seen.clear()
    bring(capella, source, [late])
    go(source, out, history_end=end)
    assert bool(worked_on["fitted"]) == (late == 4)
    if late == 13:
        assert (
            set(worked_on["warped"]) == {quality(out)["dates"][13]["scene_id"]} == set(worked_on["encoded"])
        )
    whole = go(source, tmp_path / "whole", history_end=end)
    assert differing(tree(out), tree(whole)) == []


def spoil(folder: Path, files, change) -> None:
    """Change the pixels of a date's files in place."""
    for file in files:
        path = folder / file.name
        with rasterio.open(path, "r+") as dataset:
            dataset.write(change(dataset.read(1)), 1)


QUIET = {
    "capella": SimulateScene(shape=(192, 192), dates=12, events=0, edge_px=4, dynamics=0.3),
    "opera": SimulateScene(kind="opera", shape=(96, 96), dates=12, events=0, edge_px=2, dynamics=0.3),
}


@pytest.fixture(scope="module", params=QUIET)
def quiet(request, tmp_path_factory) -> Made:
    """Products of a place where nothing happens."""
    folder = tmp_path_factory.mktemp("quiet")
    products = simulate(Simulate(out=folder, scene=QUIET[request.param], seed=1))
    return Made(request.param, folder, by_date(products), folder)


@pytest.mark.slow
@pytest.mark.parametrize("day", [4, 11])
@pytest.mark.parametrize("what", ["shift", "gain"])
def test_a_bad_date_is_flagged_and_raises_no_event(quiet, tmp_path, what, day):
    made = quiet
    source = bring(made, tmp_path / "in", range(12))

    def change(pixels):
        if what == "shift":
            return np.roll(pixels, 1, axis=1)
        gain = 10 ** (1 / 20) if made.kind == "capella" else 10 ** (1 / 10)
        return (
            (pixels * gain).round().astype(pixels.dtype)
            if made.kind == "capella"
            else pixels * np.float32(gain)
        )

    spoil(source, made.dates[day], change)
    out = go(source, tmp_path / "out")
    date = quality(out)["dates"][day]
    assert not date["usable"] and any(flag.startswith(what) for flag in date["flags"])
    at = np.datetime64(date["time"].removesuffix("Z"), "s")
    seen = events(out)
    for name in ("first_seen", "last_seen", "peak_time"):
        assert not (seen[name].dt.tz_localize(None).to_numpy().astype("datetime64[s]") == at).any(), name


# --- what cannot be done: one line, exit code 2, nothing that looks finished ----------------------------


def unfinished(out: Path) -> list[str]:
    """Artefacts of the last steps that would pass for finished."""
    names = [
        *out.rglob("scores.zarr"),
        *out.rglob("features.zarr"),
        *out.rglob("stack.zarr"),
        *out.glob("site"),
    ]
    names += [*out.glob("detections.*")]
    return [path.name for path in names if finished(path)]


def refused(capsys, arguments: list[str], out: Path, *said: str) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    found = capsys.readouterr()
    lines = found.err.strip().splitlines()
    assert len(lines) == 1 and "Traceback" not in found.err, found.err
    for word in said:
        assert word in lines[0], lines[0]
    assert unfinished(out) == [] and not list(out.rglob(".*partial*"))
    return lines[0]


def test_a_truncated_product(made, tmp_path, capsys):
    source = bring(made, tmp_path / "in", range(DATES))
    path = source / made.dates[7][0].name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(capsys, ["run", str(source), "--out", str(tmp_path / "out")], tmp_path / "out", path.name)


def test_an_empty_folder_or_none_or_other_files(tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "in").mkdir()
    refused(capsys, ["run", str(tmp_path / "in"), "--out", str(out)], out)
    refused(capsys, ["run", str(tmp_path / "none"), "--out", str(out)], out)
    (tmp_path / "in" / "readme.txt").write_text("hello")
    (tmp_path / "in" / "broken.tif").write_text("not a tiff")
    refused(capsys, ["run", str(tmp_path / "in"), "--out", str(out)], out)


def test_a_missing_scale_factor(capella, tmp_path, capsys):
    source = bring(capella, tmp_path / "in", range(DATES))
    path = source / capella.dates[3][0].name
    with rasterio.open(path) as dataset:
        told = json.loads(dataset.tags()["TIFFTAG_IMAGEDESCRIPTION"])
        pixels, profile = dataset.read(), dataset.profile
    del told["collect"]["image"]["scale_factor"]
    path.unlink()
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels)
        dataset.update_tags(TIFFTAG_IMAGEDESCRIPTION=json.dumps(told))
    refused(
        capsys,
        ["run", str(source), "--out", str(tmp_path / "out")],
        tmp_path / "out",
        "scale_factor",
        path.name,
    )


def test_mixed_units_of_plain_geotiffs(opera, tmp_path, capsys):
    """dB where power is declared."""
    source = tmp_path / "in"
    source.mkdir()
    for i, files in enumerate(opera.dates):
        with rasterio.open(files[-1]) as dataset:
            pixels, profile = dataset.read(1), dataset.profile
        if i == 9:
            pixels = 10 * np.log10(np.maximum(pixels, 1e-6))
        with rasterio.open(source / f"scene_{20240101 + i}_VV.tif", "w", **profile) as dataset:
            dataset.write(pixels.astype(np.float32), 1)
    arguments = [
        "run", str(source), "--out", str(tmp_path / "out"), "--reader", "geotiff", "--declare.unit", "power",
        "--declare.time-format", "scene_%Y%m%d_VV", "--declare.bands", "VV",
    ]  # fmt: skip
    refused(capsys, arguments, tmp_path / "out", "scene_20240110_VV")


def test_an_area_outside_the_data(made, tmp_path, capsys):
    out = tmp_path / "out"
    source = str(made.folder / "products")
    refused(capsys, ["run", source, "--out", str(out), "--bbox", "10", "10", "11", "11"], out, "outside")


def test_too_few_dates(made, tmp_path, capsys):
    out = tmp_path / "out"
    source = bring(made, tmp_path / "in", range(8))
    refused(capsys, ["run", str(source), "--out", str(out)], out, "11 dates")


def test_an_output_that_cannot_be(capella, tmp_path, capsys):
    (tmp_path / "way").write_text("a file")
    source = str(capella.folder / "products")
    refused(capsys, ["run", source, "--out", str(tmp_path / "way")], tmp_path / "none", "way")
    refused(capsys, ["run", source, "--out", str(tmp_path / "way" / "deep")], tmp_path / "none", "way")


@pytest.mark.parametrize(
    "flag",
    [
        ["--encoder", "nope"],
        ["--detector", "nope"],
        ["--encoder-options.nope", "3"],
        ["--detector-options.nope", "3"],
        ["--encoder-options.patch", "-2"],
    ],
)
def test_a_wrong_plug_in_is_said_before_any_work(capella, tmp_path, capsys, flag):
    out = tmp_path / "out"
    refused(capsys, ["run", str(capella.folder / "products"), "--out", str(out), *flag], out)
    assert not (out / "stacks").exists()


def test_an_altered_artefact_is_not_used(opera, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(opera.out, out)
    chunk = stack_of(out) / "scores.zarr" / "score" / "c" / "3" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    capsys.readouterr()
    assert main(["detect", str(out), "--false-alarms", "0.01"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    go(opera.folder / "products", out)
    assert differing(tree(out), tree(opera.out)) == []


def test_a_lost_manifest_costs_work_and_nothing_else(opera, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(opera.out, out)
    for manifest in out.rglob(MANIFEST):
        manifest.unlink()
    go(opera.folder / "products", out, history_end=last_of_history(opera.out))
    assert differing(tree(out), tree(opera.out)) == []


# --- killed, full, and several stacks ------------------------------------------------------------------


def command(source: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "sarcast", "run", str(source), "--out", str(out), "--workers", "1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "at", [".stack.zarr.partial", ".features.zarr.partial", "threshold.json", ".site.partial"]
)
def test_kill_9_anywhere_leaves_nothing_finished_that_is_not_and_the_next_run_ends_right(opera, tmp_path, at):
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(opera.folder / "products", out), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )

    def seen():
        return [*out.glob(at), *out.glob(f"stacks/*/{at}")]

    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and not seen():
        time.sleep(0.002)
    process.kill()
    process.wait()
    for artefact in [*out.rglob("*.zarr"), *out.glob("detections.*"), *out.glob("site")]:
        if finished(artefact) and not artefact.name.startswith("."):
            verify(artefact)
    go(opera.folder / "products", out)
    assert differing(tree(out), tree(opera.out)) == []
    assert [p.name for p in out.rglob(".*") if p.name != ".lock"] == []


@pytest.mark.slow
@pytest.mark.parametrize("size_kb", [100, 660, 900, 1400])
def test_a_full_disk_is_one_line_and_leaves_nothing_unfinished(opera, tmp_path, capfd, size_kb):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "none", str(disk), "-o", f"size={size_kb}k"], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        code = main(["run", str(opera.folder / "products"), "--out", str(disk / "out"), "--workers", "1"])
        said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("sarcast")]
        assert code == 2 and len(said) == 1 and "full disk" in said[0]
        for artefact in disk.rglob("*.zarr"):
            verify(artefact)
        assert not finished(disk / "out" / "site")
        assert [p.name for p in disk.rglob(".*") if p.name != ".lock"] == []
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        go(opera.folder / "products", disk / "out")
        assert differing(tree(disk / "out"), tree(opera.out)) == []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_stack_that_cannot_be_scored_is_left_out_with_a_warning(opera, tmp_path, caplog):
    """A second, far place of too few cells to calibrate on."""
    tiny = SCENES["opera"].model_copy(update={"shape": (16, 16), "events": 0, "edge_px": 0})
    simulate(Simulate(out=tmp_path / "tiny", scene=tiny, seed=2))
    source = bring(opera, tmp_path / "in", range(DATES))
    for path in (tmp_path / "tiny" / "products").glob("*.tif"):
        name = path.name.replace("T137-292319-IW2", "T137-292400-IW2")
        assert name != path.name
        shutil.copy(path, source / name)
        with rasterio.open(source / name, "r+") as dataset:
            moved = dataset.transform
            dataset.transform = rasterio.Affine(moved.a, 0, moved.c + 60_000, 0, moved.e, moved.f)
    out = go(source, tmp_path / "out", encoder_options={"patch": 8})
    stacks = sorted(path.name for path in (out / "stacks").iterdir())
    assert len(stacks) == 2 and "left out" in caplog.text
    assert len(list(out.rglob("scores.zarr"))) == 1
    assert finished(out / "site")


def test_a_stack_made_elsewhere_can_be_run(opera, tmp_path):
    out = go(stack_of(opera.out) / "stack.zarr", tmp_path / "out")
    for name in ("stack.zarr", "features.zarr", "scores.zarr", "quality.json"):
        a, b = stack_of(out) / name, stack_of(opera.out) / name
        assert (tree(a) if a.is_dir() else a.read_bytes()) == (tree(b) if b.is_dir() else b.read_bytes())
    assert (out / "detections.parquet").read_bytes() == (opera.out / "detections.parquet").read_bytes()


@pytest.mark.slow
def test_the_transformer_on_gradients_is_incremental_too(opera, tmp_path):
    told = {
        "encoder": "gradients",
        "encoder_options": {"radii": [1, 2]},
        "detector": "transformer",
        "detector_options": {"epochs": 1, "width": 16, "layers": 1, "heads": 2, "device": "cpu"},
    }
    source = bring(opera, tmp_path / "in", range(DATES - 1))
    out = go(source, tmp_path / "parts", **told)
    bring(opera, source, [DATES - 1])
    go(source, out, **told)
    whole = go(source, tmp_path / "whole", history_end=last_of_history(out), **told)
    assert differing(tree(out), tree(whole)) == []


@pytest.mark.slow
def test_refit_is_a_new_epoch_and_equals_a_run_from_scratch(opera, tmp_path):
    source = bring(opera, tmp_path / "in", range(12))
    out = go(source, tmp_path / "parts", history_end=last_of_history(opera.out))
    end = quality(opera.out)["dates"][11]["time"][:10]
    bring(opera, source, range(12, DATES))
    go(source, out, history_end=end, refit=True)
    assert quality(out)["cutoff"][:10] == end
    whole = go(source, tmp_path / "whole", history_end=end)
    assert differing(tree(out), tree(whole)) == []


@pytest.mark.shared
@pytest.mark.slow
def test_the_real_stack_gives_five_stacks_of_22_dates(shared, tmp_path):
    out = go(shared / "data" / "opera_rtc_t137", tmp_path / "out")
    stacks = sorted((out / "stacks").iterdir())
    assert len(stacks) == 5
    for folder in stacks:
        scores = read_scores(folder / "scores.zarr")
        assert len(scores.times) == 22 and scores.grid.patch <= 8
        for name in ("stack.zarr", "features.zarr", "scores.zarr", "detector"):
            verify(folder / name)
    assert len({path.name for path in stacks}) == 5
    assert (out / "site" / "report.html").exists()
