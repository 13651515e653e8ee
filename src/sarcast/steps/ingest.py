"""Products to scenes.json: what is there, checked before anything is computed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sarcast.errors import SettingsError
from sarcast.readers.catalogue import Catalogue, find_products, merge, read_catalogue, write_catalogue
from sarcast.readers.geotiff import GeoTIFF
from sarcast.runtime.artefact import locked, recover, up_to_date, writing
from sarcast.runtime.settings import Settings, as_json

NAME = "scenes.json"


class Ingest(Settings):
    """List the scenes of a folder of SAR products, checked, in scenes.json."""

    source: Path
    """Folder of products (walked whole), one product's file, or a scenes.json."""
    out: Path
    """Folder to write scenes.json into, or the path of the .json itself. What it lists already is kept; a
    scene found again is replaced."""
    reader: str = "auto"
    """capella, opera, geotiff; auto asks each reader that knows its products."""
    declare: GeoTIFF = GeoTIFF()
    """With --reader geotiff: what the GeoTIFFs hold."""
    skip_bad: bool = False
    """Go on without products that cannot be used; they are listed under "refused"."""


def ingest(settings: Ingest) -> Path:
    """Write the catalogue of `settings.source` and give its path.

    Raises:
        ProductError: Nothing to read, or a product that cannot be used (see `skip_bad`).
        ArtefactError: What lies at the target is no catalogue.
    """
    found = find(settings.source, settings.reader, settings.declare, skip_bad=settings.skip_bad)
    target = catalogue_path(settings.out)
    with locked(target.parent):
        recover(target)
        told = as_json(settings)
        if target.exists():
            known = read_catalogue(target)
            found = merge(known, found)
            if found == known and up_to_date(target, settings=told, inputs=contents(found)):
                return target
        with writing(target, settings=told, inputs=contents(found)) as partial:
            write_catalogue(partial, found)
    return target


def find(source: Path, reader: str, declare: GeoTIFF, *, skip_bad: bool = False) -> Catalogue:
    """The catalogue of a source: read, when it is a scenes.json, else found."""
    source = source.resolve()
    if source.suffix.lower() == ".json":
        return read_catalogue(source)
    return find_products(source, reader, options(reader, declare), skip_bad=skip_bad)


def options(reader: str, declare: GeoTIFF) -> GeoTIFF | None:
    """The declarations, where the reader takes any.

    Raises:
        SettingsError: Something is declared that the reader would not look at.
    """
    if reader == "geotiff":
        return declare
    if declare != GeoTIFF():
        raise SettingsError(
            f"expected declarations with reader 'geotiff' only, found some with reader {reader!r}: "
            "known products say themselves what they are"
        )
    return None


def catalogue_path(out: Path) -> Path:
    """Where the catalogue goes."""
    return out if out.suffix.lower() == ".json" else out / NAME


def contents(catalogue: Catalogue) -> dict[str, str]:
    """One hash for all products of a catalogue: their ids and content."""
    lines = sorted(f"{f.product_id} {f.band} {f.sha256}" for scene in catalogue.scenes for f in scene.files)
    return {"products": hashlib.sha256("\n".join(lines).encode()).hexdigest()}
