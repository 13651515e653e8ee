"""sarcast forecast: learn to forecast a stack's features (stage 2 of T-SAR-JEPA) and write the detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from sarcast.runtime.model import load_model
from sarcast.runtime.settings import Settings
from sarcast.steps.learn import learn


class Forecast(Settings):
    """Fit the temporal transformer to history; `sarcast score --detector FOLDER` then uses it."""

    features: Path
    """features.zarr to learn from; quality.json beside it says where history ends."""
    out: Path | None = None
    """Folder to write; detector/ beside the features when not given."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the transformer, e.g. --options.context 9."""
    seed: int = 0
    """Of the random generator."""


def forecast(settings: Forecast) -> Path:
    """Write the fitted transformer, with the calibration of its scores, as a model folder.

    Raises:
        ArtefactError: The features are missing or unfinished.
        DataError: Too little history.
    """
    target = settings.out or settings.features.parent / "detector"
    return learn(
        settings.features, target, detector="transformer", options=settings.options, seed=settings.seed
    )


def as_dict(folder: Path) -> dict[str, Any]:
    """The folder, and its forecasters' mean skill on cells of history that each did not learn from.

    1 - smooth-L1 loss / that of the mean of the context (`skill`) and of the last valid acquisition
    (`skill_last`, persistence): what to beat. 0 is no skill.
    """
    config, _ = load_model(folder)
    skill = {name: sum(config[name]) / len(config[name]) for name in ("skill", "skill_last")}
    return {"path": str(folder), **skill}


def as_text(folder: Path) -> str:
    """The same for people."""
    found = as_dict(folder)
    return (
        f"{folder}\nskill on held-out cells of history (0 is none): {found['skill']:+.3f} against the mean "
        f"of the context, {found['skill_last']:+.3f} against persistence"
    )
