"""What a worker does now and then for the partitions that it holds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from mode import Service

from faust_redis.redis import keys, scripts
from faust_redis.redis.client import Client, Script, execute
from faust_redis.redis.errors import ANY_REDIS_ERROR
from faust_redis.redis.replies import facts, text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from faust_redis.group.holdings import Holdings
    from faust_redis.options import RedisOptions

logger = logging.getLogger(__name__)

#: How often pending entries that nobody works on are looked for, as a share of the time after which they are.
_CLAIMS_PER_REDELIVERY: Final = 4
#: Without a partition there is no lag; look again soon after one was taken.
_UNASSIGNED_INTERVAL_S: Final = 1.0


class Upkeep(Service):
    """Looks for entries that nobody works on, removes group members that are gone, and samples the lag.

    Args:
        client: Redis.
        holdings: The partitions held.
        group: Name of the consumer group.
        options: Intervals, and whom to tell.
        alive: Returns the instances whose group members stay.
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
        **kwargs: Any,
    ) -> None:
        self._client = client
        self._holdings = holdings
        self._group = group
        self._options = options
        self._alive = alive
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
    async def _sample_lag(self) -> None:
        while not self.should_stop:
            try:
                lag = await self._total_lag()
            except ANY_REDIS_ERROR as error:
                logger.debug("lag not sampled: %s", error)
                lag = None
            self._options.observer.lag(lag)
            await self.sleep(self._options.lag_interval_s if self._holdings else _UNASSIGNED_INTERVAL_S)

    async def _total_lag(self) -> int | None:
        """Return how many entries of the partitions held the group has not read; None when Redis does not know."""
        lags = [await self._lag(partition.stream) for partition in list(self._holdings.values())]
        return None if None in lags else sum(lag for lag in lags if lag is not None)

    async def _lag(self, stream: str) -> int | None:
        for info in await execute(self._client, "XINFO", "GROUPS", stream):
            group = facts(info)
            if text(group["name"]) == self._group:
                lag = group.get("lag")
                return None if lag is None else int(lag)
        return None
