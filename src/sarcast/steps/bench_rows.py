"""The rows of the benches: what is looked at, and what is normal; a new one is a line in `ROWS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sarcast.errors import SettingsError
from sarcast.steps.bench_maps import Learned, Row, pixel_scores
from sarcast.steps.bench_peers import INSTALLED, PeerTransformer

if TYPE_CHECKING:
    from sarcast.decide.calibration import Calibration
    from sarcast.decide.fuse import Combination, Fusion
    from sarcast.decide.nulls import How
    from sarcast.evaluate.pixel_baselines import PixelHistory
    from sarcast.values import Features, Scores, Split, Stack


CALIBRATION: How = "cell"
"""Of p-values, as in the main job."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An encoder and a detector, as anywhere else; cells are spread to their pixels."""

    encoder: str
    detector: str
    look: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the encoder."""
    normal: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the detector."""

    def make_encoder(self) -> Any:
        """The encoder with its settings."""
        from sarcast.encoders import ENCODERS
        from sarcast.runtime.settings import build

        return build(ENCODERS[self.encoder], dict(self.look), where=f"encoder {self.encoder}")

    def make_detector(self) -> Any:
        """The detector with its settings."""
        from sarcast.detectors import DETECTORS
        from sarcast.runtime.settings import build

        return build(DETECTORS[self.detector], dict(self.normal), where=f"detector {self.detector}")

    def learn(self, stack: Stack, split: Split, *, seed: int) -> Learned:
        """Encode every date once, fit on history."""
        from sarcast.steps.learn import centres

        encoder, detector = self.make_encoder(), self.make_detector()
        features = encoder.encode(stack)
        scorer = detector.fit(features, split, rng=np.random.default_rng(seed))
        local = not centres(detector)
        return _Pair(encoder=encoder, scorer=scorer, features=features, split=split, local=local)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pair:
    encoder: Any
    scorer: Any
    features: Features
    split: Split
    local: bool

    def history(self) -> Scores:
        found: Scores = self.scorer.score(self.features, [int(t) for t in np.flatnonzero(self.split.fit)])
        return found

    def judge(self, stack: Stack) -> Scores:
        last = len(stack.times) - 1
        now = self.encoder.encode(stack, [last])
        values, valid = self.features.values.copy(), self.features.valid.copy()
        values[last], valid[last] = now.values[0], now.valid[0]
        found: Scores = self.scorer.score(replace(self.features, values=values, valid=valid), [last])
        return found


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A pixel's own history in dB: z-score or log-ratio, the largest of the bands."""

    measure: Literal["z_score", "log_ratio"]
    look: Mapping[str, Any]
    """Settings of the encoder `pixels`: the speckle filter."""
    dates: int | None = None
    """Last dates of history that are used; all when not given."""
    pooled: float = 0.5
    """Share of the variance that is its local mean."""
    window: int = 9
    """Side of the window of that mean, pixels."""
    frame: bool = False
    """The frame's median deviation is taken out of every date first."""

    def learn(self, stack: Stack, split: Split, *, seed: int) -> Learned:  # noqa: ARG002
        """Filter every date once."""
        from sarcast.encoders.pixels import Pixels
        from sarcast.evaluate.pixel_baselines import PixelHistory
        from sarcast.runtime.settings import build

        encoder = build(Pixels, dict(self.look), where="encoder pixels")
        fit = np.flatnonzero(split.fit)[-(self.dates or len(split.fit)) :]
        features = encoder.encode(stack, [int(t) for t in fit])
        known = PixelHistory(
            level=np.moveaxis(features.values, -1, 1).astype(np.float64),
            valid=features.valid,
            pooled=self.pooled,
            window=self.window,
            frame=self.frame,
        )
        return _Plain(encoder=encoder, known=known, measure=self.measure, stack=stack, fit=fit)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plain:
    encoder: Any
    known: PixelHistory
    measure: str
    stack: Stack
    fit: np.ndarray
    local: bool = False

    def history(self) -> Scores:
        dates = range(len(self.known.level))
        found = [self._one(self.known.level[t], self.known.valid[t], without=t) for t in dates]
        values, valid = (np.stack(part) for part in zip(*found, strict=True))
        return pixel_scores(self.stack, self.fit, values, valid)

    def judge(self, stack: Stack) -> Scores:
        last = len(stack.times) - 1
        now = self.encoder.encode(stack, [last])
        values, valid = self._one(np.moveaxis(now.values[0], -1, 0), now.valid[0])
        return pixel_scores(stack, np.array([last]), values[None], valid[None])

    def _one(self, level: np.ndarray, valid: np.ndarray, *, without: int | None = None) -> Any:
        measure: Callable[..., Any] = getattr(self.known, self.measure)
        return measure(level.astype(np.float64), valid, without=without)


@dataclass(frozen=True, kw_only=True)
class Fused:
    """Several rows as one map: calibrated surprises fused on the finest cells, as `sarcast fuse` does."""

    parts: tuple[str, ...]
    """Names of rows."""
    how: Combination = "stouffer"
    """How surprises become one."""
    weights: tuple[float, ...] | None = None
    """One a part; all alike when not given."""

    def learn(self, stack: Stack, split: Split, *, seed: int) -> Learned:
        """Every part by itself, calibrated as the main job does."""
        from sarcast.decide.calibration import calibrate
        from sarcast.decide.fuse import learn_fusion

        learned = [named(name).learn(stack, split, seed=seed) for name in self.parts]
        past = [one.history() for one in learned]
        null = [calibrate(p, how=CALIBRATION, local=one.local) for p, one in zip(past, learned, strict=True)]
        past = [one.read(scores) for one, scores in zip(null, past, strict=True)]
        fusion = learn_fusion(past, how=self.how, weights=self.weights)
        return _Fused(learned=learned, calibrations=null, fusion=fusion, past=past)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fused:
    learned: Sequence[Learned]
    calibrations: Sequence[Calibration]
    fusion: Fusion
    past: Sequence[Scores]
    local: bool = False

    def history(self) -> Scores:
        return self.fusion.fuse(self.past)

    def judge(self, stack: Stack) -> Scores:
        now = [one.judge(stack) for one in self.learned]
        return self.fusion.fuse([c.read(scores) for c, scores in zip(self.calibrations, now, strict=True)])


def missing() -> tuple[str, ...]:
    """What is left out and why, one sentence each."""
    return () if INSTALLED else ("Rows of `distmetrics` are left out: it is not installed.",)


def choose(names: Sequence[str], *, default: Sequence[str]) -> dict[str, Row]:
    """The rows of these names, or of the default ones where none is named.

    Raises:
        SettingsError: There is no such row.
    """
    return {name: named(name) for name in names or default}


def choose_pairs(names: Sequence[str], *, default: Sequence[str]) -> dict[str, Pair]:
    """The same, of rows that are an encoder and a detector on cells.

    Raises:
        SettingsError: There is no such row, or it is of another sort.
    """
    found = {}
    for name, row in choose(names, default=default).items():
        if not isinstance(row, Pair) or row.encoder == "pixels":
            raise SettingsError(f"expected rows of an encoder on cells and a detector, found {name!r}")
        found[name] = row
    return found


def named(name: str) -> Row:
    """The row of a name: one of `ROWS`, or "ENCODER, DETECTOR" with their default settings.

    Raises:
        SettingsError: There is no such row.
    """
    from sarcast.detectors import DETECTORS

    if name in ROWS:
        return ROWS[name]
    encoder, _, detector = (part.strip() for part in name.partition(","))
    if encoder in _LOOKS and detector in DETECTORS:
        return Pair(encoder=_LOOKS[encoder][0], detector=detector, look=_LOOKS[encoder][1])
    raise SettingsError(
        f"expected rows among {'; '.join(ROWS)}; or an encoder of {', '.join(_LOOKS)}, a comma and a "
        f"detector of {', '.join(DETECTORS)}; found {name!r}"
    )


def grid_of(*, quick: bool) -> list[str]:
    """Names of all encoders on cells with all detectors that can read them; a quick look has fewer."""
    from sarcast.detectors import DETECTORS

    looks = ("statistics",) if quick else ("statistics", "gradients", "random vit", "sarcast-tiny")
    known = [name for name in DETECTORS if not (quick and name in TRAINED)]
    return [
        f"{look}, {detector}"
        for look in looks
        for detector in known
        if look == "statistics" or detector not in TRAINED | LEVELS
    ]


_RAW: dict[str, Any] = {"despeckle": "none"}
_BOXCAR: dict[str, Any] = {"despeckle": "boxcar", "size": 3}
_TV: dict[str, Any] = {"despeckle": "total_variation", "strength_db": 2.5}
_RANDOM: dict[str, Any] = {"random_init": "micro"}

_LOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "statistics": ("statistics", {}),
    "gradients": ("gradients", {}),
    "pixels": ("pixels", {}),
    "raw pixels": ("pixels", _RAW),
    "random vit": ("vit", _RANDOM),
    "sarcast-tiny": ("vit", {}),
}
"""Name in a row -> encoder and its settings."""
TRAINED = frozenset(
    {
        "ensemble", "geometry_transformer", "gru", "lstm", "matched_network", "probabilistic_transformer",
        "tcn", "transformer",
    }
)  # fmt: skip
"""Detectors that train a network."""
LEVELS = frozenset({"coefficient_of_variation", "log_ratio", "mahalanobis", "omnibus"})
"""Detectors that read levels in dB, of which other encoders than `statistics` and `pixels` have none."""

BASELINE = "z-score, total variation, 20 dates"
"""The row every other is compared with."""
ALIKE = "pixels, z_score, 300 alike pixels, 1.5 px"
"""The classical row that learned maps have to lift: total variation, centred on alike pixels, averaged."""

# Name -> row that is more than an encoder and a detector as they come. The name is what a table shows.
ROWS: dict[str, Row] = {
    "log-ratio, raw": Plain(measure="log_ratio", look=_RAW),
    "log-ratio, total variation": Plain(measure="log_ratio", look=_TV),
    "z-score, raw": Plain(measure="z_score", look=_RAW, pooled=0),
    "z-score, 3 x 3 mean": Plain(measure="z_score", look=_BOXCAR, pooled=0),
    "z-score, total variation, 10 dates": Plain(measure="z_score", look=_TV, dates=10),
    BASELINE: Plain(measure="z_score", look=_TV, dates=20),
    "z-score, total variation, 20 dates, frame median out": Plain(
        measure="z_score", look=_TV, dates=20, frame=True
    ),
    ALIKE: Pair(encoder="pixels", detector="z_score", look=_TV, normal={"neighbours": 300, "scales": (1.5,)}),
    "fused: z-score, total variation; statistics": Fused(parts=(BASELINE, "statistics, z_score")),
    "fused: raw pixels matched_filter; statistics": Fused(
        parts=("raw pixels, matched_filter", "statistics, z_score")
    ),
    "fused: raw pixels matched_filter; gradients": Fused(
        parts=("raw pixels, matched_filter", "gradients, z_score")
    ),
}
_PEERS: dict[str, Row] = {
    "distmetrics, transformer_original, 10 dates": PeerTransformer(weights="transformer_original", dates=10),
    "distmetrics, transformer_optimized, 10 dates": PeerTransformer(
        weights="transformer_optimized", dates=10
    ),
}
ROWS |= _PEERS if INSTALLED else {}
AGAINST = (ALIKE, *_PEERS)
"""Rows that, where they are run, the others are compared with besides."""
FAST = (
    *(name for name, row in ROWS.items() if isinstance(row, Plain)),
    "fused: z-score, total variation; statistics", "statistics, z_score", "statistics, padim",
)  # fmt: skip
"""Rows of a quick look at injected changes."""
INJECTED = (
    *ROWS, "statistics, z_score", "statistics, padim", "gradients, z_score", "pixels, z_score",
    "raw pixels, omnibus", "raw pixels, mahalanobis", "raw pixels, matched_filter",
    "raw pixels, matched_network", "random vit, z_score", "sarcast-tiny, z_score",
)  # fmt: skip
"""Rows of the bench of injected changes, those it is compared with first."""
Z_ROWS = frozenset(
    name
    for name, row in ROWS.items()
    if isinstance(row, PeerTransformer) or (isinstance(row, Plain) and row.measure == "z_score")
)
"""Rows whose score is a z: their share over 3 and 3.5 means something."""
