"""Keeping leases: taking partitions, giving them back, and noticing when one is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mode import Service
from redis.exceptions import ResponseError

from faust_redis.group.balance import share
from faust_redis.group.lease import Leases
from faust_redis.group.members import Members
from faust_redis.redis import keys
from faust_redis.redis.client import Client, drop_connections
from faust_redis.redis.errors import ANY_REDIS_ERROR, PASSING_ERRORS, PartitionLost, describe, severity
from faust_redis.redis.retry import retry_until_stopped
from faust_redis.stream.partition import Partition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from faust_redis.group.holdings import Holdings
    from faust_redis.options import RedisOptions

    #: What surrounds a change of the holdings. It is told what leaves, and begins once nothing works on that any more;
    #: when it ends, work begins on what is held by then.
    Rebalance = Callable[[Sequence[Partition]], AbstractAsyncContextManager[None]]

logger = logging.getLogger(__name__)

#: Renewals in one lease time: two may fail before the lease is lost.
_RENEWALS_PER_TTL: Final = 3
#: A worker that has been silent for this many lease times no longer counts when partitions are shared out.
_SILENT_LEASES: Final = 2
#: How long a stopping worker tries to give its leases back.
_SHUTDOWN_TIMEOUT_S: Final = 2.0


class Ownership(Service):
    """Renews leases, and takes and gives back partitions until every worker has its share.

    Renewal runs in a task of its own, since a rebalance may wait long for batches in flight.

    Args:
        client: Redis.
        holdings: What this worker holds; changed here alone.
        group: Name of the consumer group.
        options: Name of this instance, length of a lease, and whom to tell.
        streams_of: Returns the streams of a topic, by number of partition.
        ensure_group: Makes sure that a partition's stream has the group, before it is taken.
        rebalance: Surrounds every change of the holdings, see `Rebalance`.
        stopping: Whether the application is stopping, so that nothing more is taken.

    Attributes:
        assigned_once: Whether this worker has looked for partitions and was told what it holds, if only nothing.
        failure: Why the last look failed; None when it did not.
    """

    logger = logger

    def __init__(
        self,
        client: Client,
        holdings: Holdings,
        *,
        group: str,
        options: RedisOptions,
        streams_of: Callable[[str], Sequence[str]],
        ensure_group: Callable[[Partition], Awaitable[object]],
        rebalance: Rebalance,
        stopping: Callable[[], bool],
        **kwargs: Any,
    ) -> None:
        self._client = client
        self._holdings = holdings
        self._group = group
        self._options = options
        self._observer = options.observer
        self._streams_of = streams_of
        self._ensure_group = ensure_group
        self._rebalance = rebalance
        self._stopping = stopping
        self._leases = Leases(client, group=group, instance_id=options.instance_id, ttl_ms=options.lease_ttl_ms)
        self._workers: dict[str, Members] = {}
        self._subscribed = False
        self._unreadable: dict[str, str] = {}
        self.assigned_once = False
        self.failure: str | None = None
        super().__init__(**kwargs)

    @property
    def interval_s(self) -> float:
        """Time between two renewals."""
        return self._options.lease_ttl_ms / 1000 / _RENEWALS_PER_TTL

    def want(self, topics: Iterable[str]) -> None:
        """Take part in sharing out these topics from now on, and no others; with none, be assigned nothing."""
        self._subscribed = True
        self._workers = {topic: self._workers.get(topic) or self._members(topic) for topic in sorted(topics)}
        self._holdings.changed.set()

    def why_not_ready(self) -> str | None:
        """Return None when this worker has partitions or stands by for those of others, else why it has none."""
        if not self.assigned_once:
            return self.failure or "partitions are being assigned"
        return self.failure or (None if self._holdings else next(iter(self._unreadable.values()), None))

    @property
    def wanted_topics(self) -> list[str]:
        """The topics shared out, sorted."""
        return list(self._workers)

    def workers(self) -> set[str]:
        """Return the instances that take part, as of the last look."""
        return {name for members in self._workers.values() for name in members.alive}

    def _members(self, topic: str) -> Members:
        return Members(
            self._client,
            keys.workers(topic, self._group),
            instance_id=self._options.instance_id,
            silence_ms=self._options.lease_ttl_ms * _SILENT_LEASES,
        )

    @Service.task
    async def _renew_leases(self) -> None:
        async for _ in self.itertimer(self.interval_s, name="renew"):
            for partition in [p for p in self._holdings.values() if not p.lost]:
                await self._renew(partition)

    async def _renew(self, partition: Partition) -> None:
        asked_s = time.monotonic()
        try:
            # A silent connection must not cost the whole lease: the next try has a connection of its own.
            async with asyncio.timeout(self.interval_s):
                kept = await self._leases.renew(partition.stream, partition.token)
        except ANY_REDIS_ERROR as error:
            self._observer.retried("renew")
            logger.log(severity(error), "could not renew the lease of %s (%s)", partition.stream, describe(error))
            await drop_connections(self._client, error)
            return
        if not kept:
            logger.warning("the lease of %s is gone", partition.stream)
            self._holdings.lose(partition)
            return
        partition.leased_until_s = self._end_of_lease(asked_s)

    def _end_of_lease(self, asked_s: float) -> float:
        """Return when a lease ends that was asked for then; Redis may have given it later, so it ends no sooner."""
        return asked_s + self._options.lease_ttl_ms / 1000

    @Service.task
    async def _keep_balance(self) -> None:
        while not self.should_stop:
            await self._wait_for_turn()
            if self.should_stop or self._stopping():
                return
            try:
                if self._subscribed:
                    await self._balance()
                self.failure = None
            except ANY_REDIS_ERROR as error:
                self.failure = f"partitions cannot be shared out ({type(error).__name__}: {error})"
                self._observer.retried("balance")
                logger.log(severity(error), "could not share out partitions: %s", error)
                await drop_connections(self._client, error)

    async def _wait_for_turn(self) -> None:
        changed = self._holdings.changed
        await self.wait_for_stopped(changed, timeout=self.interval_s)  # type: ignore[arg-type]  # mode's type is narrower
        changed.clear()

    async def _balance(self) -> None:
        """Look at the leases once, and rebalance if anything should change."""
        held = self._holdings
        lost = [p for p in held.values() if p.lost]
        if lost:
            # Regained only in a turn of its own, so that its state is loaded anew.
            await self._change(leaving=lost, gained=[])
            held.changed.set()
            return
        leaving: list[Partition] = []
        gained: list[Partition] = []
        for topic in self.wanted_topics:
            give, take = await self._decide(topic)
            leaving += give
            gained += take
        abandoned = [p for p in held.values() if p.ledger.abandoned]
        for partition in abandoned:
            logger.warning("a batch of %s was dropped unprocessed: reading what is pending again", partition.stream)
        parted = any(p.parted for p in held.values())
        if leaving or gained or abandoned or parted or not self.assigned_once:
            await self._change(leaving=leaving, gained=gained)

    async def _decide(self, topic: str) -> tuple[list[Partition], list[Partition]]:
        """Return the partitions of a topic to give back, and those just taken."""
        workers = await self._workers[topic].heartbeat()
        streams = self._streams_of(topic)
        holders = await self._leases.holders(streams)
        wanted = share(self._options.instance_id, len(streams), workers, holders)
        mine = self._holdings.of_topic(topic)
        free = [(n, s) for n, s in enumerate(streams) if s not in holders and (topic, n) not in self._holdings]
        taken = []
        for number, stream in free[: wanted.take]:
            partition = await self._take((topic, number), stream)
            if partition is not None:
                taken.append(partition)
        return mine[len(mine) - wanted.give :] if wanted.give else [], taken

    async def _take(self, tp: tuple[str, int], stream: str) -> Partition | None:
        """Take a partition that was free; None when somebody was faster, or Redis refuses to make its group."""
        asked_s = time.monotonic()
        token = await self._leases.acquire(stream)
        if token is None:
            return None
        partition = Partition(tp, stream, token)
        partition.leased_until_s = self._end_of_lease(asked_s)
        try:
            await retry_until_stopped(
                partial(self._ensure_group, partition),
                operation="create group",
                observer=self._observer,
                stopping=self._stopping,
                passing=PASSING_ERRORS,
            )
        except PartitionLost as lost:
            logger.warning("%s", lost)
            return None
        except ResponseError as error:
            # One key of another type must not hold up the other partitions; it is tried again in every turn.
            self._observer.retried("create group")
            if stream not in self._unreadable:
                logger.error("cannot read %s, leaving it: %s", stream, error)  # noqa: TRY400 - it says it
            self._unreadable[stream] = f"{stream} cannot be read ({type(error).__name__}: {error})"
            await self._give_back(partition)
            return None
        self._unreadable.pop(stream, None)
        return partition

    async def _change(self, *, leaving: list[Partition], gained: list[Partition]) -> None:
        """Change what is held, while nothing works on what leaves."""
        async with self._rebalance(leaving):
            for partition in leaving:
                self._holdings.drop(partition)
                if not partition.lost:
                    await self._give_back(partition)
            self._holdings.add(gained)
            held = len(self._holdings)
            logger.info("partitions: %d held, %d taken, %d given back or lost", held, len(gained), len(leaving))
            self._observer.partitions_owned(held)
            self.assigned_once = True

    async def _give_back(self, partition: Partition) -> None:
        try:
            await self._leases.release(partition.stream, partition.token)
        except ANY_REDIS_ERROR as error:
            logger.warning("the lease of %s will expire by itself: %s", partition.stream, error)

    async def on_stop(self) -> None:
        """Give every partition back, so that other workers need not wait for the leases to expire."""
        self._observer.partitions_owned(0)
        try:
            async with asyncio.timeout(_SHUTDOWN_TIMEOUT_S):
                for partition in self._holdings.values():
                    await self._leases.release(partition.stream, partition.token)
                for members in self._workers.values():
                    await members.leave()
        except ANY_REDIS_ERROR as error:
            logger.warning("the leases and the heartbeat will expire by themselves (%s)", describe(error))
