"""fuse, and runs that look in several ways: one map on the finest cells, incremental, down to one pixel."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from sarcast.cli import main
from sarcast.errors import SarcastError, SettingsError
from sarcast.runtime.artefact import digest, finished
from sarcast.runtime.settings import build
from sarcast.sar.simulate import SimulateScene
from sarcast.stack.cells import read_scores
from sarcast.steps.fuse import Fuse, fuse
from sarcast.steps.products import read_labels
from sarcast.steps.run import Run, run
from sarcast.steps.simulate import Simulate, simulate

DATES = 14
ALSO = {
    "encoder": "pixels", "encoder_options": {"despeckle": "none"}, "detector": "matched_filter",
    "also": [{"encoder": "statistics", "encoder_options": {"patch": 8, "stride": 4}}],
}  # fmt: skip
PARTS = ("pixels-matched_filter", "statistics-z_score")


def go(source: Path, out: Path, **told) -> Path:
    run(build(Run, {**ALSO, "source": source, "out": out, "workers": 1, **told}, where="the test"))
    return out


def stack_of(out: Path) -> Path:
    (folder,) = (out / "stacks").iterdir()
    return folder


def written(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """products/ and truth.parquet of an OPERA-like place of 64 px with two lava flows."""
    folder = tmp_path_factory.mktemp("place")
    scene = SimulateScene(
        kind="opera", shape=(64, 64), dates=DATES, events=2, kinds=("lava",), strength_db=(10, 12),
        transient=0, edge_px=2, onset=(0.72, 0.8),
    )  # fmt: skip
    simulate(Simulate(out=folder, scene=scene, seed=1))
    return folder


@pytest.fixture(scope="module")
def early(place, tmp_path_factory) -> Path:
    """All dates but the last."""
    folder = tmp_path_factory.mktemp("early")
    dates = sorted({path.stem.split("_")[4] for path in (place / "products").glob("*.tif")})
    for path in (place / "products").glob("*.tif"):
        if path.stem.split("_")[4] != dates[-1]:
            shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def made(early, tmp_path_factory) -> Path:
    """A run without the last date; copy before changing anything."""
    return go(early, tmp_path_factory.mktemp("made") / "run")


def test_events_maps_and_report_at_the_stacks_resolution(place, made):
    folder = stack_of(made)
    scores = read_scores(folder / "scores.zarr")
    assert (scores.grid.patch, scores.grid.shape) == (1, (64, 64))
    assert scores.detector == "fused(matched_filter on pixels, z_score on statistics)"
    assert scores.frame_score is not None and scores.change_db is not None
    table = gpd.read_parquet(made / "detections.parquet").to_crs(str(scores.geobox.crs))
    for label in read_labels(place / "truth.parquet").labels:
        over = table[table.intersects(label.geometry)]
        assert len(over) and (over.direction == "brighter").any(), label
        outline = over.geometry.union_all()
        assert outline.intersection(label.geometry).area > 0.5 * label.geometry.area
    side = abs(scores.geobox.resolution.x)
    np.testing.assert_allclose(table.area_m2, table.cells * side**2, rtol=1e-6)
    maps = sorted((made / "site" / "maps").glob("anomaly_*.tif"))
    with rasterio.open(maps[-1]) as image:
        assert image.shape == (64, 64) and image.tags()["detector"] == scores.detector
        found = image.read(1)
    seen = scores.valid[-1]
    assert seen.mean() > 0.8 and np.isnan(found[~seen]).all()
    np.testing.assert_allclose(found[seen], -np.log10(scores.p_value[-1][seen]), rtol=1e-5)
    page = (made / "site" / "report.html").read_text()
    assert "fused(matched_filter on pixels, z_score on statistics)" in page and "cells of 1 px" in page


def test_each_way_is_kept_beside(made):
    folder = stack_of(made)
    parts = [read_scores(folder / "compare" / name / "scores.zarr") for name in PARTS]
    assert [p.grid.patch for p in parts] == [1, 8]
    assert finished(folder / "features.zarr") and finished(folder / "detector")
    config = json.loads((folder / "detector" / "config.json").read_text())
    assert config["detector"] == "fused" and config["how"] == "stouffer" and len(config["parts"]) == 2


def test_a_later_date_learns_nothing_and_moves_nothing(place, made, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(made, out)
    folder = stack_of(out)
    models = [folder / "detector", *(folder / "compare" / name / "detector" for name in PARTS)]
    before, first = [written(m) for m in models], read_scores(folder / "scores.zarr")
    again = written(folder)
    go(out / "scenes.json", out)
    assert {p: t for p, t in written(folder).items() if p not in again or again[p] != t} == {
        p: t for p, t in written(folder).items() if p.endswith("quality.json") and "compare" in p
    }
    go(place / "products", out)
    assert [written(m) for m in models] == before
    scores = read_scores(folder / "scores.zarr")
    assert len(scores.times) == len(first.times) + 1
    for name in ("values", "valid", "p_value", "change_db", "frame_score"):
        np.testing.assert_array_equal(getattr(scores, name)[:-1], getattr(first, name))


def test_from_scratch_is_the_same_as_date_by_date(place, made, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(made, out)
    go(place / "products", out)
    end = json.loads((stack_of(out) / "quality.json").read_text())["cutoff"][:10]
    whole = go(place / "products", tmp_path / "whole", history_end=end)
    assert digest(stack_of(out) / "scores.zarr") == digest(stack_of(whole) / "scores.zarr")
    assert (out / "detections.parquet").read_bytes() == (whole / "detections.parquet").read_bytes()


def test_the_verb_gives_what_the_run_gives(made, tmp_path, capsys):
    folder = stack_of(made)
    parts = [str(folder / "compare" / name / "scores.zarr") for name in PARTS]
    target = tmp_path / "by-hand" / "scores.zarr"
    assert main(["fuse", "--scores", *parts, "--out", str(target)]) == 0, capsys.readouterr().err
    assert digest(target) == digest(folder / "scores.zarr")
    assert digest(target.with_name("detector")) == digest(folder / "detector")
    before = written(target.parent)
    fuse(Fuse(scores=tuple(Path(p) for p in parts), out=target))
    assert written(target.parent) == before
    assert main(["detect", str(target)]) == 0, capsys.readouterr().err
    told = Fuse(scores=tuple(Path(p) for p in parts), out=target, how="mean", weights=(2, 1), cell_px=4)
    assert read_scores(fuse(told)).grid.shape == (16, 16)


def test_a_changed_part_is_fused_anew(made, tmp_path):
    from sarcast.steps.score import Score, score

    out = tmp_path / "run"
    shutil.copytree(made, out)
    folder = stack_of(out)
    parts = tuple(folder / "compare" / name / "scores.zarr" for name in PARTS)
    before = digest(folder / "scores.zarr")
    part = folder / "compare" / PARTS[1]
    score(Score(features=part / "features.zarr", options={"neighbours": 5}))
    fuse(Fuse(scores=parts, out=folder / "scores.zarr"))
    assert digest(folder / "scores.zarr") != before


def test_what_cannot_be_fused_is_one_line(made, tmp_path):
    folder = stack_of(made)
    one = folder / "compare" / PARTS[0] / "scores.zarr"
    for told in ({"scores": (one,)}, {"scores": (one, one), "weights": (1.0,)}):
        with pytest.raises(SettingsError):
            fuse(Fuse(out=tmp_path / "scores.zarr", **told))
    with pytest.raises(SarcastError):
        fuse(Fuse(out=tmp_path / "scores.zarr", scores=(one, tmp_path / "none.zarr")))
    for wrong in ({"encoder": "nope"}, {"detector_options": {"nope": 1}}, {"nope": 1}):
        with pytest.raises(SettingsError, match="nope"):
            go(tmp_path, tmp_path / "out", also=[wrong])


def test_a_dry_run_shows_all_ways(place, tmp_path, capsys):
    words = ["run", str(place / "products"), "--out", str(tmp_path / "run"), "--recipe", "fused"]
    assert main([*words, "--fusion.how", "mean", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["settings"]
    assert told["also"][0]["encoder"] == "vit" and told["fusion"]["how"] == "mean"
    assert told["also"][0]["detector"] == "z_score" and not (tmp_path / "run").exists()
