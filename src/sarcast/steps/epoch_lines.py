"""What a training says after every epoch: a line for people, and a word where the encoder collapses."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping

from sarcast.train.checkpoint import Epoch, History
from sarcast.train.diagnostics import collapse

_COLUMNS = {
    "loss": ("loss", "9.4g"),
    "held_out": ("held out", "9.4g"),
    "normalised_error": ("error/variance", "14.3f"),
    "spread": ("spread", "7.3f"),
    "rank": ("rank", "6.1f"),
    "cosine": ("cosine", "7.4f"),
    "answers": ("answers", "7.2f"),
    "skill_last": ("skill/last", "+10.3f"),
    "skill_mean": ("skill/mean", "+10.3f"),
}
"""Field of an epoch -> its name above, and how it is written."""


def teller(
    epochs: Mapping[str, int], log: logging.Logger, *, show: Callable[[Epoch], None] | None = None
) -> Callable[[str, Epoch, History], None]:
    """A function (phase, line, history so far) that prints the line, under a head when it is the first.

    Args:
        epochs: Phase -> how many epochs it has; a training without phases has one, "".
        log: Where collapse is told.
        show: Called with every line too.
    """
    behind: list[tuple[float, int]] = []

    def tell(phase: str, line: Epoch, history: History) -> None:
        if show is not None:
            show(line)
        now, speed = time.monotonic(), "-"
        if behind:
            at, step = behind.pop()
            speed = f"{(line.step - step) / (now - at):.2f}" if line.step > step else "-"
        behind.append((now, line.step))
        shown = {name: how for name, how in _COLUMNS.items() if getattr(line, name) is not None}
        words = [f"{getattr(line, name):{form}}" for name, (_, form) in shown.items()]
        count = f"{phase and f'{phase} '}{line.epoch:2d}/{epochs[phase]:<2d}"
        if len(history.epochs) == 1:
            heads = [f"{head:>{len(word)}}" for (head, _), word in zip(shown.values(), words, strict=True)]
            print("  ".join([f"{'epoch':{len(count)}}", *heads, "steps/s"]), file=sys.stderr)
        print("  ".join([count, *words, f"{speed:>7}"]), file=sys.stderr)
        wrong = collapse(line, history.epochs[0], done=line.epoch / epochs[phase])
        if wrong:
            where = f"phase {phase}, epoch" if phase else "epoch"
            log.warning("%s %d: %s", where, line.epoch, wrong)

    return tell
