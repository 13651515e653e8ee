"""sarcast probe, from folders, tables, archives and GeoTIFF pairs to figures; what must not leak does not."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio import Affine

from sarcast.cli import main
from sarcast.encoders.chips import chip_tokens, untrained
from sarcast.errors import DataError, SettingsError
from sarcast.nn.card import Card, scaled_db
from sarcast.nn.pretrained import Pretrained, save_encoder
from sarcast.nn.vit import Size, ViT
from sarcast.probes.goals import Goal
from sarcast.steps import probe_judge, probe_rows
from sarcast.steps.probe import Probe, as_text, probe
from sarcast.steps.probe_chips import token_goal

SIDE = 16


def encoder(*, channels=1, card=None, window=2):
    vit = ViT(
        Size(dim=12, depth=1, heads=2), patch=4, channels=channels, rng=torch.Generator().manual_seed(3)
    )
    return Pretrained(vit=vit.eval(), card=card or Card(), window=window)


@pytest.fixture
def weights(tmp_path):
    save_encoder(tmp_path / "ours" / "encoder", encoder())
    return tmp_path / "ours" / "encoder"


def speckle(rng, kind):
    """Chips of three classes: dim and rough, bright and rough, bright and smooth; float (y, x)."""
    looks = (1, 1, 12)[kind]
    return np.clip((40, 90, 90)[kind] * rng.gamma(looks, 1 / looks, (SIDE, SIDE)), 0, 255)


@pytest.fixture
def folder(tmp_path, rng):
    """Chips by role and class, larger than what is used of them."""
    for role, count in (("train", 12), ("test", 6)):
        for kind, name in enumerate(("field", "town", "water")):
            (tmp_path / "chips" / role / name).mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(np.pad(speckle(rng, kind).astype(np.uint8), kind))
                image.save(tmp_path / "chips" / role / name / f"{number}.png")
    return tmp_path / "chips"


def settings(source, out, **more):
    usual = {"side": SIDE, "draws": 2, "resamples": 40, "fractions": (0.1, 1.0), "pixel_side": 4}
    return Probe(source=source, out=out, **{**usual, **more})


def figure(found, features, probe, labels, name):
    rows = [r for r in found["rows"] if (r["features"], r["probe"], r["labels"]) == (features, probe, labels)]
    return rows[0]["figures"][name]


def test_chips_of_classes_end_to_end(folder, weights, tmp_path, capsys):
    found = probe(settings(folder, tmp_path / "a", weights=(weights,)))
    assert {row["features"] for row in found["rows"]} == {
        "pixels",
        "pixels, unit chips",
        "statistics",
        "ours",
        "ours, random weights",
    }
    assert {row["probe"] for row in found["rows"]} == {"knn", "logistic", "linear"}
    assert found["chips"] == {"train": 36, "test": 18, "test_groups": 18}
    known = figure(found, "statistics", "logistic", "100 %", "accuracy")
    assert known["mean"] == 1 and known["by_draw"] == [1, 1]
    for row in found["rows"]:
        one = row["figures"]["accuracy"]
        assert one["low"] <= one["mean"] <= one["high"]
        assert row["count"] == {"10 %": 4, "100 %": 36}[row["labels"]]
    assert {row["less"] for row in found["differences"]} == {row["features"] for row in found["rows"]} - {
        "ours"
    }
    again = probe(settings(folder, tmp_path / "b", weights=(weights,)))
    assert again["rows"] == found["rows"], "to the last digit"
    text = as_text(found)
    assert "logistic" in text and "ours, random weights" in text
    words = ["probe", str(folder), "--out", str(tmp_path / "c"), "--side", str(SIDE), "--draws", "1"]
    few = ["--shots", "2", "--neighbours", "1", "--linear.steps", "3", "--probes", "knn", "linear"]
    assert main([*words, *few, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["labels"] for row in told["rows"]] == ["2 a class"] * 6


def test_the_same_again_is_only_read(folder, tmp_path, monkeypatch):
    asked = settings(folder, tmp_path / "out", probes=("knn",))
    found = probe(asked)
    monkeypatch.setattr(probe_rows, "estimates", lambda *_: pytest.fail("computed again"))
    assert probe(asked) == found


def test_labels_of_the_test_role_choose_nothing(folder, weights, tmp_path, monkeypatch):
    guesses = []
    counted = probe_judge.Judge.counts

    def listen(judge, guess):
        guesses[-1].append(guess)
        return counted(judge, guess)

    monkeypatch.setattr(probe_judge.Judge, "counts", listen)
    for out in ("a", "b"):
        guesses.append([])
        probe(settings(folder, tmp_path / out, weights=(weights,)))
        for new, old in (("x", "field"), ("field", "water"), ("water", "town"), ("town", "x")):
            (folder / "test" / old).rename(folder / "test" / new)
    order = np.r_[12:18, 0:6, 6:12]
    for one, other in zip(*guesses, strict=True):
        assert np.bincount(one, minlength=3).tolist() == np.bincount(other, minlength=3).tolist()
    moved = [
        np.array_equal(a, b[order]) or np.array_equal(a[order], b) for a, b in zip(*guesses, strict=True)
    ]
    assert all(moved)


def test_a_chip_in_both_roles_is_refused(folder, tmp_path):
    copy = (folder / "train" / "town" / "0.png").read_bytes()
    (folder / "test" / "water" / "copy.png").write_bytes(copy)
    with pytest.raises(DataError, match="expected no chip of one content in two roles"):
        probe(settings(folder, tmp_path / "out"))


def archive(path, rng):
    """Chips of a ZIP archive whose number is their level; four chips of each place."""
    told = io.StringIO()
    lines = csv.writer(told)
    lines.writerow(["path", "level", "place"])
    with zipfile.ZipFile(path, "w") as held:
        for number in range(48):
            level, data = 30 + 3 * number, io.BytesIO()
            pixels = np.clip(level * rng.gamma(8, 1 / 8, (SIDE, SIDE)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(data, "PNG")
            held.writestr(f"{number}.png", data.getvalue())
            lines.writerow([f"{number}.png", level, number // 4])
        held.writestr("list.csv", told.getvalue())


def test_numbers_from_an_archive(tmp_path, rng, capsys):
    archive(tmp_path / "chips.zip", rng)
    asked = settings(
        tmp_path / "chips.zip",
        tmp_path / "out",
        task="regression",
        label="level",
        group="place",
        test_share=0.25,
    )
    found = probe(asked)
    assert found["chips"] == {"train": 36, "test": 12, "test_groups": 3}
    assert figure(found, "statistics", "ridge", "100 %", "r2")["mean"] > 0.9
    error = figure(found, "statistics", "ridge", "100 %", "rmse")
    assert 0 < error["low"] <= error["mean"] < 12
    assert main(["probe", str(tmp_path / "chips.zip"), "--task", "regression", "--side", "16"]) == 2
    assert "expected columns path, label" in capsys.readouterr().err


@pytest.fixture
def pairs(tmp_path, rng):
    """Twelve chips of two channels in dB: land of class 10 and water of class 80, some pixels of no label."""
    for number in range(12):
        water = np.add.outer(np.arange(SIDE), np.arange(SIDE)) > rng.integers(8, 24)
        db = np.stack([np.where(water, -20, -8), np.where(water, -28, -14)]) + rng.normal(
            size=(2, SIDE, SIDE)
        )
        label = np.where(water, 80, 10)[None].astype(np.uint8)
        label[0, 0, :4] = 255
        for name, values in (("s1", db.astype(np.float32)), ("cover", label), ("share", water[None] * 1.0)):
            (tmp_path / name).mkdir(exist_ok=True)
            profile = {"driver": "GTiff", "height": SIDE, "width": SIDE, "count": len(values)}
            place = {"crs": "EPSG:32630", "transform": Affine(10, 0, 5e5 + 999 * number, 0, -10, 4e6)}
            kind = {"dtype": values.dtype}
            with rasterio.open(tmp_path / name / f"{number}.tif", "w", **profile, **place, **kind) as file:
                file.write(values)
    return tmp_path


def test_classes_of_pixels(pairs, weights):
    asked = settings(
        pairs / "s1",
        pairs / "out",
        task="segmentation",
        labels=pairs / "cover",
        classes={10: "land", 80: "water"},
        ignored=(255,),
        weights=(weights,),
        unit="db",
    )
    found = probe(asked)
    assert found["token"] == 4
    best = figure(found, "statistics", "linear", "100 %", "miou")
    assert 0.7 < best["mean"] <= found["ceiling"] < 1
    assert set(found["rows"][0]["figures"]) == {
        *("accuracy", "macro_f1", "miou", "iou_land", "iou_water"),
        "miou_mean_of_chips",
    }
    with pytest.raises(SettingsError, match="expected --unit"):
        probe(asked.model_copy(update={"unit": None}))
    with pytest.raises(SettingsError, match="expected a side that tokens of 4 px divide, found 15"):
        probe(asked.model_copy(update={"side": 15}))


def test_label_images_of_numbers_are_averaged(pairs):
    found = probe(settings(pairs / "s1", pairs / "out", task="regression", labels=pairs / "share"))
    assert figure(found, "pixels", "ridge", "100 %", "r2")["mean"] > 0.5


def test_what_does_not_go_together_is_refused(folder, tmp_path, capsys):
    for words, said in (
        (["--probes", "ridge"], "expected probes for classification, found ridge"),
        (["--task", "regression"], "expected labels for regression, found classification"),
        (["--task", "segmentation"], "expected --labels"),
        (["--shots", "99"], "expected 99 samples of every class to label, found 12"),
        (["--weights", "sarcast-tiny", "sarcast-tiny"], "expected weights of different names"),
    ):
        assert main(["probe", str(folder), "--side", "16", "--out", str(tmp_path / "out"), *words]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "estimates.json").exists()


def test_tokens_are_read_in_windows_channel_by_channel(rng):
    one, pixels = encoder(window=3), rng.normal(-10, 3, (2, 2, SIDE, SIDE)).astype(np.float32)
    valid = np.ones((2, SIDE, SIDE), bool)
    found = chip_tokens(one, pixels, valid, unit="db", batch=1)
    assert found.shape == (2, 4, 4, 24)
    with torch.no_grad():
        scaled = torch.from_numpy(scaled_db(pixels[1:, 1:, 4:, 4:], one.card))
        expected = one.vit(scaled)[0].numpy()
    np.testing.assert_allclose(found[1, 1:, 1:, 12:], expected, atol=1e-5)
    power = chip_tokens(one, 10 ** (pixels / 10), valid, unit="power")
    amplitude = chip_tokens(one, 10 ** (pixels / 20), valid, unit="amplitude")
    np.testing.assert_allclose(power, found, atol=1e-3)
    np.testing.assert_allclose(amplitude, found, atol=1e-3)
    with pytest.raises(DataError, match="expected 3 channels"):
        chip_tokens(encoder(channels=3), pixels, valid, unit="db")


def test_the_random_control_has_the_same_size_and_other_weights():
    one = encoder()
    other, same = untrained(one, seed=0), untrained(one, seed=0)
    assert other.vit.size == one.vit.size and other.window == one.window
    weight = [e.vit.patch_embed.proj.weight for e in (one, other, same)]
    assert not torch.equal(weight[0], weight[1])
    assert torch.equal(weight[1], weight[2])


def test_a_token_has_the_commonest_label_or_the_mean():
    labels = np.full((1, 4, 4), -1)
    labels[0, :2, :2] = [[0, 1], [1, -1]]
    labels[0, 2:, 2:] = 2
    found = token_goal(Goal(labels=labels, known=labels >= 0, classes=3), 2)
    np.testing.assert_array_equal(found.known, [[[True, False], [False, True]]])
    np.testing.assert_array_equal(found.labels[found.known], [1, 2])
    numbers = token_goal(Goal(labels=labels / 2, known=labels >= 0, classes=0), 2)
    np.testing.assert_array_equal(numbers.known, found.known)
    np.testing.assert_allclose(numbers.labels[numbers.known], [1 / 3, 1])
