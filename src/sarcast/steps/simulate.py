"""`sarcast simulate`: real products of a simulated place, or labelled seasonal tiles, and the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from sarcast.errors import SettingsError
from sarcast.runtime.artefact import up_to_date, writing
from sarcast.runtime.progress import track
from sarcast.runtime.settings import Settings, as_json
from sarcast.sar.simulate import (
    Simulated,
    SimulateScene,
    class_coherence,
    complex_series,
)
from sarcast.sar.simulate import simulate as simulate_scene
from sarcast.sar.simulate.seasonal import SimulateSeasons, simulate_seasons
from sarcast.steps.products import write_capella, write_capella_slc, write_labels, write_map, write_opera
from sarcast.steps.seasons import write_labelled_tiles

Product = Literal["capella-geo", "capella-gec", "capella-slc", "opera", "seasons"]
PRODUCTS, TRUTH, COHERENCE, TILES = "products", "truth.parquet", "coherence.tif", "tiles"


class Simulate(Settings):
    """Write SAR products of a simulated place with known events, or seasonal tiles with labels."""

    out: Path
    """Folder for products/, truth.parquet and (SLC) coherence.tif; for tiles/ (seasons)."""
    scene: SimulateScene = SimulateScene()
    """The place, its events and the sensor."""
    seed: int = 0
    """Of the random generator."""
    product: Product | None = None
    """By default capella-geo or opera, after the kind of scene. seasons: tiles of 12 channels (VV-VH, VV and
    VH of four seasons) and images of land cover, vegetation, built share and biomass, by role."""
    region: SimulateSeasons = SimulateSeasons()
    """The region of the tiles (seasons)."""
    bands: int = Field(10, ge=5)
    """Oblique bands of their split into train, test and val, 60, 20 and 20 % (seasons)."""
    buffer_m: float = Field(0.0, ge=0)
    """Tiles so near to one of another role are left out, metres; test loses none (seasons)."""
    grids: Literal["same", "whole", "fraction"] = "fraction"
    """Capella GEO and GEC: dates share one grid, are cut by whole pixels, or lie a fraction apart as well."""


def simulate(settings: Simulate) -> Path:
    """Simulate and write; nothing is done when it is there already with the same settings.

    Returns:
        The folder of products, or of tiles.

    Raises:
        SettingsError: The product does not belong to the kind of scene.
        DataError: Too few tiles for the bands or the buffer.
        SpaceError: The folder cannot be written.
    """
    if settings.product == "seasons":
        return _seasons(settings)
    product = _product(settings)
    products, truth, coherence = (settings.out / name for name in (PRODUCTS, TRUTH, COHERENCE))
    said = as_json(settings)
    wanted = (products, truth, coherence) if product == "capella-slc" else (products, truth)
    if all(up_to_date(path, settings=said, inputs={}) for path in wanted):
        return products
    for_scene, for_products = np.random.default_rng(settings.seed).spawn(2)
    offsets = _offsets(settings, product, for_products)
    simulated = simulate_scene(settings.scene, rng=for_scene, offsets_px=offsets)
    with writing(truth, settings=said, inputs={}, seed=settings.seed) as partial:
        write_labels(partial, simulated.labels)
    if product == "capella-slc":
        with writing(coherence, settings=said, inputs={}, seed=settings.seed) as partial:
            write_map(partial, class_coherence(simulated.land_cover), simulated.stack.geobox)
    with writing(products, settings=said, inputs={}, seed=settings.seed) as partial:
        partial.mkdir()
        _write_products(partial, product, simulated, grids=settings.grids, offsets=offsets, rng=for_products)
    return products


def _seasons(settings: Simulate) -> Path:
    tiles = settings.out / TILES
    names = ("region", "bands", "buffer_m", "product", "seed")
    said = {name: value for name, value in as_json(settings).items() if name in names}
    if up_to_date(tiles, settings=said, inputs={}):
        return tiles
    rows, cols = settings.region.tiles
    drawn = simulate_seasons(settings.region, rng=np.random.default_rng(settings.seed))
    with writing(tiles, settings=said, inputs={}, seed=settings.seed) as partial:
        partial.mkdir()
        shown = (tile for tile, _ in zip(drawn, track(range(rows * cols), "simulating tiles"), strict=True))
        write_labelled_tiles(partial, shown, bands=settings.bands, buffer_m=settings.buffer_m)
    return tiles


def _product(settings: Simulate) -> Product:
    kind = settings.scene.kind
    product: Product = settings.product or ("opera" if kind == "opera" else "capella-geo")
    if (product == "opera") != (kind == "opera"):
        raise SettingsError(f"expected a product of a {kind} scene, found {product}, in product")
    return product


def _offsets(settings: Simulate, product: Product, rng: np.random.Generator) -> np.ndarray:
    """How far (y, x) each date's pixels lie from the stack's grid, float (time, 2)."""
    dates = settings.scene.dates
    if settings.grids != "fraction" or product not in ("capella-geo", "capella-gec"):
        return np.zeros((dates, 2))
    return rng.uniform(-0.5, 0.5, (dates, 2)).round(3)


def _write_products(
    folder: Path,
    product: Product,
    simulated: Simulated,
    *,
    grids: str,
    offsets: np.ndarray,
    rng: np.random.Generator,
) -> None:
    stack, settings = simulated.stack, simulated.settings
    dates = list(range(len(stack.times)))
    if product == "opera":
        for index in track(dates, "writing products"):
            write_opera(folder, stack, index)
        return
    scale = 1.5e-4 * (1 + 0.3 * rng.random(len(dates)))
    if product == "capella-slc":
        beta = simulated.clean[:, 0] / np.sin(np.deg2rad(stack.times.incidence_deg))[:, None, None]
        series = complex_series(beta, coherence=class_coherence(simulated.land_cover), rng=rng)
        for index, image in zip(track(dates, "writing products"), series, strict=True):
            write_capella_slc(folder, stack, index, image, scale_factor=float(10 * scale[index]))
        return
    crops = _crops(settings.shape, len(dates), rng)
    for index in track(dates, "writing products"):
        write_capella(
            folder,
            stack,
            index,
            scale_factor=float(scale[index]),
            looks=settings.speckle_looks,
            product_type="GEC" if product == "capella-gec" else "GEO",
            offset_px=(float(offsets[index, 0]), float(offsets[index, 1])),
            crop=(slice(None), slice(None)) if grids == "same" else crops[index],
        )


def _crops(shape: tuple[int, int], dates: int, rng: np.random.Generator) -> list[tuple[slice, slice]]:
    """Each date is cut by up to 3 pixels on each side."""
    cuts = rng.integers(0, 4, (dates, 2, 2))
    return [
        (slice(int(rows[0]), shape[0] - int(rows[1])), slice(int(cols[0]), shape[1] - int(cols[1])))
        for rows, cols in cuts
    ]
