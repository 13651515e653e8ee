"""pretrain: from stacks or simulated scenes to an encoder that `encode` reads; killed, it goes on."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sarcast.cli import VERBS, main
from sarcast.encoders.vit import Vit
from sarcast.errors import ArtefactError, DataError, SettingsError, StackError
from sarcast.nn.card import Card
from sarcast.nn.pretrained import load_encoder
from sarcast.runtime.artefact import finished, require
from sarcast.sar.simulate import SimulateScene, simulate
from sarcast.stack.store import Header, StackWriter
from sarcast.steps.encode import Encode, encode
from sarcast.steps.pretrain import Pretrain, pretrain
from sarcast.train.loop import Training

OPTIONS = {"predictor_dim": 24, "predictor_depth": 1, "predictor_heads": 2, "radii": (2, 4)}
TINY = Training(epochs=1, steps=2, batch=2, device="cpu")
SCENE = SimulateScene(shape=(64, 96), dates=12, events=0)


def settings(out, **more):
    given = {
        "out": out,
        "simulated": 1,
        "scene": SCENE,
        "objective": "gradient_jepa",
        "options": OPTIONS,
        "size": "micro",
        "crop": 5,
        "chips": 20,
        "held_out": 6,
        "training": Training(epochs=2, steps=3, batch=2, device="cpu"),
    }
    return Pretrain(**{**given, **more})


@pytest.fixture
def stack_of(tmp_path):
    """Write a simulated stack as a run folder has it."""

    def write(name="a", radiometry="sigma0", seed=0, scene=SCENE):
        from sarcast.runtime.artefact import writing

        stack = simulate(scene, rng=np.random.default_rng(seed)).stack
        path = tmp_path / "run" / "stacks" / name / "stack.zarr"
        header = Header(
            name=name, bands=stack.bands, geobox=stack.geobox, radiometry=radiometry, attributes={}
        )
        with writing(path, settings={}, inputs={}) as partial:
            writer = StackWriter(partial, header)
            writer.lay_out(stack.times)
            for t, scene in enumerate(stack.times.scene_id):
                writer.write_block(scene, (0, 0), np.asarray(stack.amplitude[t]), np.asarray(stack.valid[t]))
        return path

    return write


def test_simulated_scenes_become_an_encoder(tmp_path, capsys):
    folder = pretrain(settings(tmp_path))
    assert folder == tmp_path / "encoder"
    require(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "log.csv", "model.safetensors"]
    assert not list(tmp_path.glob(".encoder*"))
    with (folder / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["0", "3", "6"]
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
    found = load_encoder(folder)
    assert (found.vit.patch, found.window, found.card.unit) == (8, 5, "sigma0")
    assert found.about["objective"] == "gradient_jepa" and not found.about["judged_dates_seen"]
    assert found.about["images"] == 12
    shown = capsys.readouterr().err
    assert "error/variance" in shown and "2/2" in shown
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert pretrain(settings(tmp_path)) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert capsys.readouterr().err == ""


def test_the_predictor_is_small_unless_asked(tmp_path):
    told = settings(
        tmp_path, options={"predictor_heads": 2}, training=Training(epochs=1, steps=1, batch=1, device="cpu")
    )
    options = load_encoder(pretrain(told)).about["options"]
    found = [options[f"predictor_{name}"] for name in ("dim", "depth", "heads")]
    assert found == [48, 2, 2]


@pytest.mark.parametrize(
    ("objective", "options"),
    [("mae", {"predictor_heads": 2}), ("dino", {"locals": 2, "head_dim": 16, "prototypes": 16})],
)
def test_other_objectives_go_end_to_end_and_go_on_exactly(tmp_path, objective, options, monkeypatch):
    """Stopped after its first epoch, a training ends as one that was not."""
    more = {"objective": objective, "options": options}
    whole = pretrain(settings(tmp_path / "whole", **more))
    told = settings(tmp_path / "stopped", **more)
    from sarcast.train import loop

    def stop(*given, **named):
        save_state(*given, **named)
        raise KeyboardInterrupt

    save_state = loop.save_state
    monkeypatch.setattr(loop, "save_state", stop)
    with pytest.raises(KeyboardInterrupt):
        pretrain(told)
    monkeypatch.setattr(loop, "save_state", save_state)
    again = pretrain(told)
    for name in ("log.csv", "model.safetensors", "config.json"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    with (whole / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["0", "3", "6"]
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
    assert load_encoder(whole).about["objective"] == objective


def test_bands_seen_together_by_a_card_that_names_them(tmp_path, stack_of):
    card = {"name": "db_channels", "channels": ("VV-VH", "VV"), "zero_db": (-5, -25), "one_db": (20, 5)}
    stack_of(scene=SCENE.model_copy(update={"kind": "opera"}))
    more = {"simulated": 0, "source": (tmp_path / "run",), "card": card, "training": TINY}
    folder = pretrain(settings(tmp_path / "out", objective="mae", options={"predictor_heads": 2}, **more))
    found = load_encoder(folder)
    assert found.vit.channels == 2 and found.card.channels == ("VV-VH", "VV") and found.card.unit == "sigma0"
    again = pretrain(settings(tmp_path / "on", start=folder, **{**more, "card": Card()}))
    assert load_encoder(again).card == found.card and load_encoder(again).vit.channels == 2
    with pytest.raises(StackError, match="expected bands HH, VV, found VH, VV, in stack"):
        pretrain(settings(tmp_path, **{**more, "card": {**card, "channels": ("HH", "VV")}}))


def test_same_seed_same_bytes(tmp_path):
    a, b, c = (
        pretrain(settings(tmp_path / name, seed=seed)) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    for name in ("config.json", "model.safetensors", "log.csv"):
        assert (a / name).read_bytes() == (b / name).read_bytes()
    assert (a / "model.safetensors").read_bytes() != (c / "model.safetensors").read_bytes()


def test_a_stack_becomes_an_encoder_of_its_history_and_that_features(tmp_path, stack_of):
    path = stack_of()
    folder = pretrain(settings(tmp_path / "out", simulated=0, source=(tmp_path / "run",)))
    about = load_encoder(folder).about
    assert about["stacks"] == ["a"] and about["judged_dates_seen"] is False
    every = pretrain(settings(tmp_path / "all", simulated=0, source=(path,), dates="all"))
    assert load_encoder(every).about["judged_dates_seen"] is True
    options = {"weights": str(folder), "patch": 16, "device": "cpu"}
    target = encode(Encode(stack=path, encoder="vit", options=options))
    assert finished(target)
    run = json.loads((path.parent / "run.json").read_text())["features.zarr"]
    assert set(run["settings"]["files"]) == {"config.json", "model.safetensors"}
    from sarcast.stack.cells import read_features

    found = read_features(target)
    assert found.encoder == "vit" and found.values.shape == (12, 4, 6, 2 * 96)
    from sarcast.stack.store import read_stack

    mine = Vit(weights=folder, patch=16, device="cpu")
    assert Vit(weights=every, patch=16, device="cpu").encode(read_stack(path), [0]).encoder == "vit-seen"
    np.testing.assert_allclose(mine.encode(read_stack(path)).values, found.values, atol=2e-2)


def test_judged_dates_reach_no_weight(tmp_path, stack_of):
    """Other pixels on judged dates, same encoder."""
    path = stack_of()
    a = pretrain(settings(tmp_path / "a", simulated=0, source=(path,)))
    from sarcast.runtime.artefact import writing
    from sarcast.stack.store import read_stack

    stack = read_stack(path, lazy=False)
    header = Header(
        name="a", bands=stack.bands, geobox=stack.geobox, radiometry=stack.radiometry, attributes={}
    )
    with writing(path, settings={}, inputs={}) as partial:
        writer = StackWriter(partial, header)
        writer.lay_out(stack.times)
        for t, scene in enumerate(stack.times.scene_id):
            amplitude = stack.amplitude[t] * (1 if t < 10 else 5)
            writer.write_block(scene, (0, 0), amplitude.astype(np.float32), stack.valid[t])
    b = pretrain(settings(tmp_path / "b", simulated=0, source=(path,)))
    assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
    c = pretrain(settings(tmp_path / "c", simulated=0, source=(path,), dates="all"))
    assert (a / "model.safetensors").read_bytes() != (c / "model.safetensors").read_bytes()


def test_what_cannot_work_is_refused(tmp_path, stack_of):
    with pytest.raises(SettingsError, match="expected a source or simulated images"):
        pretrain(settings(tmp_path, simulated=0))
    with pytest.raises(SettingsError, match="expected an objective in"):
        pretrain(settings(tmp_path, objective="hog"))
    with pytest.raises(SettingsError, match="unknown setting 'radius' in objective gradient_jepa"):
        pretrain(settings(tmp_path, options={"radius": 3}))
    with pytest.raises(ArtefactError, match=r"a run folder or a stack\.zarr, found none"):
        pretrain(settings(tmp_path, source=(tmp_path / "nowhere",)))
    with pytest.raises(DataError, match="at least 80 x 160 px"):
        pretrain(settings(tmp_path, crop=10))
    stack_of("raw", "uncalibrated")
    with pytest.raises(StackError, match="all calibrated or all not, found sigma0, uncalibrated"):
        pretrain(settings(tmp_path, source=(tmp_path / "run",)))
    assert not (tmp_path / "encoder").exists()


def test_the_verb_reads_flags(tmp_path, capsys):
    assert VERBS["pretrain"].settings == "Pretrain"
    words = ["pretrain", "--out", str(tmp_path), "--size", "micro", "--training.epochs", "3", "--dry-run"]
    assert main([*words, "--options.level", "true"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["size"] == "micro" and shown["training"]["epochs"] == 3
    assert shown["options"] == {"level": True}
    assert main(["pretrain", "--out", str(tmp_path)]) == 2
    assert "expected a source or simulated images" in capsys.readouterr().err


@pytest.mark.slow
def test_kill_9_then_again_writes_the_same_bytes(tmp_path):
    more = {"training": Training(epochs=12, steps=4, batch=2, device="cpu")}
    whole = pretrain(settings(tmp_path / "whole", **more))
    told = settings(tmp_path / "killed", **more)
    code = (
        "import torch; torch.set_num_threads(1)\n"
        "from sarcast.steps.pretrain import Pretrain, pretrain\n"
        f"pretrain(Pretrain.model_validate_json({told.model_dump_json()!r}))"
    )
    state = tmp_path / "killed" / ".encoder.training.safetensors"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert state.exists() and not (tmp_path / "killed" / "encoder").exists()
    again = pretrain(told)
    for name in ("log.csv", "model.safetensors", "config.json"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert not state.exists()
