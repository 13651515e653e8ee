"""sarcast probe on images: fine-tuning, decoders, numbers of pixels, two regions, gaps; nothing leaks."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.metrics import jaccard_score, r2_score

from sarcast.cli import main
from sarcast.errors import DataError, SettingsError
from sarcast.nn.card import Card
from sarcast.nn.cards import measured_card
from sarcast.nn.pretrained import Pretrained, save_encoder
from sarcast.nn.vit import Size, ViT
from sarcast.runtime.settings import build
from sarcast.sar.seasons import CHANNELS
from sarcast.sar.simulate.seasonal import SimulateSeasons, simulate_seasons
from sarcast.sar.world_cover import CODES
from sarcast.steps import probe_judge
from sarcast.steps.pretrain import Pretrain, pretrain
from sarcast.steps.probe import Probe, probe
from sarcast.steps.simulate import Simulate, simulate

SIDE, TOKEN = 16, 4
PARTS = (("temperate", "train"), ("boreal", "test"))
FEW = {"steps": 3, "batch": 4}


@pytest.fixture(scope="session")
def regions(tmp_path_factory):
    """Folders of seasonal tiles in two climates, and an encoder of 12 channels."""
    folder = tmp_path_factory.mktemp("regions")
    for seed, climate in enumerate(("temperate", "boreal")):
        region = SimulateSeasons(climate=climate, tiles=(4, 5), side=SIDE)
        simulate(Simulate(out=folder / climate, product="seasons", region=region, bands=5, seed=seed))
    tiles = simulate_seasons(SimulateSeasons(tiles=(2, 2), side=SIDE), rng=np.random.default_rng(5))
    rng = torch.Generator().manual_seed(3)
    vit = ViT(Size(dim=12, depth=1, heads=2), patch=TOKEN, channels=12, rng=rng).eval()
    card = measured_card([one.image for one in tiles], constants="here/1")
    save_encoder(folder / "ours" / "encoder", Pretrained(vit=vit, card=card, window=SIDE // TOKEN))
    return folder


@pytest.fixture
def guesses(monkeypatch):
    """Every guess that is counted, in order."""
    found, counts = [], probe_judge.Judge.counts

    def listen(judge, guess):
        found.append(guess)
        return counts(judge, guess)

    monkeypatch.setattr(probe_judge.Judge, "counts", listen)
    return found


def asked(regions, out, *, kind="land_cover", climate="temperate", **more):
    usual = {"side": SIDE, "draws": 2, "resamples": 20, "fractions": (0.5, 1.0), "unit": "db"}
    tiles = regions / climate / "tiles"
    usual |= {"weights": (regions / "ours" / "encoder",), "channels": CHANNELS, "labels": tiles / kind}
    usual |= {
        "source": tiles / "s1",
        "decoder": FEW,
        "finetune": FEW,
        "linear": {"steps": 5},
        "pixel_side": 4,
        "device": "cpu",
    }
    return Probe(out=out, **{**usual, **more})


def stored(folder, role="test"):
    found = []
    for path in sorted((folder / role).iterdir()):
        with rasterio.open(path) as file:
            found.append(file.read(1))
    return np.stack(found)


def test_classes_of_pixels_are_counted_in_one_matrix(regions, tmp_path, guesses):
    told = {"task": "segmentation", "probes": ("decoder", "finetune"), "fractions": (0.5,)}
    found = probe(asked(regions, tmp_path / "a", **told))
    truth = np.searchsorted(CODES, stored(regions / "temperate" / "tiles" / "land_cover"))
    ways = {(row["features"], row["probe"]) for row in found["rows"]}
    networks = {"ours", "ours, random weights"}
    assert {name for name, one in ways if one == "finetune"} == networks, "random weights learn from scratch"
    assert {name for name, one in ways if one == "decoder"} == {"pixels", "statistics", *networks}
    listened = iter(guesses[:-1])
    for row in found["rows"]:
        for value in row["figures"]["miou"]["by_draw"]:
            guess = next(listened)
            assert guess.shape == truth.shape
            direct = jaccard_score(truth.ravel(), guess.ravel(), average="macro", zero_division=0)
            assert value == pytest.approx(direct)
    assert {row["less"] for row in found["differences"] if row["probe"] == "finetune"} == {
        "ours, random weights"
    }
    again = probe(asked(regions, tmp_path / "b", **told))
    assert again["rows"] == found["rows"], "to the last digit"


def test_numbers_of_pixels(regions, tmp_path, guesses):
    told = {"task": "pixel_regression", "kind": "vegetation", "probes": ("ridge", "decoder", "finetune")}
    found = probe(asked(regions, tmp_path / "out", **told))
    truth = stored(regions / "temperate" / "tiles" / "vegetation")
    rows = iter(guesses[:-1])
    for row in found["rows"]:
        for rmse, r2 in zip(*(row["figures"][name]["by_draw"] for name in ("rmse", "r2")), strict=True):
            guess = next(rows)
            if guess.ndim == 1:
                guess = np.kron(guess.reshape(-1, SIDE // TOKEN, SIDE // TOKEN), np.ones((1, TOKEN, TOKEN)))
            assert rmse == pytest.approx(np.sqrt(np.mean((guess - truth) ** 2)), rel=1e-6)
            assert r2 == pytest.approx(r2_score(truth.ravel(), guess.ravel()), rel=1e-5)
            assert row["probe"] != "ridge" or rmse >= found["ceiling"]
    assert found["main"] == "rmse" and found["token"] == TOKEN
    error = {
        (row["features"], row["probe"]): row["figures"]["rmse"]["mean"]
        for row in found["rows"]
        if row["labels"] == "100 %"
    }
    assert error["statistics", "ridge"] < truth.std()


@pytest.fixture
def chips(regions, tmp_path):
    """Tiles in folders of two classes that nobody could tell apart."""
    for role, count in (("train", 6), ("test", 4)):
        for path in sorted((regions / "temperate" / "tiles" / "s1" / role).iterdir())[:count]:
            folder = tmp_path / "chips" / role / "ab"[int(path.stem[-1]) % 2]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder)
    return tmp_path / "chips"


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_whole_chips_are_fine_tuned_for(regions, chips, tmp_path, task):
    told = {"task": task, "probes": ("finetune",)}
    told |= {"kind": "vegetation"} if task == "regression" else {"source": chips, "labels": None}
    found = probe(asked(regions, tmp_path / "a", **told))
    assert [row["features"] for row in found["rows"]] == ["ours"] * 2 + ["ours, random weights"] * 2
    again = probe(asked(regions, tmp_path / "b", **told))
    assert again["rows"] == found["rows"], "to the last digit"
    other = probe(asked(regions, tmp_path / "c", **told, finetune={**FEW, "layer_decay": 0.1}))
    assert other["rows"][2:] == found["rows"][2:], "random weights learn at the full rate in all layers"
    assert task == "classification" or other["rows"][:2] != found["rows"][:2]


def test_the_size_of_a_chip_tells_nothing(tmp_path, rng):
    """One texture in chips whose size is their class: resized, it would tell them apart; cut, it does not."""
    for role, count in (("train", 8), ("test", 25)):
        for name, side in (("large", SIDE + 9), ("small", SIDE)):
            (tmp_path / "chips" / role / name).mkdir(parents=True)
            for number in range(count):
                field = gaussian_filter(rng.normal(size=(side, side)), 1.5, mode="wrap")
                image = Image.fromarray(np.uint8(np.clip(128 + 200 * field, 0, 255)))
                image.save(tmp_path / "chips" / role / name / f"{number}.png")
    vit = ViT(Size(dim=12, depth=1, heads=2), patch=4, rng=torch.Generator().manual_seed(3))
    save_encoder(tmp_path / "ours", Pretrained(vit=vit.eval(), card=Card(), window=4))
    found = probe(
        Probe(
            source=tmp_path / "chips",
            out=tmp_path / "out",
            weights=(tmp_path / "ours",),
            probes=("knn", "finetune"),
            finetune={"steps": 20, "batch": 8},
            side=SIDE,
            fractions=(1.0,),
            draws=1,
            device="cpu",
        )
    )
    assert len(found["rows"]) == 7
    for row in found["rows"]:
        assert abs(row["figures"]["accuracy"]["mean"] - 0.5) < 0.25, row["probe"]


def two(regions, out, **more):
    """Learn in temperate land, be judged in boreal land."""
    there = regions / "boreal" / "tiles"
    told = {"task": "segmentation", "probes": ("knn",), "test_source": there / "s1"}
    return asked(regions, out, **{**told, "test_labels": there / "land_cover", **more})


def test_learn_in_one_region_and_be_judged_in_another(regions, tmp_path, guesses):
    found = probe(two(regions, tmp_path / "a"))
    count = [len(list((regions / one / "tiles" / "s1").glob(f"{role}/*"))) for one, role in PARTS]
    assert found["chips"] == {"train": count[0], "test": count[1], "test_groups": count[1]}
    truth = np.searchsorted(CODES, stored(regions / "boreal" / "tiles" / "land_cover"))
    guess = np.kron(guesses[0].reshape(-1, SIDE // TOKEN, SIDE // TOKEN), np.ones((1, TOKEN, TOKEN), int))
    value = found["rows"][0]["figures"]["accuracy"]["by_draw"][0]
    assert value == pytest.approx(np.mean(guess == truth))
    here = probe(asked(regions, tmp_path / "b", task="segmentation", probes=("knn",)))
    assert here["rows"] != found["rows"]
    place = "tile_0"
    with pytest.raises(DataError, match="expected no chip of one group in two roles"):
        probe(two(regions, tmp_path / "c", group_in_path=place))


def test_a_chip_in_both_regions_is_refused(regions, tmp_path):
    for kind in ("s1", "land_cover"):
        shutil.copytree(regions / "boreal" / "tiles" / kind, tmp_path / kind)
    name = sorted((regions / "temperate" / "tiles" / "s1" / "train").iterdir())[0].name
    for kind in ("s1", "land_cover"):
        shutil.copy(
            regions / "temperate" / "tiles" / kind / "train" / name, tmp_path / kind / "test" / "copy.tif"
        )
    told = {"test_source": tmp_path / "s1", "test_labels": tmp_path / "land_cover"}
    with pytest.raises(DataError, match=r"no chip of one content in two roles, .*copy\.tif in test"):
        probe(two(regions, tmp_path / "out", **told))
    shutil.rmtree(tmp_path / "s1" / "test")
    with pytest.raises(DataError, match="expected chips of role test, found none"):
        probe(two(regions, tmp_path / "out", **told))


def test_classes_of_two_regions_are_matched_by_name(tmp_path, rng):
    """Regions with other classes: c is one class in both, and b is never guessed where it cannot be."""
    levels = {"a": 30, "b": 120, "c": 220}
    for region, names in (("one", "ac"), ("other", "bc")):
        for name in names:
            (tmp_path / region / name).mkdir(parents=True)
            for number in range(6):
                image = rng.normal(levels[name], 5, (SIDE, SIDE)).astype(np.uint8)
                Image.fromarray(image).save(tmp_path / region / name / f"{number}.png")
    found = probe(
        Probe(
            source=tmp_path / "one",
            test_source=tmp_path / "other",
            out=tmp_path / "out",
            probes=("knn_plain",),
            neighbours=1,
            side=SIDE,
            fractions=(1.0,),
            draws=1,
        )
    )
    assert found["classes"] == ["a", "b", "c"]
    figures = found["rows"][0]["figures"]
    assert figures["accuracy"]["mean"] == pytest.approx(0.5)
    assert figures["iou_b"]["mean"] == 0 and figures["iou_c"]["mean"] >= 0.5


def changed(regions, out, kind, change):
    """A copy of the temperate tiles whose files of one kind were changed by `change(values, number)`."""
    shutil.copytree(regions / "temperate" / "tiles", out)
    for number, path in enumerate(sorted((out / kind).rglob("*.tif"))):
        with rasterio.open(path, "r+") as file:
            file.write(change(file.read(), number))
    return out


def holes(values, number, fill=np.nan):
    """Of every third chip the summers are missing, of others some pixels, of one channel or all."""
    values = values.copy()
    if number % 3 == 0:
        values[2::4] = fill
    else:
        values[:, 2:7, 3:5] = fill
        values[4, 9:12] = fill
    return values


def test_gaps_are_seen_channel_by_channel(regions, tmp_path):
    told = {"task": "segmentation", "probes": ("knn", "decoder", "finetune"), "fractions": (1.0,), "draws": 1}
    tiles = changed(regions, tmp_path / "nan", "s1", holes)
    found = probe(asked(regions, tmp_path / "a", **told, source=tiles / "s1", labels=tiles / "land_cover"))
    for row in found["rows"]:
        assert np.isfinite(row["figures"]["miou"]["mean"])
    infinite = changed(regions, tmp_path / "inf", "s1", lambda *one: holes(*one, fill=np.inf))
    same = probe(asked(regions, tmp_path / "b", **told, source=infinite / "s1", labels=tiles / "land_cover"))
    assert same["rows"] == found["rows"], "what stands in a gap reaches nothing"

    def other(values, number):
        if number % 3:
            values[:, 2:7, 3:5] = CODES[0]
        return values

    labels = changed(regions, tmp_path / "labels", "land_cover", other) / "land_cover"
    unseen = probe(asked(regions, tmp_path / "c", **told, source=tiles / "s1", labels=labels))
    assert unseen["rows"] == found["rows"], "nor are pixels judged or learned from that no channel sees"
    nothing = changed(regions, tmp_path / "none", "s1", lambda values, n: values * (np.nan if n == 3 else 1))
    with pytest.raises(DataError, match=r"expected valid pixels in every chip, found none in .*tif"):
        probe(asked(regions, tmp_path / "d", **told, source=nothing / "s1", labels=labels))


def test_what_images_need_is_asked_for(regions, tmp_path, capsys):
    tiles = regions / "temperate" / "tiles"
    pairs = ["probe", str(tiles / "s1"), "--side", str(SIDE), "--out", str(tmp_path / "out")]
    cover = ["--labels", str(tiles / "land_cover")]
    for words, said in (
        ([*cover, "--task", "segmentation", "--probes", "finetune"], "expected --weights to fine-tune"),
        (["--task", "pixel_regression"], "expected --labels, the folder of label images"),
        ([*cover, "--task", "regression", "--probes", "decoder"], "expected probes for regression"),
        ([*cover, "--task", "segmentation", "--test-source", "x"], "expected --test-labels with --labels"),
    ):
        assert main([*pairs, *words]) == 2
        assert said in capsys.readouterr().err
    if not torch.cuda.is_available():
        told = {"task": "segmentation", "probes": ("decoder",), "device": "cuda"}
        with pytest.raises(SettingsError, match="expected a CUDA device, found none"):
            probe(asked(regions, tmp_path / "out", **told))
    assert not (tmp_path / "out").exists()


def test_seasonal_tiles_tell_their_channels_and_unit(tmp_path):
    """Encoders of 12 channels need neither --unit nor --channels on tiles of either kind."""
    region = SimulateSeasons(tiles=(5, 6), side=16)
    tiles = simulate(Simulate(out=tmp_path, product="seasons", region=region, bands=5, seed=1))
    told = {"source": tiles / "s1", "labels": tiles / "built", "task": "regression", "side": 16}
    training = {"epochs": 1, "steps": 1, "batch": 2, "device": "cpu"}
    settings = {"objective": "mae", "options": {"predictor_dim": 8, "predictor_heads": 2}, "size": "micro"}
    own = {**settings, "token": 4, "crop": 4, "chips": 8, "held_out": 2, "training": training}
    pretrain(build(Pretrain, {**own, "source": [tiles / "s1"], "out": tmp_path / "m"}, where="the test"))
    more = {"weights": (tmp_path / "m" / "encoder",), "fractions": (1.0,), "draws": 1, "resamples": 20}
    found = probe(Probe(**told, **more, out=tmp_path / "a"))
    assert {row["features"] for row in found["rows"]} >= {"m", "m, random weights", "pixels"}
    same = probe(Probe(**told, **more, unit="db", channels=CHANNELS, out=tmp_path / "b"))
    assert [row["figures"] for row in same["rows"]] == [row["figures"] for row in found["rows"]]
