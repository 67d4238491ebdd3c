"""Pausing partitions whose records are mostly refused, until somebody says that reading goes on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from mode import Service

from faust_redis.redis import keys
from faust_redis.redis.client import Client, execute
from faust_redis.redis.errors import ANY_REDIS_ERROR, own_errors
from faust_redis.stream.refusals import WINDOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faust_redis.group.holdings import Holdings
    from faust_redis.options import RedisOptions
    from faust_redis.stream.batch import RecordBatch
    from faust_redis.stream.partition import Partition

logger = logging.getLogger(__name__)

#: How often somebody's word is looked for.
_INTERVAL_S: Final = 1.0
#: After so long the mark of a worker that died while it paused is gone. Live ones renew it.
_MARK_TTL_S: Final = 86_400


class Pauses(Service):
    """Stops the reading of a partition when too many of its last records were refused.

    So many are not bad records but a broken producer or a wrong setting, and would all end in the dead letters. A
    pause is kept in memory, so that a restart ends it, and marked in Redis, where `resume` takes the mark away.

    Args:
        client: Redis.
        holdings: The partitions held.
        group: Name of the consumer group.
        options: The share that is too many, what ends a pause, and whom to tell.
    """

    logger = logger

    def __init__(self, client: Client, holdings: Holdings, *, group: str, options: RedisOptions, **kwargs: Any) -> None:
        self._client = client
        self._holdings = holdings
        self._group = group
        self._most_refused = WINDOW * options.dead_letter_max_share
        self._resume_command = options.resume_command
        self._observer = options.observer
        self._marked: set[str] = set()
        super().__init__(**kwargs)

    def judge(self, partition: Partition, batch: RecordBatch) -> None:
        """Take a batch into account that is about to be committed, and pause its partition if it is too much."""
        partition.refusals.count(batch)
        if partition.paused or len(partition.refusals) <= self._most_refused:
            return
        partition.paused = True
        logger.error("%s", self._reason(partition))
        self._report()

    def why_not_ready(self) -> str | None:
        """Return None unless a partition is paused, else which and why."""
        return next((self._reason(partition) for partition in self._holdings.values() if partition.paused), None)

    def _reason(self, partition: Partition) -> str:
        return (
            f"reading of {partition.stream} is paused: {len(partition.refusals)} of its last {WINDOW} records were"
            " refused; fix the producer or the setting that makes them unreadable, then run"
            f" `{self._resume_command}`, or restart"
        )

    def _report(self) -> None:
        self._observer.partitions_paused(sum(partition.paused for partition in self._holdings.values()))

    @Service.task
    async def _look_for_resumption(self) -> None:
        async for _ in self.itertimer(_INTERVAL_S, name="pauses"):
            self._report()
            paused = [partition for partition in self._holdings.values() if partition.paused]
            self._marked &= {partition.token for partition in paused}
            for partition in paused:
                try:
                    await self._look(partition)
                except ANY_REDIS_ERROR as error:
                    logger.debug("the pause of %s not looked at: %s", partition.stream, error)

    async def _look(self, partition: Partition) -> None:
        """Mark a pause in Redis; when the mark is gone again, go on."""
        is_marked = partition.token in self._marked
        mark = keys.pause(partition.stream, self._group)
        only_if_there = ("XX",) if is_marked else ()
        if await execute(self._client, "SET", mark, partition.token, *only_if_there, "EX", _MARK_TTL_S):
            self._marked.add(partition.token)
            return
        self._marked.discard(partition.token)
        partition.refusals.clear()
        partition.paused = False
        logger.info("reading of %s goes on, as somebody wished", partition.stream)
        self._report()


async def resume(client: Client, streams: Sequence[str], group: str) -> list[str]:
    """Let reading go on, within a second; return the streams of which it was paused.

    Raises:
        Unavailable: Redis does not answer.
        Misconfigured: Redis refuses.
    """
    with own_errors():
        return [stream for stream in streams if await execute(client, "DEL", keys.pause(stream, group))]
