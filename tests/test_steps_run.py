"""run: the whole chain in one call, its record, and its defaults."""

from __future__ import annotations

import json

import pytest

from sarcast.cli import main
from sarcast.errors import SarcastError
from sarcast.runtime.artefact import finished
from sarcast.runtime.settings import as_json
from sarcast.steps.run import Run, run


def test_the_record_holds_every_setting_with_its_default(small_run):
    told = json.loads((small_run / "run" / "run.json").read_text())
    settings = told["run"]["settings"]
    assert settings == as_json(Run(**settings))
    assert set(settings) == set(Run.model_fields)
    (stack,) = (small_run / "run" / "stacks").iterdir()
    steps = json.loads((stack / "run.json").read_text())
    for name in ("stack.zarr", "features.zarr", "detector", "scores.zarr", "threshold.json", "quality.json"):
        entry = steps[name]
        assert {"settings", "inputs", "version", "libraries", "seconds", "peak_memory_mb", "seed"} <= set(
            entry
        )


def test_a_run_by_hand_step_by_step_gives_the_same(small_run, tmp_path, capsys):
    source, out = str(small_run / "products"), tmp_path / "out"
    chain = [
        ["ingest", source, "--out", str(out)],
        ["stack", str(out), "--out", str(out), "--workers", "1"],
    ]
    for arguments in chain:
        assert main(arguments) == 0, capsys.readouterr().err
    (stack,) = (out / "stacks").iterdir()
    for arguments in (
        ["encode", str(stack / "stack.zarr")],
        ["score", str(stack / "features.zarr")],
        ["detect", str(out)],
        ["publish", str(out)],
    ):
        assert main(arguments) == 0, capsys.readouterr().err
    whole = small_run / "run"
    for name in ("detections.parquet", "detections.geojson", "scenes.json", "manifest.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert finished(out / "site")


def test_a_source_that_is_a_catalogue(small_run, tmp_path):
    page = run(Run(source=small_run / "run" / "scenes.json", out=tmp_path / "out", workers=1))
    assert page.exists()
    a, b = tmp_path / "out" / "detections.parquet", small_run / "run" / "detections.parquet"
    assert a.read_bytes() == b.read_bytes()


def test_two_runs_at_once_on_one_folder(small_run, tmp_path):
    from sarcast.runtime.artefact import locked

    with locked(tmp_path / "out"), pytest.raises(SarcastError, match="only writer"):
        run(Run(source=small_run / "products", out=tmp_path / "out", workers=1))


def test_a_run_from_a_stack_made_elsewhere(small_run, tmp_path, capsys):
    (stack,) = (small_run / "run").glob("stacks/*/stack.zarr")
    assert main(["run", str(stack), "--out", str(tmp_path / "other")]) == 0
    assert (tmp_path / "other" / "site" / "report.html").is_file()
    capsys.readouterr()
    assert main(["info", str(tmp_path / "other")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("run of stacks: ")
    assert f"{stack.parent.name}: kind stack" in said
