"""One stack looked at in one way, or in several that are fused: what `sarcast run` does with a stack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from sarcast.decide.nulls import How
from sarcast.detectors import DETECTORS
from sarcast.encoders import ENCODERS
from sarcast.runtime.settings import Settings, build
from sarcast.steps.encode import Encode, encode
from sarcast.steps.fuse import Fuse, Fusing, fuse
from sarcast.steps.score import Score, score

COMPARE, QUALITY = "compare", "quality.json"


class Pair(Settings):
    """What is looked at, and what is normal."""

    encoder: str = "statistics"
    """Name of an encoder."""
    encoder_options: dict[str, Any] = Field(default_factory=dict)
    """Its settings."""
    detector: str = "z_score"
    """Name of a detector."""
    detector_options: dict[str, Any] = Field(default_factory=dict)
    """Its settings."""
    calibration: How = "cell"
    """From scores to p-values, as in `sarcast score`."""
    local: bool | None = None
    """Less what the whole frame did, as in `sarcast score`."""

    def check(self) -> None:
        """Refuse what cannot be built.

        Raises:
            SettingsError: A name or an option is unknown.
        """
        build(ENCODERS[self.encoder], self.encoder_options, where=f"encoder {self.encoder}")
        build(DETECTORS[self.detector], self.detector_options, where=f"detector {self.detector}")


def score_pairs(stack: Path, pairs: Sequence[Pair], fusing: Fusing, *, seed: int) -> Path:
    """Scores beside the stack: those of the first pair, or of all of them fused.

    Where there are several, each is scored under compare/ENCODER-DETECTOR/. The features of the first pair
    lie beside the stack either way.

    Returns:
        The folder of the first pair's fitted detector.

    Raises:
        ArtefactError: The stack or weights are missing.
        DataError: Too little history.
    """
    first = encode(_encoding(stack, pairs[0], None))
    if len(pairs) == 1:
        return score(_scoring(first, pairs[0], None, seed)).with_name("detector")
    folders = [stack.parent / COMPARE / name for name in names_of(pairs)]
    parts: list[Path] = []
    for pair, folder in zip(pairs, folders, strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / QUALITY).write_bytes(stack.with_name(QUALITY).read_bytes())
        features = encode(_encoding(stack, pair, folder)) if parts else first
        parts.append(score(_scoring(features, pair, folder, seed)))
    out = stack.with_name("scores.zarr")
    fuse(Fuse(scores=tuple(parts), out=out, calibration=pairs[0].calibration, **fusing.model_dump()))
    return folders[0] / "detector"


def names_of(pairs: Sequence[Pair]) -> list[str]:
    """ENCODER-DETECTOR of each pair; those that come again get a number.

    >>> names_of([Pair(), Pair(encoder="vit"), Pair()])
    ['statistics-z_score', 'vit-z_score', 'statistics-z_score-2']
    """
    found: list[str] = []
    for pair in pairs:
        base = f"{pair.encoder}-{pair.detector}"
        count = sum(f"{one.encoder}-{one.detector}" == base for one in pairs[: len(found)])
        found.append(base if not count else f"{base}-{count + 1}")
    return found


def _encoding(stack: Path, pair: Pair, folder: Path | None) -> Encode:
    out = None if folder is None else folder / "features.zarr"
    return Encode(stack=stack, out=out, encoder=pair.encoder, options=pair.encoder_options)


def _scoring(features: Path, pair: Pair, folder: Path | None, seed: int) -> Score:
    return Score(
        features=features,
        out=None if folder is None else folder / "scores.zarr",
        detector=pair.detector,
        options=pair.detector_options,
        calibration=pair.calibration,
        local=pair.local,
        seed=seed,
    )
