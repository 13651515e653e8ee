"""finetune: stacks and an encoder become an encoder of the same format; killed in a phase, it goes on."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from sarcast.cli import main
from sarcast.errors import ArtefactError, DataError, SettingsError
from sarcast.nn.pretrained import load_encoder
from sarcast.runtime.artefact import finished, writing
from sarcast.runtime.settings import build
from sarcast.sar.simulate import SimulateScene, simulate
from sarcast.stack.store import Header, StackWriter
from sarcast.steps.encode import Encode, encode
from sarcast.steps.finetune import Finetune, finetune
from sarcast.steps.pretrain import Pretrain, pretrain
from sarcast.train.loop import Training

SCENE = SimulateScene(shape=(64, 96), dates=26, events=0)
HISTORY = 12
SHORT = Training(epochs=2, steps=2, batch=2, device="cpu")


def write(path, stack, *, dates, change=1.0):
    """The stack's first dates; those after history multiplied by `change`."""
    header = Header(
        name=path.parent.name, bands=stack.bands, geobox=stack.geobox, radiometry="sigma0", attributes={}
    )
    with writing(path, settings={"dates": dates, "change": change}, inputs={}) as partial:
        writer = StackWriter(partial, header)
        writer.lay_out(stack.times.take(np.arange(dates)))
        for t, scene in enumerate(stack.times.scene_id[:dates]):
            amplitude = stack.amplitude[t] * (1 if t < HISTORY else change)
            writer.write_block(scene, (0, 0), amplitude.astype(np.float32), stack.valid[t])
    times = stack.times
    told = [
        {"scene_id": s, "time": f"{t}Z", "usable": True}
        for s, t in zip(times.scene_id[:dates], times.time[:dates], strict=True)
    ]
    quality = {"cutoff": f"{times.time[HISTORY - 1]}Z", "dates": told}
    (path.parent / "quality.json").write_text(json.dumps(quality))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """run/ with one stack, and encoder/ from which to start; copy before changing anything."""
    folder = tmp_path_factory.mktemp("place")
    stack = simulate(SCENE, rng=np.random.default_rng(0)).stack
    write(folder / "run" / "stacks" / "a" / "stack.zarr", stack, dates=24)
    pretrain(
        Pretrain(
            out=folder,
            source=(folder / "run",),
            size="micro",
            crop=4,
            chips=10,
            held_out=4,
            options={"radii": (2,)},
            training=Training(epochs=1, steps=1, batch=2, device="cpu"),
        )
    )
    return folder


def settings(place, out, **more):
    given = {
        "source": (place / "run",),
        "out": out,
        "weights": place / "encoder",
        "sequences": 6,
        "held_out": 3,
        "cell": 16,
        "predictor_width": 16,
        "predictor_layers": 1,
        "phase_a": SHORT,
        "phase_b": SHORT,
    }
    return Finetune(**{**given, **more})


def same(a, b):
    return all(
        (a / name).read_bytes() == (b / name).read_bytes()
        for name in ("log.csv", "model.safetensors", "config.json")
    )


def test_a_stack_becomes_a_tuned_encoder_that_encode_reads(place, tmp_path, capsys):
    folder = finetune(settings(place, tmp_path))
    assert folder == tmp_path / "encoder" and finished(folder)
    assert not list(tmp_path.glob(".encoder.training*"))
    with (folder / "log.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert [(row["phase"], row["epoch"]) for row in lines] == [(p, str(e)) for p in "AB" for e in range(3)]
    assert all(np.isfinite(float(v)) for row in lines for k, v in row.items() if k != "phase")
    assert float(lines[0]["skill_mean"]) == pytest.approx(0, abs=1e-6)
    assert [lines[2][k] for k in ("held_out", "rank")] == [lines[3][k] for k in ("held_out", "rank")]
    before, after = load_encoder(place / "encoder"), load_encoder(folder)
    assert (after.card, after.vit.patch, after.window) == (before.card, before.vit.patch, before.window)
    about = after.about
    assert about["stages"] == ["pretrain", "finetune"] and about["stacks"] == ["a"]
    assert about["judged_dates_seen"] is False and about["objective"] == "across_dates"
    told = {k: about["finetune"][k] for k in ("context", "seed", "cell", "dates", "stacks")}
    assert told == {"context": 7, "seed": 0, "cell": 16, "dates": HISTORY, "stacks": ["a"]}
    changed = {
        name
        for (name, a), b in zip(before.vit.named_parameters(), after.vit.parameters(), strict=True)
        if not a.equal(b)
    }
    assert changed == {name for name, _ in before.vit.named_parameters()}
    shown = capsys.readouterr().err
    assert "skill/last" in shown and "A  2/2" in shown and "B  2/2" in shown
    assert finetune(settings(place, tmp_path)) == folder and capsys.readouterr().err == ""
    stack = place / "run" / "stacks" / "a" / "stack.zarr"
    options = {"weights": str(folder), "patch": 16, "device": "cpu"}
    assert finished(
        encode(Encode(stack=stack, encoder="vit", options=options, out=tmp_path / "f" / "features.zarr"))
    )


@pytest.mark.parametrize("target", ["live", "ema"])
def test_every_target_is_repeatable(place, tmp_path, target):
    a, b = (finetune(settings(place, tmp_path / name, target=target)) for name in "ab")
    assert same(a, b)
    other = finetune(settings(place, tmp_path / "c", target=target, seed=1))
    assert (a / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


def test_later_dates_change_nothing_and_train_nothing(place, tmp_path, capsys):
    """Neither other pixels on judged dates nor more dates; but `all` sees them, and says so."""
    mine = tmp_path / "mine"
    shutil.copytree(place, mine)
    folder = finetune(settings(mine, tmp_path))
    first = (folder / "model.safetensors").stat().st_mtime_ns
    stack = simulate(SCENE, rng=np.random.default_rng(0)).stack
    write(mine / "run" / "stacks" / "a" / "stack.zarr", stack, dates=26, change=3.0)
    capsys.readouterr()
    assert finetune(settings(mine, tmp_path)) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == first and capsys.readouterr().err == ""
    again = finetune(settings(mine, tmp_path / "again"))
    assert same(folder, again)
    every = finetune(settings(mine, tmp_path / "all", dates="all"))
    assert load_encoder(every).about["judged_dates_seen"] is True
    further = finetune(settings(mine, tmp_path / "further", weights=every))
    about = load_encoder(further).about
    assert about["judged_dates_seen"] is True and about["stages"] == ["pretrain", "finetune", "finetune"]


def test_phase_a_leaves_the_first_blocks_alone(place, tmp_path):
    told = settings(place, tmp_path, blocks=1, encoder_share=(1.0, 0.0))
    before, after = load_encoder(place / "encoder"), load_encoder(finetune(told))
    for (name, a), b in zip(before.vit.named_parameters(), after.vit.parameters(), strict=True):
        assert a.equal(b) != name.startswith(("blocks.3.", "norm.")), name


def test_what_cannot_work_is_refused(place, tmp_path):
    with pytest.raises(ArtefactError, match="found none, in"):
        finetune(settings(place, tmp_path, source=(tmp_path,)))
    with pytest.raises(DataError, match="at least 14 usable dates to forecast from 13, found 12, in stack a"):
        finetune(settings(place, tmp_path, context=13, length=20))
    with pytest.raises(DataError, match="at least 64 x 128 px"):
        finetune(settings(place, tmp_path, crop=8))
    for told, said in (
        ({"source": ()}, "at least 1 item"),
        ({"length": 7}, "length must be more than context"),
        ({"predictor_heads": 3}, "must divide"),
        ({"phase_a": SHORT.model_copy(update={"batch": 1})}, "2 places or more"),
        ({"phase_a": SHORT.model_copy(update={"precision": "bf16"})}, "must have one precision"),
    ):
        values = {**settings(place, tmp_path).model_dump(), **told}
        with pytest.raises(SettingsError, match=said):
            build(Finetune, values, where="the test")
    assert not (tmp_path / "encoder").exists()


def test_the_verb_reads_flags(place, tmp_path, capsys):
    words = [
        "finetune",
        "--source",
        str(place / "run"),
        "--out",
        str(tmp_path),
        "--weights",
        str(place / "encoder"),
    ]
    assert main([*words, "--target", "ema", "--phase-b.epochs", "3", "--context", "5", "--dry-run"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["target"], shown["phase_b"]["epochs"], shown["context"]) == ("ema", 3, 5)
    assert main([*words[:4], str(tmp_path), "--weights", str(tmp_path / "none")]) == 2


def script_of(told):
    return (
        "import os, torch; torch.set_num_threads(1)\n"
        "from sarcast.steps.finetune import Finetune, finetune\n"
        f"finetune(Finetune.model_validate_json({told.model_dump_json()!r}))"
    )


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["A", "B"])
def test_kill_9_in_either_phase_then_again_writes_the_same_bytes(place, tmp_path, phase):
    more = {"phase_a": Training(epochs=6, steps=3, batch=2, device="cpu"), "target": "ema"}
    more["phase_b"] = more["phase_a"]
    whole = finetune(settings(place, tmp_path / "whole", **more))
    told = settings(place, tmp_path / "killed", **more)
    state = tmp_path / "killed" / f".encoder.training-{phase}.safetensors"
    process = subprocess.Popen([sys.executable, "-c", script_of(told)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert state.exists() and not (tmp_path / "killed" / "encoder").exists()
    assert same(finetune(told), whole)
    assert not state.exists()


@pytest.mark.slow
def test_two_processes_equal_one(place, tmp_path):
    more = {"phase_a": Training(epochs=1, steps=2, batch=2, parts=2, device="cpu"), "target": "ema"}
    more["phase_b"] = more["phase_a"]
    whole = finetune(settings(place, tmp_path / "whole", **more))
    script = tmp_path / "script.py"
    script.write_text(script_of(settings(place, tmp_path / "two", **more)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "2"]
    words += ["--master-addr", "127.0.0.1", "--master-port", str(port), str(script)]
    done = subprocess.run(
        [sys.executable, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    logs = []
    for folder in (whole, tmp_path / "two" / "encoder"):
        with (folder / "log.csv").open() as stream:
            logs.append(
                [[float(v) for k, v in row.items() if k != "phase"] for row in csv.DictReader(stream)]
            )
    np.testing.assert_allclose(logs[1], logs[0], atol=1e-4, rtol=1e-4)
