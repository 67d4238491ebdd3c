"""Writing an archive of tiles (PMTiles, version 3)."""

from __future__ import annotations

import gzip
import itertools
import json
from typing import TYPE_CHECKING

from telemetry_app.serving import pmtiles
from telemetry_app.tools.place.tiles import varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from telemetry_app.tools.place.features import Bounds
    from telemetry_app.tools.place.tiles import Tile


def write_archive(
    path: Path, tiles: Iterable[tuple[Tile, bytes]], *, bounds: Bounds, metadata: Mapping[str, str]
) -> None:
    """Write tiles, a few hundred at most, so that the directory fits beside the header."""
    numbered = sorted((_number(tile), tile[0], _pack(content)) for tile, content in tiles)
    directory = _pack(_directory([(number, len(content)) for number, _, content in numbered]))
    described = _pack(json.dumps(metadata).encode())
    content = b"".join(content for _, _, content in numbered)
    zooms = [zoom for _, zoom, _ in numbered]
    places = list(itertools.accumulate((pmtiles.HEADER.size, len(directory), len(described))))
    if places[1] > pmtiles.ROOT_BYTES:
        raise ValueError("too many tiles for one directory")
    west, south, east, north = (round(degrees * pmtiles.DEGREE) for degrees in bounds)
    header = pmtiles.HEADER.pack(
        pmtiles.MAGIC,
        pmtiles.VERSION,
        *(places[0], len(directory)),
        *(places[1], len(described)),
        *(places[2], 0),
        *(places[2], len(content)),
        *(len(numbered), len(numbered), len(numbered)),
        *(1, pmtiles.GZIP, pmtiles.GZIP, pmtiles.VECTOR),
        *(min(zooms), max(zooms)),
        *(west, south, east, north),
        *(max(zooms), (west + east) // 2, (south + north) // 2),
    )
    path.write_bytes(header + directory + described + content)


def _pack(content: bytes) -> bytes:
    # Without the time, so that the same tiles are the same bytes.
    return gzip.compress(content, mtime=0)


def _directory(tiles: list[tuple[int, int]]) -> bytes:
    """Return the directory of tiles that lie one after the other, each with its number and length."""
    numbers = [number for number, _ in tiles]
    columns = (
        [len(tiles)],
        [number - before for before, number in zip([0, *numbers], numbers, strict=False)],
        [1] * len(tiles),
        [length for _, length in tiles],
        # The first is at the beginning, each other one right behind.
        [1, *[0] * (len(tiles) - 1)],
    )
    return b"".join(varint(number) for column in columns for number in column)


def _number(tile: Tile) -> int:
    """Return where a tile stands: after all lower zooms, along a Hilbert curve."""
    zoom, x, y = tile
    number = ((1 << 2 * zoom) - 1) // 3
    for bit in (1 << shift for shift in reversed(range(zoom))):
        right, down = x & bit, y & bit
        number += ((3 * right) ^ down) * bit
        if not down:
            if right:
                x, y = ~x & (bit - 1), ~y & (bit - 1)
            x, y = y, x
    return number
