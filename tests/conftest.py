"""Fixtures every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from sarcast.values import Features, PatchGrid, Stack, Times

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261121)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data; tests that use it are skipped where it is absent."""
    folder = Path(os.environ.get("SARCAST_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("real data not here: set SARCAST_SHARED to the folder that holds data/ and golden/")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_times() -> Callable[..., Times]:
    """Factory of `Times`: `make_times(n)` is n dates six days apart; `days` gives them all."""

    def make(n: int, *, days: Sequence[float] | None = None) -> Times:
        at = np.arange(n) * 6.0 if days is None else np.asarray(days, float)
        return Times(
            time=np.datetime64("2024-01-01T02:00", "ns") + (at * 86400e9).astype("timedelta64[ns]"),
            scene_id=tuple(f"scene-{i:03d}" for i in range(n)),
            platform=("S1A",) * n,
            incidence_deg=np.full(n, 38.5, np.float32),
            look_side=("right",) * n,
            orbit_direction=("ascending",) * n,
            relative_orbit=("137",) * n,
        )

    return make


@pytest.fixture(scope="session")
def make_stack(make_times: Callable[..., Times]) -> Callable[..., Stack]:
    """Factory of stacks of `looks`-look clutter over a textured, lasting ground."""

    def make(
        rng: np.random.Generator,
        shape: tuple[int, int] = (48, 56),
        *,
        dates: int = 3,
        bands: tuple[str, ...] = ("VH", "VV"),
        looks: float = 4.0,
        side_m: float = 10.0,
    ) -> Stack:
        from affine import Affine
        from odc.geo.geobox import GeoBox
        from scipy.ndimage import gaussian_filter

        ground = gaussian_filter(rng.normal(size=(len(bands), *shape)), (0, 3, 3))
        ground = 10 ** (0.3 * ground / ground.std() - 1)
        power = ground * rng.gamma(looks, 1 / looks, (dates, len(bands), *shape))
        return Stack(
            amplitude=np.sqrt(power).astype(np.float32),
            valid=np.ones((dates, *shape), bool),
            times=make_times(dates),
            bands=bands,
            geobox=GeoBox(shape, Affine(side_m, 0, 500_000, 0, -side_m, 4_000_000), "EPSG:32611"),
            name="simulated",
        )

    return make


@pytest.fixture(scope="session")
def make_features(make_times: Callable[..., Times]) -> Callable[..., Features]:
    """Factory of features: lasting differences between cells, a common part per date, noise of 1."""

    def make(
        rng: np.random.Generator,
        *,
        dates: int = 20,
        cells: tuple[int, int] = (12, 14),
        dim: int = 4,
        patch: int = 8,
        days: Sequence[float] | None = None,
    ) -> Features:
        from affine import Affine
        from odc.geo.geobox import GeoBox

        kinds = rng.integers(0, 3, cells)
        common = rng.normal(0, 1, (dates, 3, dim))
        values = rng.normal(0, 1, (dates, *cells, dim)) + common[:, kinds] + rng.normal(0, 5, (*cells, dim))
        shape = (cells[0] * patch, cells[1] * patch)
        return Features(
            values=values.astype(np.float32),
            valid=np.ones((dates, *cells), bool),
            times=make_times(dates, days=days),
            grid=PatchGrid(image=shape, patch=patch, stride=patch),
            geobox=GeoBox(shape, Affine(10, 0, 500_000, 0, -10, 4_000_000), "EPSG:32611"),
            names=("vv_mean", *(f"f{i}" for i in range(1, dim))),
            encoder="statistics",
            stack="simulated",
        )

    return make


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """products/ and run/ of a small OPERA-like place; copy before changing anything."""
    from sarcast.sar.simulate import SimulateScene
    from sarcast.steps.run import Run, run
    from sarcast.steps.simulate import Simulate, simulate

    folder = tmp_path_factory.mktemp("small")
    scene = SimulateScene(kind="opera", shape=(64, 64), dates=14, events=1, edge_px=3)
    run(Run(source=simulate(Simulate(out=folder, scene=scene, seed=3)), out=folder / "run", workers=1))
    return folder
