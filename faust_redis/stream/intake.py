"""Reading at the right pace, and through failures."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING

from faust_redis.redis.client import Client, drop_connections
from faust_redis.redis.errors import ANY_REDIS_ERROR, severity
from faust_redis.redis.retry import Backoff, pause

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faust_redis.options import RedisOptions
    from faust_redis.stream.partition import Partition
    from faust_redis.stream.reader import Read, Reader

logger = logging.getLogger(__name__)


class Intake:
    """Reads the partitions held, as fast as `RedisOptions.pacing` wants it. Never raises errors of Redis.

    Args:
        client: Of the reader.
        reader: Reads once.
        options: Size of a batch, how long a read waits, pacing, and whom to tell.
        stopping: Whether the application is stopping.
    """

    def __init__(self, client: Client, reader: Reader, *, options: RedisOptions, stopping: Callable[[], bool]) -> None:
        self._client = client
        self._reader = reader
        self._options = options
        self._stopping = stopping
        self._full_enough = int(options.batch_size * options.pacing.full_enough)
        self._gather_until = 0.0
        self._was_full = False
        self._backoff = Backoff()
        self._failure: str | None = None

    async def why_not_ready(self) -> str | None:
        """Return None unless the last read failed, else how."""
        return self._failure

    async def take(self, partitions: Sequence[Partition], *, within_s: float) -> list[Read]:
        """Return the batches of one read; none when nothing came in time, or after a failure."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._gather_until - loop.time()))
        asked = self._reader.size.count(len(partitions))
        block_ms = max(1, min(self._options.block_ms, int(within_s * 1000)))
        try:
            batches = await self._reader.read(partitions, block_ms)
        except ANY_REDIS_ERROR as error:
            await self._after_failure(partitions, error)
            return []
        self._backoff.reset()
        self._failure = None
        if self._shall_gather(batches, streams=len(partitions), asked=asked):
            self._gather_until = loop.time() + self._options.pacing.gather_s
        return batches

    def _shall_gather(self, batches: Sequence[Read], *, streams: int, asked: int) -> bool:
        """Tell whether the next read shall wait, so that it brings more at once.

        Little from each of many streams costs as many small batches. Where there is more, but not from all of them,
        somebody is appending to one after the other, as a distributor does: one read for all costs less than one each.
        A backlog of some begins the same way, and shows when the next read brings a full batch too.
        """
        entries: Counter[str] = Counter()
        for partition, batch in batches:
            entries[partition.stream] += len(batch)
        fullest = max(entries.values(), default=0)
        was_full, self._was_full = self._was_full, fullest >= asked
        if not batches or (was_full and self._was_full):
            return False
        return fullest < min(self._full_enough, asked) or len(entries) < streams

    async def _after_failure(self, partitions: Sequence[Partition], error: BaseException) -> None:
        """Wait, then look for entries whose delivery was lost on the way."""
        observer = self._options.observer
        observer.read("error")
        observer.retried("read")
        self._failure = f"reading failed ({type(error).__name__}: {error})"
        self._reader.size.shrink(error)
        delay_s = self._backoff.next_s()
        logger.log(severity(error), "%s, next try in %.1f s", self._failure, delay_s)
        for partition in partitions:
            partition.claim_again()
        await drop_connections(self._client, error)
        await pause(delay_s, self._stopping)
