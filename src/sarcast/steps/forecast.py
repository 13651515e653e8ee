"""sarcast forecast: learn to forecast a stack's features (stage 2 of T-SAR-JEPA) and write the detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from sarcast.detectors import SCORERS
from sarcast.errors import SettingsError
from sarcast.runtime.model import load_model
from sarcast.runtime.settings import Settings
from sarcast.steps.learn import learn


class Forecast(Settings):
    """Fit a forecasting detector to history; `sarcast score --detector FOLDER` then uses it."""

    features: Path
    """features.zarr to learn from; quality.json beside it says where history ends."""
    out: Path | None = None
    """Folder to write; detector/ beside the features when not given."""
    detector: str = "transformer"
    """Name of a detector that forecasts: transformer, lstm, gru, tcn, linear_ar, probabilistic_transformer or
    geometry_transformer."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the detector, e.g. --options.context 9."""
    seed: int = 0
    """Of the random generator."""


def forecast(settings: Forecast) -> Path:
    """Write the fitted detector, with the calibration of its scores, as a model folder.

    Raises:
        ArtefactError: The features are missing or unfinished.
        DataError: Too little history.
        SettingsError: The detector or an option is unknown, or the detector does not forecast.
    """
    if not _forecasts(settings.detector):
        known = ", ".join(name for name in SCORERS if _forecasts(name))
        raise SettingsError(f"expected a detector that forecasts in {known}, found {settings.detector!r}")
    target = settings.out or settings.features.parent / "detector"
    return learn(
        settings.features, target, detector=settings.detector, options=settings.options, seed=settings.seed
    )


def _forecasts(name: str) -> bool:
    """Whether a fitted detector of this name says its skill."""
    return name in SCORERS and "skill" in SCORERS[name].__dataclass_fields__


def as_dict(folder: Path) -> dict[str, Any]:
    """The folder, its detector, and its forecasters' mean skill on cells of history each did not learn from.

    1 - loss / that of the mean of the context (`skill`) and of the last valid acquisition (`skill_last`,
    persistence): what to beat. The loss is smooth L1, of `linear_ar` the squared error. 0 is no skill.
    """
    config, _ = load_model(folder)
    skill = {name: sum(config[name]) / len(config[name]) for name in ("skill", "skill_last")}
    return {"path": str(folder), "detector": config["detector"], **skill}


def as_text(folder: Path) -> str:
    """The same for people."""
    found = as_dict(folder)
    return (
        f"{folder}\nskill of {found['detector']} on held-out cells of history (0 is none): "
        f"{found['skill']:+.3f} against the mean of the context, "
        f"{found['skill_last']:+.3f} against persistence"
    )
