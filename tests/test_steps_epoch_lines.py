"""Lines after epochs: a head above the first, what was measured in columns, and a word for collapse."""

import logging
from dataclasses import replace

from sarcast.steps.epoch_lines import teller
from sarcast.train.checkpoint import Epoch, History

FIRST = Epoch(epoch=0, step=0, loss=2.5, held_out=2.5, normalised_error=1.5, spread=0.1, rank=30.0,
              cosine=0.995, learning_rate=0.0)  # fmt: skip


def told(lines, epochs, log, phase=""):
    seen, history = [], History()
    tell = teller(epochs, log, show=seen.append)
    for line in lines:
        history.epochs.append(line)
        tell(phase, line, history)
    assert seen == lines


def test_columns_are_those_that_were_measured(capsys):
    log = logging.getLogger("sarcast.test")
    told([FIRST, replace(FIRST, epoch=1, step=9, cosine=0.7512)], {"": 12}, log)
    head, first, second = capsys.readouterr().err.splitlines()
    assert head.split() == [
        "epoch",
        "loss",
        "held",
        "out",
        "error/variance",
        "spread",
        "rank",
        "cosine",
        "steps/s",
    ]
    assert first.split()[:3] == ["0/12", "2.5", "2.5"] and first.split()[-2:] == ["0.9950", "-"]
    assert second.split()[0] == "1/12" and second.split()[-2] == "0.7512"
    assert len(head) == len(first)
    told([replace(FIRST, answers=3.25, skill_last=0.5, skill_mean=-0.25)], {"A": 2}, log, "A")
    head, line = capsys.readouterr().err.splitlines()
    assert head.split()[-4:] == ["answers", "skill/last", "skill/mean", "steps/s"] and len(head) == len(line)
    assert line.split()[:2] == ["A", "0/2"] and line.split()[-4:] == ["3.25", "+0.500", "-0.250", "-"]


def test_collapse_is_told_late_and_where(caplog):
    log, parallel = logging.getLogger("sarcast.test"), replace(FIRST, cosine=0.9999)
    lines = [FIRST, *(replace(parallel, epoch=n, step=n) for n in (1, 2, 3))]
    with caplog.at_level(logging.WARNING):
        told(lines, {"": 4}, log)
    assert [record.message[:8] for record in caplog.records] == ["epoch 2:", "epoch 3:"]
    assert "collapse: all tokens are nearly parallel" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        told(lines[:3], {"B": 2}, log, "B")
    assert [record.message[:17] for record in caplog.records] == ["phase B, epoch 1:", "phase B, epoch 2:"]
