"""pretrain from seasonal tiles, from chips and from simulated regions: every kind gives an encoder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from PIL import Image

from sarcast.errors import DataError, ProductError, SettingsError, StackError
from sarcast.nn.card import Card, scaled
from sarcast.nn.pretrained import load_encoder
from sarcast.readers.seasonal_tiles import read_seasons, write_seasons, write_tile
from sarcast.runtime.settings import as_json, build
from sarcast.sar.seasons import CHANNELS
from sarcast.sar.simulate.seasonal import SimulateSeasons, simulate_seasons
from sarcast.steps import pretrain_images
from sarcast.steps.pretrain import Pretrain, pretrain
from sarcast.steps.pretrain_sources import find
from sarcast.steps.simulate import Simulate, simulate
from sarcast.train.chips import of_seasons
from sarcast.train.tiles import TileImages

REGION = SimulateSeasons(tiles=(5, 6), side=32)
MAE = {"predictor_dim": 16, "predictor_heads": 2}


def settings(out: Path, **more) -> Pretrain:
    given = {
        "out": out,
        "objective": "mae",
        "options": MAE,
        "size": "micro",
        "crop": 3,
        "chips": 12,
        "held_out": 4,
        "training": {"epochs": 1, "steps": 2, "batch": 3, "device": "cpu"},
    }
    return build(Pretrain, {**given, **more}, where="the test")


def images(told: Pretrain) -> pretrain_images.Images:
    return pretrain_images.read(told, None, find(told), together=None)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("seasons")
    return simulate(Simulate(out=out, product="seasons", region=REGION, bands=5, seed=1)) / "s1"


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("chips") / "chips.zip"
    rng = np.random.default_rng(2)
    lines = ["path,split"]
    with zipfile.ZipFile(path, "w") as held:
        for number in range(16):
            one = BytesIO()
            Image.fromarray(rng.integers(0, 256, (40, 44), dtype=np.uint8)).save(one, "PNG")
            held.writestr(f"set/{number}.png", one.getvalue())
            lines.append(f"{number}.png,{'train' if number % 4 else 'test'}")
        held.writestr("set/list.csv", "\n".join(lines))
    return path


def test_a_folder_of_tiles_becomes_an_encoder_with_a_measured_card(tmp_path, tiles):
    told = settings(tmp_path, source=(tiles / "train",))
    found = load_encoder(pretrain(told))
    assert (
        found.vit.channels == 12 and found.card.channels == CHANNELS and found.card.constants == "measured/1"
    )
    values = [read_seasons(path).db[CHANNELS.index("VV JJA")] for path in (tiles / "train").iterdir()]
    at = CHANNELS.index("VV JJA")
    assert found.card.zero_db[at] == pytest.approx(np.mean(values), abs=1.0)
    again = settings(tmp_path / "more", start=tmp_path / "encoder", source=(tiles / "test",))
    assert load_encoder(pretrain(again)).card == found.card


def test_what_is_watched_is_not_learned_from(tmp_path, tiles):
    found = images(settings(tmp_path, source=(tiles / "train",), chips=1000, held_out=1000))
    every = of_seasons(read_seasons(path) for path in sorted((tiles / "train").iterdir()))
    assert len(found.chips) < len(every)
    learned = {found.chips.power[i].tobytes() for i in range(len(found.chips))}
    every_hash = {every.power[i].tobytes() for i in range(len(every))}
    assert learned < every_hash
    held = found.held_out[0]
    share = 1 - len(found.chips) / len(every)
    assert 0.05 < share < 0.35 and len(held) == (len(every) - len(found.chips))


def test_streamed_tiles_are_those_in_memory(tiles):
    paths = tuple(sorted((tiles / "train").iterdir()))
    streamed, held = TileImages(paths=paths), of_seasons(read_seasons(path) for path in paths)
    some = np.array([3, 0, 3])
    for one, other in zip(streamed.take(some), held.take(some), strict=True):
        np.testing.assert_array_equal(one, other)
    assert streamed.bands == held.bands and len(streamed) == len(held)


def test_streamed_or_not_it_trains_and_simulated_tiles_cannot_be(tmp_path, tiles):
    told = settings(tmp_path, source=(tiles / "train",), streamed=True, objective="dino")
    told = told.model_copy(update={"options": {"locals": 2, "head_dim": 8, "prototypes": 8}})
    assert load_encoder(pretrain(told)).vit.channels == 12
    with pytest.raises(SettingsError, match="expected tiles in files for --streamed"):
        images(settings(tmp_path, simulated_seasons=1, region=REGION, streamed=True))


def test_files_of_m3leo_are_tiles_too(tmp_path, rng):
    (tmp_path / "m3leo").mkdir()
    from odc.geo.geobox import GeoBox

    for number in range(4):
        box = GeoBox((32, 32), Affine(10, 0, 5e5 + 320 * number, 0, -10, 4e6), "EPSG:32611")
        db = rng.normal(-15, 3, (2, 4, 32, 32))
        write_tile(tmp_path / "m3leo" / f"{number}.tif", db, geobox=box)
    found = images(settings(tmp_path, source=(tmp_path / "m3leo",)))
    assert found.chips.bands and found.held_out[0].shape[1:] == (12, 24, 24)


def test_simulated_regions(tmp_path):
    found = load_encoder(pretrain(settings(tmp_path, simulated_seasons=2, region=REGION)))
    assert found.vit.channels == 12 and not found.about["judged_dates_seen"]


def test_chips_of_an_archive_by_role(tmp_path, archive):
    told = settings(
        tmp_path, source=(archive,), images={"side": 32, "role": "split", "prefix": "set/"}, chips=100
    )
    assert find(told).chips is not None and len(find(told).chips) == 12
    found = images(told)
    assert found.card == Card(name="picture") and len(found.chips) + len(found.held_out[0]) == 12
    one = load_encoder(pretrain(told))
    assert one.card.name == "picture" and one.vit.channels == 1
    every = settings(tmp_path, source=(archive,), images={"side": 32})
    assert len(find(every).chips) == 16


def test_a_picture_goes_to_the_network_as_it_is(archive, tmp_path):
    told = settings(tmp_path, source=(archive,), images={"side": 24}, chips=100)
    found, listed = images(told), find(told).chips
    expected = np.sort(listed.pixels()[0].reshape(16, -1).mean(1))
    seen = torch.cat([found.held_out[0].flatten(1).mean(1)]).numpy()
    assert all(np.abs(expected - one).min() < 1e-5 for one in seen)
    power = np.array([[[0.0, 0.25], [1.0, 4.0]]], np.float32)
    np.testing.assert_allclose(scaled(power, Card(name="picture")), [[[0, 0.5], [1, 1]]], atol=1e-5)


def test_dual_polarised_chips_with_names_are_seen_together(tmp_path, rng):
    folder = tmp_path / "chips"
    folder.mkdir()
    for number in range(6):
        profile = {"driver": "GTiff", "width": 32, "height": 32, "count": 2, "dtype": "float32"}
        place = {"crs": "EPSG:32611", "transform": Affine(10, 0, 5e5, 0, -10, 4e6)}
        with rasterio.open(folder / f"{number}.tif", "w", **profile, **place, nodata=np.nan) as out:
            out.write(rng.normal(-12, 2, (2, 32, 32)).astype(np.float32))
    told = {"side": 32, "unit": "db", "channels": ("VV", "VH")}
    found = load_encoder(pretrain(settings(tmp_path, source=(folder,), images=told)))
    assert found.card.channels == ("VV", "VH") and found.card.zero_db[0] == pytest.approx(-12, abs=0.2)
    with pytest.raises(SettingsError, match=r"expected --images\.unit"):
        images(settings(tmp_path, source=(folder,), images={"side": 32}))
    with pytest.raises(SettingsError, match="expected names for 2 channels, found 1"):
        images(settings(tmp_path, source=(folder,), images={**told, "channels": ("VV",)}))


def test_what_does_not_go_together_is_refused(tmp_path, tiles, archive):
    with pytest.raises(SettingsError, match=r"of one kind .* found seasonal tiles and chips"):
        find(settings(tmp_path, source=(tiles / "train", archive)))
    with pytest.raises(SettingsError, match="expected an objective that needs one date"):
        pretrain(settings(tmp_path, source=(tiles / "train",), objective="across_dates", options={}))
    with pytest.raises(DataError, match="expected chips of 48 px a side or more, found 32"):
        images(settings(tmp_path, source=(archive,), images={"side": 32}, crop=6))


def test_a_stack_seen_by_seasons(tmp_path, season_stack):
    told = settings(tmp_path, source=(season_stack,), seasonal="median", dates="all")
    found = load_encoder(pretrain(told))
    assert found.vit.channels == 12 and found.about["judged_dates_seen"]


@pytest.fixture
def season_stack(tmp_path, rng) -> Path:
    """stack.zarr of a year, VV and VH, in a run folder."""
    from odc.geo.geobox import GeoBox

    from sarcast.runtime.artefact import writing
    from sarcast.sar.simulate import SimulateScene
    from sarcast.sar.simulate import simulate as simulate_scene
    from sarcast.stack.store import Header, StackWriter

    scene = SimulateScene(kind="opera", shape=(72, 96), dates=30, events=0)
    stack = simulate_scene(scene, rng=rng).stack
    assert isinstance(stack.geobox, GeoBox) and set(stack.bands) == {"VV", "VH"}
    path = tmp_path / "run" / "stacks" / "a" / "stack.zarr"
    header = Header(
        name="a", bands=stack.bands, geobox=stack.geobox, radiometry=stack.radiometry, attributes={}
    )
    with writing(path, settings={}, inputs={}) as partial:
        writer = StackWriter(partial, header)
        writer.lay_out(stack.times)
        for t, name in enumerate(stack.times.scene_id):
            writer.write_block(name, (0, 0), np.asarray(stack.amplitude[t]), np.asarray(stack.valid[t]))
    return path


SCRIPT = """
import os, signal, sys, torch
torch.set_num_threads(1)
from sarcast.cli import main
from sarcast.train import loop

save = loop.save_state

def save_and_die(*given, **named):
    save(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "die":
    loop.save_state = save_and_die
code = main(sys.argv[2:])
sys.stdout.flush()
os._exit(code)  # as the command does under torchrun
"""


def two_processes(tmp_path: Path, *words: str) -> int:
    """The command under torchrun in two processes, which talk over the loopback."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    start = ["-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "2"]
    start += ["--master-addr", "127.0.0.1", "--master-port", port, str(script), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [sys.executable, *start], check=False, capture_output=True, timeout=240, env=environment
    )
    return done.returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "options"),
    [("mae", MAE), ("dino", {"locals": 2, "head_dim": 8, "prototypes": 8})],
)
def test_twelve_channels_in_two_processes_killed_and_resumed_equal_one(tmp_path, tiles, objective, options):
    """Two processes, killed after their first epoch, end where one process ends."""
    training = {"epochs": 2, "steps": 2, "batch": 2, "parts": 2, "device": "cpu"}
    told = {"objective": objective, "options": options, "training": training}
    whole = pretrain(settings(tmp_path / "one", source=(tiles / "train",), **told))
    recipe = tmp_path / "recipe.yaml"
    given = settings(tmp_path / "two", source=(tiles / "train",), **told)
    recipe.write_text(json.dumps(as_json(given)))
    words = ("pretrain", "--recipe", str(recipe))
    assert two_processes(tmp_path, "die", *words) != 0
    assert (tmp_path / "two" / ".encoder.training.safetensors").exists()
    assert not (tmp_path / "two" / "encoder").exists()
    assert two_processes(tmp_path, "live", *words) == 0
    one, two = (load_encoder(folder) for folder in (whole, tmp_path / "two" / "encoder"))
    assert two.vit.channels == 12 and one.card == two.card
    for name, value in one.vit.state_dict().items():
        torch.testing.assert_close(two.vit.state_dict()[name], value, atol=1e-4, rtol=1e-3)


def test_only_train_folders_are_learned_from(tmp_path, tiles, caplog):
    with caplog.at_level("INFO", logger="sarcast.pretrain"):
        found = find(settings(tmp_path, source=(tiles,)))
    assert {path.parent.name for path in found.tiles} == {"train"} and "only its train" in caplog.text


def test_tiles_of_other_sizes_or_units_are_named_before_training(tmp_path, tiles):
    folder = tmp_path / "mixed"
    folder.mkdir()
    paths = sorted((tiles / "train").iterdir())[:3]
    for path in paths:
        (folder / path.name).write_bytes(path.read_bytes())
    with rasterio.open(folder / paths[1].name, "r+") as out:
        out.update_tags(radiometry="uncalibrated")
    with pytest.raises(StackError, match="expected tiles all calibrated or all not"):
        images(settings(tmp_path, source=(folder,)))
    region = SimulateSeasons(tiles=(1, 1), side=48)
    other = next(iter(simulate_seasons(region, rng=np.random.default_rng(0)))).image
    write_seasons(folder / "z.tif", other)
    with pytest.raises(DataError, match=r"expected tiles of 32 x 32 px as the first, found 48 x 48"):
        images(settings(tmp_path, source=(folder,), streamed=True))


def test_a_card_without_channels_is_refused_for_tiles(tmp_path, tiles):
    with pytest.raises(SettingsError, match="expected a card with channels"):
        images(settings(tmp_path, source=(tiles / "train",), card={"low_db": -50}))


def test_pictures_are_given_as_they_are_whatever_encoder_goes_on(tmp_path, archive):
    told = {"source": (archive,), "images": {"side": 32}, "crop": 4, "objective": "local_masked_gradient"}
    small = {"window": [3, 3], "radii": [2], "predictor_dim": 12, "predictor_depth": 1, "predictor_heads": 2}
    found = pretrain(settings(tmp_path, start=Path("sarcast-tiny"), options=small, **told))
    assert load_encoder(found).card == Card(name="picture")
    twelve = pretrain(settings(tmp_path / "twelve", simulated_seasons=1, region=REGION))
    with pytest.raises(SettingsError, match="expected weights of one channel for pictures, found VV-VH DJF"):
        pretrain(settings(tmp_path / "more", start=twelve, source=(archive,), images={"side": 32}))
    with pytest.raises(SettingsError, match=r"expected pictures, .* without channels and card"):
        images(settings(tmp_path, source=(archive,), images={"side": 32, "channels": ("HH",)}))


@pytest.mark.parametrize(("objective", "span"), [("mae", 0.0), ("gradient_jepa", 0.0)])
def test_ratios_of_pictures_are_of_them_as_they_are(tmp_path, archive, objective, span):
    told = {**MAE, "radii": [2, 4]}
    found = pretrain(
        settings(tmp_path, source=(archive,), images={"side": 32}, crop=4, objective=objective, options=told)
    )
    assert load_encoder(found).about["options"]["span_db"] == span


def test_streamed_chips_are_those_in_memory(tmp_path, archive):
    told = {"source": (archive,), "images": {"side": 32}, "chips": 100}
    held = images(settings(tmp_path, **told)).chips
    streamed = images(settings(tmp_path, **told, streamed=True)).chips
    some = np.array([2, 0, 2])
    for one, other in zip(streamed.take(some), held.take(some), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(streamed) == len(held)


def test_chips_that_cannot_be_learned_from_are_named(tmp_path, archive):
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as held:
        held.writestr("readme.txt", "nothing")
    with pytest.raises(ProductError, match="expected images of chips, found none"):
        find(settings(tmp_path, source=(tmp_path / "empty.zip",)))
    (tmp_path / "one").mkdir()
    Image.fromarray(np.full((32, 32), 9, np.uint8)).save(tmp_path / "one" / "a.png")
    with pytest.raises(DataError, match="expected two chips or more, found 1"):
        images(settings(tmp_path, source=(tmp_path / "one",), images={"side": 32}))
    told = {"side": 32, "role": "path", "prefix": "set/"}
    with pytest.raises(ProductError, match="expected lines of role train in column path"):
        find(settings(tmp_path, source=(archive,), images=told))
