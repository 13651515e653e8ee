"""A static STAC 1.1 collection of the maps: one item a stack and judged date, relative links only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast import __version__
from sarcast.publish.cog import STATUS_CODES, cells_geobox
from sarcast.publish.material import Material, stamps
from sarcast.publish.vector import degrees

if TYPE_CHECKING:
    import pystac
    from odc.geo.geobox import GeoBox

EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
)
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def write_stac(
    folder: Path, materials: Sequence[Material], *, title: str, products: Mapping[str, Sequence[str]]
) -> None:
    """Write `folder`/collection.json and one folder an item beside it.

    The maps are expected in `folder`/../maps, the detections in `folder`/..; every link is relative, and
    nothing says when it was written, so the same site gives the same bytes.

    Args:
        folder: Made here; usually site/stac.
        materials: One entry a stack.
        title: Of the collection.
        products: scene_id -> ids of the products behind it, for `derived_from`.
    """
    import pystac

    pairs = [
        (_item(material, time, stamp, products), _maps(material, stamp))
        for material in materials
        for time, stamp in judged_stamps(material)
    ]
    items = [item for item, _ in pairs]
    collection = pystac.Collection(
        id="sarcast-changes",
        title=title,
        description=f"Maps of changes that sarcast {__version__} found in stacks of SAR amplitude images.",
        extent=_extent(materials, items),
        license="other",
        keywords=["SAR", "change detection"],
        summaries=pystac.Summaries({"sarcast:detector": sorted({m.scores.detector for m in materials})}),
    )
    for name, media in (
        ("detections.parquet", "application/vnd.apache.parquet"),
        ("detections.geojson", "application/geo+json"),
    ):
        asset = pystac.Asset(href=f"../{name}", title="Events", media_type=media, roles=["data"])
        collection.add_asset(name.partition(".")[2], asset)
    collection.add_items(items)
    collection.normalize_hrefs(str(folder))
    for item, maps in pairs:
        for kind, asset in _assets(folder, item, maps).items():
            item.add_asset(kind, asset)
    collection.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)


def map_name(kind: str, stack: str, stamp: str) -> str:
    """File name of a map: anomaly_<stack>_<UTC>.tif."""
    return f"{kind}_{stack}_{stamp}.tif"


def judged_stamps(material: Material) -> list[tuple[int, str]]:
    """(index in `scores.times`, file-name part) of every judged date."""
    index = np.flatnonzero(material.judged)
    names = stamps(material.scores.times.time[index])
    return [(int(time), name) for time, name in zip(index, names, strict=True)]


def _maps(material: Material, stamp: str) -> dict[str, str]:
    return {kind: map_name(kind, material.name, stamp) for kind in ("anomaly", "status")}


def _item(material: Material, time: int, stamp: str, products: Mapping[str, Sequence[str]]) -> pystac.Item:
    import pystac
    import shapely.geometry

    scores = material.scores
    box = cells_geobox(scores.grid, scores.geobox)
    outline = _outline(box)
    scene = scores.times.scene_id[time]
    epsg = None if box.crs is None else box.crs.to_epsg()
    seen = scores.valid[time]
    properties: dict[str, Any] = {
        "proj:code": None if epsg is None else f"EPSG:{epsg}",
        "proj:shape": list(box.shape),
        "proj:transform": [float(value) for value in box.affine[:6]],
        "processing:software": {"sarcast": __version__},
        "platform": scores.times.platform[time],
        "sarcast:stack": material.name,
        "sarcast:scene_id": scene,
        "sarcast:detector": scores.detector,
        "sarcast:encoder": scores.encoder,
        "sarcast:usable": bool(dict(zip(material.stack.times.scene_id, material.usable, strict=True))[scene]),
        "sarcast:valid_fraction": round(float(seen.mean()), 6),
        "sarcast:derived_from": sorted(products.get(scene, (scene,))),
    }
    if epsg is None and box.crs is not None:
        properties["proj:wkt2"] = box.crs.to_wkt()
    return pystac.Item(
        id=f"{material.name}_{stamp}",
        geometry=shapely.geometry.mapping(outline),
        bbox=list(outline.bounds),
        datetime=_datetime(scores.times.time[time]),
        properties=properties,
        stac_extensions=list(EXTENSIONS),
    )


def _assets(folder: Path, item: pystac.Item, maps: Mapping[str, str]) -> dict[str, pystac.Asset]:
    """Both maps of an item, relative to it, with size and checksum."""
    import pystac

    home = Path(item.get_self_href() or "").parent
    up = "../" * (len(home.relative_to(folder).parts) + 1)
    described = {
        "anomaly": ("Anomaly strength, raw score and change of level", {}),
        "status": (
            "Status of events, codes as in DIST-ALERT",
            {"sarcast:codes": {"none": 0, **STATUS_CODES}},
        ),
    }
    found = {}
    for kind, (title, extra) in described.items():
        path = folder.parent / "maps" / maps[kind]
        fields = {
            **extra,
            "data_type": "float32",
            "nodata": "nan",
            "file:size": path.stat().st_size,
            "file:checksum": "1220" + hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        found[kind] = pystac.Asset(
            href=f"{up}maps/{maps[kind]}", title=title, media_type=_COG, roles=["data"], extra_fields=fields
        )
    return found


def _extent(materials: Sequence[Material], items: Sequence[pystac.Item]) -> pystac.Extent:
    """Of the items; of the stacks where no date is judged yet."""
    import pystac

    boxes = [item.bbox for item in items if item.bbox] or [
        list(_outline(material.stack.geobox).bounds) for material in materials
    ]
    whole = np.array(boxes or [[-180.0, -90.0, 180.0, 90.0]])
    bbox = [*whole[:, :2].min(0), *whole[:, 2:].max(0)]
    times = sorted(item.datetime for item in items if item.datetime)
    interval: list[datetime | None] = [times[0], times[-1]] if times else [None, None]
    if not times:
        known = [time for material in materials for time in material.stack.times.time]
        interval = (
            [_datetime(min(known)), _datetime(max(known))]
            if known
            else [datetime(1970, 1, 1, tzinfo=UTC), None]
        )
    return pystac.Extent(
        pystac.SpatialExtent([[float(value) for value in bbox]]), pystac.TemporalExtent([interval])
    )


def _outline(box: GeoBox) -> Any:
    """The grid's border in longitude and latitude; a grid without CRS is taken to be in them."""
    return degrees([box.extent.geom], "EPSG:4326" if box.crs is None else box.crs.to_wkt())[0]


def _datetime(time: np.datetime64) -> datetime:
    found: datetime = time.astype("datetime64[us]").item()
    return found.replace(tzinfo=UTC)
