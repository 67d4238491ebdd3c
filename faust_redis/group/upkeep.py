"""What a worker does now and then for the partitions that it holds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from mode import Service
from redis.exceptions import ResponseError

from faust_redis.redis import keys, scripts
from faust_redis.redis.client import Client, Script
from faust_redis.redis.errors import ANY_REDIS_ERROR, PASSING_ERRORS
from faust_redis.stream.retention import TRIM_INTERVAL_S, Trimmer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from faust_redis.group.holdings import Holdings
    from faust_redis.options import RedisOptions
    from faust_redis.stream.partition import Partition
    from faust_redis.stream.progress import Progress

logger = logging.getLogger(__name__)

#: How often pending entries that nobody works on are looked for, as a share of the time after which they are.
_CLAIMS_PER_REDELIVERY: Final = 4
#: Without a partition there is no lag; look again soon after one was taken.
_UNASSIGNED_INTERVAL_S: Final = 1.0


class Upkeep(Service):
    """Looks for entries that nobody works on, removes group members that are gone, looks how far the group is, trims.

    Args:
        client: Redis.
        holdings: The partitions held.
        group: Name of the consumer group.
        options: Intervals, what stays of the streams, and whom to tell.
        alive: Returns the instances whose group members stay.
        look: Returns how far the group is in a partition.
    """

    logger = logger

    def __init__(
        self,
        client: Client,
        holdings: Holdings,
        *,
        group: str,
        options: RedisOptions,
        alive: Callable[[], Collection[str]],
        look: Callable[[Partition], Awaitable[Progress | None]],
        **kwargs: Any,
    ) -> None:
        self._client = client
        self._holdings = holdings
        self._group = group
        self._options = options
        self._alive = alive
        self._look = look
        self._looked_at: list[Partition] = []
        self._forget_consumers = Script(client, scripts.FORGET_CONSUMERS)
        super().__init__(**kwargs)

    @Service.task
    async def _claim_idle_entries(self) -> None:
        """Deliver refused entries again, and what a paused worker read after it had lost its lease."""
        interval_s = self._options.redeliver_after_ms / 1000 / _CLAIMS_PER_REDELIVERY
        async for _ in self.itertimer(interval_s, name="claim"):
            for partition in list(self._holdings.values()):
                partition.claim_idle(self._options.redeliver_after_ms)
                lease = keys.lease(partition.stream, self._group)
                try:
                    await self._forget_consumers(
                        [lease, partition.stream], [partition.token, self._group, *self._alive()]
                    )
                except ANY_REDIS_ERROR as error:
                    logger.debug("dead consumers not removed: %s", error)

    @Service.task
    async def _trim(self) -> None:
        if self._options.retention is None or self._options.removes_committed:
            return
        trimmer = Trimmer(self._client, group=self._group, retention=self._options.retention, options=self._options)
        async for _ in self.itertimer(TRIM_INTERVAL_S, name="trim"):
            for partition in list(self._holdings.values()):
                await trimmer.trim(partition.stream, partition.token)

    @Service.task
    async def _sample_progress(self) -> None:
        while not self.should_stop:
            try:
                progress = await self._look_at_all()
            except ANY_REDIS_ERROR as error:
                logger.debug("lag not sampled: %s", error)
                progress = None
            self._report(progress)
            await self.sleep(self._options.lag_interval_s if self._holdings else _UNASSIGNED_INTERVAL_S)

    async def _look_at_all(self) -> list[Progress]:
        """Look at the partitions held, and a last time at those that were just lost: Redis may have lost its data."""
        held = list(self._holdings.values())
        for partition in self._looked_at:
            if partition.lost:
                await self._look(partition)
        self._looked_at = held
        found = [await self._look_if_readable(partition) for partition in held]
        return [progress for progress in found if progress is not None]

    async def _look_if_readable(self, partition: Partition) -> Progress | None:
        """Return None when Redis refuses this one, which must not hide how the others are."""
        try:
            return await self._look(partition)
        except PASSING_ERRORS:
            raise
        except ResponseError as error:
            logger.debug("lag of %s not sampled: %s", partition.stream, error)
            return None

    def _report(self, progress: list[Progress] | None) -> None:
        """Report the sum of the lags that are known, and the longest wait; None when nothing is known."""
        observer = self._options.observer
        if progress is None or (self._holdings and not progress):
            observer.lag(None)
            observer.oldest_unread(None)
            return
        lags = [one.lag for one in progress if one.lag is not None]
        observer.lag(sum(lags) if lags or not progress else None)
        observer.oldest_unread(max((one.waited_s for one in progress), default=0.0))
