"""Archives of map tiles as operators name them, without tiles."""

from typing import Any

from telemetry_app.serving import pmtiles

_TILES_AT = pmtiles.ROOT_BYTES


def archive(size: int = 100_000, **changes: int) -> bytes:
    """An archive of this size; `changes` are what its header says instead."""
    fields: dict[str, Any] = {
        "magic": pmtiles.MAGIC,
        "version": pmtiles.VERSION,
        "root_at": pmtiles.HEADER.size,
        "root_length": 100,
        "metadata_at": 300,
        "metadata_length": 100,
        "leaves_at": 0,
        "leaves_length": 0,
        "tiles_at": _TILES_AT,
        "tiles_length": size - _TILES_AT,
        "addressed": 1,
        "entries": 1,
        "contents": 1,
        "clustered": 1,
        "directories": pmtiles.GZIP,
        "tiles": pmtiles.GZIP,
        "kind": pmtiles.VECTOR,
        "min_zoom": 0,
        "max_zoom": 15,
        "west": 213_000_000,
        "south": 419_000_000,
        "east": 215_000_000,
        "north": 421_000_000,
        "middle_zoom": 12,
        "middle_lon": 0,
        "middle_lat": 0,
    }
    header = pmtiles.HEADER.pack(*(fields | changes).values())
    # Every byte tells where it is.
    return header + bytes(at * 7 % 251 for at in range(len(header), size))
