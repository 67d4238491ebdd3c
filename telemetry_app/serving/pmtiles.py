"""Archives of map tiles (PMTiles, version 3): what one says of itself, and whether the map can show it."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from pathlib import Path

MAGIC: Final = b"PMTiles"
VERSION: Final = 3
#: Magic, version, eleven offsets, lengths and counts, whether tiles lie in order, how directories and tiles are
#: compressed, kind of the tiles, zooms, corners, middle.
HEADER: Final = struct.Struct("<7sB11Q6B4iB2i")
#: Header and root directory lie within these bytes.
ROOT_BYTES: Final = 16_384
#: Coordinates are in ten millionths of a degree.
DEGREE: Final = 10_000_000
UNCOMPRESSED: Final = 1
GZIP: Final = 2
VECTOR: Final = 1
_KINDS: Final = {2: "PNG", 3: "JPEG", 4: "WebP", 5: "AVIF", 6: "MLT"}
_COMPRESSIONS: Final = {3: "brotli", 4: "zstd"}


class ArchiveError(Exception):
    """An archive cannot be shown; the text is a clause that follows "but"."""


@dataclass(frozen=True, slots=True)
class Archive:
    """What is known of an archive without reading its tiles.

    Attributes:
        version: Digest of its contents; the same for copies on other machines.
        size: In bytes.
        min_zoom: Of its tiles.
        max_zoom: Of its tiles.
        bounds: West, south, east and north, in degrees.
    """

    version: str
    size: int
    min_zoom: int
    max_zoom: int
    bounds: tuple[float, float, float, float]


def read(path: str | Path) -> Archive:
    """Return what an archive says of itself.

    Raises:
        ArchiveError: There is none that can be shown.
    """
    file, archive = open_archive(path)
    file.close()
    return archive


def open_archive(path: str | Path) -> tuple[BinaryIO, Archive]:
    """Open an archive, and return what it says of itself.

    Raises:
        ArchiveError: There is none that can be shown.
    """
    try:
        # Opening what is no file, such as a pipe, could wait for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - the path is the operator's, as it was written
            raise ArchiveError("must be a file")
        file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115 - the same; the caller closes it
    except FileNotFoundError:
        raise ArchiveError("there is no such file") from None
    except (OSError, ValueError) as error:
        raise ArchiveError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    try:
        return file, _describe(file.fileno())
    except BaseException:
        file.close()
        raise


def _describe(descriptor: int) -> Archive:
    try:
        size = os.fstat(descriptor).st_size
        head = os.pread(descriptor, ROOT_BYTES, 0)
    except OSError as error:
        raise ArchiveError(f"cannot be read ({error.strerror})") from error
    if len(head) < HEADER.size or head[:8] != MAGIC + bytes([VERSION]):
        raise ArchiveError(f"must be a PMTiles archive of version {VERSION}")
    _, _, *places, _, directories, tiles, kind, min_zoom, max_zoom, west, south, east, north, _, _, _ = (
        HEADER.unpack_from(head)
    )
    if kind != VECTOR:
        raise ArchiveError(f"must have vector tiles (MVT), and has {_KINDS.get(kind, 'unknown')} tiles")
    for compression in (directories, tiles):
        if compression not in {UNCOMPRESSED, GZIP}:
            name = _COMPRESSIONS.get(compression, "an unknown method")
            raise ArchiveError(f"must be compressed by gzip, and is by {name}, which browsers cannot read")
    # Root directory, metadata, leaf directories and tiles, each an offset and a length.
    whole = max(offset + length for offset, length in zip(places[0:8:2], places[1:8:2], strict=True))
    if size < whole:
        raise ArchiveError(f"must be whole, and {whole - size} of its {whole} bytes are missing")
    digest = hashlib.blake2b(head + size.to_bytes(8), digest_size=12).hexdigest()
    bounds = (west / DEGREE, south / DEGREE, east / DEGREE, north / DEGREE)
    return Archive(digest, size, min_zoom, max_zoom, bounds)
