"""Keeping leases: taking partitions, giving them back, and noticing when one is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from mode import Service
from redis.exceptions import ResponseError

from faust_redis.group.balance import share
from faust_redis.group.changes import Changes, Sight
from faust_redis.group.lease import Leases, renewal_interval_s
from faust_redis.group.members import Members
from faust_redis.redis import keys
from faust_redis.redis.client import Client, drop_connections
from faust_redis.redis.errors import ANY_REDIS_ERROR, PASSING_ERRORS, PartitionLost, describe, severity
from faust_redis.redis.retry import retry_until_stopped
from faust_redis.stream.partition import Partition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from faust_redis.group.holdings import Holdings
    from faust_redis.options import RedisOptions

    #: What surrounds a change of the holdings. It is told what leaves and what begins anew, and begins once nothing
    #: works on those any more; when it ends, work begins on what has come. What stays is worked on all the time.
    Rebalance = Callable[[Sequence[Partition], Sequence[Partition]], AbstractAsyncContextManager[None]]

logger = logging.getLogger(__name__)

#: How often a worker looks whether others have come, gone or given something back: what moves stands still as long.
_WATCH_S: Final = 0.1
#: How long a stopping worker tries to give its leases back.
_SHUTDOWN_TIMEOUT_S: Final = 2.0


class Ownership(Service):
    """Renews leases, and takes and gives back partitions until every worker has its share.

    Renewal runs in a task of its own, since a rebalance may wait long for batches in flight. A worker announces itself
    after it has renewed its leases, and for as long as they last: when it falls silent they have ended.

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
        self._changes: dict[str, Changes] = {}
        self._seen: dict[str, Sight | None] = {}
        self._orphans: dict[str, str] = {}
        self._unreadable: dict[str, str] = {}
        #: Those whose leases are ours and that are not held yet: to take many may last longer than a lease.
        self._taken: list[Partition] = []
        self.assigned_once = False
        self.failure: str | None = None
        super().__init__(**kwargs)

    @property
    def interval_s(self) -> float:
        """Time between two renewals."""
        return renewal_interval_s(self._options.lease_ttl_ms)

    def want(self, topics: Iterable[str]) -> None:
        """Take part in sharing out these topics from now on, and no others; with none, be assigned nothing."""
        self._subscribed = True
        wanted = sorted(topics)
        self._workers = {topic: self._workers.get(topic) or self._members(topic) for topic in wanted}
        self._changes = {topic: self._changes.get(topic) or self._changes_of(topic) for topic in wanted}
        self._holdings.changed.set()

    def why_not_ready(self) -> str | None:
        """Return None when this worker has partitions or stands by for those of others, else why it has none."""
        if not self.assigned_once:
            return self.failure or "partitions are being assigned"
        if self._holdings:
            return self.failure
        return self.failure or self.unreadable() or next(iter(self._orphans.values()), None)

    def unreadable(self) -> str | None:
        """Return why a partition cannot be taken that is free; None when there is none."""
        return next(iter(self._unreadable.values()), None)

    @property
    def stands_by(self) -> bool:
        """Whether this worker has no partition and nothing is wrong: others hold all of them."""
        return self.assigned_once and not self._holdings and self.why_not_ready() is None

    @property
    def wanted_topics(self) -> list[str]:
        """The topics shared out, sorted."""
        return list(self._workers)

    def workers(self) -> set[str]:
        """Return the instances that take part, as of the last announcement."""
        return {name for members in self._workers.values() for name in members.alive}

    def _members(self, topic: str) -> Members:
        return Members(
            self._client,
            keys.workers(topic, self._group),
            instance_id=self._options.instance_id,
            silence_ms=self._options.lease_ttl_ms,
        )

    def _changes_of(self, topic: str) -> Changes:
        return Changes(self._client, topic, group=self._group, silence_ms=self._options.lease_ttl_ms)

    @Service.task
    async def _renew_leases(self) -> None:
        async for _ in self.itertimer(self.interval_s, name="renew"):
            await self._renew()
            if not self._stopping():
                await self._announce()

    async def _announce(self) -> None:
        try:
            async with asyncio.timeout(self.interval_s):
                for members in self._workers.values():
                    await members.heartbeat()
        except ANY_REDIS_ERROR as error:
            self._observer.retried("renew")
            logger.log(severity(error), "could not announce this worker (%s)", describe(error))
            await drop_connections(self._client, error)

    async def _renew(self) -> None:
        held = {p.stream: p for p in (*self._taken, *self._holdings.values()) if not p.lost}
        if not held:
            return
        asked_s = time.monotonic()
        tokens = {stream: partition.token for stream, partition in held.items()}
        try:
            # A silent connection must not cost the whole lease: the next try has a connection of its own.
            renewed = await self._leases.renew(tokens, timeout_s=self.interval_s)
        except ANY_REDIS_ERROR as error:
            renewed = dict.fromkeys(held, error)
        for stream, kept in renewed.items():
            if kept is True:
                held[stream].leased_until_s = self._end_of_lease(asked_s)
            elif kept is False:
                logger.warning("the lease of %s is gone", stream)
                self._holdings.lose(held[stream])
        await self._note_failures({stream: kept for stream, kept in renewed.items() if isinstance(kept, Exception)})

    async def _note_failures(self, failures: Mapping[str, Exception]) -> None:
        for stream, error in islice(failures.items(), 1):
            self._observer.retried("renew")
            logger.log(
                severity(error), "could not renew the lease of %s and %d others (%s)", stream, len(failures) - 1,
                describe(error),
            )  # fmt: skip
            await drop_connections(self._client, error)

    def _end_of_lease(self, asked_s: float) -> float:
        """Return when a lease ends that was asked for then; Redis may have given it later, so it ends no sooner."""
        return asked_s + self._options.lease_ttl_ms / 1000

    @Service.task
    async def _watch(self) -> None:
        """Look at the leases soon after another worker came, left, fell silent or gave something back."""
        while not (self.should_stop or self._stopping()):
            await asyncio.sleep(_WATCH_S)  # a stop cancels it, and it takes no task
            try:
                for topic, changes in self._changes.items():
                    if await changes.look() != self._seen.get(topic):
                        self._holdings.changed.set()
            except ANY_REDIS_ERROR as error:
                logger.debug("could not look for changes (%s)", describe(error))  # the next balance says it

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
                self._observer.standing_by(self.stands_by)
                self._observer.partitions_unreadable(len(self._unreadable))
            except ANY_REDIS_ERROR as error:
                failure = f"partitions cannot be shared out ({describe(error)})"
                if failure != self.failure:
                    logger.log(severity(error), "%s", failure)
                self.failure = failure
                self._observer.retried("balance")
                self._observer.standing_by(False)  # noqa: FBT003 - one fact
                await drop_connections(self._client, error)
            finally:
                self._taken.clear()

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
            await self._change(leaving=lost)
            held.changed.set()
            return
        leaving: list[Partition] = []
        gained: list[Partition] = []
        for topic in self.wanted_topics:
            give, take = await self._decide(topic)
            leaving += give
            gained += take
        anew = [p for p in held.values() if p not in leaving and (p.parted or p.ledger.abandoned)]
        for partition in (p for p in anew if p.ledger.abandoned):
            logger.warning("a batch of %s was dropped unprocessed: reading what is pending again", partition.stream)
        if leaving or gained or anew or not self.assigned_once:
            await self._change(leaving=leaving, gained=gained, anew=anew)

    async def _decide(self, topic: str) -> tuple[list[Partition], list[Partition]]:
        """Return the partitions of a topic to give back, and those just taken."""
        seen = await self._look(topic)
        streams = self._streams_of(topic)
        holders = await self._leases.holders(streams)
        self._note_orphans(topic, seen, holders)
        for stream in holders.keys() & self._unreadable.keys():
            del self._unreadable[stream]
        wanted = share(self._options.instance_id, len(streams), seen.alive, holders)
        mine = self._holdings.of_topic(topic)
        free = [(n, s) for n, s in enumerate(streams) if s not in holders and (topic, n) not in self._holdings]
        taken = []
        for number, stream in free[: wanted.take]:
            partition = await self._take((topic, number), stream)
            if partition is not None:
                taken.append(partition)
        return mine[len(mine) - wanted.give :] if wanted.give else [], taken

    async def _look(self, topic: str) -> Sight:
        """Return who shares a topic, after joining them, or joining them again after a long pause."""
        changes = self._changes[topic]
        seen = await changes.look()
        if self._options.instance_id not in seen.alive:
            await self._workers[topic].heartbeat()
            await changes.tell()
            seen = await changes.look()
        self._seen[topic] = seen
        return seen

    def _note_orphans(self, topic: str, seen: Sight, holders: Mapping[str, str]) -> None:
        """Take note of leases whose owner is silent: they end soon, unless something is wrong."""
        orphan = next((s for s, owner in holders.items() if owner not in seen.alive), None)
        self._orphans.pop(topic, None)
        if orphan is not None:
            self._orphans[topic] = f"the lease of {orphan} is held by {holders[orphan]}, which is silent"
            self._seen[topic] = None  # look again soon

    async def _take(self, tp: tuple[str, int], stream: str) -> Partition | None:
        """Take a partition that was free; None when somebody was faster, or Redis refuses to make its group."""
        asked_s = time.monotonic()
        token = await self._leases.acquire(stream)
        if token is None:
            return None
        partition = Partition(tp, stream, token)
        partition.leased_until_s = self._end_of_lease(asked_s)
        self._taken.append(partition)
        try:
            await retry_until_stopped(
                partial(self._ensure_group, partition),
                operation="create group",
                observer=self._observer,
                stopping=self._stopping,
                passing=PASSING_ERRORS,
            )
        except PartitionLost as lost:
            partition.lost = True
            logger.warning("%s", lost)
            self._seen[tp[0]] = None  # look again soon, as nobody may tell that it is free
            return None
        except ResponseError as error:
            # One key of another type must not hold up the other partitions; it is tried again in every turn.
            self._observer.retried("create group")
            if stream not in self._unreadable:
                logger.error("cannot read %s, leaving it: %s", stream, error)  # noqa: TRY400 - it says it
            self._unreadable[stream] = f"{stream} cannot be read ({type(error).__name__}: {error})"
            partition.lost = True
            await self._give_back(partition)
            return None
        self._unreadable.pop(stream, None)
        return partition

    async def _change(
        self, *, leaving: Sequence[Partition] = (), gained: Sequence[Partition] = (), anew: Sequence[Partition] = ()
    ) -> None:
        """Change what is held, while nothing works on what leaves; what stays is worked on all the time."""
        async with self._rebalance(leaving, anew):
            await self._let_go(leaving)
            self._holdings.add(gained)
            held = len(self._holdings)
            logger.info("partitions: %d held, %d taken, %d given back or lost", held, len(gained), len(leaving))
            self._observer.partitions_owned(held)
            self.assigned_once = True

    async def _let_go(self, partitions: Iterable[Partition]) -> None:
        """Drop partitions, give their leases back, and let the other workers look."""
        given_back = set()
        for partition in partitions:
            self._holdings.drop(partition)
            if not partition.lost:
                await self._give_back(partition)
                given_back.add(partition.tp[0])
        await self._tell(given_back)

    async def _tell(self, topics: Iterable[str]) -> None:
        try:
            for topic in topics:
                if topic in self._changes:
                    await self._changes[topic].tell()
        except ANY_REDIS_ERROR as error:
            logger.debug("other workers look a little later (%s)", describe(error))

    async def _give_back(self, partition: Partition) -> None:
        try:
            await self._leases.release(partition.stream, partition.token)
        except ANY_REDIS_ERROR as error:
            logger.warning("the lease of %s will expire by itself: %s", partition.stream, error)

    async def leave(self) -> None:
        """Let the other workers share without this one, which still holds what it has not given back."""
        try:
            async with asyncio.timeout(_SHUTDOWN_TIMEOUT_S):
                for members in self._workers.values():
                    await members.leave()
                await self._tell(self._workers)
        except ANY_REDIS_ERROR as error:
            logger.warning("the heartbeat will expire by itself (%s)", describe(error))

    async def give_all_back(self) -> None:
        """Give every partition back, so that other workers need not wait for the leases to expire."""
        self._observer.partitions_owned(0)
        self._observer.standing_by(False)  # noqa: FBT003 - as above
        try:
            async with asyncio.timeout(_SHUTDOWN_TIMEOUT_S):
                await self._let_go(list(self._holdings.values()))
        except TimeoutError:
            logger.warning("the leases will expire by themselves: Redis does not answer")

    async def on_stop(self) -> None:
        """Leave nothing behind."""
        await self.leave()
        await self.give_all_back()
