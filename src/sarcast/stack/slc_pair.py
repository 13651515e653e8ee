"""Which two SLCs may be asked for their coherence: one geometry, as for a stack, and two dates."""

from __future__ import annotations

from sarcast.errors import StackError
from sarcast.readers.slc import Slc
from sarcast.stack.group import INCIDENCE_SPREAD_DEG

_ALIKE = ("sensor", "band", "mode", "track", "orbit_direction", "look_side")


def check_pair(first: Slc, second: Slc) -> None:
    """Refuse a pair whose coherence would say nothing of the ground.

    Sensor family, polarisation, mode, track, orbit direction and look side must be the same (or unknown of
    both), and incidence within 1 degree, as in a stack; the satellites of a family may differ.

    Raises:
        StackError: What differs.
    """
    for name in _ALIKE:
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            raise _refused(name, one, other, first, second)
    angles = first.incidence_deg, second.incidence_deg
    if (angles[0] is None) != (angles[1] is None):
        raise _refused("incidence_deg", *angles, first, second)
    if angles[0] is not None and angles[1] is not None and abs(angles[0] - angles[1]) > INCIDENCE_SPREAD_DEG:
        raise _refused(f"incidence within {INCIDENCE_SPREAD_DEG:g} degree", *angles, first, second)
    if first.time == second.time:
        raise _refused("two dates, not one", first.time, second.time, first, second)


def _refused(name: str, one: object, other: object, first: Slc, second: Slc) -> StackError:
    shown = ["unknown" if value is None else value for value in (one, other)]
    return StackError(
        f"expected a pair of one geometry ({name}), found {shown[0]} and {shown[1]}, "
        f"in {first.path} and {second.path}"
    )
