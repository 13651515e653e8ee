"""The command line: quick to answer, one line for what is wrong, exit codes that mean something."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import sarcast
from sarcast.cli import VERBS, main
from sarcast.errors import DataError

HEAVY = (
    "torch", "numpy", "pydantic", "tyro", "rasterio", "xarray", "zarr", "scipy", "sklearn", "geopandas",
    "matplotlib",
)  # fmt: skip


def said(capsys, arguments: list[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    found = capsys.readouterr()
    return code, found.out, found.err


def tree(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], [], ["--version"], ["help"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom sarcast.cli import main\n"
        f"assert main({arguments!r}) == 0\n"
        f"found = [name for name in {HEAVY!r} if name in sys.modules]\nassert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "sarcast" in done.stdout


def test_help_names_every_verb(capsys):
    code, out, _ = said(capsys, ["--help"])
    assert code == 0
    for name, verb in VERBS.items():
        assert f"  {name} " in out and verb.help in out


def test_the_verbs_asked_for_are_there():
    assert set(VERBS) >= {
        "demo",
        "run",
        "info",
        "simulate",
        "ingest",
        "stack",
        "encode",
        "forecast",
        "score",
        "detect",
        "publish",
    }


def test_version(capsys):
    assert said(capsys, ["--version"])[1].strip() == f"sarcast {sarcast.__version__}"


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "sarcast", "nope"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_is_a_function_with_settings_and_help(name, capsys):
    verb = VERBS[name]
    module = import_module(verb.module)
    assert callable(getattr(module, verb.function))
    settings = getattr(module, verb.settings)
    assert settings.model_config["frozen"] and settings.model_config["extra"] == "forbid"
    code, out, _ = said(capsys, [name, "--help"])
    assert code == 0
    for field, told in settings.model_fields.items():
        assert told.description, f"{name}.{field} has no help"
    assert set(verb.words) <= set(settings.model_fields)
    assert "usage" in out.lower()


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["run"],
        ["run", "x"],
        ["run", "x", "--out"],
        ["run", "x", "--out", "y", "--nope", "1"],
        ["run", "x", "y", "--out", "z"],
        ["run", "x", "--out", "y", "--seed", "abc"],
        ["run", "x", "--out", "y", "--resolution-m", "-3"],
        ["run", "x", "--out", "y", "--history-end", "yesterday"],
        ["run", "x", "--out", "y", "--bbox", "1", "2", "3"],
        ["run", "x", "--out", "y", "--recipe"],
        ["run", "x", "--out", "y", "--recipe", "nope"],
        ["run", "x", "--out", "y", "--recipe", "nope.yaml"],
        ["run", "x", "--out", "y", "--encoder", "nope"],
        ["run", "x", "--out", "y", "--encoder-options.patch", "["],
        ["run", "x", "--out", "y", "--encoder-options.patch"],
        ["run", "x", "--out", "y", "--encoder-options.nope", "1"],
        ["run", "x", "--out", "y", "--detect.false-alarms", "0.9"],
        ["run", "x", "--out", "y"],
        ["encode", "x.zarr"],
        ["encode", "x.zarr", "--options.patch", "{"],
        ["score", "x.zarr"],
        ["score", "x.zarr", "--detector", "nope"],
        ["forecast", "x.zarr"],
        ["detect", "x"],
        ["detect", "x", "--false-alarms", "0"],
        ["detect", "x", "--confirm", "1"],
        ["publish", "x"],
        ["publish", "x", "--top", "-1"],
        ["ingest", "x"],
        ["ingest", "x", "--out", "y", "--reader", "nope"],
        ["stack", "x", "--out", "y"],
        ["info", "x"],
        ["simulate", "--out", "y", "--scene.dates", "0"],
        ["simulate", "--out", "y", "--scene.kind", "nope"],
        ["simulate", "--out", "y", "--product", "opera"],
        ["demo", "--scene.shape", "1", "1"],
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_one_line_and_2(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = said(capsys, arguments)
    assert code == 2, err
    assert len(err.strip().splitlines()) == 1 and "Traceback" not in err and not out
    assert len(err) < 700
    assert [
        name for name in tree(tmp_path) if Path(name).name != ".lock" and (tmp_path / name).is_file()
    ] == []


@pytest.mark.parametrize(
    "text", ["sead: 1", "detect: {nope: 1}", "detect: {false_alarms: 2}", "seed: [1]", "- a", "a: [", "1: 2"]
)
def test_a_wrong_recipe_is_one_line_and_2(text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(text)
    code, _, err = said(capsys, ["run", "x", "--out", "y", "--recipe", "my.yaml"])
    assert code == 2 and len(err.strip().splitlines()) == 1 and "Traceback" not in err, err


def dry(capsys, arguments: list[str]) -> dict:
    code, out, err = said(capsys, [*arguments, "--dry-run"])
    assert code == 0, err
    return json.JSONDecoder().raw_decode(out)[0]


def test_defaults_then_recipe_then_flags(capsys, tmp_path):
    recipe = tmp_path / "my.yaml"
    recipe.write_text(
        "false_alarms: 0.02\nconfirm: 5\npatience: 4\n",
    )
    found = dry(capsys, ["detect", "x", "--recipe", str(recipe), "--confirm", "4"])
    assert (found["false_alarms"], found["confirm"], found["patience"], found["min_cells"]) == (0.02, 4, 4, 1)
    assert found["scores"] == "x"
    plain = dry(capsys, ["detect", "x"])
    assert (plain["false_alarms"], plain["confirm"]) == (1e-3, 3)
    assert dry(capsys, ["detect", "x", f"--recipe={recipe}"])["patience"] == 4


def test_a_recipe_can_name_what_is_required_and_nested_settings(capsys, tmp_path):
    recipe = tmp_path / "my.yaml"
    recipe.write_text(
        f"out: {tmp_path}\nseed: 4\nscene: {{dates: 9, shape: [64, 80]}}\n",
    )
    found = dry(capsys, ["simulate", "--recipe", str(recipe), "--scene.dates", "7"])
    assert found["out"] == str(tmp_path) and found["seed"] == 4
    assert found["scene"]["dates"] == 7 and found["scene"]["shape"] == [64, 80]
    other = dry(capsys, ["simulate", "--recipe", str(recipe), "--out", "elsewhere", "--seed", "5"])
    assert (other["out"], other["seed"], other["scene"]["dates"]) == ("elsewhere", 5, 9)


def test_plug_in_options_come_from_recipe_and_flags(capsys, tmp_path):
    recipe = tmp_path / "my.yaml"
    recipe.write_text("encoder: statistics\noptions: {patch: 8, min_valid: 0.5}\n")
    found = dry(
        capsys, ["encode", "x", "--recipe", str(recipe), "--options.patch", "16", "--options.stride=4"]
    )
    assert found["options"] == {"patch": 16, "min_valid": 0.5, "stride": 4}
    listed = dry(capsys, ["encode", "x", "--options.groups", "[mean, spread]"])
    assert listed["options"] == {"groups": ["mean", "spread"]}


@pytest.mark.parametrize(
    "name", sorted(p.stem for p in (Path(sarcast.__file__).parent / "recipes").glob("*.yaml"))
)
def test_every_recipe_that_comes_with_sarcast_loads(name, capsys, tmp_path, monkeypatch):
    from sarcast.runtime.settings import read_yaml

    given = read_yaml(Path(sarcast.__file__).parent / "recipes" / f"{name}.yaml")
    fits = [
        verb
        for verb in VERBS
        if set(given) <= set(getattr(import_module(VERBS[verb].module), VERBS[verb].settings).model_fields)
    ]
    assert fits
    out = ["--out", str(tmp_path)]
    words = {"run": ["x", *out], "simulate": out, "pretrain": out}
    verb = next((v for v in fits if v != "run"), fits[0])
    monkeypatch.setattr("sarcast.steps.info.info", lambda _: {})
    found = dry(capsys, [verb, *words.get(verb, ["x"] if VERBS[verb].words else []), "--recipe", name])
    assert set(given) <= set(found)


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo"],
        ["simulate", "--out", "y"],
        ["encode", "x.zarr"],
        ["score", "x.zarr"],
        ["forecast", "x.zarr"],
        ["detect", "x"],
        ["publish", "x"],
        ["stack", "x", "--out", "y"],
    ],
    ids=" ".join,
)
def test_a_dry_run_prints_the_settings_and_writes_nothing(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = dry(capsys, arguments)
    assert found and tree(tmp_path) == []


def test_a_dry_run_of_a_run_looks_at_the_source_and_writes_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", "--out", "s", "--scene.shape", "64", "64", "--scene.dates", "2"]) == 0
    before = tree(tmp_path)
    code, out, _ = said(capsys, ["run", "s/products", "--out", "o", "--dry-run"])
    assert code == 0 and "2 dates" in out and tree(tmp_path) == before
    code, out, _ = said(capsys, ["run", "s/products", "--out", "o", "--dry-run", "--json"])
    assert code == 0 and json.loads(out) and tree(tmp_path) == before
    code, _, err = said(capsys, ["run", "none", "--out", "o", "--dry-run"])
    assert code == 2 and len(err.strip().splitlines()) == 1


def test_json_is_json(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = said(
        capsys, ["simulate", "--out", "s", "--scene.shape", "64", "64", "--scene.dates", "2", "--json"]
    )
    assert code == 0 and Path(json.loads(out)["path"]).resolve() == (tmp_path / "s" / "products").resolve()
    code, out, _ = said(capsys, ["info", "s/products", "--json"])
    assert code == 0 and json.loads(out)["kind"] == "products"
    code, out, _ = said(capsys, ["ingest", "s/products", "--out", "c", "--json"])
    assert code == 0 and Path(json.loads(out)["path"]).name == "scenes.json"


def test_our_own_failure_is_1_and_one_line(capsys, monkeypatch, tmp_path):
    import sarcast.steps.detect as step

    def broken(_):
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr(step, "detect", broken)
    code, _, err = said(capsys, ["detect", str(tmp_path)])
    assert code == 1 and "our own failure" in err and len(err.strip().splitlines()) == 1
    monkeypatch.setenv("SARCAST_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["detect", str(tmp_path)])


def test_a_callers_error_of_many_lines_is_one_line(capsys, monkeypatch, tmp_path):
    import sarcast.steps.detect as step

    def refused(_):
        raise DataError("expected\n  this,\n found that")

    monkeypatch.setattr(step, "detect", refused)
    code, _, err = said(capsys, ["detect", str(tmp_path)])
    assert code == 2 and err == "sarcast detect: expected this, found that\n"


def test_an_interrupt_is_130(capsys, monkeypatch, tmp_path):
    import sarcast.steps.detect as step

    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(step, "detect", stopped)
    code, _, err = said(capsys, ["detect", str(tmp_path)])
    assert code == 130 and "run again" in err


@pytest.mark.parametrize("number", [28, 122, 30])
def test_a_full_or_read_only_disk_anywhere_is_2(capsys, monkeypatch, tmp_path, number):
    import os

    import sarcast.steps.detect as step

    def full(_):
        raise OSError(number, os.strerror(number), "some/file")

    monkeypatch.setattr(step, "detect", full)
    code, _, err = said(capsys, ["detect", str(tmp_path)])
    assert code == 2 and len(err.strip().splitlines()) == 1


def test_a_reader_that_went_away_is_no_failure():
    code = "import sys\nfrom sarcast.cli import main\nsys.exit(main(['--help']))"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.wait(timeout=60)
    process.stderr.close()
    assert b"Traceback" not in err
