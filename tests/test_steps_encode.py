"""encode: dates already done are kept, and the result is the same as from nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sarcast.encoders.statistics import Statistics
from sarcast.errors import ArtefactError, SettingsError
from sarcast.runtime.artefact import digest, verify, writing
from sarcast.stack.cells import read_features
from sarcast.stack.store import write_stack
from sarcast.steps.encode import Encode, encode


def write(path: Path, stack) -> Path:
    with writing(path, settings={}, inputs={}) as partial:
        write_stack(partial, stack)
    return path


def some(stack, index):
    index = np.asarray(index)
    return replace(
        stack, amplitude=stack.amplitude[index], valid=stack.valid[index], times=stack.times.take(index)
    )


@pytest.fixture
def worked_on(monkeypatch):
    seen: list[list[str]] = []
    original = Statistics.encode

    def spy(self, stack, times=None):
        index = range(len(stack.times)) if times is None else times
        seen.append([stack.times.scene_id[t] for t in index])
        return original(self, stack, times)

    monkeypatch.setattr(Statistics, "encode", spy)
    return seen


@pytest.fixture
def stack(make_stack, rng):
    return make_stack(rng, (40, 40), dates=6)


def check(folder: Path, stack, tmp_path: Path) -> None:
    """Equal to features made from nothing."""
    fresh = write(tmp_path / f"fresh-{folder.name}-{len(list(tmp_path.iterdir()))}" / "stack.zarr", stack)
    whole = encode(Encode(stack=fresh))
    assert digest(folder / "features.zarr") == digest(whole)
    verify(folder / "features.zarr")


def test_features_of_a_stack(stack, tmp_path):
    path = encode(Encode(stack=write(tmp_path / "s" / "stack.zarr", stack), options={"patch": 8}))
    assert path == tmp_path / "s" / "features.zarr"
    found, direct = read_features(path), Statistics(patch=8).encode(stack)
    np.testing.assert_array_equal(found.values, direct.values)
    assert found.names == direct.names and found.times.scene_id == stack.times.scene_id


def test_again_does_nothing(stack, tmp_path, worked_on):
    settings = Encode(stack=write(tmp_path / "s" / "stack.zarr", stack))
    path = encode(settings)
    before = {p: p.stat().st_mtime_ns for p in path.rglob("*")}
    encode(settings)
    assert {p: p.stat().st_mtime_ns for p in path.rglob("*")} == before and len(worked_on) == 1


@pytest.mark.parametrize("first", [[0, 1, 2, 3, 4], [0, 1, 3, 4, 5], [2, 4], [1, 2, 3, 4, 5]])
def test_only_new_dates_are_computed_wherever_they_lie(stack, tmp_path, worked_on, first):
    path = write(tmp_path / "s" / "stack.zarr", some(stack, first))
    encode(Encode(stack=path))
    worked_on.clear()
    encode(Encode(stack=write(path, stack)))
    assert worked_on == [[stack.times.scene_id[i] for i in range(6) if i not in first]]
    check(path.parent, stack, tmp_path)


def test_a_dropped_date_goes(stack, tmp_path, worked_on):
    path = write(tmp_path / "s" / "stack.zarr", stack)
    encode(Encode(stack=path))
    worked_on.clear()
    encode(Encode(stack=write(path, some(stack, [0, 1, 3, 4, 5]))))
    assert not any(worked_on)
    check(path.parent, some(stack, [0, 1, 3, 4, 5]), tmp_path)


def test_a_changed_date_is_computed_again(stack, tmp_path, worked_on):
    path = write(tmp_path / "s" / "stack.zarr", stack)
    encode(Encode(stack=path))
    worked_on.clear()
    amplitude = stack.amplitude.copy()
    amplitude[2] *= 2
    other = replace(stack, amplitude=amplitude)
    encode(Encode(stack=write(path, other)))
    assert worked_on == [[stack.times.scene_id[2]]]
    check(path.parent, other, tmp_path)


def test_other_settings_compute_all(stack, tmp_path, worked_on):
    path = write(tmp_path / "s" / "stack.zarr", stack)
    encode(Encode(stack=path))
    worked_on.clear()
    encode(Encode(stack=path, options={"min_valid": 0.5}))
    assert [len(seen) for seen in worked_on] == [6]


def test_another_place_to_write(stack, tmp_path):
    path = write(tmp_path / "s" / "stack.zarr", stack)
    out = tmp_path / "elsewhere" / "f.zarr"
    assert encode(Encode(stack=path, out=out, encoder="gradients")) == out
    assert read_features(out).encoder == "gradients" and not (tmp_path / "s" / "features.zarr").exists()


def test_weights_that_moved_are_the_same_and_others_are_not(stack, tmp_path):
    import torch

    from sarcast.nn.card import Card
    from sarcast.nn.pretrained import Pretrained, save_encoder
    from sarcast.nn.vit import ViT

    def trained(folder: Path, seed: int) -> Path:
        vit = ViT.named("micro", patch=8, rng=torch.Generator().manual_seed(seed))
        save_encoder(folder, Pretrained(vit=vit, card=Card(), window=4))
        return folder

    path = write(tmp_path / "s" / "stack.zarr", stack)
    weights = trained(tmp_path / "a" / "encoder", 0)
    features = encode(Encode(stack=path, encoder="vit", options={"weights": weights}))
    before = features.stat().st_mtime_ns
    moved = weights.rename(tmp_path / "encoder")
    encode(Encode(stack=path, encoder="vit", options={"weights": moved}))
    assert features.stat().st_mtime_ns == before
    encode(Encode(stack=path, encoder="vit", options={"weights": trained(weights, 1)}))
    assert features.stat().st_mtime_ns != before


def test_what_cannot_be(stack, tmp_path):
    path = write(tmp_path / "s" / "stack.zarr", stack)
    with pytest.raises(ArtefactError):
        encode(Encode(stack=tmp_path / "none.zarr"))
    with pytest.raises(SettingsError, match="nope"):
        encode(Encode(stack=path, encoder="nope"))
    with pytest.raises(SettingsError, match="nope"):
        encode(Encode(stack=path, options={"nope": 1}))
    shutil.rmtree(path / "valid")
    with pytest.raises(ArtefactError):
        encode(Encode(stack=path))
    assert not (tmp_path / "s" / "features.zarr").exists()
