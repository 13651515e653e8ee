"""Capella's extended metadata for a simulated acquisition, as the real products carry it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np

from sarcast.sar.simulate.orbit import Orbit

HALF_COLLECT = np.timedelta64(14, "s")
"""Half the length of a spotlight collect."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Collect:
    """One acquisition, as far as its metadata tell."""

    time: np.datetime64
    """Centre of the collect, UTC, datetime64[ns]."""
    platform: str
    """e.g. capella-14."""
    band: str
    """e.g. HH."""
    look_side: str
    orbit_direction: str
    incidence_deg: float
    """At the centre pixel."""
    looks: float
    """Equivalent number of looks of the detected products."""
    shape: tuple[int, int]
    """(rows, columns)."""
    spacing_m: float
    """Of pixels."""
    target_m: np.ndarray
    """Earth-fixed position of the centre pixel (3,)."""
    orbit: Orbit
    """Around `time`."""


def capella_metadata(
    collect: Collect, *, product_type: str, scale_factor: float, geometry: dict[str, Any]
) -> dict[str, Any]:
    """The JSON of TIFFTAG_IMAGEDESCRIPTION and `<id>_extended.json`, fields as in processor 2.67.

    Args:
        collect: The acquisition.
        product_type: GEO, GEC or SLC.
        scale_factor: Multiplies stored numbers to give linear amplitude.
        geometry: The `image_geometry` block.
    """
    time, orbit, band = collect.time, collect.orbit, collect.band
    begin, end = time - HALF_COLLECT, time + HALF_COLLECT
    identity = f"sarcast/{collect.platform}/{_stamp(time)}/{band}"
    return {
        "software_version": "2.67.5",
        "processing_time": _stamp(time + np.timedelta64(6, "h")),
        "processing_deployment": "simulated",
        "license": "simulated by sarcast",
        "product_version": "1.10",
        "product_type": product_type,
        "collect": {
            "start_timestamp": _stamp(begin),
            "stop_timestamp": _stamp(end),
            "local_datetime": _stamp(time)[:26] + "+0000",
            "local_timezone": "UTC",
            "platform": collect.platform,
            "mode": "spotlight",
            "collect_id": str(uuid.uuid5(uuid.NAMESPACE_URL, identity)),
            "image": _image(collect, product_type, scale_factor, geometry),
            "radar": {
                "rank": 50,
                "center_frequency": 9649999872.0,
                "pointing": collect.look_side,
                "sampling_frequency": 750000000.0,
                "transmit_polarization": band[0],
                "receive_polarization": band[1],
                "prf": [{"start_timestamps": [_stamp(begin)], "prf": 10123.096857790735}],
            },
            "state": {
                "coordinate_system": {"type": "ecef"},
                "direction": collect.orbit_direction,
                "source": "precise_determination",
                "state_vectors": [
                    {
                        "time": _stamp(time + np.timedelta64(round(s * 1e9), "ns")),
                        "position": p,
                        "velocity": v,
                    }
                    for s, p, v in zip(
                        orbit.seconds,
                        orbit.position_m.round(6).tolist(),
                        orbit.velocity_m_s.round(9).tolist(),
                        strict=True,
                    )
                ],
            },
        },
    }


def _image(
    collect: Collect, product_type: str, scale_factor: float, geometry: dict[str, Any]
) -> dict[str, Any]:
    shape, spacing_m = collect.shape, collect.spacing_m
    models = {
        "GEO": {"name": "SimulatedTerrain", "link": "https://github.com"},
        "GEC": {"name": "ExplicitInflatedWGS84[0.0]", "link": "https://en.wikipedia.org/wiki/World_Geodetic_System"},
    }  # fmt: skip
    slant = product_type == "SLC"
    image: dict[str, Any] = {
        "data_type": "CInt16" if slant else "UInt16",
        "length": shape[0] * spacing_m,
        "width": shape[1] * spacing_m,
        "rows": shape[0],
        "columns": shape[1],
        "pixel_spacing_row": spacing_m,
        "pixel_spacing_column": spacing_m,
        "algorithm": "backprojection",
        "scale_factor": scale_factor,
        "range_autofocus": None,
        "azimuth_autofocus": None,
        "image_geometry": geometry,
        "center_pixel": {
            "look_angle": round(collect.orbit.look_angle_deg, 6),
            "incidence_angle": round(collect.incidence_deg, 6),
            "squint_angle": 0.0,
            "target_position": np.round(collect.target_m, 3).tolist(),
            "center_time": _stamp(collect.time),
        },
        "range_resolution": 0.6 * spacing_m,
        "ground_range_resolution": spacing_m,
        "azimuth_resolution": spacing_m,
        "azimuth_looks": 1.0 if slant else collect.looks,
        "range_looks": 1.0,
        "enl": 1.0 if slant else collect.looks,
        "azimuth_beam_pattern_corrected": True,
        "elevation_beam_pattern_corrected": True,
        "radiometry": "beta_nought" if slant else "sigma_nought",
        "calibration": "full",
        "nesz_polynomial": {"type": "standard", "dimension": 1, "degree": 0, "coefficients": [-24.0]},
        "nesz_peak": -24.0,
    }
    if not slant:
        image["terrain_models"] = {"focusing": models[product_type], "reprojection": models[product_type]}
    return image


def _stamp(time: np.datetime64) -> str:
    """ISO 8601 UTC with nine digits, as Capella writes it."""
    return f"{time.astype('datetime64[ns]')}Z"
