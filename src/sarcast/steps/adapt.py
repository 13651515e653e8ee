"""sarcast adapt: stage 1, an encoder goes on learning on the pixels of a site; killed, it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sarcast.nn.card import Card
from sarcast.runtime.settings import Settings
from sarcast.steps.pretrain import Pretrain, train_encoder
from sarcast.train.augment import Augment
from sarcast.train.loop import Training


class Adapt(Settings):
    """Go on training an encoder, without labels, on the history of a place."""

    source: tuple[Path, ...] = Field(min_length=1)
    """Run folders, or stack.zarr files."""
    out: Path
    """Folder for encoder/ (config.json, model.safetensors, log.csv)."""
    weights: Path = Path("sarcast-tiny")
    """Encoder to start from: a folder (from pretrain, adapt or finetune), the name of one that comes with
    sarcast, or a .pth file in the public SAR-JEPA layout."""
    card: Card = Card()
    """Scaling of the pixels for a .pth file, which does not tell; a folder of weights has its own."""
    dates: Literal["history", "all"] = "history"
    """Which dates of a source to learn from; all: an encoder that has seen judged dates is marked so, also
    after every later stage."""
    objective: str = "across_dates"
    """across_dates, local_masked_gradient (SAR-JEPA), gradient_jepa, mae or dino; its predictor or
    head starts anew."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of that objective, as in pretrain."""
    crop: int | None = Field(None, ge=2)
    """Side of a training image, tokens; as the weights were trained, or less where the stacks are small, when
    not given."""
    chips: int = Field(2000, ge=1)
    """Places cut from the stacks and kept in memory, each twice a training image wide where there is room."""
    held_out: int = Field(128, ge=2)
    """Images for the diagnostics, from blocks of every stack that are not learned from."""
    held_out_share: float = Field(0.15, gt=0, lt=1)
    """Area of those blocks, share of the stack's."""
    augment: Augment = Augment()
    """What may differ between two looks at one place."""
    training: Training = Training(epochs=10, learning_rate=2e-4, warm_up=0.1)
    """How long and how fast: a fifth of pretraining's rate, so that what the weights know is not lost while
    the new predictor learns."""
    tensorboard: bool = False
    """Write the log's figures to tensorboard/ beside encoder/ too, while it trains (extra `tensorboard`)."""
    seed: int = Field(0, ge=0)
    """Of everything drawn."""


def adapt(settings: Adapt) -> Path:
    """Train and write encoder/; nothing is done when it is there already with the same settings and data.

    Inputs are the weights and the dates learned from alone: a later date added to a stack changes nothing.

    Raises:
        SettingsError: The objective or an option is unknown, or the card does not go with the weights.
        ArtefactError: A source or the weights are missing or unfinished.
        DataError: Too few dates or valid pixels, stacks too small for the crop, or a loss not finite.
        StackError: Calibrated and uncalibrated stacks are mixed.
    """
    same = {name: getattr(settings, name) for name in Adapt.model_fields if name != "weights"}
    return train_encoder(Pretrain(start=settings.weights, **same), stage="adapt")
