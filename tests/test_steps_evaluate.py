"""sarcast evaluate: exactly one thing is judged, and what cannot be is one line."""

from __future__ import annotations

import pytest

from sarcast.cli import main
from sarcast.errors import SettingsError
from sarcast.steps.evaluate import Evaluate, evaluate


def test_exactly_one_thing_is_judged(tmp_path):
    for given in ({}, {"run": tmp_path, "published": tmp_path}):
        with pytest.raises(SettingsError, match="exactly one thing to judge"):
            evaluate(Evaluate(out=tmp_path, **given))


def test_an_empty_folder_is_one_line(tmp_path, capsys):
    assert main(["evaluate", "--published", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "estimates.json").exists()
