"""Where the rows of a bench run: each in a new process of one thread, so that its cost is its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sarcast.errors import SarcastError


@contextmanager
def workers(jobs: int) -> Iterator[Executor]:
    """An executor with a new process for every task, `jobs` at once; 0 runs every task here, at once."""
    if not jobs:
        yield _Here()
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_one_thread, max_tasks_per_child=1
    ) as pool:
        yield pool


def result_of(name: str, task: Future[Any]) -> Any:
    """What a row's task gave; what the caller can put right names the row.

    Raises:
        SarcastError: As the row did.
    """
    try:
        return task.result()
    except SarcastError as error:
        raise type(error)(f"{error}, in row {name!r}") from None


def peak_memory_mb() -> float:
    """Most memory this process has held, MB; where the system does not tell, its parent's too."""
    import resource

    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _Here(Executor):
    """Runs a task at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except SarcastError as error:
            done.set_exception(error)
        return done


def _one_thread() -> None:
    """Set up a process of one thread, before it loads anything."""
    import os

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
