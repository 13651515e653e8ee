"""The encoder's benchmark compares like with like: every plain formulation gives sarcast's numbers."""

from __future__ import annotations

import pytest
import torch
from benchmarks import encoder


def differences(lines):
    """The last column of a table's rows, where it is filled."""
    cells = [line.split("|")[-2].strip() for line in lines if line.startswith("|")]
    return [float(cell) for cell in cells[2:] if cell]


@pytest.mark.parametrize(
    ("section", "compared"),
    [
        (lambda: encoder.targets(torch.rand(1, 1, 48, 48), 1), 1),
        (lambda: encoder.paper_windows(1, windows=2), 3),
        (lambda: encoder.default_windows(1, cells=6, dim=3), 1),
    ],
)
def test_plain_formulations_agree(section, compared):
    found = differences(section())
    assert len(found) == compared and max(found) < 1e-4


def test_the_encoder_is_compared_with_explicit_scores_and_its_floor(monkeypatch):
    monkeypatch.setattr(encoder, "in_a_process", lambda *_: (1.0, 2.0))
    lines = encoder.encoding("micro", torch.rand(1, 1, 48, 64), 1)
    found = differences(lines)
    assert len(found) == 3 and max(found) < 1e-4
    assert "GFLOP/s" in lines[-1] and "2 MB more" in lines[-1]
