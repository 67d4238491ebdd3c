"""Several batches on their way to the database at once, each acknowledged when it is stored."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from mode import Service

from telemetry_app.core.writer import PositionWriter, WriteAbandoned

if TYPE_CHECKING:
    from telemetry_app.core.batch import DecodedBatch

logger = logging.getLogger(__name__)

#: How long a stopping worker lets writes finish. Less than what the transport allows for the whole drain.
_LAST_WRITES_S = 5.0


class WriteQueue(Service):
    """Writes up to `concurrency` batches at a time and acknowledges each when the database has it.

    When the application stops, batches that the database does not take at once, or within some seconds, are given
    up: they stay pending in the stream and are delivered again.
    """

    logger = logger

    def __init__(self, writer: PositionWriter, *, concurrency: int, stopping: asyncio.Event, **kwargs: Any) -> None:
        self._writer = writer
        self._free = asyncio.Semaphore(concurrency)
        self._stopping = stopping
        self._writes: set[asyncio.Task[None]] = set()
        self._closed = False
        super().__init__(**kwargs)

    async def submit(self, decoded: DecodedBatch) -> None:
        """Start writing a batch; waits for a free place."""
        if not decoded.positions:
            decoded.batch.settle()
            return
        await self._free.acquire()
        if self._closed:
            self._free.release()
            decoded.batch.give_up()
            return
        write = asyncio.create_task(self._write(decoded))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    async def _write(self, decoded: DecodedBatch) -> None:
        try:
            result = await self._writer.write(decoded.positions)
        except (WriteAbandoned, asyncio.CancelledError):
            decoded.batch.give_up()
        else:
            if result.refused:
                first = result.refused[0].reason
                logger.warning("the database refuses %d rows: dead letters; the first: %s", len(result.refused), first)
            for refused in result.refused:
                decoded.bury(refused.index, "database", refused.reason)
            decoded.batch.settle()
        finally:
            self._free.release()

    @Service.task
    async def _give_up_when_stopping(self) -> None:
        await self._stopping.wait()
        if self._writes:
            await asyncio.wait(self._writes, timeout=_LAST_WRITES_S)
        self._closed = True
        for write in self._writes:
            write.cancel()
