"""Faust's consumer on Redis Streams."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from faust.transport import consumer as base
from faust.types import TP
from mode import Service

from faust_redis.driver.message import BatchMessage, CrashWatch
from faust_redis.driver.partitioning import partition_for, partitions_of
from faust_redis.group.ownership import Ownership
from faust_redis.options import RedisOptions
from faust_redis.redis.client import RedisProbe, close, connect, drop_connections
from faust_redis.redis.errors import ANY_REDIS_ERROR, PartitionLost, severity
from faust_redis.redis.replies import EntryId
from faust_redis.redis.retry import Backoff, pause, retry_until_stopped
from faust_redis.stream.commit import Committer
from faust_redis.stream.reader import Reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from faust.types.transports import TPorTopicSet
    from mode import ServiceT

    from faust_redis.stream.ledger import InFlight
    from faust_redis.stream.partition import Partition
    from faust_redis.stream.reader import Read

logger = logging.getLogger(__name__)

#: How often pending entries that nobody works on are looked for, as a share of the time after which they are.
_CLAIMS_PER_REDELIVERY = 4


class Consumer(base.Consumer):
    """Reads batches of the partitions whose lease this worker holds, and commits them.

    Offsets given to Faust are dense local numbers, one for each batch; the ledger of each partition knows which
    entries an offset stands for. What Kafka calls seeking to the committed offset is here: give up what is in
    flight and read the group's pending entries again.
    """

    consumer_stopped_errors: ClassVar[tuple[type[BaseException], ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.options = RedisOptions.of(self.app)
        self.observer = self.options.observer
        self.group: str = self.app.conf.id
        self.client = connect(str(self.transport.url[0]))
        self.redis = RedisProbe(self.client)
        self.partitions: dict[TP, Partition] = {}
        self.reader = Reader(self.client, group=self.group, options=self.options)
        self._committer = Committer(self.client, group=self.group, dead_letter_after=self.options.dead_letter_after)
        self._settled = asyncio.Event()
        self._commits_given_up = False
        self._read_backoff = Backoff()
        self._crash_watch = CrashWatch(self)
        self._read_failure: str | None = None
        self._gather_until = 0.0
        self._full_enough = int(self.options.batch_size * self.options.pacing.full_enough)
        self.ownership = Ownership(self, loop=self.loop, beacon=self.beacon)

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        """Return the service that keeps the leases."""
        return [*super().on_init_dependencies(), self.ownership]

    async def why_not_ready(self) -> str | None:
        """Return None when this worker takes records, or stands by for some, else what it waits for."""
        if not self.ownership.assigned_once or self.app.rebalancing:
            return "partitions are being assigned"
        return self._read_failure

    # --- which partitions ---

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Take note of the topics; partitions are assigned later, since Faust waits for this to return."""
        self._crash_watch.watch(self.app)
        internal = self.app.tables.changelog_topics
        self.ownership.wanted_topics = sorted(topic for topic in topics if topic not in internal)
        self.ownership.wake.set()

    def assignment(self) -> set[TP]:
        """Return the partitions whose lease this worker holds."""
        return set(self.partitions)

    def topic_partitions(self, topic: str) -> int | None:
        """Return the configured number of partitions of a topic."""
        return partitions_of(self.app, topic)

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Return the partition of a key, or the given one."""
        return partition if partition is not None else partition_for(self.app, topic, key)

    # --- reading ---

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's signature
        """Yield one message for each batch read.

        A batch that was read while a rebalance stopped the flow is left where it is, pending, and looked for again.
        (The base class would seek here and now, under batches still in flight.)
        """
        records, _ = cast("tuple[dict[TP, Read] | None, object]", await self._wait_next_records(timeout))
        left = dict(records or {})
        generation = self.app.consumer_generation_id
        try:
            for tp, (partition, batch) in (records or {}).items():
                if self.should_stop or not self.flow_active or generation != self.app.consumer_generation_id:
                    return
                del left[tp]
                if self.partitions.get(tp) is partition:  # else a whole rebalance passed during the read
                    self.observer.delivered(len(batch))
                    yield tp, self._to_message(tp, partition.ledger.register(batch))
        finally:
            for partition, _ in left.values():
                partition.claim_again()

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's
        wanted = [
            p for tp, p in self.partitions.items() if active_partitions and tp in active_partitions and not p.lost
        ]
        if not wanted:
            await asyncio.sleep(min(timeout, 0.1))
            return {}
        await asyncio.sleep(max(0.0, self._gather_until - self.loop.time()))
        block_ms = max(1, min(self.options.block_ms, int(timeout * 1000)))
        try:
            batches = await self.reader.read(wanted, block_ms)
        except ANY_REDIS_ERROR as error:
            await self._after_failed_read(wanted, error)
            return {}
        self._read_backoff.reset()
        self._read_failure = None
        if sum(len(batch) for _, batch in batches) < self._full_enough:
            self._gather_until = self.loop.time() + self.options.pacing.gather_s
        return {partition.tp: (partition, batch) for partition, batch in batches}

    async def _after_failed_read(self, partitions: list[Partition], error: BaseException) -> None:
        """Wait, then look for entries whose delivery was lost on the way."""
        self.observer.read("error")
        self.observer.retried("read")
        self._read_failure = f"reading failed ({type(error).__name__}: {error})"
        delay_s = self._read_backoff.next_s()
        logger.log(severity(error), "%s, next try in %.1f s", self._read_failure, delay_s)
        for partition in partitions:
            partition.claim_again()
        await drop_connections(self.client, error)
        await pause(delay_s, self._app_stopping)

    def _to_message(self, tp: TP, record: Any) -> BatchMessage:
        flight: InFlight = record
        ms = EntryId.parse(flight.batch.entries[0][0]).ms
        message = BatchMessage(
            tp.topic, tp.partition, flight.offset, ms / 1000, 1, None, None, flight.batch, None, 0, 0, tp,
            time_in=time.monotonic(), generation_id=self.app.consumer_generation_id,
            flight=flight, consumer=self, on_settled=self._settled.set,
        )  # fmt: skip
        flight.message = weakref.ref(message)
        return message

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: a full stream buffer blocks the delivery of the next batch, which is back pressure enough.

        Faust would take the partition out of the reads instead and, with none left, sleep for a whole second.
        """

    def on_buffer_drop(self, tp: TP) -> None:
        """Do nothing; see `on_buffer_full`."""

    @Service.task
    async def _claim_idle_entries(self) -> None:
        """Deliver refused entries again, and what a paused worker read after it had lost its lease."""
        interval_s = self.options.redeliver_after_ms / 1000 / _CLAIMS_PER_REDELIVERY
        async for _ in self.itertimer(interval_s, name="claim"):
            for partition in list(self.partitions.values()):
                partition.claim_idle(self.options.redeliver_after_ms)
                try:
                    await self.reader.forget_consumers(partition.stream, self.ownership.workers)
                except ANY_REDIS_ERROR as error:
                    logger.debug("dead consumers not removed: %s", error)

    @Service.task
    async def _sample_lag(self) -> None:
        while not self.should_stop:
            try:
                lags = [await self.reader.lag(stream) for stream in [p.stream for p in self.partitions.values()]]
            except ANY_REDIS_ERROR as error:
                logger.debug("lag not sampled: %s", error)
                lags = [None]
            self.observer.lag(None if None in lags else sum(lag for lag in lags if lag is not None))
            # Without a partition there is nothing to see; look again soon after one was taken.
            await self.sleep(self.options.lag_interval_s if self.partitions else 1.0)

    # --- committing ---

    @Service.task
    async def _commit_when_settled(self) -> None:
        """Commit as soon as a batch is durable, not on Faust's timer."""
        while not self.should_stop:
            if await self.wait_for_stopped(self._settled):  # type: ignore[arg-type]  # mode's type is narrower
                return
            self._settled.clear()
            if not await self.commit() and any(self._committable()):
                self._settled.set()

    def _committable(self) -> Iterator[TP]:
        if self._commits_given_up:
            return iter(())
        return (tp for tp, p in self.partitions.items() if not p.lost and p.ledger.watermark > p.ledger.committed)

    def _filter_tps_with_pending_acks(self, topics: TPorTopicSet | None = None) -> Iterator[TP]:
        return (tp for tp in list(self._committable()) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset up to which everything is settled.

        Not Faust's own reckoning, which takes the first acknowledgement it sees for the start and so would commit
        past a batch that another writer is still writing.
        """
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)
        partition = self.partitions.get(tp)
        return partition.ledger.watermark if partition else None

    def _should_commit(self, tp: TP, offset: int) -> bool:
        """Decide by the ledger: Faust takes every commit that was tried for done."""
        return tp in self.partitions and offset > self.partitions[tp].ledger.committed

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002 - Faust's signature
        """Commit without the table that Faust draws for its debug log, which costs more than a small batch."""
        await self.app.producer.flush()
        if not await self._commit(offsets):
            return False
        committed = dict(offsets)
        self.app.tables.on_commit(committed)
        self.app.monitor.on_tp_commit(committed)
        return True

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        committed = False
        for tp, offset in offsets.items():
            partition = self.partitions.get(tp)
            if partition is not None and not (partition.lost or self._commits_given_up):
                committed |= await self._commit_partition(partition, offset)
        return committed

    async def _commit_partition(self, partition: Partition, offset: int) -> bool:
        for flight in partition.ledger.settled_before(offset):
            try:
                result = await retry_until_stopped(
                    partial(self._committer.commit, partition, flight),
                    operation="commit",
                    observer=self.observer,
                    stopping=self._app_stopping,
                )
            except PartitionLost:
                logger.warning("lost the lease of %s before a commit; its next owner goes on", partition.stream)
                self.ownership.lose(partition)
                return False
            except ANY_REDIS_ERROR as error:
                logger.warning("stopping without a commit to %s (%s): left pending", partition.stream, error)
                self._commits_given_up = True
                return False
            partition.ledger.forget(flight)
            self._report(result.acknowledged, [verdict.reason for verdict in result.dead])
        return True

    def _report(self, acknowledged: int, dead: list[str]) -> None:
        if acknowledged:
            self.observer.acknowledged(acknowledged)
        for reason in set(dead):
            self.observer.dead_lettered(reason, dead.count(reason))

    # --- seeking, in Faust's sense ---

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Give up what is in flight; the next reads begin with the group's pending entries."""
        for partition in self.partitions.values():
            partition.start_over()
        return {tp: partition.ledger.next_offset for tp, partition in self.partitions.items()}

    async def _seek(self, partition: TP, offset: int) -> None:
        """Read a partition's pending entries again; there is no other place to go to."""
        await self.seek_wait({partition: offset})

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Read the partitions' pending entries again, whatever the offsets."""
        for tp in partitions.keys() & self.partitions.keys():
            self.partitions[tp].start_over()

    async def seek_to_beginning(self, *partitions: TP) -> None:
        """Read the partitions' pending entries again: acknowledged entries do not come back."""
        await self.seek_wait(dict.fromkeys(partitions, 0))

    async def position(self, tp: TP) -> int | None:
        """Return the offset of the next batch."""
        return self.partitions[tp].ledger.next_offset if tp in self.partitions else None

    def highwater(self, tp: TP) -> int:
        """Return the offset of the next batch: offsets are made by reading, so there is never more to come."""
        return self.partitions[tp].ledger.next_offset if tp in self.partitions else 0

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the offset of the next batch of each partition."""
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the oldest offset that is not committed, for each partition."""
        return {tp: self.partitions[tp].ledger.committed for tp in partitions if tp in self.partitions}

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    async def create_topic(self, topic: str, partitions: int, replication: int, **_: Any) -> None:
        """Do nothing: a stream and its group come into being when a worker takes the partition."""

    # --- stopping ---

    def _app_stopping(self) -> bool:
        return self.app.should_stop

    async def wait_empty(self) -> None:
        """Wait for batches in flight; while the application stops, only for as long as the options allow.

        What is given up then stays pending and is delivered again to the partition's next owner.
        """
        if not self.app.should_stop:
            await super().wait_empty()
            return
        deadline = self.loop.call_later(self.options.drain_timeout_s, self._give_up_in_flight)
        try:
            await super().wait_empty()
        finally:
            deadline.cancel()

    def _give_up_in_flight(self) -> None:
        for message in list(self._unacked_messages):
            if isinstance(message, BatchMessage) and not message.acked:
                logger.warning("stopping with %r in flight: left pending", message.value)
                message.give_up()

    async def on_shutdown(self) -> None:
        """Close the connections to Redis."""
        await close(self.client)
