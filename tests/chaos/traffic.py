"""What the trackers send, and what follows from what the streams hold in the end."""

from __future__ import annotations

import asyncio
import json
import random
import zlib
from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.chaos.servers import Servers
from tests.support import records
from tests.support.records import FIRST_TS

DEVICES: Final = 400
PARTITIONS: Final = 8
STREAM: Final = "telemetry:chaos"
GROUP: Final = "processor"
STREAMS: Final = tuple(f"{STREAM}:{number}" for number in range(PARTITIONS))
#: So many send at a time, each for some seconds: a wrong state is not put right by the device's next record.
ACTIVE: Final = 40
TICK_S: Final = 0.1
RECORDS_PER_TICK: Final = 150
#: Of all records: sent again, late, and unreadable.
RESENT, LATE, BROKEN = 0.02, 0.02, 0.003
#: Of entries in a stream that is distributed: without the field that says whose they are.
ANONYMOUS: Final = 0.1
_PAGE = 5000


class Last(NamedTuple):
    """What is to be known about one device."""

    records: int
    last_seen: datetime
    latitude: float
    longitude: float


class Expected(NamedTuple):
    """What follows from the streams.

    Attributes:
        entries: How many there are.
        rows: Device and time of every valid record; the same one twice is one row.
        devices: The state of each device.
        refused: Stream of the device, and id, of each entry that cannot be read.
    """

    entries: int
    rows: set[tuple[str, datetime]]
    devices: dict[str, Last]
    refused: Counter[tuple[str, str]]


def stream_of(device_id: str) -> str:
    """Return the partition's stream that a device belongs to."""
    return STREAMS[zlib.crc32(device_id.encode()) % PARTITIONS]


class Trackers:
    """Send records all the time through whatever happens to Redis: to the stream of their device, or all to one."""

    def __init__(self, servers: Servers, seed: int, *, one_stream: bool) -> None:
        self._servers = servers
        self._one_stream = one_stream
        self._random = random.Random(seed)
        self._sent: Counter[int] = Counter()
        self._last: list[tuple[int, int]] = []
        self._first = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Send until told to stop."""
        while not stop.is_set():
            await self._send([self._record() for _ in range(RECORDS_PER_TICK)])
            self._first += 2
            await asyncio.sleep(TICK_S)

    def _record(self) -> dict[str, Any]:
        draw = self._random.random()
        if draw < RESENT and self._last:
            return _payload(*self._random.choice(self._last))
        device = (self._first + self._random.randrange(ACTIVE)) % DEVICES
        self._sent[device] += 1
        number = self._sent[device]
        if draw < RESENT + LATE:
            return _payload(device, -number)
        if draw < RESENT + LATE + BROKEN:
            return _payload(device, number) | {"latitude": 999}
        self._last = [*self._last[-99:], (device, number)]
        return _payload(device, number)

    async def _send(self, payloads: list[dict[str, Any]]) -> None:
        """Append records; those of a device stay in order. What may have been lost is sent again."""
        while True:
            try:
                async with Redis.from_url(self._servers.primary.url) as redis:
                    pipeline = redis.pipeline(transaction=False)
                    for payload in payloads:
                        device_id = payload["device_id"]
                        pipeline.xadd(STREAM if self._one_stream else stream_of(device_id), self._fields(payload))
                    await pipeline.execute()
            except (RedisError, OSError):
                await asyncio.sleep(TICK_S)
            else:
                return

    def _fields(self, payload: dict[str, Any]) -> dict[Any, Any]:
        fields = {"ts": payload["timestamp"], "device_id": payload["device_id"], "codec": "8E"}
        if self._one_stream and self._random.random() < ANONYMOUS:
            del fields["device_id"]
        return fields | {"payload": json.dumps(payload)}


def _payload(device: int, number: int) -> dict[str, Any]:
    """Return a device's record of a number; one with a negative number is older than all that have others."""
    taken = FIRST_TS + timedelta(milliseconds=200 * number)
    return records.record(
        device_id=f"3563070424{device:05d}",
        timestamp=taken.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        latitude=round(40 + number / 1e5, 5),
        longitude=round(20 + device / 1e3, 3),
    )


async def expected(redis: Redis, *, one_stream: bool) -> Expected:
    """Count what the trackers sent, as the streams that they sent to hold it."""
    rows, refused, devices, entries = set(), Counter[tuple[str, str]](), dict[str, Last](), 0
    for stream in [STREAM] if one_stream else STREAMS:
        start = "-"
        while page := await _page(redis, stream, start):
            for entry_id, fields in page:
                entries += 1
                record = json.loads(fields[b"payload"])
                device = record["device_id"]
                if record["latitude"] > 90:
                    refused[stream_of(device), entry_id.decode()] += 1
                    continue
                at = datetime.fromisoformat(record["timestamp"])
                rows.add((device, at))
                devices[device] = _after(devices.get(device), at, record)
            start = f"({page[-1][0].decode()}"
    return Expected(entries, rows, devices, refused)


async def _page(redis: Redis, stream: str, start: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
    page: Any = await redis.xrange(stream, start, "+", _PAGE)
    return list(page)


def _after(known: Last | None, at: datetime, record: dict[str, Any]) -> Last:
    if known is not None and known.last_seen >= at:
        return known._replace(records=known.records + 1)
    return Last(known.records + 1 if known else 1, at, record["latitude"], record["longitude"])
