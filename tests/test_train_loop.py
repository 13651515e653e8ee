"""The loop: interrupted or not, by one process or two, the same losses; and what is learned is learned."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sarcast.errors import ArtefactError, DataError, SettingsError
from sarcast.nn.card import Card
from sarcast.nn.vit import Size, ViT
from sarcast.objectives import OBJECTIVES
from sarcast.train.augment import Augment
from sarcast.train.checkpoint import History, load_state, save_state, tensors_of
from sarcast.train.chips import Chips, as_input, batch
from sarcast.train.loop import Training, processes, train
from sarcast.train.schedule import groups

HEAD = {"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2}
OPTIONS = {
    "local_masked_gradient": {**HEAD, "window": (3, 4), "windows": 2, "radii": (2, 3)},
    "gradient_jepa": {**HEAD, "radii": (2, 3)},
}
SHARED = {**OPTIONS, "dino": {"locals": 2, "head_dim": 16, "prototypes": 16, "decay": (0.9, 1.0)}}
PAIRS = [*((name, way) for name in OPTIONS for way in ("ddp", "fsdp")), ("dino", "ddp")]


def run(objective, state, *, on_step=None, fingerprint="a", **settings):
    """A tiny training of 4 epochs of 3 steps; (history, module, lines reported)."""
    rng = np.random.default_rng(5)
    power = rng.gamma(4, 0.05, (20, 40, 40)).astype(np.float32)
    chips = Chips(power=power, valid=rng.random(power.shape) > 0.02)
    told = Training(**{"epochs": 4, "steps": 3, "batch": 3, "parts": 2, "device": "cpu", **settings})
    seed = torch.Generator().manual_seed(1)
    vit = ViT(Size(dim=24, depth=2, heads=2), patch=4, rng=seed)
    module = OBJECTIVES[objective](**SHARED[objective]).module(vit, rng=seed)
    lines = []

    def draw(step, part):
        if on_step:
            on_step(step)
        at = np.random.default_rng([7, step, part])
        return batch(chips, Card(), Augment(looks=20), size=told.batch, crop=24, rng=at)

    with processes(told) as fabric:
        history = train(
            module,
            draw,
            told,
            held_out=as_input(power[:4, :24, :24], chips.valid[:4, :24, :24], Card()),
            fabric=fabric,
            state=Path(state),
            fingerprint=fingerprint,
            seed=3,
            report=lambda line, _: lines.append(line),
        )
    return history, module, lines


SCRIPT = f"""
import importlib.util, json, os, signal, sys, torch
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("loop_test", {__file__!r})
test = importlib.util.module_from_spec(spec)
spec.loader.exec_module(test)
objective, state, kill_at, strategy = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

def on_step(step):
    if step == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

history, module, _ = test.run(objective, state, on_step=on_step, strategy=strategy)
assert not torch.distributed.is_initialized(), "gloo's threads outlive the interpreter and abort it"
if os.environ.get("RANK", "0") == "0":
    torch.save(module.state_dict(), state + ".pt")
    print("LOSSES " + json.dumps([history.losses, [line.held_out for line in history.epochs]]))
sys.stdout.flush()
os._exit(0)  # as the command does: gloo's threads may outlive the interpreter and abort it
"""


def in_process(words, **environment):
    return subprocess.run(
        [sys.executable, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def losses_of(done):
    line = next(line for line in done.stdout.splitlines() if line.startswith("LOSSES "))
    return json.loads(line.removeprefix("LOSSES "))


@pytest.mark.parametrize("objective", OPTIONS)
def test_repeatable_and_reported(objective, tmp_path):
    a, module, lines = run(objective, tmp_path / "a")
    b, _, _ = run(objective, tmp_path / "b")
    assert a == b and len(a.losses) == 12 and np.isfinite(a.losses).all()
    assert lines == a.epochs and [line.step for line in lines] == [0, 3, 6, 9, 12]
    assert a.epochs[-1].loss == pytest.approx(np.mean(a.losses[-3:]))
    assert a.epochs[-1].held_out < a.epochs[0].held_out
    if objective == "gradient_jepa":
        pairs = zip(module.encoder.parameters(), module.target.parameters(), strict=True)
        assert any(not torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("objective", OPTIONS)
def test_goes_on_exactly_where_it_was(objective, tmp_path):
    whole, module, _ = run(objective, tmp_path / "whole")

    def stop(step):
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(objective, tmp_path / "part", on_step=stop)
    seen = []
    again, resumed, lines = run(objective, tmp_path / "part", on_step=seen.append)
    assert min(seen) == 6, "from the checkpoint after the second epoch on"
    assert again == whole and [line.epoch for line in lines] == [3, 4]
    assert all(
        torch.equal(x, y)
        for x, y in zip(module.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


@pytest.mark.slow
def test_kill_9_and_again_equals_an_uninterrupted_training(tmp_path):
    whole, _, _ = run("gradient_jepa", tmp_path / "whole")
    script, state = tmp_path / "script.py", str(tmp_path / "state")
    script.write_text(SCRIPT)
    killed = in_process([str(script), "gradient_jepa", state, "8", "auto"])
    assert killed.returncode == -signal.SIGKILL and "LOSSES" not in killed.stdout
    done = in_process([str(script), "gradient_jepa", state, "-1", "auto"])
    assert done.returncode == 0, done.stderr
    losses, held_out = losses_of(done)
    np.testing.assert_allclose(losses, whole.losses, atol=1e-6, rtol=0)
    np.testing.assert_allclose(held_out, [line.held_out for line in whole.epochs], atol=1e-6, rtol=0)


def torchrun(tmp_path, *words):
    """The script in two processes, which talk through gloo over the loopback."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = ["-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "2"]
    start += ["--master-addr", "127.0.0.1", "--master-port", str(port), str(script)]
    return in_process([*start, *words], GLOO_SOCKET_IFNAME="lo")


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "strategy"), PAIRS)
def test_two_processes_equal_one(objective, strategy, tmp_path):
    """The same parts, shared, give the same losses and whole weights; with FSDP also after a kill."""
    whole, module, _ = run(objective, tmp_path / "whole")
    state = str(tmp_path / "two")
    if strategy == "fsdp" and objective == "local_masked_gradient":
        assert torchrun(tmp_path, objective, state, "8", strategy).returncode != 0
        assert Path(state).exists() and not Path(f"{state}.pt").exists()
    done = torchrun(tmp_path, objective, state, "-1", strategy)
    assert done.returncode == 0, done.stderr[-3000:]
    losses, held_out = losses_of(done)
    close = {"atol": 1e-5 if strategy == "ddp" else 1e-4, "rtol": 0}
    np.testing.assert_allclose(losses, whole.losses, **close)
    np.testing.assert_allclose(held_out, [line.held_out for line in whole.epochs], **close)
    found = torch.load(f"{state}.pt", weights_only=True)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(found[name], value, atol=1e-3, rtol=1e-3)


def test_parts_accumulate_to_one_large_batch(tmp_path):
    """Every part's loss is a mean: the step's loss is the mean of its parts'."""
    two, _, _ = run("gradient_jepa", tmp_path / "two", epochs=1, steps=1)
    firsts = []
    for part in (0, 1):
        rng = np.random.default_rng(5)
        power = rng.gamma(4, 0.05, (20, 40, 40)).astype(np.float32)
        chips = Chips(power=power, valid=rng.random(power.shape) > 0.02)
        seed = torch.Generator().manual_seed(1)
        vit = ViT(Size(dim=24, depth=2, heads=2), patch=4, rng=seed)
        module = OBJECTIVES["gradient_jepa"](**OPTIONS["gradient_jepa"]).module(vit, rng=seed)
        at = np.random.default_rng([7, 0, part])
        pixels, valid = batch(chips, Card(), Augment(looks=20), size=3, crop=24, rng=at)
        words = np.random.SeedSequence((3, 1, 0, part)).generate_state(1)[0]
        firsts.append(float(module(pixels, valid, rng=torch.Generator().manual_seed(int(words))).detach()))
    assert two.losses[0] == pytest.approx(np.mean(firsts), rel=1e-5)


def test_bfloat16_learns_too(tmp_path):
    exact, _, _ = run("local_masked_gradient", tmp_path / "a")
    fast, module, _ = run("local_masked_gradient", tmp_path / "b", precision="bf16")
    assert fast.losses != exact.losses
    np.testing.assert_allclose(fast.losses, exact.losses, rtol=0.1)
    assert all(p.dtype == torch.float32 for p in module.parameters())


def test_another_training_does_not_go_on_from_it(tmp_path):
    run("gradient_jepa", tmp_path / "state", epochs=1)
    seen = []
    run("gradient_jepa", tmp_path / "state", epochs=1, fingerprint="b", on_step=seen.append)
    assert seen[0] == 0


def test_a_spoiled_checkpoint_is_named(tmp_path):
    state = tmp_path / "state"
    run("gradient_jepa", state, epochs=1)
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtefactError, match="expected a readable checkpoint"):
        run("gradient_jepa", state, epochs=1)
    module = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(groups(module, weight_decay=0.1))
    save_state(state, tensors_of(module, optimiser), History(), fingerprint="a")
    with pytest.raises(ArtefactError, match="expected a tensor"):
        load_state(state, torch.nn.Linear(2, 2, bias=False), optimiser, fingerprint="a")
    assert load_state(tmp_path / "none", module, optimiser, fingerprint="a") == History()


def test_what_cannot_work_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected a finite loss, found nan, in step"):
        run("local_masked_gradient", tmp_path / "a", learning_rate=1e38, warm_up=0)
    from sarcast.train.loop import _parts

    with pytest.raises(SettingsError, match="parts in multiples of 2 processes, found 3"):
        _parts(3, 0, 2)
    assert sorted(_parts(6, 0, 2) + _parts(6, 1, 2)) == list(range(6))
