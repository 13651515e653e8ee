"""Progress bars that show in a terminal and stay quiet everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """Yield a function that advances a bar by one; on anything but a terminal it does nothing."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=total)

        def advance() -> None:
            bars.advance(task)

        yield advance


def track(items: Sequence[T], label: str) -> Iterator[T]:
    """Iterate with a progress bar."""
    with progress(label, len(items)) as advance:
        for item in items:
            yield item
            advance()


def _nothing() -> None:
    """Advance nothing."""
