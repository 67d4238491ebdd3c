"""The archive that maps are drawn on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telemetry_app.cli.findings.finding import Finding, good, wrong
from telemetry_app.serving.pmtiles import ArchiveError, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry_app.settings import Settings

_REMEDY: Final = "set LIVE_BASEMAP to what `pmtiles extract` made of a Protomaps build, or to nothing"


async def look_at_basemap(settings: Settings) -> AsyncIterator[Finding]:
    """Read what the archive says of itself."""
    if settings.live_basemap is None:
        yield good("base map", "outlines of countries (LIVE_BASEMAP is unset)")
        return
    try:
        archive = read(settings.live_basemap)
    except ArchiveError as error:
        yield wrong("base map", f"LIVE_BASEMAP is {settings.live_basemap!r}, but {error}", _REMEDY)
        return
    west, south, east, north = archive.bounds
    yield good(
        "base map",
        f"{archive.size / 1e6:,.1f} MB of vector tiles, zoom {archive.min_zoom} to {archive.max_zoom}, "
        f"longitude {west:.3f} to {east:.3f}, latitude {south:.3f} to {north:.3f}",
    )
