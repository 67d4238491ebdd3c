"""Keeping leases and telling Faust which partitions this worker has."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from faust.types import TP
from mode import Service
from redis.exceptions import ResponseError

from faust_redis.driver.partitioning import partitions_of, stream_of
from faust_redis.group.balance import share
from faust_redis.group.lease import Leases
from faust_redis.redis.client import drop_connections
from faust_redis.redis.errors import ANY_REDIS_ERROR, PASSING_ERRORS, severity
from faust_redis.redis.retry import retry_until_stopped
from faust_redis.stream.partition import Partition

if TYPE_CHECKING:
    from faust_redis.driver.consumer import Consumer

logger = logging.getLogger(__name__)

#: Renewals in one lease time: two may fail before the lease is lost.
_RENEWALS_PER_TTL = 3
#: How long a stopping worker tries to give its leases back.
_SHUTDOWN_TIMEOUT_S = 2.0


class Ownership(Service):
    """Renews leases, takes and gives back partitions, and reports changes to Faust as rebalances.

    Faust's callbacks run in a task of this service, never inside `Consumer.subscribe`, for whose return they wait.
    Renewal runs in another task, since a rebalance may wait long for batches in flight.
    """

    logger = logger

    def __init__(self, consumer: Consumer, **kwargs: Any) -> None:
        self.consumer = consumer
        self.app = consumer.app
        self.options = consumer.options
        self.observer = consumer.observer
        self.wanted_topics: list[str] = []
        self.workers: list[str] = []
        self.wake = asyncio.Event()
        self.assigned_once = False
        self._unreadable: set[str] = set()
        self._leases = Leases(
            consumer.client,
            group=consumer.group,
            instance_id=self.options.instance_id,
            ttl_ms=self.options.lease_ttl_ms,
        )
        super().__init__(**kwargs)

    @property
    def interval_s(self) -> float:
        """Time between two renewals."""
        return self.options.lease_ttl_ms / 1000 / _RENEWALS_PER_TTL

    def lose(self, partition: Partition) -> None:
        """Stop touching a partition whose lease is gone, and tell Faust soon."""
        partition.lost = True
        self.wake.set()

    @Service.task
    async def _renew_leases(self) -> None:
        async for _ in self.itertimer(self.interval_s, name="renew"):
            for partition in [p for p in self.consumer.partitions.values() if not p.lost]:
                try:
                    # A silent connection must not cost the whole lease: the next try has a connection of its own.
                    async with asyncio.timeout(self.interval_s):
                        kept = await self._leases.renew(partition.stream, partition.token)
                except ANY_REDIS_ERROR as error:
                    self.observer.retried("renew")
                    logger.log(severity(error), "could not renew the lease of %s: %r", partition.stream, error)
                    await drop_connections(self.consumer.client, error)
                    continue
                if not kept:
                    logger.warning("the lease of %s is gone", partition.stream)
                    self.lose(partition)

    @Service.task
    async def _keep_balance(self) -> None:
        while not self.should_stop:
            await self._wait_for_turn()
            if self.should_stop or self.app.should_stop:
                return
            try:
                if self.wanted_topics:
                    await self._balance()
            except ANY_REDIS_ERROR as error:
                self.observer.retried("balance")
                logger.log(severity(error), "could not share out partitions: %s", error)
                await drop_connections(self.consumer.client, error)

    async def _wait_for_turn(self) -> None:
        await self.wait_for_stopped(self.wake, timeout=self.interval_s)  # type: ignore[arg-type]  # mode's type is narrower
        self.wake.clear()

    async def _balance(self) -> None:
        """Look at the leases once, and rebalance if anything should change."""
        lost = [p for p in self.consumer.partitions.values() if p.lost]
        if lost:
            # Regained only in a turn of its own, so that its state is loaded anew.
            await self._rebalance(leaving=lost, gained=[])
            self.wake.set()
            return
        leaving: list[Partition] = []
        gained: list[Partition] = []
        for topic in self.wanted_topics:
            give, take = await self._decide(topic)
            leaving += give
            gained += take
        abandoned = [p for p in self.consumer.partitions.values() if p.ledger.abandoned]
        for partition in abandoned:
            logger.warning("a batch of %s was dropped unprocessed: reading what is pending again", partition.stream)
        if leaving or gained or abandoned or not self.assigned_once:
            await self._rebalance(leaving=leaving, gained=gained)

    async def _decide(self, topic: str) -> tuple[list[Partition], list[Partition]]:
        """Return the partitions of a topic to give back, and those just taken."""
        me = self.options.instance_id
        self.workers = await self._leases.heartbeat(topic)
        streams = {number: stream_of(self.app, topic, number) for number in range(partitions_of(self.app, topic))}
        holders = await self._leases.holders(streams.values())
        wanted = share(me, len(streams), self.workers, holders)
        mine = [p for tp, p in self.consumer.partitions.items() if tp.topic == topic]
        free = [(n, s) for n, s in streams.items() if s not in holders and TP(topic, n) not in self.consumer.partitions]
        taken = []
        for number, stream in free[: wanted.take]:
            token = await self._leases.acquire(stream)
            partition = Partition(TP(topic, number), stream, token) if token else None
            if partition is not None and await self._make_group(partition):
                taken.append(partition)
        return mine[len(mine) - wanted.give :] if wanted.give else [], taken

    async def _rebalance(self, *, leaving: list[Partition], gained: list[Partition]) -> None:
        """Run Faust's revoke and assign callbacks, and wait until it takes records again."""
        consumer = self.consumer
        self.app.on_rebalance_start()
        await consumer.on_partitions_revoked({p.tp for p in leaving})
        for partition in leaving:
            consumer.partitions.pop(partition.tp, None)
            if not partition.lost:
                await self._give_back(partition)
        consumer.partitions.update({p.tp: p for p in gained})
        logger.info(
            "partitions: %d held, %d taken, %d given back or lost",
            len(consumer.partitions),
            len(gained),
            len(leaving),
        )
        self.observer.partitions_owned(len(consumer.partitions))
        self.assigned_once = True
        self.app.consumer_generation_id += 1
        await consumer.on_partitions_assigned(consumer.assignment(), self.app.consumer_generation_id)
        while self.app.rebalancing and not (self.should_stop or self.app.should_stop):  # noqa: ASYNC110 - Faust has a flag
            await asyncio.sleep(0.01)

    async def _make_group(self, partition: Partition) -> bool:
        """Make sure that a partition just taken has its group; give it back if Redis refuses that."""
        try:
            await retry_until_stopped(
                lambda: self.consumer.reader.ensure_group(partition.stream),
                operation="create group",
                observer=self.observer,
                stopping=lambda: self.app.should_stop,
                passing=PASSING_ERRORS,
            )
        except ResponseError as error:
            # One key of another type must not hold up the other partitions; it is tried again in every turn.
            self.observer.retried("create group")
            if partition.stream not in self._unreadable:
                logger.error("cannot read %s, leaving it: %s", partition.stream, error)  # noqa: TRY400 - it says it
            self._unreadable.add(partition.stream)
            await self._give_back(partition)
            return False
        self._unreadable.discard(partition.stream)
        return True

    async def _give_back(self, partition: Partition) -> None:
        try:
            await self._leases.release(partition.stream, partition.token)
        except ANY_REDIS_ERROR as error:
            logger.warning("the lease of %s will expire by itself: %s", partition.stream, error)

    async def on_stop(self) -> None:
        """Give every partition back, so that other workers need not wait for the leases to expire."""
        self.observer.partitions_owned(0)
        try:
            async with asyncio.timeout(_SHUTDOWN_TIMEOUT_S):
                for partition in self.consumer.partitions.values():
                    await self._leases.release(partition.stream, partition.token)
                for topic in self.wanted_topics:
                    await self._leases.leave(topic)
        except ANY_REDIS_ERROR as error:
            logger.warning("the leases and the heartbeat will expire by themselves: %r", error)
