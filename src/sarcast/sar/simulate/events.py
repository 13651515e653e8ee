"""Planted events: where, when, of which kind and strength."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sarcast.sar.simulate.forms import FORMS, Form, imprint
from sarcast.sar.simulate.ground import Ground
from sarcast.sar.simulate.land_cover import INDEX, Land
from sarcast.sar.simulate.outlines import blob, hull, rectangle
from sarcast.sar.simulate.settings import Kind, SimulateScene


@dataclass(frozen=True, kw_only=True)
class Habit:
    """Where a kind happens, how strong, how large, how long."""

    strength_db: tuple[float, float]
    """Range of |change| of the mean level."""
    sign: int
    """+1 brighter, -1 darker, 0 either."""
    on: tuple[str, ...]
    """Land covers it happens on."""
    size_cells: tuple[float, float] = (1.1, 2.2)
    """Side of its bounding box, in cells."""
    becomes: str | None = None
    """Land cover afterwards, when it changes."""
    lasts: str = "either"
    """always: permanent; brief: a date or two; either."""
    grows: int = 1
    """Dates until full strength."""
    cross_weight: float = 1.0
    """Change in cross-polarisation over that in co-polarisation, dB over dB."""


_OPEN = ("fields", "grass", "bare soil")
HABITS: dict[Kind, Habit] = {
    "lava": Habit(strength_db=(3, 10), sign=1, on=(*_OPEN, "forest"), size_cells=(1.5, 3), becomes="lava",
                  lasts="always", cross_weight=1.2),
    "flood": Habit(strength_db=(4, 8), sign=-1, on=_OPEN, size_cells=(1.5, 3), becomes="water",
                   cross_weight=0.9),
    "clearing": Habit(strength_db=(2, 5), sign=-1, on=("forest",), becomes="bare soil", lasts="always",
                      cross_weight=1.5),
    "excavation": Habit(strength_db=(0.3, 1), sign=0, on=_OPEN, becomes="bare soil", lasts="always"),
    "construction": Habit(strength_db=(3, 8), sign=1, on=(*_OPEN, "urban"), becomes="urban", lasts="always",
                          grows=3, cross_weight=0.9),
    "ship": Habit(strength_db=(7, 12), sign=1, on=("water",), size_cells=(1.4, 2.0), lasts="brief",
                  cross_weight=1.0),
    "vehicles": Habit(strength_db=(3, 8), sign=1, on=(*_OPEN, "road"), size_cells=(1.1, 1.6), lasts="brief",
                      cross_weight=0.9),
    "burnt": Habit(strength_db=(1, 3), sign=-1, on=("forest", "grass", "fields"), size_cells=(1.2, 2.5),
                   lasts="always", cross_weight=1.3),
    "wet": Habit(strength_db=(1, 2), sign=1, on=_OPEN, cross_weight=0.8),
    "texture": Habit(strength_db=(0, 0), sign=0, on=(*_OPEN, "forest", "urban")),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """One event, ready to be laid over the ground."""

    kind: Kind
    rows: slice
    cols: slice
    mask: np.ndarray
    """bool (y, x) within rows and cols."""
    onset: int
    """First date it is there."""
    end: int | None
    """First date it is gone; None when it stays."""
    grows: int
    """Dates until full strength."""
    change_db: float
    """Of the mean level (co-polarised) over the mask at full strength."""
    becomes: int | None
    """Land cover afterwards."""
    after: Ground
    """The ground within rows and cols at full strength (its values outside the mask mean nothing)."""

    def share(self, index: int) -> float:
        """How much of it is there at date `index`, 0 to 1."""
        if index < self.onset or (self.end is not None and index >= self.end):
            return 0.0
        return min(1.0, (index - self.onset + 1) / self.grows)


def plant(
    settings: SimulateScene, land: Land, ground: Ground, *, rng: np.random.Generator
) -> tuple[Planted, ...]:
    """Place the events of `settings`; fewer when they do not fit without touching."""
    taken = _no_go(settings)
    planted: list[Planted] = []
    for kind in _turns(settings, rng):
        habit = HABITS[kind]
        place = _place(kind, habit, settings, land, taken, rng)
        if place is None:
            continue
        rows, cols, mask = place
        onset, end = _when(habit, settings, rng)
        change_db = _strength(kind, habit, settings, rng)
        form = Form(
            ground=ground,
            land=land,
            rows=rows,
            cols=cols,
            mask=mask,
            bands=settings.bands,
            look_side=settings.look_side,
            fine=settings.kind == "capella",
        )
        planted.append(
            Planted(
                kind=kind,
                rows=rows,
                cols=cols,
                mask=mask,
                onset=onset,
                end=end,
                grows=habit.grows,
                change_db=change_db,
                becomes=None if habit.becomes is None else INDEX[habit.becomes],
                after=imprint(form, FORMS[kind], change_db, cross_weight=habit.cross_weight, rng=rng),
            )
        )
        gap = max(3, settings.cell_px // 2)
        taken[max(rows.start - gap, 0) : rows.stop + gap, max(cols.start - gap, 0) : cols.stop + gap] = True
    return tuple(sorted(planted, key=lambda event: event.onset))


def _turns(settings: SimulateScene, rng: np.random.Generator) -> Iterator[Kind]:
    """Kinds in turn, each as often as the others, in a drawn order."""
    kinds: list[Kind] = []
    while len(kinds) < settings.event_count:
        kinds += [settings.kinds[i] for i in rng.permutation(len(settings.kinds))]
    return iter(kinds[: settings.event_count])


def _no_go(settings: SimulateScene) -> np.ndarray:
    """True where no event may lie: at the edges, which may be without data. bool (y, x)."""
    margin = settings.edge_px + 4
    taken = np.ones(settings.shape, bool)
    taken[margin : settings.shape[0] - margin, margin : settings.shape[1] - margin] = False
    return taken


def _place(
    kind: Kind,
    habit: Habit,
    settings: SimulateScene,
    land: Land,
    taken: np.ndarray,
    rng: np.random.Generator,
) -> tuple[slice, slice, np.ndarray] | None:
    """A free place on the right land cover; on any when there is none; None when nothing is free."""
    wanted = np.isin(land.cover, [INDEX[name] for name in habit.on])
    anything = land.cover != INDEX["tidal flat"]
    for allowed, share in ((wanted, 0.9), (wanted, 0.7), (anything, 0.9)):
        rows, cols = np.nonzero(allowed & ~taken)
        for _ in range(40 if len(rows) else 0):
            mask = _outline(kind, habit, settings.cell_px, rng)
            at = int(rng.integers(len(rows)))
            top, left = _corner((int(rows[at]), int(cols[at])), mask.shape, settings.cell_px)
            if top < 0 or left < 0:
                continue
            window = np.s_[top : top + mask.shape[0], left : left + mask.shape[1]]
            if taken[window].shape != mask.shape or taken[window].any():
                continue
            if allowed[window][mask].mean() >= share:
                return slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1]), mask
    return None


def _corner(at: tuple[int, int], shape: tuple[int, ...], cell_px: int) -> tuple[int, int]:
    """Upper left pixel of a mask about `at`; one of a few cells at most is centred on a cell."""
    if max(shape) < 2.1 * cell_px:
        at = (at[0] // cell_px * cell_px + cell_px // 2, at[1] // cell_px * cell_px + cell_px // 2)
    return at[0] - shape[0] // 2, at[1] - shape[1] // 2


def _outline(kind: Kind, habit: Habit, cell_px: int, rng: np.random.Generator) -> np.ndarray:
    low, high = (cell_px * side for side in habit.size_cells)
    size = (float(rng.uniform(low, high)), float(rng.uniform(low, high)))
    if kind == "ship":
        return hull(max(size), angle_rad=float(rng.uniform(0, np.pi)))
    if kind in ("lava", "flood", "burnt", "wet"):
        return blob(size, roughness=0.8 if kind == "lava" else 0.35, rng=rng)
    return rectangle(size, angle_rad=float(rng.uniform(-0.4, 0.4)))


def _when(habit: Habit, settings: SimulateScene, rng: np.random.Generator) -> tuple[int, int | None]:
    last = settings.dates - 1
    first = min(int(np.ceil(settings.onset[0] * settings.dates)), last)
    onset = int(rng.integers(first, max(first, min(int(settings.onset[1] * settings.dates), last)) + 1))
    brief = habit.lasts == "brief" or (habit.lasts == "either" and rng.random() < settings.transient)
    if not brief:
        return onset, None
    end = onset + int(rng.integers(1, 3 if habit.lasts == "brief" else 4))
    return onset, end if end <= last else None


def _strength(kind: Kind, habit: Habit, settings: SimulateScene, rng: np.random.Generator) -> float:
    """Signed change in dB: the kind's own range, cut to what is asked for; what is asked for wins."""
    if kind == "texture":
        return 0.0
    if kind == "excavation":
        return float(rng.choice([-1, 1]) * rng.uniform(*habit.strength_db))
    low, high = (float(np.clip(value, *settings.strength_db)) for value in habit.strength_db)
    return habit.sign * float(rng.uniform(low, high))
