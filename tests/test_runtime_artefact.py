"""Artefacts: whole or not at all, after errors, kills, full disks and second writers; honest manifests."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sarcast.runtime.artefact as artefact
from sarcast.errors import ArtefactError, SpaceError
from sarcast.runtime.artefact import (
    content_hash,
    digest,
    finished,
    locked,
    recover,
    require,
    run_entry,
    up_to_date,
    verify,
    write_json,
    writing,
)

KINDS = ("file", "folder")


def fill(path: Path, kind: str, text: str = "one") -> None:
    if kind == "file":
        path.write_text(text)
    else:
        (path / "deep").mkdir(parents=True)
        (path / "a.txt").write_text(text)
        (path / "deep" / "b.txt").write_text(text * 1000)


def make(target: Path, kind: str, text: str = "one", **told) -> Path:
    with writing(target, **{"settings": {}, "inputs": {}, **told}) as partial:
        fill(partial, kind, text)
    return target


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def hidden(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob(".*"))


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_an_artefact_appears_only_at_the_end(tmp_path, kind):
    target = tmp_path / "new" / "thing"
    with writing(target, settings={}, inputs={}) as partial:
        fill(partial, kind)
        assert not target.exists() and not finished(target)
    assert finished(target) and not hidden(tmp_path)
    verify(target)
    assert require(target) == target


def test_the_record_says_how_it_was_made(tmp_path, kind):
    target = make(tmp_path / "thing", kind, settings={"patch": 8}, inputs={"a": "h"}, seed=3)
    entry = run_entry(target)
    assert entry["settings"] == {"patch": 8} and entry["inputs"] == {"a": "h"} and entry["seed"] == 3
    assert entry["seconds"] >= 0 and entry["peak_memory_mb"] > 0
    assert entry["libraries"]["numpy"] and entry["version"] and entry["python"]


def test_each_artefact_of_a_folder_has_its_entry(tmp_path):
    make(tmp_path / "one", "file")
    make(tmp_path / "two", "folder")
    make(tmp_path / "one", "file", "again")
    listed = json.loads((tmp_path / "manifest.json").read_text())
    assert sorted(listed) == ["one", "two"]
    assert sorted(listed["two"]) == ["a.txt", "deep/b.txt"]
    assert sorted(json.loads((tmp_path / "run.json").read_text())) == ["one", "two"]
    assert finished(tmp_path / "one") and finished(tmp_path / "two")


def test_an_error_leaves_the_old_artefact_and_no_trace(tmp_path, kind):
    target = make(tmp_path / "thing", kind, "old")
    before = tree(tmp_path)
    with pytest.raises(ValueError, match="mine"), writing(target, settings={}, inputs={}) as partial:
        fill(partial, kind, "new")
        raise ValueError("mine")
    assert tree(tmp_path) == before and not hidden(tmp_path)
    verify(target)


def test_an_error_at_first_leaves_nothing(tmp_path, kind):
    target = tmp_path / "thing"
    with pytest.raises(KeyboardInterrupt), writing(target, settings={}, inputs={}) as partial:
        fill(partial, kind)
        raise KeyboardInterrupt
    assert tree(tmp_path) == {} and not hidden(tmp_path)


def test_up_to_date_asks_for_the_same_settings_inputs_and_version(tmp_path, kind, monkeypatch):
    target = tmp_path / "thing"
    assert not up_to_date(target, settings={}, inputs={})
    make(target, kind, settings={"a": (1, 2)}, inputs={"x": "h"})
    assert up_to_date(target, settings={"a": (1, 2)}, inputs={"x": "h"})
    assert not up_to_date(target, settings={"a": (1, 3)}, inputs={"x": "h"})
    assert not up_to_date(target, settings={"a": (1, 2)}, inputs={"x": "other"})
    assert not up_to_date(target, settings={"a": (1, 2)}, inputs={})
    monkeypatch.setattr(artefact, "__version__", "another")
    assert not up_to_date(target, settings={"a": (1, 2)}, inputs={"x": "h"})


def test_the_content_hash_is_of_the_content_alone(tmp_path, kind):
    one = make(tmp_path / "a" / "thing", kind, settings={"x": 1})
    two = make(tmp_path / "b" / "thing", kind, settings={"x": 2})
    other = make(tmp_path / "c" / "thing", kind, "other")
    assert content_hash(one) == content_hash(two) != content_hash(other)


@pytest.mark.parametrize("change", ["flip", "shorten", "remove", "add"])
def test_verify_finds_any_change(tmp_path, kind, change):
    target = make(tmp_path / "thing", kind)
    file = target if kind == "file" else target / "deep" / "b.txt"
    if change == "flip":
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(bytes(data))
    elif change == "shorten":
        file.write_bytes(file.read_bytes()[:-1])
    elif change == "remove":
        file.unlink()
    elif kind == "folder":
        (target / "extra").write_text("more")
    else:
        pytest.skip("a file cannot hold another")
    with pytest.raises(ArtefactError):
        verify(target)
    if change in ("shorten", "remove"):
        assert not finished(target)
        with pytest.raises(ArtefactError):
            require(target)


@pytest.mark.parametrize("spoiled", ["", "{", "[]", "null"])
def test_a_spoiled_manifest_vouches_for_nothing(tmp_path, kind, spoiled):
    target = make(tmp_path / "thing", kind)
    (tmp_path / "manifest.json").write_text(spoiled)
    assert not finished(target)
    make(target, kind, "again")
    verify(target)


def test_recover_brings_the_old_artefact_back_between_the_two_renames(tmp_path):
    target = make(tmp_path / "thing", "folder", "old")
    whole = tree(target)
    fill(tmp_path / ".thing.partial", "folder", "new")
    target.rename(tmp_path / ".thing.old")
    recover(target)
    assert tree(target) == whole and not hidden(tmp_path)


def test_recover_drops_the_old_one_when_the_new_is_in_place(tmp_path):
    target = make(tmp_path / "thing", "folder", "new")
    fill(tmp_path / ".thing.old", "folder", "old")
    recover(target)
    assert (target / "a.txt").read_text() == "new" and not hidden(tmp_path)
    verify(target)


@pytest.mark.parametrize("at", ["_swap", "_update"])
def test_killed_around_the_renames_nothing_looks_finished_and_the_next_ends_right(
    tmp_path, kind, at, monkeypatch
):
    target = make(tmp_path / "thing", kind, "old")

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(artefact, at, killed)
        patch.setattr(artefact, "_remove", lambda _: None)
        with pytest.raises(Killed):
            make(target, kind, "new")
    assert not finished(target)
    make(target, kind, "new")
    verify(target)
    assert not hidden(tmp_path)


def test_a_clone_shares_what_stays_and_leaves_the_old_as_it_was(tmp_path):
    target = make(tmp_path / "thing", "folder", "old")
    kept = tmp_path / "kept"
    with writing(target, settings={}, inputs={}, clone=True) as partial:
        assert tree(partial) == tree(target)
        assert (partial / "a.txt").stat().st_ino == (target / "a.txt").stat().st_ino
        new = partial / "a.txt.new"
        new.write_text("new")
        new.replace(partial / "a.txt")
        assert (target / "a.txt").read_text() == "old"
        os.link(target / "a.txt", kept)
    assert kept.read_text() == "old" and (target / "a.txt").read_text() == "new"
    verify(target)


def test_a_clone_that_fails_leaves_the_old_as_it_was(tmp_path):
    target = make(tmp_path / "thing", "folder", "old")
    before = tree(tmp_path)
    with pytest.raises(ValueError), writing(target, settings={}, inputs={}, clone=True) as partial:
        (partial / "a.txt").unlink()
        raise ValueError
    assert tree(tmp_path) == before


def test_a_clone_of_nothing_is_empty(tmp_path):
    with writing(tmp_path / "thing", settings={}, inputs={}, clone=True) as partial:
        assert not partial.exists()
        partial.write_text("x")
    verify(tmp_path / "thing")


_SLOW = """
import sys, time
from pathlib import Path
from sarcast.runtime.artefact import writing
target, kind = Path(sys.argv[1]), sys.argv[2]
with writing(target, settings={}, inputs={}) as partial:
    if kind == "folder":
        partial.mkdir()
        (partial / "a.txt").write_text("half")
        open(str(partial) + ".ready", "w").close()
        time.sleep(60)
    with partial.open("w") as stream:
        stream.write("half"); stream.flush()
        open(str(partial) + ".ready", "w").close()
        time.sleep(60)
"""


@pytest.mark.parametrize("again", [False, True])
def test_kill_9_leaves_nothing_that_looks_finished(tmp_path, kind, again):
    target = tmp_path / "thing"
    if again:
        make(target, kind, "old")
    before = tree(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", _SLOW, str(target), kind])
    ready = tmp_path / ".thing.partial.ready"
    deadline = time.monotonic() + 60
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert ready.exists()
    ready.unlink()
    assert {k: v for k, v in tree(tmp_path).items() if not k.startswith(".thing.partial")} == before
    assert finished(target) == again
    make(target, kind, "new")
    verify(target)
    assert not hidden(tmp_path)


_HOLD = """
import sys, time
from pathlib import Path
from sarcast.runtime.artefact import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_and_a_killed_one_lets_go(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    with pytest.raises(SpaceError, match="only writer"), locked(tmp_path):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    with locked(tmp_path), pytest.raises(SpaceError), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_one_line(tmp_path, kind, code):
    target = make(tmp_path / "thing", kind, "old")
    before = tree(tmp_path)
    with pytest.raises(SpaceError) as error, writing(target, settings={}, inputs={}) as partial:
        fill(partial, kind, "new")
        raise OSError(code, os.strerror(code))
    assert "\n" not in str(error.value) and "thing" in str(error.value)
    assert tree(tmp_path) == before and not hidden(tmp_path)


@pytest.mark.parametrize("call", range(1, 6))
def test_a_disk_that_fills_at_any_flush_leaves_no_trace_that_looks_finished(
    tmp_path, kind, call, monkeypatch
):
    target = make(tmp_path / "thing", kind, "old")
    seen = []

    def full(_):
        seen.append(1)
        if len(seen) == call:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        try:
            make(target, kind, "new")
            assert len(seen) < call
        except SpaceError:
            pass
    assert not hidden(tmp_path)
    if finished(target):
        verify(target)
    make(target, kind, "newer")
    verify(target)


def test_a_file_in_the_way_of_a_folder(tmp_path):
    (tmp_path / "way").write_text("x")
    with pytest.raises(SpaceError, match="in the way"):
        make(tmp_path / "way" / "thing", "file")
    with pytest.raises(SpaceError, match="in the way"), locked(tmp_path / "way"):
        pass


def test_json_is_whole_sorted_and_finite(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"b": 1, "a": [1.5, None]})
    assert path.read_text() == '{\n  "a": [\n    1.5,\n    null\n  ],\n  "b": 1\n}\n'
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text())["b"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.json"]


def test_the_same_content_gives_the_same_digest(tmp_path):
    make(tmp_path / "a", "folder")
    make(tmp_path / "b", "folder")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
