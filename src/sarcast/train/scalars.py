"""What the log says, as TensorBoard shows it: one line of scalars an epoch, while the training runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from sarcast.errors import SettingsError
from sarcast.train.checkpoint import Epoch


def require_tensorboard() -> None:
    """Say so early where it is not installed.

    Raises:
        SettingsError: It is not.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise SettingsError(
            "expected tensorboard for its log, found it not installed; pip install 'sarcast[tensorboard]'"
        ) from None


@contextmanager
def scalars(folder: Path | None) -> Iterator[Callable[[Epoch], None]]:
    """A function that writes one epoch's figures to event files in `folder`; None writes nothing."""
    if folder is None:
        yield _nothing
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:

        def write(line: Epoch) -> None:
            for name, value in asdict(line).items():
                if name not in ("epoch", "step") and value is not None:
                    writer.add_scalar(name, value, line.step)
            writer.flush()

        yield write


def _nothing(line: Epoch) -> None:
    """Where no log is wanted."""
    del line
