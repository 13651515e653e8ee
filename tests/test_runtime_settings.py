"""Settings: written once, frozen, unknown keys refused; plug-in tables cost nothing until asked."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from pydantic import Field, ValidationError

from sarcast.errors import ArtefactError, SettingsError
from sarcast.runtime.model import load_model, save_model
from sarcast.runtime.progress import progress, track
from sarcast.runtime.settings import Settings, as_json, build, read_yaml
from sarcast.runtime.table import table


class Inner(Settings):
    size: int = Field(3, ge=1)
    """How big."""


class Outer(Settings):
    inner: Inner = Inner()
    """Nested."""
    name: str = "x"
    """A name."""


def test_settings_are_frozen_and_refuse_what_they_do_not_know():
    with pytest.raises(ValidationError):
        Outer().name = "y"
    with pytest.raises(ValidationError):
        Outer(nam="y")
    assert Outer.model_fields["name"].description == "A name."


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"nam": "y"}, "unknown setting 'nam'"),
        ({"inner": {"sise": 2}}, "unknown setting 'inner.sise'"),
        ({"inner": {"size": 0}}, "'inner.size'"),
        ({"inner": {"size": "big"}}, "found 'big'"),
        ({"inner": 3}, "'inner'"),
        ({1: 2}, "1"),
    ],
)
def test_a_bad_value_is_one_line_with_field_and_place(values, said):
    with pytest.raises(SettingsError) as error:
        build(Outer, values, where="my.yaml")
    assert said in str(error.value) and "my.yaml" in str(error.value) and "\n" not in str(error.value)


def test_defaults_are_filled_in():
    assert as_json(Outer()) == {"inner": {"size": 3}, "name": "x"}


@pytest.mark.parametrize("text", ["[1, 2]", "just words", "a: [", "\x00", "a: 1: 2"])
def test_yaml_that_is_no_mapping(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        read_yaml(path)
    assert "\n" not in str(error.value)


def test_yaml_bytes_and_absence(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "r.yaml", tmp_path / "none.yaml", tmp_path):
        with pytest.raises(SettingsError):
            read_yaml(path)
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "empty.yaml") == {}


def test_a_table_names_what_it_has():
    words = table("a word", one="json:dumps", two="no.such.module:X")
    assert list(words) == ["one", "two"] and len(words) == 2
    assert words["one"]({}) == "{}"
    with pytest.raises(SettingsError, match="expected a word in one, two, found 'three'"):
        words["three"]


def test_asking_a_table_whether_it_has_a_name_imports_nothing():
    words = table("a word", two="no.such.module:X")
    assert "two" in words and "three" not in words


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        (
            "from sarcast.detectors import DETECTORS; DETECTORS['z_score']; 'transformer' in DETECTORS",
            "torch",
        ),
        ("from sarcast.encoders import ENCODERS; [ENCODERS[n] for n in ENCODERS if n != 'vit']", "torch"),
        ("import sarcast.values, sarcast.decide.events, sarcast.stack.store", "torch"),
    ],
)
def test_what_does_not_need_torch_does_not_import_it(code, absent):
    code += f"\nimport sys; assert {absent!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_model_is_read_back_as_it_was(tmp_path, rng):
    arrays = {"b": rng.normal(size=(3, 4)).astype(np.float32).T, "a": np.arange(5), "none": np.zeros((0, 2))}
    save_model(tmp_path / "m", config={"detector": "x", "n": 1}, arrays=arrays)
    config, found = load_model(tmp_path / "m")
    assert config == {"detector": "x", "n": 1}
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype


@pytest.mark.parametrize("how", ["gone", "no config", "cut", "not json"])
def test_a_spoiled_model_is_one_line(tmp_path, how):
    folder = tmp_path / "m"
    save_model(folder, config={}, arrays={"a": np.arange(100.0)})
    if how == "gone":
        folder = tmp_path / "none"
    elif how == "no config":
        (folder / "config.json").unlink()
    elif how == "cut":
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[:-50])
    else:
        (folder / "config.json").write_text("{")
    with pytest.raises(ArtefactError) as error:
        load_model(folder)
    assert str(folder) in str(error.value)


def test_progress_is_quiet_without_a_terminal(capsys):
    assert list(track([1, 2, 3], "counting")) == [1, 2, 3]
    with progress("more", 2) as advance:
        advance()
    said = capsys.readouterr()
    assert said.out == said.err == ""
