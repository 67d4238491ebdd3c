"""What an archive of map tiles says of itself, and which cannot be shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from telemetry_app.serving.pmtiles import GZIP, UNCOMPRESSED, ArchiveError, read
from telemetry_app.settings import SettingsError, load_settings
from tests.support.archives import archive


def test_an_archive(tmp_path: Path) -> None:
    """Size, zooms and bounds are read; copies have the same version, whenever they were made, and others another."""
    path, copy, other = tmp_path / "a.pmtiles", tmp_path / "b.pmtiles", tmp_path / "c.pmtiles"
    path.write_bytes(archive())
    copy.write_bytes(archive())
    os.utime(copy, (0, 0))
    other.write_bytes(archive(entries=2))
    found = read(path)
    assert (found.size, found.min_zoom, found.max_zoom, found.bounds) == (100_000, 0, 15, (21.3, 41.9, 21.5, 42.1))
    assert found == read(copy)
    assert found.version != read(other).version


@pytest.mark.parametrize("how", [UNCOMPRESSED, GZIP])
def test_compression(tmp_path: Path, how: int) -> None:
    """Tiles may be compressed by gzip or not at all."""
    path = tmp_path / "a.pmtiles"
    path.write_bytes(archive(directories=how, tiles=how))
    read(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "must be a PMTiles archive of version 3"),
        (archive()[:126], "must be a PMTiles archive of version 3"),
        (b"SQLite format 3\0" + bytes(1000), "must be a PMTiles archive of version 3"),
        (archive(version=2), "must be a PMTiles archive of version 3"),
        (archive(kind=2), "must have vector tiles (MVT), and has PNG tiles"),
        (archive(kind=0), "must have vector tiles (MVT), and has unknown tiles"),
        (archive(tiles=3), "must be compressed by gzip, and is by brotli, which browsers cannot read"),
        (archive(directories=4), "must be compressed by gzip, and is by zstd, which browsers cannot read"),
        (archive()[:-1], "must be whole, and 1 of its 100000 bytes are missing"),
        (archive(leaves_at=1 << 63, leaves_length=1 << 63), f"must be whole, and {2**64 - 100_000} of its"),
    ],
)
def test_what_cannot_be_shown(tmp_path: Path, content: bytes, why: str) -> None:
    """Anything else than a whole archive of vector tiles is refused, in a sentence that names the variable."""
    path = tmp_path / "a.pmtiles"
    path.write_bytes(content)
    settings = load_settings(live_basemap=str(path))
    with pytest.raises(SettingsError) as refused:
        settings.require_basemap()
    assert str(refused.value).startswith(f"LIVE_BASEMAP is {str(path)!r}, but {why}")


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    """No file, no regular file, no right to read it: each has its reason, and none of them waits."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    reasons = {}
    for name in ("missing", "folder", "pipe", "folder/../missing/x", "x" * 300, "a\0b"):
        with pytest.raises(ArchiveError) as refused:
            read(tmp_path / name)
        reasons[name] = str(refused.value)
    assert [reasons[name] for name in ("missing", "folder", "pipe")] == [
        "there is no such file",
        "must be a file",
        "must be a file",
    ]
    assert reasons["folder/../missing/x"] == "there is no such file"
    assert reasons["x" * 300] == "cannot be read (File name too long)"
    assert reasons["a\0b"].startswith("cannot be read (")
    assert "embedded null" in reasons["a\0b"]  # Pythons have words of their own around it
