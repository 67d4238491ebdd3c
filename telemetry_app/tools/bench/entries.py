"""Stream entries as they go over the wire to Redis, made beforehand except for their times."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from telemetry_app.tools.simulation.backlog import bench_records
from telemetry_app.tools.simulation.record import iso_ms

#: Where an entry's milliseconds go, and the first of the numbers behind them: all have four digits.
_ID_MS: Final = b"0000000000000"
_FIRST_SEQUENCE: Final = 1000
#: Entries left in the stream: more than are ever under way.
_KEPT: Final = 20_000
_TIMEOUT_S: Final = 30.0


class Chunk:
    """One position of each of some devices, appended in one transaction, so that a reader gets all of them at once.

    All chunks have the same length, and so have their frames: that makes them easy to count.

    Args:
        stream: Its key.
        size: Number of devices.
    """

    def __init__(self, stream: str, size: int) -> None:
        records = list(bench_records(size, size))
        self.size = size
        self._stamp = records[0][1]
        entries = [
            command(b"XADD", stream.encode(), _ID_MS + b"-%d" % (_FIRST_SEQUENCE + number), *fields)
            for number, fields in enumerate(records)
        ]
        trim = command(b"XTRIM", stream.encode(), b"MAXLEN", b"~", b"%d" % _KEPT)
        self._template = command(b"MULTI") + b"".join(entries) + trim + command(b"EXEC")

    def at(self, ts: datetime, id_ms: int) -> bytes:
        """Return the transaction.

        Args:
            ts: When the positions were taken.
            id_ms: First half of the entry ids, in ms since the epoch.
        """
        return self._template.replace(self._stamp, iso_ms(ts).encode()).replace(_ID_MS, b"%d" % id_ms)


class Clock:
    """Times that only grow: of positions, a millisecond apart and well in the past, and of entries."""

    def __init__(self) -> None:
        self._ts = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
        self._id_ms = time.time_ns() // 1_000_000

    def tick(self) -> tuple[datetime, int]:
        """Return the next time of a position, and the next of an entry in ms since the epoch."""
        self._ts += timedelta(milliseconds=1)
        self._id_ms = max(self._id_ms + 1, time.time_ns() // 1_000_000)
        return self._ts, self._id_ms


class Entries:
    """Entries of one position each, of some devices in turn.

    Args:
        stream: Its key.
        devices: Number of devices.
    """

    def __init__(self, stream: str, devices: int) -> None:
        records = list(bench_records(devices, devices))
        self._stamp = records[0][1]
        self._templates = [command(b"XADD", stream.encode(), b"*", *fields) for fields in records]

    def at(self, number: int, stamp: bytes) -> bytes:
        """Return the command that appends the `number`th entry; the stamp is ISO 8601 with milliseconds."""
        return self._templates[number % len(self._templates)].replace(self._stamp, stamp)


class RedisSocket:
    """A connection to Redis that is only written to; answers are looked at for errors and dropped.

    Args:
        url: `redis://host:port/…` without a password.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379), _TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        """Return its file descriptor."""
        return self._socket.fileno()

    def send(self, commands: bytes) -> None:
        """Send commands; their answers are still to be dropped."""
        self._socket.sendall(commands)

    def drop_answers(self) -> None:
        """Read what has come.

        Raises:
            RuntimeError: One of the answers is an error, or the server is gone.
        """
        data = self._socket.recv(1 << 20)
        if not data or data.startswith(b"-") or b"\r\n-" in data:
            raise RuntimeError(f"Redis refused: {data[:200].decode(errors='replace')}")

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def command(*words: bytes) -> bytes:
    """Return a command as it goes over the wire."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
