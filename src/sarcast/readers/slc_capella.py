"""Capella SLC for coherence: stripmap is read; spotlight is refused, because its carrier phase is gone.

Capella's spotlight and sliding spotlight SLCs are delivered without the azimuth carrier (deramped). What was
taken out differs from pass to pass, so the interferogram of two of them is not that of the ground.
"""

from __future__ import annotations

from pathlib import Path

from sarcast.errors import ProductError
from sarcast.readers.capella import Capella, parse_metadata
from sarcast.readers.slc import DeclaredSlc, Slc, measured
from sarcast.readers.slc_geotiff import read_complex
from sarcast.readers.tiff import description


def claims(path: Path) -> bool:
    """What the reader of Capella's GEO and GEC takes for a product of Capella's."""
    return path.is_file() and Capella().claims(path)


def read(path: Path, _declared: DeclaredSlc) -> Slc:
    """A stripmap SLC, in amplitude of beta0; nothing needs to be declared.

    Raises:
        ProductError: Not an SLC, a mode whose carrier phase is gone, or spoiled.
    """
    text = description(path)
    if text is None:
        raise ProductError(f"expected Capella's metadata in TIFFTAG_IMAGEDESCRIPTION, found none, in {path}")
    told = parse_metadata(text, where=path)
    check_carrier(told.product_type, told.mode, str(told.extra.get("image_geometry")), where=path)
    samples, ground = read_complex(path)
    if samples.shape != told.shape:
        raise ProductError(
            f"expected {told.shape} samples, as its metadata say, found {samples.shape}, in {path}"
        )
    samples, valid = measured(samples * told.scale_factor)
    return Slc(
        samples=samples,
        valid=valid,
        time=told.center,
        band=told.band,
        product_id=path.stem,
        sensor="capella",
        platform=told.platform,
        mode=told.mode,
        track=told.plane,
        orbit_direction=told.orbit_direction,
        look_side=told.look_side,
        incidence_deg=told.incidence_deg,
        ground=ground,
        path=str(path),
    )


def check_carrier(product_type: str, mode: str, geometry: str, *, where: object) -> None:
    """Refuse what is not a stripmap SLC on a slant plane of range and time.

    Raises:
        ProductError: Any other product, mode or geometry, and why.
    """
    if product_type != "SLC":
        raise ProductError(f"expected an SLC, whose samples are complex, found {product_type}, in {where}")
    if mode != "stripmap" or geometry != "slant_plane":
        raise ProductError(
            f"expected a stripmap SLC on a slant plane for coherence, found {mode} in {geometry} geometry: "
            f"it was delivered without its azimuth carrier (deramped), whose phase cannot be put back "
            f"verifiably, in {where}"
        )
