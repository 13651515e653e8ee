"""A circular orbit that passes a place at a given side, direction and incidence: state vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GM = 3.986004418e14
"""m^3/s^2, WGS 84."""
EARTH_RATE = 7.2921159e-5
"""rad/s, WGS 84."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Orbit:
    """Earth-fixed state vectors about a moment, and the geometry at it."""

    seconds: np.ndarray
    """float64 (n,): from the moment of closest approach."""
    position_m: np.ndarray
    """float64 (n, 3), Earth-centred, Earth-fixed."""
    velocity_m_s: np.ndarray
    """float64 (n, 3), Earth-fixed."""
    look_angle_deg: float
    """At the satellite, from straight down."""
    range_m: float
    """Slant range to the place at closest approach."""


def orbit_over(
    target_m: np.ndarray,
    *,
    incidence_deg: float,
    direction: str,
    look_side: str,
    inclination_deg: float = 53.0,
    height_m: float = 525_000.0,
    seconds: np.ndarray,
) -> Orbit:
    """The pass over `target_m` broadside at `incidence_deg`, on a sphere through the target.

    Args:
        target_m: Earth-fixed position of the place (3,); its latitude must be well under the inclination.
        incidence_deg: At the place, from the vertical.
        direction: ascending or descending.
        look_side: left or right of the flight direction.
        inclination_deg: Of the orbital plane.
        height_m: Of the orbit over the place's sphere.
        seconds: When to give states, from the moment of closest approach.
    """
    target = np.asarray(target_m, float)
    radius = float(np.linalg.norm(target))
    orbit_radius = radius + height_m
    look = np.arcsin(radius / orbit_radius * np.sin(np.deg2rad(incidence_deg)))
    apart = np.deg2rad(incidence_deg) - look
    side = 1.0 if look_side == "right" else -1.0
    below = target / radius
    for _ in range(20):
        ahead = _heading(below, inclination_deg, direction)
        towards = side * np.cross(ahead, below)
        start = np.cos(apart) * (target / radius) - np.sin(apart) * _tangent(towards, target / radius)
        below = start / np.linalg.norm(start)
    ahead = _heading(below, inclination_deg, direction)
    rate = np.sqrt(GM / orbit_radius**3)
    t = np.asarray(seconds, float)[:, None]
    inertial = orbit_radius * (np.cos(rate * t) * below + np.sin(rate * t) * ahead)
    moving = orbit_radius * rate * (np.cos(rate * t) * ahead - np.sin(rate * t) * below)
    position = _turned(inertial, -EARTH_RATE * t[:, 0])
    velocity = _turned(moving, -EARTH_RATE * t[:, 0]) - np.cross([0.0, 0.0, EARTH_RATE], position)
    return Orbit(
        seconds=np.asarray(seconds, float),
        position_m=position,
        velocity_m_s=velocity,
        look_angle_deg=float(np.rad2deg(look)),
        range_m=float(np.linalg.norm(orbit_radius * below - target)),
    )


def _heading(up: np.ndarray, inclination_deg: float, direction: str) -> np.ndarray:
    """Unit vector of flight over the point `up` (unit) for an orbit of that inclination."""
    east = np.cross([0.0, 0.0, 1.0], up)
    east /= np.linalg.norm(east)
    north = np.cross(up, east)
    latitude = np.arcsin(up[2])
    sine = np.clip(np.cos(np.deg2rad(inclination_deg)) / np.cos(latitude), -1, 1)
    cosine = np.sqrt(1 - sine**2) * (1 if direction == "ascending" else -1)
    return np.asarray(sine * east + cosine * north)


def _tangent(vector: np.ndarray, up: np.ndarray) -> np.ndarray:
    flat = vector - (vector @ up) * up
    return np.asarray(flat / np.linalg.norm(flat))


def _turned(vectors: np.ndarray, angle_rad: np.ndarray) -> np.ndarray:
    """Vectors (n, 3) turned about the pole by an angle each."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    x, y, z = vectors.T
    return np.stack([c * x - s * y, s * x + c * y, z], axis=1)
