"""A detector's scores as they are read: less what the frame did, with p-values, and the frame's own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sarcast.decide.frame import Frame, learn_frame
from sarcast.decide.nulls import Calibrated, How, learn
from sarcast.errors import ShapeError
from sarcast.values import Scores


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What history's scores say about a new one."""

    null: Calibrated
    frame: Frame
    local: bool
    """Scores are less what the whole frame did."""
    history_ids: tuple[str, ...]
    """Scene ids of history."""

    def read(self, scores: Scores) -> Scores:
        """Calibrated scores of raw ones, every date by itself.

        Args:
            scores: As the detector gives them, history's dates by what left them out.

        Raises:
            ShapeError: Other cells than history's.
        """
        if scores.grid.shape != self.frame.count.shape:
            raise ShapeError(f"expected {self.frame.count.shape} cells, found {scores.grid.shape}")
        past = set(self.history_ids)
        held = np.array([scene in past for scene in scores.times.scene_id], bool)
        dates = list(zip(scores.values, scores.valid, held.tolist(), strict=True))
        frame = [self.frame.score(v, ok, held=h) for v, ok, h in dates]
        chance = [self.frame.p_value(f, held=h) for f, (_, _, h) in zip(frame, dates, strict=True)]
        values = scores.values
        if self.local:
            values = _stacked([self.frame.local(v, ok, held=h) for v, ok, h in dates], scores.values)
        return replace(
            scores,
            values=values,
            p_value=self.null.p_values(values, scores.valid, held).astype(np.float32),
            frame_score=np.array(frame, np.float32),
            frame_p_value=None if None in chance else np.array(chance, np.float32),
        )


def calibrate(history: Scores, *, how: How, local: bool) -> Calibration:
    """What history's own scores, by what left them out, say about later ones.

    Args:
        history: Scores of history's dates alone.
        how: How p-values come about.
        local: Take off what the whole frame did.

    Raises:
        DataError: Fewer than 100 valid scores, or all alike.
    """
    frame = learn_frame(history.values, history.valid)
    values = history.values
    if local:
        dates = zip(history.values, history.valid, strict=True)
        values = _stacked([frame.local(v, ok, held=True) for v, ok in dates], values)
    null = learn(values, history.valid, how=how)
    return Calibration(null=null, frame=frame, local=local, history_ids=history.times.scene_id)


def _stacked(dates: list[np.ndarray], like: np.ndarray) -> np.ndarray:
    """(time, row, col) of dates, none of them too."""
    return np.stack(dates) if dates else np.zeros_like(like)
