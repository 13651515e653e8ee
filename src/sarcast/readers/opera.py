"""OPERA RTC-S1: Sentinel-1 bursts as terrain-corrected gamma0, linear power, NaN where there is nothing.

The TIFFs may carry nothing but pixels and georeference, so burst, platform and times come from the name:
OPERA_L2_RTC-S1_T137-292318-IW1_20221114T015900Z_20250222T234616Z_S1A_30_v1.0_VV.tif
(track-burst-swath, acquisition, processing, platform, spacing in m, version, polarisation).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from sarcast.errors import ProductError
from sarcast.readers.base import Sorted, parse_time, scene_file
from sarcast.readers.gdal import Raster, describe
from sarcast.runtime.settings import Settings
from sarcast.values import Scene, SceneFile

_PREFIX = "OPERA_L2_RTC-S1"
_NAME = re.compile(
    r"(?P<granule>OPERA_L2_RTC-S1_T(?P<track>\d{3})-(?P<burst>\d{6})-(?P<swath>IW[123]|EW[1-5])_"
    r"(?P<acquired>\d{8}T\d{6}Z)_(?P<processed>\d{8}T\d{6}Z)_(?P<platform>S1[A-D])_"
    r"(?P<spacing>\d{1,3})_(?P<version>v\d+\.\d+))_(?P<band>VV|VH|HH|HV)",
    re.ASCII,
)
_EXPECTED = (
    f"{_PREFIX}_T<track>-<burst>-<swath>_<acquired>_<processed>_<platform>_<spacing>_<version>_<pol>.tif"
)

BURST_S = 2.758273
"""Seconds from burst to burst in the Sentinel-1 burst identifiers (ESA, Sentinel-1 Burst ID Map)."""
PREAMBLE_S = 2.299849
ORBIT_S = 12 * 86400 / 175
"""Seconds of one orbit: 175 in 12 days."""


class Opera(Settings):
    """OPERA RTC-S1 GeoTIFFs; one scene per burst and acquisition."""

    automatic: ClassVar[bool] = True

    def claims(self, path: Path) -> bool:
        """By name."""
        return path.name.startswith(_PREFIX) and path.suffix.lower() in (".tif", ".tiff")

    def sort(self, paths: Sequence[Path]) -> Sorted:
        """Polarisations of a granule in one folder belong together; masks and static layers are left out."""
        groups: dict[tuple[Path, str], list[Path]] = {}
        aside: list[tuple[Path, str]] = []
        for path in paths:
            match = _NAME.fullmatch(path.stem)
            if match is None and path.stem.endswith("_mask"):
                aside.append(
                    (path, "the shadow and layover mask is not used: NaN alone marks invalid pixels")
                )
            elif match is None and path.name.startswith(f"{_PREFIX}-STATIC"):
                aside.append((path, "a static layer, no acquisition"))
            else:
                key = match["granule"] if match else path.name
                groups.setdefault((path.parent, key), []).append(path)
        return Sorted(products=tuple(tuple(group) for group in groups.values()), aside=tuple(aside))

    def read(self, paths: Sequence[Path]) -> list[Scene]:
        """One scene: a granule with its polarisations."""
        names = [_parse(path) for path in paths]
        rasters = [_describe(path) for path in paths]
        for raster in rasters[1:]:
            if raster.grid != rasters[0].grid:
                raise ProductError(
                    f"expected one grid for all polarisations, found another than in {rasters[0].path.name}, "
                    f"in {raster.path}"
                )
        granules = {name["granule"] for name in names}
        if len(granules) != 1 or len({name["band"] for name in names}) != len(names):
            raise ProductError(
                f"expected one granule and each polarisation once, found {len(granules)} granules and "
                f"{sorted(name['band'] for name in names)}, in {paths[0].parent}"
            )
        files = [
            scene_file(raster, band=name["band"], product_id=name["granule"], unit="power", nodata=None)
            for name, raster in zip(names, rasters, strict=True)
        ]
        return [_scene(names[0], files, paths[0])]


def orbit_direction(track: int, burst: int) -> Literal["ascending", "descending"] | None:
    """Which way the satellite flew over a burst, from its identifier.

    A burst's number counts `BURST_S` from the ascending node of track 1; what is left after the tracks before
    is the time since this track's own node. None when the number does not belong to the track.

    >>> orbit_direction(137, 292318)
    'ascending'
    """
    since_node_s = PREAMBLE_S + (burst - 0.5) * BURST_S - (track - 1) * ORBIT_S
    turn = since_node_s / ORBIT_S
    if not 0 <= turn <= 1:
        return None
    return "descending" if 0.25 < turn < 0.75 else "ascending"


def _scene(name: re.Match[str], files: list[SceneFile], path: Path) -> Scene:
    track, burst = int(name["track"]), int(name["burst"])
    acquired, processed = (
        parse_time(name[field], field=f"the name's {field} time", where=path)
        for field in ("acquired", "processed")
    )
    if processed < acquired:
        raise ProductError(
            f"expected processing after acquisition, found {processed} before {acquired}, in {path}"
        )
    return Scene(
        scene_id=name["granule"],
        time=acquired,
        files=tuple(sorted(files, key=lambda file: file.band)),
        sensor="sentinel1",
        platform=name["platform"],
        mode=name["swath"][:2],
        product_type="RTC-S1",
        place=f"T{name['track']}-{name['burst']}-{name['swath']}",
        orbit_direction=orbit_direction(track, burst),
        look_side="right",
        track=f"T{name['track']}",
        radiometry="gamma0",
        calibration="full",
        geometry="terrain",
        processed=processed,
        extra={"spacing_m": int(name["spacing"]), "version": name["version"]},
    )


def _parse(path: Path) -> re.Match[str]:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        raise ProductError(f"expected a name like {_EXPECTED}, found {path.name}, in {path.parent}")
    return match


def _describe(path: Path) -> Raster:
    raster = describe(path, nodata=float("nan"))
    if np.dtype(raster.dtype).kind != "f" or raster.count != 1:
        raise ProductError(
            f"expected one floating-point band of linear power, found {raster.count} of {raster.dtype}, "
            f"in {path}"
        )
    return raster
