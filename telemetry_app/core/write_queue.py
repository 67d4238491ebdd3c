"""Several batches on their way to the databases at once, each acknowledged when every database has it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from mode import Service

from telemetry_app.core.place import Places
from telemetry_app.core.sink import WriteAbandoned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry_app.core.batch import DecodedBatch
    from telemetry_app.core.place import Place
    from telemetry_app.core.sink import Refused, Sink
    from telemetry_app.records.position import Position

logger = logging.getLogger(__name__)

#: How long a stopping worker lets writes finish. Less than what the transport allows for the whole drain.
_LAST_WRITES_S: Final = 5.0


class WriteQueue(Service):
    """Writes up to `concurrency` batches at a time to every sink, and settles each when all sinks have it.

    A batch in trouble goes on beside these, so that others pass it (see `core.place`).

    When the application stops, batches that a sink does not take at once, or within some seconds, are given up: they
    stay pending in the stream and are delivered again, to every sink. A row that any sink refuses goes to the dead
    letters with that sink's reason, whether or not the others have stored it.
    """

    logger = logger

    def __init__(self, sinks: Sequence[Sink], *, concurrency: int, stopping: asyncio.Event, **kwargs: Any) -> None:
        self._sinks = sinks
        self._free = asyncio.Semaphore(concurrency)
        self._places = Places(self._free)
        self._stopping = stopping
        self._writes: set[asyncio.Task[None]] = set()
        self._closed = False
        super().__init__(**kwargs)

    async def why_not_ready(self) -> str | None:
        """Return None while every sink takes positions, else why the first of those that don't does not."""
        for sink in self._sinks:
            if reason := await sink.why_not_ready():
                return reason
        return None

    async def submit(self, decoded: DecodedBatch) -> None:
        """Start writing a batch; waits for a free place."""
        if not decoded.positions:
            decoded.batch.settle()
            return
        place = await self._places.take()
        if self._closed:
            place.give_back()
            decoded.batch.give_up()
            return
        write = asyncio.create_task(self._write(decoded, place))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    async def _write(self, decoded: DecodedBatch, place: Place) -> None:
        try:
            place.hold()
            refusals = await self._write_to_all(decoded.positions)
        except (WriteAbandoned, asyncio.CancelledError):
            decoded.batch.give_up()
        except Exception:
            # A defect of a sink; to acknowledge would lose the batch, to keep silent would hide it.
            logger.exception("a batch of %s could not be written: left pending", decoded.batch.stream)
            decoded.batch.give_up()
        else:
            for sink, refused in zip(self._sinks, refusals, strict=True):
                _bury(decoded, sink, refused)
            decoded.batch.settle()
        finally:
            place.give_back()

    async def _write_to_all(self, positions: Sequence[Position]) -> list[Sequence[Refused]]:
        """Write to every sink at the same time; when one fails, end the writes to the others first."""
        try:
            async with asyncio.TaskGroup() as group:
                writes = [group.create_task(sink.write(positions)) for sink in self._sinks]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [write.result() for write in writes]

    @Service.task
    async def _give_up_when_stopping(self) -> None:
        await self._stopping.wait()
        if self._writes:
            await asyncio.wait(self._writes, timeout=_LAST_WRITES_S)
        self._closed = True
        for write in self._writes:
            write.cancel()


def _bury(decoded: DecodedBatch, sink: Sink, refused: Sequence[Refused]) -> None:
    """Send the rows that a sink refuses to the dead letters, unless one before it has refused them already."""
    if refused:
        logger.warning(
            "the %s refuses %d rows, which become dead letters; the first: %s",
            sink.name,
            len(refused),
            refused[0].reason,
        )
    for row in refused:
        decoded.bury(row.index, sink.name, row.reason)
