"""A physically sensible SAR scene with known events: the project's source of truth in tests and the demo."""

from sarcast.sar.simulate.coherence import class_coherence, complex_pair, complex_series
from sarcast.sar.simulate.land_cover import CLASS_NAMES
from sarcast.sar.simulate.metadata import HALF_COLLECT, Collect, capella_metadata
from sarcast.sar.simulate.orbit import Orbit, orbit_over
from sarcast.sar.simulate.scene import Simulated, add_step, event_truth, make_geobox, simulate
from sarcast.sar.simulate.seasonal import LabelledTile, SimulateSeasons, simulate_seasons
from sarcast.sar.simulate.settings import KINDS, Kind, SimulateScene
from sarcast.sar.simulate.speckle import k_clutter, speckle

__all__ = [
    "CLASS_NAMES",
    "HALF_COLLECT",
    "KINDS",
    "Collect",
    "Kind",
    "LabelledTile",
    "Orbit",
    "SimulateScene",
    "SimulateSeasons",
    "Simulated",
    "add_step",
    "capella_metadata",
    "class_coherence",
    "complex_pair",
    "complex_series",
    "event_truth",
    "k_clutter",
    "make_geobox",
    "orbit_over",
    "simulate",
    "simulate_seasons",
    "speckle",
]
