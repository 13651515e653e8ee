"""Every acquisition once: which of its several scenes is used, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from sarcast.values import Scene, SceneFile

SAME_PASS = np.timedelta64(30, "s")
"""Two processings of one burst may differ by this in their start; two passes lie hours apart at least."""


@dataclass(frozen=True, kw_only=True, order=True)
class Refusal:
    """A product that cannot be used."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, order=True)
class Dropped:
    """A readable file or scene that is not used, on purpose."""

    path: str
    scene_id: str = ""
    kept: str = ""
    """Scene used instead; empty when there is none."""
    why: str

    def __str__(self) -> str:
        instead = f"; {self.kept} is used" if self.kept else ""
        return f"{self.scene_id or Path(self.path).name}: {self.why}{instead}"


Ruling: TypeAlias = tuple[list[Scene], list[Dropped], list[Refusal]]


def settle(scenes: Iterable[Scene]) -> Ruling:
    """Scenes with every acquisition once, what was left out for another, and what contradicts another.

    In this order: one id is one scene (its polarisations may lie in several folders; copies are left out); of
    several processings of one acquisition the newest is used; of a collect as GEO and as GEC, the GEO; plain
    GeoTIFFs that repeat a time on one grid, or pixels at another time, are refused.
    """
    kept = list(scenes)
    dropped: list[Dropped] = []
    refused: list[Refusal] = []
    for rule in (_one_id, _newest, _terrain_first, _contradictions):
        kept, lost, bad = rule(sorted(kept, key=_order))
        dropped += lost
        refused += bad
    return sorted(kept, key=_order), dropped, refused


def first_path(scene: Scene) -> str:
    """The path that stands for a scene."""
    return scene.files[0].path


def _order(scene: Scene) -> tuple[np.datetime64, str, str]:
    return scene.time, scene.scene_id, first_path(scene)


def _one_id(scenes: Sequence[Scene]) -> Ruling:
    kept: list[Scene] = []
    dropped: list[Dropped] = []
    refused: list[Refusal] = []
    for members in _groups(scenes, lambda scene: scene.scene_id):
        ranked = sorted(members, key=lambda scene: (_negative(scene.processed), first_path(scene)))
        best = ranked[0]
        for other in ranked[1:]:
            have = {file.band: file.sha256 for file in best.files}
            shared = [file for file in other.files if file.band in have]
            if any(have[file.band] != file.sha256 for file in shared):
                if other.processed != best.processed:
                    dropped.append(_left_out(other, best, "an older processing"))
                else:
                    reason = (
                        f"expected one content for {best.scene_id}, found another than "
                        f"{first_path(best)}, in {first_path(other)}"
                    )
                    refused.append(Refusal(path=first_path(other), reason=reason))
                continue
            dropped.extend(
                Dropped(path=file.path, scene_id=best.scene_id, kept=best.scene_id, why="a copy")
                for file in shared
            )
            more = [file for file in other.files if file.band not in have]
            best = replace(best, files=tuple(sorted([*best.files, *more], key=_band)))
        kept.append(best)
    return kept, dropped, refused


def _newest(scenes: Sequence[Scene]) -> Ruling:
    kept: list[Scene] = []
    dropped: list[Dropped] = []
    for members in _groups(scenes, _acquisition):
        passes: list[list[Scene]] = []
        for scene in members:
            if passes and scene.time - passes[-1][-1].time <= SAME_PASS:
                passes[-1].append(scene)
            else:
                passes.append([scene])
        for same in passes:
            best = min(same, key=lambda scene: (_negative(scene.processed), scene.scene_id))
            kept.append(best)
            for other in same:
                if other is not best:
                    lost = sorted(set(other.bands) - set(best.bands))
                    why = "an older processing" + (f" that also had {', '.join(lost)}" if lost else "")
                    dropped.append(_left_out(other, best, why))
    return kept, dropped, []


def _terrain_first(scenes: Sequence[Scene]) -> Ruling:
    """GEO rather than GEC of one collect."""
    kept: list[Scene] = []
    dropped: list[Dropped] = []
    for members in _groups(scenes, lambda scene: _collect(scene) or scene.scene_id):
        terrain = [scene for scene in members if scene.geometry == "terrain"]
        for scene in members:
            if terrain and scene.geometry != "terrain" and _collect(scene):
                why = "an ellipsoid-projected product of a collect that is here terrain-corrected"
                dropped.append(_left_out(scene, terrain[0], why))
            else:
                kept.append(scene)
    return kept, dropped, []


def _contradictions(scenes: Sequence[Scene]) -> Ruling:
    """Plain GeoTIFFs have no id of their own: what repeats is a copy or a mistake."""
    kept: list[Scene] = []
    dropped: list[Dropped] = []
    refused: list[Refusal] = []
    at: dict[Hashable, Scene] = {}
    content: dict[Hashable, Scene] = {}
    for scene in scenes:
        if scene.product_type != "geotiff":
            kept.append(scene)
            continue
        pixels = tuple(sorted((file.sha256, file.index) for file in scene.files))
        keys = [(scene.time, scene.place, scene.platform, scene.track, *_grid(file)) for file in scene.files]
        twin = content.get(pixels)
        rival = next((at[key] for key in keys if key in at), None)
        if twin is not None and twin.time == scene.time:
            dropped.append(_left_out(scene, twin, "a copy"))
        elif twin is not None or rival is not None:
            other = twin or rival
            assert other is not None
            what = "pixels of its own" if twin else "one file for each time, grid and polarisation"
            refused.append(
                Refusal(
                    path=first_path(scene),
                    reason=f"expected {what}, found those of {first_path(other)} at {other.time} "
                    f"and {scene.time}, in {first_path(scene)}",
                )
            )
        else:
            kept.append(scene)
            content[pixels] = scene
            at |= dict.fromkeys(keys, scene)
    return kept, dropped, refused


def _groups(scenes: Iterable[Scene], key: Callable[[Scene], Hashable]) -> list[list[Scene]]:
    found: dict[Hashable, list[Scene]] = {}
    for scene in scenes:
        found.setdefault(key(scene), []).append(scene)
    return list(found.values())


def _acquisition(scene: Scene) -> Hashable:
    """What two processings of one acquisition share, besides their time."""
    if _collect(scene):
        return scene.sensor, scene.product_type, _collect(scene)
    if scene.place is not None and scene.processed is not None:
        return scene.sensor, scene.product_type, scene.platform, scene.place
    return scene.scene_id


def _collect(scene: Scene) -> Hashable:
    collect = scene.extra.get("collect_id")
    return (collect, scene.bands) if isinstance(collect, str) else None


def _grid(file: SceneFile) -> tuple[Hashable, ...]:
    return file.band, file.crs, file.transform, file.shape


def _band(file: SceneFile) -> tuple[str, str]:
    return file.band, file.path


def _negative(processed: np.datetime64 | None) -> int:
    """Sorts the newest first, unknown last."""
    return 0 if processed is None else -int(processed.astype("datetime64[ns]").astype(np.int64))


def _left_out(scene: Scene, best: Scene, why: str) -> Dropped:
    return Dropped(path=first_path(scene), scene_id=scene.scene_id, kept=best.scene_id, why=why)
