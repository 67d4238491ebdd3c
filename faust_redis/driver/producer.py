"""Faust's producer on Redis Streams."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from faust.transport import producer as base
from faust.types import TP
from faust.types.tuples import RecordMetadata

from faust_redis.driver.partitioning import partition_for, stream_of
from faust_redis.redis.client import close, connect, execute
from faust_redis.redis.errors import own_errors
from faust_redis.redis.replies import EntryId

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from faust.types.core import HeadersArg


class Producer(base.Producer):
    """Appends one stream entry for each message: fields `payload` and, when given, `key` and the headers' names.

    A message without a partition goes to the one of its key. Errors are raised to the sender as `Unavailable` or
    `Misconfigured`: only the sender knows whether a message whose reply was lost may be sent twice.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._client = connect(str(self.transport.url[0]))
        self._sending: set[asyncio.Future[None]] = set()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        """Append a message, and return a future that already holds where it went."""
        sent: asyncio.Future[RecordMetadata] = self.loop.create_future()
        sent.set_result(
            await self.send_and_wait(
                topic, key, value, partition, timestamp, headers, transactional_id=transactional_id
            )
        )
        return sent

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,  # noqa: ARG002 - there are no producer transactions
    ) -> RecordMetadata:
        """Append a message and return its place; the offset is the milliseconds of its entry id.

        Raises:
            Unavailable: Redis does not answer; the message may have been appended.
            Misconfigured: Redis refuses the message.
        """
        number = partition if partition is not None else partition_for(self.app, topic, key)
        fields: list[Any] = [b"payload", value or b""]
        if key is not None:
            fields += (b"key", key)
        for name, header in dict(headers or {}).items():
            fields += (name, header)
        stream = stream_of(self.app, topic, number)
        with self._counted(), own_errors():
            entry_id = await execute(self._client, "XADD", stream, "*", *fields)
        ms = EntryId.parse(entry_id).ms
        return RecordMetadata(topic, number, TP(topic, number), ms, timestamp or time.time(), 1)

    def key_partition(self, topic: str, key: bytes) -> TP:
        """Return the partition that a key belongs to."""
        return TP(topic, partition_for(self.app, topic, key))

    async def create_topic(self, topic: str, partitions: int, replication: int, **_: Any) -> None:
        """Do nothing: the first entry creates the stream."""

    async def flush(self) -> None:
        """Send what Faust has buffered, and wait for what is on its way.

        Faust's buffer returns early when a message takes longer than a tenth of a second.
        """
        while self.buffer.size:
            await self.buffer.flush()
        if self._sending:
            await asyncio.wait(set(self._sending))

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """Let `flush` wait for the end of the block."""
        sent = self.loop.create_future()
        self._sending.add(sent)
        try:
            yield
        finally:
            self._sending.discard(sent)
            sent.set_result(None)

    def supports_headers(self) -> bool:
        """Return True: headers become fields of the entry."""
        return True

    async def on_shutdown(self) -> None:
        """Close the connections to Redis."""
        await close(self._client)
