"""What flows through the demo, each figure read where it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import asyncpg
import msgspec

from faust_redis.redis import keys
from faust_redis.redis.client import Client, execute
from telemetry_app.records.decoding import decode_entries

if TYPE_CHECKING:
    from telemetry_app.tools.embedded.worker import WorkerProcess

#: More pending entries than these are in flight for sure.
_MOST_PENDING = 5000
#: Outcomes of records that find a row of their device and time: neither makes a row.
_NOT_NEW = ("duplicate", "merged")


class Figures(msgspec.Struct, frozen=True):
    """One reading of the demo.

    Attributes:
        published: Records whose arrival in the stream was confirmed.
        stored: Rows in the table.
        duplicates: Records whose device and time the worker found stored already, merged into the row or not.
        refused: Entries that are pending or dead letters: refused, or for a moment still in flight.
        lag: Records not yet read; None when Redis does not know.
        devices: Devices whose state the worker holds.
    """

    published: int
    stored: int
    duplicates: int
    refused: int
    lag: int | None
    devices: int


class Gauges:
    """Reads the figures of a running demo."""

    def __init__(
        self, redis: Client, database: asyncpg.Connection, worker: WorkerProcess, *, stream: str, group: str
    ) -> None:
        self._redis = redis
        self._database = database
        self._worker = worker
        self._stream = stream
        self._group = group

    async def read(self, published: int) -> Figures:
        """Read everything once; `published` is the publisher's own count."""
        metrics = await self._metrics()
        lag = metrics.get("processor_consumer_lag", float("nan"))
        return Figures(
            published=published,
            stored=await self._database.fetchval("SELECT count(*) FROM positions"),
            duplicates=int(sum(metrics.get(f"processor_position_writes_total{{{status}}}", 0) for status in _NOT_NEW)),
            refused=await self._refused(),
            lag=None if lag != lag else int(lag),  # noqa: PLR0124 - NaN stands for unknown
            devices=int(metrics.get("processor_device_state_size", 0)),
        )

    async def settled(self) -> bool:
        """Tell whether everything was read and only refused entries are still pending."""
        groups = await self._redis.xinfo_groups(self._stream)
        unread = next(group["lag"] for group in groups if group["name"] == self._group.encode())
        pending = await self._redis.xpending_range(self._stream, self._group, "-", "+", _MOST_PENDING)
        ids = [info["message_id"] for info in pending]
        entries = [pair for i in ids for pair in await execute(self._redis, "XRANGE", self._stream, i, i)]
        return unread == 0 and not decode_entries((entry[0], entry[1]) for entry in entries).positions

    async def _refused(self) -> int:
        pending = await self._redis.xpending(self._stream, self._group)
        return int(pending["pending"]) + int(await self._redis.xlen(keys.dead_letters(self._stream)))

    async def _metrics(self) -> dict[str, float]:
        """Return the worker's metrics; none while it does not answer."""
        try:
            return await self._worker.metrics()
        except (TimeoutError, aiohttp.ClientError):
            return {}
