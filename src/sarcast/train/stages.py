"""Stage 3 in two phases: first the encoder's last blocks, then all of it, through the one loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sarcast.nn.vit import ViT
from sarcast.objectives.temporal import TemporalPrediction
from sarcast.train.checkpoint import Epoch, History
from sarcast.train.diagnostics import forecast_health
from sarcast.train.loop import Training, train
from sarcast.train.sequences import Places

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One of them."""

    name: str
    training: Training
    blocks: int | None
    """Last blocks of the encoder that are trained, with the final norm; None: the whole encoder."""
    share: float
    """Learning rate of the encoder as a share of the predictor's."""


def thaw(encoder: ViT, blocks: int | None) -> None:
    """Let gradients reach the last `blocks` blocks and the final norm, or everything when None."""
    if blocks is None:
        encoder.requires_grad_(True)
        return
    encoder.requires_grad_(False)
    encoder.norm.requires_grad_(True)
    for block in list(encoder.blocks)[max(0, len(encoder.blocks) - blocks) :]:
        block.requires_grad_(True)


def train_phases(
    module: TemporalPrediction,
    draw: Callable[[int, int, int], Places],
    phases: tuple[Phase, ...],
    *,
    held_out: Places,
    fabric: Fabric,
    state: Callable[[str], Path],
    fingerprint: str,
    seed: int,
    report: Callable[[str, Epoch, History], None],
) -> dict[str, History]:
    """Train through all phases, going on in the one that was interrupted.

    A finished phase leaves its last checkpoint, from which the next one starts.

    Args:
        module: Encoder and predictor, changed in place.
        draw: (phase, step, part) -> places; must depend on its arguments alone.
        phases: In order.
        held_out: Places for the diagnostics, never learned from.
        fabric: From `sarcast.train.loop.processes`.
        state: Name of a phase -> file of its checkpoint.
        fingerprint: Names this training.
        seed: Of the loop.
        report: (phase, line, history so far of all phases), in the first process only.

    Returns:
        Name of each phase -> its history.
    """
    found: dict[str, History] = {}
    for number, phase in enumerate(phases):
        thaw(module.encoder, phase.blocks)
        before = [line for history in found.values() for line in history.epochs]

        def told(line: Epoch, history: History, name: str = phase.name, before: list[Epoch] = before) -> None:
            report(name, line, History(losses=history.losses, epochs=[*before, *history.epochs]))

        found[phase.name] = train(
            module,
            lambda step, part, number=number: draw(number, step, part),  # type: ignore[misc]
            phase.training,
            held_out=held_out,
            fabric=fabric,
            state=state(phase.name),
            fingerprint=f"{fingerprint} {phase.name}",
            seed=seed,
            report=told,
            diagnose=forecast_health,
            shares={"encoder.": phase.share},
        )
    return found
