"""Looking how far a group is, and telling what was lost."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from faust_redis.redis import keys, scripts
from faust_redis.redis.client import Client, Script
from faust_redis.stream.progress import Lost, Progress, Tally

if TYPE_CHECKING:
    from faust_redis.observer import Observer

logger = logging.getLogger(__name__)


class Surveyed(Protocol):
    """What of a partition matters to how far it is read."""

    stream: str
    token: str
    tally: Tally


class Survey:
    """Looks how far the group is, and reports what was lost before.

    Args:
        client: Redis.
        group: Name of the consumer group.
        observer: Told what was lost.
        gaps: Whether gaps in a stream are losses; not where entries leave it when they are committed.
    """

    def __init__(self, client: Client, *, group: str, observer: Observer, gaps: bool = True) -> None:
        self._group = group
        self._observer = observer
        self._gaps = gaps
        self._progress = Script(client, scripts.PROGRESS)

    async def look(self, partition: Surveyed) -> Progress | None:
        """Return how far the group is; None when the stream is gone. Not while a read is under way.

        Passing errors of Redis are raised.
        """
        lease = keys.lease(partition.stream, self._group)
        reply = await self._progress([lease, partition.stream], [partition.token, self._group])
        now = Progress.parse(reply) if reply else None
        lost = partition.tally.see(now)
        if lost is not None and (lost.replaced or self._gaps):
            self._report(partition.stream, lost)
        return now

    def _report(self, stream: str, lost: Lost) -> None:
        if lost.entries:
            self._observer.trimmed(lost.entries)
        if lost.replaced:
            what = (
                f"at least {lost.entries} records that nobody had read are lost, between {lost.after} and {lost.until}"
                if lost.entries
                else "nothing unread was known to wait there"
            )
            logger.error(
                "stream %s is gone or another one: Redis was emptied or replaced, or has evicted it; %s: set appendonly"
                " yes and maxmemory-policy noeviction", stream, what,
            )  # fmt: skip
            return
        logger.error(
            "%d records of stream %s were trimmed or deleted before anybody read them and are lost, between %s and %s:"
            " raise the producer's MAXLEN well above the longest outage",
            lost.entries, stream, lost.after, lost.until,
        )  # fmt: skip
