"""Products of the sensors, read as scenes and pixels."""

from sarcast.runtime.table import table

READERS = table(
    "a reader",
    capella="sarcast.readers.capella:Capella",
    opera="sarcast.readers.opera:Opera",
    geotiff="sarcast.readers.geotiff:GeoTIFF",
)
