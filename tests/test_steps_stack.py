"""The stack verb: right from nothing, the same in any order, whole after kills and full disks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy.ndimage import gaussian_filter

from sarcast.errors import DataError, SettingsError, SpaceError, StackError
from sarcast.readers.catalogue import Catalogue, find_products, read_catalogue, write_catalogue
from sarcast.runtime.artefact import digest, finished, verify
from sarcast.sar.coregister import apply_shift
from sarcast.sar.simulate import SimulateScene
from sarcast.stack.store import read_stack
from sarcast.stack.update import from_iso
from sarcast.steps.ingest import Ingest, ingest
from sarcast.steps.learn import split_of
from sarcast.steps.simulate import Simulate, simulate
from sarcast.steps.stack import StackScenes, stack
from sarcast.values import Scene, SceneFile

DAYS = 14
SIDE = 48
END = date(2024, 4, 20)
"""After the tenth of dates twelve days apart."""


def _write(path: Path, power: np.ndarray, *, left=500_000.0, top=4_000_000.0, side=10.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=power.shape[0], width=power.shape[1], count=1,
        dtype="float32", crs="EPSG:32611", transform=Affine(side, 0, left, 0, -side, top),
        nodata=float("nan"),
    ) as dataset:  # fmt: skip
        dataset.write(power.astype(np.float32), 1)


def _scene(path: Path, day: int) -> Scene:
    with rasterio.open(path) as dataset:
        transform, shape = tuple(dataset.transform)[:6], dataset.shape
    file = SceneFile(
        path=str(path), band="VV", product_id=path.stem, unit="power", scale=1.0, nodata=float("nan"),
        crs="EPSG:32611", transform=transform, shape=shape, size=path.stat().st_size,
        sha256=str(hash(path.read_bytes())),
    )  # fmt: skip
    return Scene(
        scene_id=path.stem, time=np.datetime64("2024-01-01T02:00", "ns") + 12 * day * np.timedelta64(1, "D"),
        files=(file,), sensor="x", platform="x-1", product_type="RTC", radiometry="gamma0",
        geometry="terrain",
    )  # fmt: skip


def _source(folder: Path, rng, *, shifts=None, gains=None, days=DAYS) -> list[Scene]:
    field = gaussian_filter(rng.normal(size=(SIDE + 16, SIDE + 16)), 2, mode="wrap")
    field = 3 * field / field.std()
    scenes = []
    for day in range(days):
        level = apply_shift(field, (shifts or {}).get(day, (0.0, 0.0))) + (gains or {}).get(day, 0.0)
        power = 10 ** (level / 10) * rng.gamma(9, 1 / 9, level.shape)
        path = folder / f"scene-{day:02d}.tif"
        _write(path, power[8:-8, 8:-8])
        scenes.append(_scene(path, day))
    return scenes


def _settings(out: Path, scenes: list[Scene], **told) -> StackScenes:
    out.mkdir(exist_ok=True)
    write_catalogue(out / "scenes.json", Catalogue(scenes=tuple(sorted(scenes, key=lambda s: s.time))))
    return StackScenes(**{"scenes": out, "out": out, "workers": 2, "history_end": END, **told})


def _quality(path: Path) -> dict:
    return json.loads((path.parent / "quality.json").read_text())


def _content(out: Path) -> dict:
    found = digest(out)
    return {name: value for name, value in found.items() if not name.endswith(("run.json", ".lock"))}


@pytest.fixture
def worked_on(monkeypatch):
    """Scene ids in the order they were warped."""
    import sarcast.stack.build as build

    seen: list[str] = []
    original = build.warp_scene

    def spy(scene, *args, **kwargs):
        seen.append(scene.scene_id)
        return original(scene, *args, **kwargs)

    monkeypatch.setattr(build, "warp_scene", spy)
    return seen


def test_builds_a_stack_and_its_quality(rng, tmp_path):
    scenes = _source(tmp_path / "in", rng)
    (path,) = stack(_settings(tmp_path / "out", scenes))
    found, quality = read_stack(path), _quality(path)
    assert finished(path) and finished(path.parent / "quality.json")
    verify(path)
    assert found.amplitude.shape == (DAYS, 1, SIDE, SIDE)
    for i, scene in enumerate(scenes):
        with rasterio.open(scene.files[0].path) as dataset:
            np.testing.assert_array_equal(found.amplitude[i, 0], np.sqrt(dataset.read(1)))
    assert quality["cutoff"] == "2024-04-18T02:00:00.000000000Z"
    assert [d["scene_id"] for d in quality["dates"]] == [s.scene_id for s in scenes]
    assert all(d["usable"] for d in quality["dates"])
    assert quality["source_units"] == ["power"] and quality["declared"] == {}


def test_a_second_run_writes_nothing(rng, tmp_path, worked_on):
    settings = _settings(tmp_path / "out", _source(tmp_path / "in", rng))
    stack(settings)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    worked_on.clear()
    stack(settings)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert not worked_on


def test_planted_shift_and_gain_are_flagged_the_shift_also_corrected(rng, tmp_path):
    scenes = _source(tmp_path / "in", rng, shifts={4: (1.0, 0.0), 12: (0.0, 0.4)}, gains={7: 1.0, 13: -1.0})
    (path,) = stack(_settings(tmp_path / "out", scenes))
    dates = _quality(path)["dates"]
    assert [i for i, d in enumerate(dates) if not d["usable"]] == [4, 7, 13]
    assert dates[4]["shift_state"] == "flagged" and dates[12]["shift_state"] == "corrected"
    for i in (4, 12):
        assert np.hypot(*dates[i]["applied_shift_px"]) > 0.25
        assert np.hypot(*dates[i]["residual_px"]) < 0.2
    assert dates[7]["gain_state"] == dates[13]["gain_state"] == "flagged"


def test_flagging_only_leaves_the_pixels(rng, tmp_path):
    scenes = _source(tmp_path / "in", rng, shifts={4: (1.0, 0.0)})
    (path,) = stack(_settings(tmp_path / "out", scenes, quality={"registration": "flag"}))
    dates = _quality(path)["dates"]
    assert dates[4]["applied_shift_px"] is None and not dates[4]["usable"]
    with rasterio.open(scenes[4].files[0].path) as dataset:
        np.testing.assert_array_equal(read_stack(path).amplitude[4, 0], np.sqrt(dataset.read(1)))


def test_gain_can_be_taken_out(rng, tmp_path):
    scenes = _source(tmp_path / "in", rng, gains={12: 0.6})
    (path,) = stack(_settings(tmp_path / "out", scenes, quality={"gain": "correct"}))
    entry = _quality(path)["dates"][12]
    assert entry["gain_state"] == "corrected" and entry["usable"]
    with rasterio.open(scenes[12].files[0].path) as dataset:
        taken = 10 * np.log10(dataset.read(1) / read_stack(path).amplitude[12, 0] ** 2)
    np.testing.assert_allclose(taken, entry["applied_gain_db"]["VV"], atol=1e-3)


@pytest.mark.parametrize("late", [[13], [12, 13], [5], [0], [3, 11]])
def test_additions_in_any_order_equal_a_run_from_scratch(rng, tmp_path, worked_on, late):
    """Shifted dates too: what was corrected against another history is undone."""
    scenes = _source(tmp_path / "in", rng, shifts={2: (0.4, 0.0), 9: (0.0, 0.6), 12: (-0.5, 0.0)})
    stack(_settings(tmp_path / "whole", scenes))
    first = [scene for day, scene in enumerate(scenes) if day not in late]
    stack(_settings(tmp_path / "parts", first))
    worked_on.clear()
    stack(_settings(tmp_path / "parts", scenes))
    whole, parts = _content(tmp_path / "whole"), _content(tmp_path / "parts")
    assert parts == whole
    new = {scenes[day].scene_id for day in late}
    corrected = {scenes[day].scene_id for day in (2, 9, 12)}
    assert new <= set(worked_on)
    if min(late) >= 10:
        assert set(worked_on) == new
    elif late != [0]:
        assert set(worked_on) <= new | corrected


def test_a_replaced_scene_is_warped_again_and_a_dropped_one_goes(rng, tmp_path, worked_on):
    scenes = _source(tmp_path / "in", rng)
    stack(_settings(tmp_path / "out", scenes))
    path = Path(scenes[12].files[0].path)
    _write(path, rng.gamma(9, 1 / 9, (SIDE, SIDE)))
    changed = [*scenes[:12], _scene(path, 12)]
    worked_on.clear()
    (found,) = stack(_settings(tmp_path / "out", changed))
    assert set(worked_on) == {scenes[12].scene_id}
    stack(_settings(tmp_path / "fresh", changed))
    assert _content(tmp_path / "out") == _content(tmp_path / "fresh")
    assert len(read_stack(found).times) == 13


def test_the_stored_end_of_history_stays_until_refit(rng, tmp_path):
    scenes = _source(tmp_path / "in", rng, days=24)
    (path,) = stack(_settings(tmp_path / "out", scenes[:20], history_end=None))
    first = _quality(path)["cutoff"]
    stack(_settings(tmp_path / "out", scenes, history_end=None))
    assert _quality(path)["cutoff"] == first
    with pytest.raises(SettingsError, match="refit"):
        stack(_settings(tmp_path / "out", scenes, history_end=date(2024, 7, 1)))
    stack(_settings(tmp_path / "out", scenes, history_end=None, refit=True))
    assert _quality(path)["cutoff"] > first


def test_the_stored_gap_stays_until_refit_and_decides_what_is_judged(rng, tmp_path):
    scenes = _source(tmp_path / "in", rng, days=24)
    (path,) = stack(_settings(tmp_path / "out", scenes[:20], gap_days=24))
    stack(_settings(tmp_path / "out", scenes))
    assert _quality(path)["gap_days"] == 24
    times = read_stack(path).times
    split, _ = split_of(times, path.parent)
    cutoff = from_iso(_quality(path)["cutoff"])
    assert (times.time[split.judge] > cutoff + np.timedelta64(24, "D")).all()
    assert ((times.time > cutoff) & ~split.judge).sum() == 2, "a date every twelve days"
    with pytest.raises(SettingsError, match=r"gap of the first run \(24 days\), found 0: refit"):
        stack(_settings(tmp_path / "out", scenes, gap_days=0))
    stack(_settings(tmp_path / "out", scenes, refit=True))
    assert _quality(path)["gap_days"] == 0


def test_other_settings_start_again_with_the_same_history(rng, tmp_path, worked_on):
    scenes = _source(tmp_path / "in", rng)
    stack(_settings(tmp_path / "out", scenes))
    worked_on.clear()
    (path,) = stack(_settings(tmp_path / "out", scenes, resolution_m=20))
    assert len(set(worked_on)) == DAYS
    found = read_stack(path)
    with rasterio.open(scenes[3].files[0].path) as dataset:
        mean = dataset.read(1).reshape(24, 2, 24, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(found.amplitude[3, 0] ** 2, mean, rtol=1e-5)


def test_area_of_interest(rng, tmp_path):
    scenes = _source(tmp_path / "in", rng)
    bbox = (-116.9995, 36.141, -116.9965, 36.143)
    (path,) = stack(_settings(tmp_path / "out", scenes, bbox=bbox))
    assert read_stack(path).amplitude.shape[2:] < (SIDE, SIDE)
    with pytest.raises(StackError, match="outside"):
        stack(_settings(tmp_path / "other", scenes, bbox=(10.0, 10.0, 11.0, 11.0)))
    assert not (tmp_path / "other" / "stacks").exists()


def test_too_few_dates(rng, tmp_path):
    scenes = _source(tmp_path / "in", rng, days=8)
    with pytest.raises(DataError, match="at least 11 dates"):
        stack(_settings(tmp_path / "out", scenes, history_end=None))


def test_a_group_with_too_few_dates_is_left_out_with_a_warning(rng, tmp_path, caplog):
    scenes = _source(tmp_path / "in", rng)
    other = [replace(s, scene_id=f"{s.scene_id}-left", look_side="left") for s in scenes[:3]]
    (path,) = stack(_settings(tmp_path / "out", [*scenes, *other], history_end=None))
    assert len(read_stack(path).times) == DAYS
    assert "at least 11 dates" in caplog.text


def test_a_source_file_that_changed_leaves_the_stack_as_it_was(rng, tmp_path):
    from sarcast.errors import ProductError

    scenes = _source(tmp_path / "in", rng)
    stack(_settings(tmp_path / "out", scenes[:13]))
    before = _content(tmp_path / "out" / "stacks")
    path = Path(scenes[13].files[0].path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ProductError, match=r"scene-13\.tif"):
        stack(_settings(tmp_path / "out", scenes))
    assert _content(tmp_path / "out" / "stacks") == before


def test_a_full_disk_is_one_line_and_leaves_nothing(rng, tmp_path, monkeypatch):
    import sarcast.stack.store as store

    scenes = _source(tmp_path / "in", rng)
    settings = _settings(tmp_path / "out", scenes)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store.StackWriter, "write_block", full)
        with pytest.raises(SpaceError, match="full disk") as error:
            stack(settings)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "out" / "stacks").glob("*/stack.zarr"))
    assert not list((tmp_path / "out" / "stacks").glob("*/.*partial"))
    (path,) = stack(settings)
    verify(path)


_SLOW = """
import sys, time
from pathlib import Path
import sarcast.stack.store as store
from sarcast.steps.stack import StackScenes, stack
original = store.StackWriter.write_block
def slow(*args):
    time.sleep(0.1)
    return original(*args)
store.StackWriter.write_block = slow
out = Path(sys.argv[1])
stack(StackScenes(scenes=out, out=out, workers=1, history_end="2024-04-20"))
"""


@pytest.mark.parametrize("update", [False, True])
def test_a_killed_run_leaves_nothing_finished_and_the_next_one_ends_right(rng, tmp_path, update):
    scenes = _source(tmp_path / "in", rng)
    out = tmp_path / "out"
    if update:
        stack(_settings(out, scenes[:11]))
    _settings(out, scenes)
    before = _content(out / "stacks") if update else {}
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW, str(out)], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("stacks/*/.stack.zarr.partial/amplitude/c/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.15)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = {k: v for k, v in _content(out / "stacks").items() if ".partial/" not in k} if update else {}
    assert left == before
    assert all(finished(path) for path in out.glob("stacks/*/stack.zarr"))
    assert update or not list(out.glob("stacks/*/stack.zarr"))
    (path,) = stack(_settings(out, scenes))
    verify(path)
    stack(_settings(tmp_path / "fresh", scenes))
    assert _content(out) == _content(tmp_path / "fresh")


def test_a_run_killed_between_its_two_artefacts_is_repaired(rng, tmp_path):
    scenes = _source(tmp_path / "in", rng)
    (path,) = stack(_settings(tmp_path / "out", scenes[:12]))
    old = (path.parent / "quality.json").read_bytes()
    stack(_settings(tmp_path / "out", scenes))
    (path.parent / "quality.json").write_bytes(old)
    stack(_settings(tmp_path / "out", scenes))
    stack(_settings(tmp_path / "fresh", scenes))
    assert _content(tmp_path / "out") == _content(tmp_path / "fresh")


# --- the real stack ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def opera(shared, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("opera")
    write_catalogue(folder / "scenes.json", find_products(shared / "data" / "opera_rtc_t137"))
    return folder


@pytest.mark.shared
def test_opera_gives_five_stacks_untouched(opera, tmp_path):
    paths = stack(StackScenes(scenes=opera, out=tmp_path))
    scenes = read_catalogue(opera / "scenes.json").scenes
    assert [path.parent.name for path in paths] == [
        f"t137-{burst}-iw2_vv-vh" for burst in (292318, 292319, 292320, 292321, 292324)
    ]
    for path in paths:
        found = read_stack(path)
        assert found.amplitude.shape == (22, 2, 100, 100) and found.valid[...].all()
        for i, scene_id in enumerate(found.times.scene_id):
            scene = next(s for s in scenes if s.scene_id == scene_id)
            for file in scene.files:
                with rasterio.open(file.path) as dataset:
                    power = dataset.read(1)
                np.testing.assert_array_equal(
                    found.amplitude[i, found.bands.index(file.band)], np.sqrt(power)
                )
    flagged = {
        path.parent.name[5:11]: [d["time"][:10] for d in _quality(path)["dates"] if not d["usable"]]
        for path in paths
    }
    assert flagged["292318"] == []
    assert flagged["292319"] == ["2023-01-01"]
    rain = {"2021-12-19", "2022-11-02", "2022-12-08", "2022-12-20", "2023-01-01", "2023-12-27"}
    assert {"2023-01-01", "2023-12-27"} <= set(flagged["292320"]) <= rain
    dried = {"2023-12-03"}  # 0.7 dB darker than the dates before it
    assert {"2023-01-01", "2023-12-27"} <= set(flagged["292321"]) <= rain | dried
    ocean = _quality(paths[0])["dates"]
    assert {d["shift_state"] for d in ocean} == {d["gain_state"] for d in ocean} == {"not measurable"}


@pytest.mark.shared
@pytest.mark.parametrize("day", [3, 17])
@pytest.mark.parametrize("kind", ["shift", "gain"])
def test_a_pixel_or_a_decibel_on_the_quiet_burst_is_flagged(opera, tmp_path, day, kind):
    scenes = [s for s in read_catalogue(opera / "scenes.json").scenes if "292319" in (s.scene_id)]
    files = []
    for file in scenes[day].files:
        path = tmp_path / Path(file.path).name
        shutil.copy(file.path, path)
        path.chmod(0o644)
        with rasterio.open(path, "r+") as dataset:
            power = dataset.read(1)
            changed = np.roll(power, 1, axis=1) if kind == "shift" else power * 10**0.1
            dataset.write(changed.astype(np.float32), 1)
        files.append(replace(file, path=str(path), size=path.stat().st_size, sha256="changed"))
    scenes[day] = replace(scenes[day], files=tuple(files))
    write_catalogue(tmp_path / "scenes.json", Catalogue(scenes=tuple(scenes)))
    (path,) = stack(StackScenes(scenes=tmp_path, out=tmp_path))
    dates = _quality(path)["dates"]
    assert [d["time"][:10] for d in dates if not d["usable"]] == sorted(
        {dates[day]["time"][:10], "2023-01-01"}
    )
    assert dates[day]["flags"][0].startswith(kind)
    if kind == "shift":
        assert dates[day]["shift_px"] == pytest.approx([0, 1], abs=0.1)
        assert dates[day]["residual_px"] == pytest.approx([0, 0], abs=0.1)


def test_a_strong_event_on_a_small_chip_is_no_shift(tmp_path):
    """Two lava flows of 10 dB on 64 x 64 px: their edges must not look like a misregistered date."""
    scene = SimulateScene(
        kind="opera",
        shape=(64, 64),
        dates=16,
        events=2,
        kinds=("lava",),
        strength_db=(10, 12),
        transient=0,
        edge_px=2,
        onset=(0.72, 0.8),
    )
    simulate(Simulate(out=tmp_path, seed=3, scene=scene))
    ingest(Ingest(source=tmp_path / "products", out=tmp_path / "run"))
    (path,) = stack(StackScenes(scenes=tmp_path / "run", out=tmp_path / "run"))
    dates = json.loads((path.parent / "quality.json").read_text())["dates"]
    assert {date["shift_state"] for date in dates} <= {"ok", "corrected"}
    assert not any(flag.startswith("shift") for date in dates for flag in date["flags"])
