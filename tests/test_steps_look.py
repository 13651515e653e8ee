"""Looking inside: maps where the pixels are, colours that mean the same in every image, honest scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image

from sarcast.cli import main
from sarcast.encoders.vit import Vit
from sarcast.errors import DataError, ProductError, SarcastError, SettingsError
from sarcast.nn.card import Card, scaled
from sarcast.nn.pretrained import Pretrained, load_encoder, save_encoder
from sarcast.nn.vit import Size, ViT
from sarcast.readers.seasonal_tiles import write_tile
from sarcast.runtime.artefact import digest, writing
from sarcast.sar.seasons import CHANNELS
from sarcast.stack.store import write_stack
from sarcast.steps.look import Look, as_text, look
from sarcast.steps.look_sources import images_of

TINY = Size(dim=16, depth=2, heads=2)
QUICK = {"clusters": 3, "most_points": 40, "perplexity": 5, "resamples": 30, "splits": 10}
BOX = GeoBox((32, 40), Affine(10, 0, 500_000, 0, -10, 4_000_000), "EPSG:32632")


@pytest.fixture
def weights(tmp_path):
    """Random weights of a network with tokens of 4 px; `make(card=...)` for channels."""

    def make(card=None, name="net"):
        card = card or Card()
        rng = torch.Generator().manual_seed(5)
        vit = ViT(TINY, patch=4, channels=max(1, len(card.channels)), rng=rng).eval()
        save_encoder(tmp_path / name, Pretrained(vit=vit, card=card, window=6))
        return tmp_path / name

    return make


def channels(*names):
    return Card(
        name="db_channels",
        channels=names,
        zero_db=(-25,) * len(names),
        one_db=(5,) * len(names),
        clipped=False,
    )


@pytest.fixture
def stack(make_stack, rng, tmp_path):
    """Three dates, the last the same as the first; a gap on the second."""
    made = make_stack(rng, (36, 44), dates=3, bands=("VH", "VV"))
    amplitude, valid = made.amplitude.copy(), made.valid.copy()
    amplitude[2], valid[1, 8:12, 8:16] = amplitude[0], False
    made = replace(made, amplitude=amplitude, valid=valid)
    folder = tmp_path / "run" / "stacks" / "here"
    with writing(folder / "stack.zarr", settings={}, inputs={}) as partial:
        write_stack(partial, made)
    return made


def write_chip(path, values, box=BOX):
    path.parent.mkdir(exist_ok=True)
    profile = {
        "driver": "GTiff", "width": box.shape[1], "height": box.shape[0], "count": len(values),
        "dtype": values.dtype, "crs": str(box.crs), "transform": box.transform,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)


@pytest.fixture
def lakes(rng, tmp_path):
    """Six chips in dB with a lake each: 12 dB darker, labelled 1; all else is 2."""
    for number in range(6):
        top, left = 4 * rng.integers(0, 5), 4 * rng.integers(0, 6)
        mask = np.zeros(BOX.shape, bool)
        mask[top : top + 12, left : left + 16] = True
        speckle = 10 * np.log10(rng.gamma(30, 1 / 30, (2, *BOX.shape)))
        level = np.array([-8.0, -14.0])[:, None, None]
        write_chip(tmp_path / "chips" / f"{number}.tif", (level - 12 * mask + speckle).astype(np.float32))
        write_chip(tmp_path / "labels" / f"{number}.tif", np.where(mask, 1, 2).astype(np.uint8)[None])
    return tmp_path / "chips", tmp_path / "labels"


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.descriptions, file.tags(), file.bounds, file.crs


def test_dates_become_maps_on_the_stack_s_grid_and_mean_the_same_through_time(stack, weights, tmp_path):
    found = look(Look(source=tmp_path / "run", weights=weights(), out=tmp_path / "out", **QUICK))
    folder = tmp_path / "out" / "look"
    days = [str(np.datetime64(time, "D")) for time in stack.times.time]
    names = [f"{stack.name}_{day}" for day in days]
    assert found["maps"] == names and found["emergent"] is None
    for kind in ("attention", "pca", "clusters"):
        maps = [read(folder / f"{kind}_{name}.tif") for name in names]
        assert all((folder / f"{kind}_{name}.png").stat().st_size > 1000 for name in names)
        assert all(tuple(one[3]) == pytest.approx(tuple(stack.geobox.boundingbox)) for one in maps)
        assert all(one[4] == stack.geobox.crs and one[2]["platform"] == "S1A" for one in maps)
        np.testing.assert_array_equal(maps[0][0], maps[2][0])
        assert np.isnan(maps[1][0][:, 2, 2:4]).all() and np.isfinite(maps[0][0]).all()
        assert not np.array_equal(maps[0][0], maps[1][0], equal_nan=True)
    bands = ("vh_head_0", "vh_head_1", "vh_rollout", "vv_head_0", "vv_head_1", "vv_rollout")
    attention = read(folder / f"attention_{names[0]}.tif")
    assert attention[1] == bands and attention[2]["time"].startswith(days[0])
    explained = [float(x) for x in read(folder / f"pca_{names[0]}.tif")[2]["explained_variance"].split()]
    assert sum(explained) < 1 and explained == sorted(explained, reverse=True)


def test_what_is_inside_is_what_attention_and_encode_give(stack, weights):
    network = load_encoder(weights())
    encoder = Vit(weights=weights(), patch=4, pool="mean", window=5, halo=1)
    inside = encoder.inside(stack, [1], network=network)
    for wanted, part in ((encoder.attention(stack, [1]), "head_"), (encoder.encode(stack, [1]), "mean_")):
        index = [i for i, name in enumerate(inside.names) if part in name]
        np.testing.assert_allclose(inside.values[..., index], wanted.values, rtol=1e-4, atol=1e-5)
        assert tuple(inside.names[i] for i in index) == wanted.names
        np.testing.assert_array_equal(inside.valid, wanted.valid)


@pytest.mark.usefixtures("stack")
def test_the_same_settings_give_the_same_bytes_and_are_read_the_second_time(weights, tmp_path):
    asked = Look(source=tmp_path / "run", weights=weights(), out=tmp_path / "a", maps=1, **QUICK)
    look(asked)
    before = digest(tmp_path / "a" / "look")
    stamp = (tmp_path / "a" / "look").stat().st_mtime_ns
    look(asked)
    assert (tmp_path / "a" / "look").stat().st_mtime_ns == stamp
    look(asked.model_copy(update={"out": tmp_path / "b"}))
    assert digest(tmp_path / "b" / "look") == before


def test_a_lake_is_found_by_its_level_and_everything_is_a_control(lakes, weights, tmp_path):
    chips, labels = lakes
    settings = Look(
        source=chips, labels=labels, classes={1: "water", 2: "land"}, judge=("water",), unit="db",
        weights=weights(), out=tmp_path / "out", maps=2, **QUICK,
    )  # fmt: skip
    found = look(settings)
    water = found["emergent"]["classes"]["water"]
    rows = {row["way"]: row for row in water["rows"]}
    share = water["pixels"] / (6 * np.prod(BOX.shape))
    assert rows["everything"]["value"] == pytest.approx(share, abs=0.05)
    for way in ("backscatter of tokens", "backscatter of pixels", "clusters of backscatter"):
        assert rows[way]["value"] > 0.99 and rows[way]["ahead"] < 0
    for row in rows.values():
        assert row["low"] - 1e-9 <= row["value"] <= row["high"] + 1e-9 or row["way"] != "everything"
        assert row["optimistic"] >= 0
    level = [one for one in water["maps"] if one["map"] == "VH low"]
    assert all(one["otsu"] > 0.9 and one["otsu_where_present"] > 0.9 for one in level)
    bounds = [one for one in water["maps"] if one["way"] != "everything"]
    assert all(one["best_thresholds_chosen_on_labels"] >= one["otsu_where_present"] for one in bounds)
    assert len(list((tmp_path / "out" / "look").glob("attention_*.tif"))) == 2
    text = as_text(found)
    assert "backscatter of pixels" in text and "optimistic" in text


def test_points_know_class_place_and_token(lakes, weights, tmp_path):
    import pandas

    chips, labels = lakes
    asked = Look(
        source=chips, labels=labels, classes={1: "water", 2: "land"}, unit="db", weights=weights(),
        out=tmp_path / "out", maps=1, **QUICK,
    )  # fmt: skip
    look(asked)
    table = pandas.read_parquet(tmp_path / "out" / "look" / "latents.parquet")
    assert set(table["class"]) == {"water", "land"} and table["image"].nunique() == 6
    for line in table.itertuples():
        kinds = read(labels / f"{line.image}.tif")[0][0]
        block = kinds[4 * line.row : 4 * line.row + 4, 4 * line.col : 4 * line.col + 4]
        assert line[table.columns.get_loc("class") + 1] == {1: "water", 2: "land"}[int(block[0, 0])]


def test_many_images_are_points_by_folder(weights, tmp_path, rng):
    import pandas

    for number in range(32):
        path = tmp_path / "chips" / "TRAIN" / ("ship" if number % 2 else "tank") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 24), dtype=np.uint8)).save(path)
    found = look(Look(source=tmp_path / "chips", weights=weights(), out=tmp_path / "out", maps=1, **QUICK))
    assert found["latents"]["points"] == "images" and "class" in found["latents"]["coloured_by"]
    table = pandas.read_parquet(tmp_path / "out" / "look" / "latents.parquet")
    assert table["class"].value_counts().to_dict() == {"ship": 16, "tank": 16}


@pytest.mark.parametrize("card", [Card(), channels("image")])
def test_a_picture_reaches_the_network_as_it_is(card, weights, tmp_path, rng):
    values = rng.integers(0, 256, (16, 24), dtype=np.uint8)
    (tmp_path / "chips").mkdir()
    Image.fromarray(values).save(tmp_path / "chips" / "a.png")
    network = load_encoder(weights(card))
    stack, _ = images_of(Look(source=tmp_path / "chips"), network)[0].load()
    seen = scaled(np.asarray(stack.amplitude[0]) ** 2, network.card)
    np.testing.assert_allclose(seen[0], values / 255, atol=1e-5)


def test_twelve_channels_of_a_tile_with_a_season_missing(weights, tmp_path, rng):
    db = rng.uniform(-20, -5, (2, 4, 32, 40))
    db[:, 1] = -30
    (tmp_path / "tiles").mkdir()
    write_tile(tmp_path / "tiles" / "a.tif", db, geobox=BOX)
    net = weights(channels(*CHANNELS))
    stack, _ = images_of(Look(source=tmp_path / "tiles"), load_encoder(net))[0].load()
    power = np.asarray(stack.amplitude[0]) ** 2
    assert stack.bands == CHANNELS and stack.valid.mean() > 0.9
    gone = [name.endswith("MAM") for name in CHANNELS]
    np.testing.assert_allclose(10 * np.log10(power[gone][:, stack.valid[0]]), -25, atol=1e-3)
    look(Look(source=tmp_path / "tiles", weights=net, out=tmp_path / "out", **QUICK))
    maps, bands, *_ = read(tmp_path / "out" / "look" / "attention_a.tif")
    assert bands == ("bands_head_0", "bands_head_1", "bands_rollout") and np.isfinite(maps).mean() > 0.5


def test_ratios_are_made_of_a_stack_s_bands(stack, weights, tmp_path):
    network = load_encoder(weights(channels("VV-VH", "VV", "VH")))
    image = images_of(Look(source=tmp_path / "run"), network)[1]
    one, time = image.load()
    ratio = stack.amplitude[1, 1] / stack.amplitude[1, 0]
    known = stack.valid[1]
    assert one.bands == ("VV-VH", "VV", "VH") and one.times.time[time] == stack.times.time[1]
    np.testing.assert_allclose(np.asarray(one.amplitude[time, 0])[known], ratio[known], rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"unit": None}, SettingsError, "expected --unit"),
        ({"judge": ("fire",)}, SettingsError, "expected --judge among water, land, found 'fire'"),
        (
            {"classes": {2: "land"}, "judge": ()},
            ProductError,
            r"expected labels among 2, found 1, in .*0\.tif",
        ),
        ({"classes": {1: "water", 2: "land", 3: "fire"}, "judge": ("fire",)}, DataError, "found none on any"),
        ({"labels": None}, SettingsError, "expected --labels with --classes"),
        ({"channels": ("VV",)}, SettingsError, "expected 1 channels, as told, found 2"),
        ({"block": 2}, SarcastError, r"expected a block in -2\.\.1, found 2"),
        ({"clusters": 20, "window": 1, "halo": 1}, SettingsError, "expected a window of more than two halos"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(changes, kind, said, lakes, weights, tmp_path):
    given = {
        "source": lakes[0], "labels": lakes[1], "classes": {1: "water", 2: "land"}, "judge": ("water",),
        "unit": "db", "weights": weights(), "out": tmp_path / "out", "maps": 1, **QUICK,
    }  # fmt: skip
    with pytest.raises(kind, match=said):
        look(Look(**{**given, **changes}))
    assert not (tmp_path / "out" / "look").exists()
    assert not [p for p in (tmp_path / "out").glob(".*") if p.name != ".lock"]


def test_a_label_on_another_grid_is_refused(lakes, weights, tmp_path):
    moved = GeoBox(BOX.shape, Affine(10, 0, 500_010, 0, -10, 4_000_000), BOX.crs)
    write_chip(lakes[1] / "3.tif", np.ones((1, *BOX.shape), np.uint8), moved)
    asked = Look(
        source=lakes[0], labels=lakes[1], classes={1: "water", 2: "land"}, unit="db", weights=weights(),
        out=tmp_path / "out", maps=1, **QUICK,
    )  # fmt: skip
    with pytest.raises(
        ProductError, match=r"expected the size and grid of the chip 3, found another, in .*3\.tif"
    ):
        look(asked)


def test_umap_is_offered_where_it_is_installed(lakes, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    words = [
        "look",
        str(lakes[0]),
        "--unit",
        "db",
        "--weights",
        str(weights()),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*words, "--latents", "umap"]) == 2
    said = capsys.readouterr().err.strip()
    assert "expected umap-learn" in said and "\n" not in said
