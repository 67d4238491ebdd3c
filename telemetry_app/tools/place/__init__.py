"""A made-up place around the demo's race, as a base map: drawn, cut into tiles and put into an archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telemetry_app.tools.place.archive import write_archive
from telemetry_app.tools.place.drawing import BOUNDS, draw
from telemetry_app.tools.place.tiles import cut

if TYPE_CHECKING:
    from pathlib import Path

MIN_ZOOM: Final = 7
MAX_ZOOM: Final = 14
ATTRIBUTION: Final = "A made-up place, drawn for the demo"


def write_place(path: Path) -> None:
    """Write the archive; it is the same each time."""
    tiles = cut(draw(), BOUNDS, range(MIN_ZOOM, MAX_ZOOM + 1))
    write_archive(path, tiles, bounds=BOUNDS, metadata={"name": "Demo", "attribution": ATTRIBUTION})
