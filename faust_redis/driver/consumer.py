"""Faust's consumer on Redis Streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import weakref
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from faust.types import TP
from redis.exceptions import ResponseError

from faust_redis.driver.message import BatchMessage, CrashWatch
from faust_redis.driver.offsets import LedgerOffsets
from faust_redis.driver.partitioning import partition_for, partitions_of, streams_of
from faust_redis.group.holdings import Holdings
from faust_redis.group.ownership import Ownership
from faust_redis.group.pauses import Pauses
from faust_redis.group.upkeep import Upkeep
from faust_redis.options import RedisOptions
from faust_redis.partitions.discovery import kinds, kinds_of, misplaced_among
from faust_redis.partitions.record import PartitionRecord
from faust_redis.redis.client import RedisProbe, close, connect
from faust_redis.redis.replies import EntryId
from faust_redis.stream.commit import Committer
from faust_redis.stream.commit_loop import CommitLoop
from faust_redis.stream.intake import Intake
from faust_redis.stream.reader import Reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from faust import App
    from faust.types.transports import TPorTopicSet
    from mode import ServiceT

    from faust_redis.stream.batch import RecordBatch
    from faust_redis.stream.partition import Partition
    from faust_redis.stream.reader import Read

logger = logging.getLogger(__name__)

#: How often a flag is looked at that nobody announces.
_LOOK_S: Final = 0.01


class Consumer(LedgerOffsets):
    """Faust's face of the transport: delivers batches of the partitions held, and has them committed.

    What it has from Faust are signatures, offsets, messages, and the callbacks around a rebalance. The work is done
    by its parts, which know nothing of Faust.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = RedisOptions.of(self.app)
        group: str = self.app.conf.id
        service = {"loop": self.loop, "beacon": self.beacon}
        self.options = options
        self.client = connect(str(self.transport.url[0]), bounded=True)
        self.redis = RedisProbe(self.client)
        self.holdings = Holdings()
        #: Why the state of a partition that was taken cannot be loaded; None when it can.
        self.loading_failure: str | None = None
        self._crash_watch = CrashWatch()
        self._reading = asyncio.Lock()
        self._reader = reader = Reader(self.client, group=group, options=options)
        self.intake = Intake(self.client, reader, options=options, stopping=self._app_stopping)
        self.ownership = Ownership(
            self.client, self.holdings, group=group, options=options, streams_of=partial(streams_of, self.app),
            ensure_group=self._ensure_group, rebalance=self._rebalance, stopping=self._app_stopping, **service,
        )  # fmt: skip
        self.pauses = Pauses(self.client, self.holdings, group=group, options=options, **service)
        self.commits = CommitLoop(
            Committer(self.client, group=group, options=options),
            judge=self.pauses.judge, held=self.holdings.values, commit_due=self.commit, lose=self.holdings.lose,
            reload=self.holdings.changed.set, observer=options.observer, stopping=self._app_stopping, **service,
        )  # fmt: skip
        self.upkeep = Upkeep(
            self.client, self.holdings, group=group, options=options, alive=self.ownership.workers, look=reader.look,
            **service,
        )  # fmt: skip

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        """Return the parts that run by themselves; what is committed last is committed before the leases go."""
        return [*super().on_init_dependencies(), self.ownership, self.commits, self.upkeep, self.pauses]

    async def why_not_ready(self) -> str | None:
        """Return None when this worker takes records, or stands by for some, else what it waits for."""
        if self.app.rebalancing:
            return self.loading_failure or self.ownership.failure or "partitions are being assigned"
        failure = self.loading_failure or self.ownership.why_not_ready() or self.commits.failure
        return failure or await self.intake.why_not_ready() or self.pauses.why_not_ready()

    def note(self) -> str | None:
        """Return what there is to say of a worker that is ready: it stands by, or a partition cannot be read."""
        return self.ownership.unreadable() or self.standing_by()

    def standing_by(self) -> str | None:
        """Return None when this worker holds partitions, else that it waits for some."""
        if not self.ownership.stands_by:
            return None
        return "stands by: other workers hold all partitions, and this standby takes over what they leave"

    # --- which partitions ---

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Take note of the topics; partitions are assigned later, since Faust waits for this to return."""
        self._crash_watch.watch(self.app)
        internal = self.app.tables.changelog_topics
        self.ownership.want(topic for topic in topics if topic not in internal)

    def assignment(self) -> set[TP]:
        """Return the partitions whose lease this worker holds."""
        return {TP(*tp) for tp in self.holdings}

    def topic_partitions(self, topic: str) -> int | None:
        """Return the configured number of partitions of a topic."""
        return partitions_of(self.app, topic)

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Return the partition of a key, or the given one."""
        return partition if partition is not None else partition_for(self.app, topic, key)

    async def create_topic(self, topic: str, partitions: int, replication: int, **_: Any) -> None:
        """Do nothing: a stream and its group come into being when a worker takes the partition."""

    async def _ensure_group(self, partition: Partition) -> None:
        """Let a partition be taken, whose lease is ours: make its group, unless the topic is of another number.

        A key of another type beside its stream would hold up the others when tables are loaded or batches committed.
        """
        topic, _ = partition.tp
        record = PartitionRecord(self.client, topic, group=self.app.conf.id, options=self.options)
        await record.require(partitions_of(self.app, topic))
        wanted = kinds_of(partition.stream, self.app.conf.id, self.app.tables)
        if misplaced := misplaced_among(wanted, await kinds(self.client, list(wanted))):
            raise ResponseError(f"WRONGTYPE {misplaced}")
        await self._reader.ensure_group(partition)

    @asynccontextmanager
    async def _rebalance(self, leaving: Sequence[Partition], anew: Sequence[Partition]) -> AsyncIterator[None]:
        """Surround a change of the holdings by what Faust is to know and do, for the partitions that it concerns.

        Faust's own rebalance stops everything, waits for everything and seeks everywhere. It is needed once, to start
        Faust's recovery and its fetcher.
        """
        if not self.ownership.assigned_once:
            async with self._first_assignment():
                yield
            return
        await self._let_rest([*leaving, *anew])
        # Before tables are loaded: what was dropped may change them no more.
        for partition in anew:
            partition.start_over()
        yield
        await self._take_up()

    @asynccontextmanager
    async def _first_assignment(self) -> AsyncIterator[None]:
        """Go through Faust's revoke and assign callbacks, until it takes records.

        Runs in a task of the ownership, never inside `subscribe`, for whose return the callbacks wait.
        """
        self.app.on_rebalance_start()
        await self.on_partitions_revoked(set())
        yield
        self.app.consumer_generation_id += 1
        await self.on_partitions_assigned(self.assignment(), self.app.consumer_generation_id)
        self._open()
        while self.app.rebalancing and not (self.should_stop or self.app.should_stop):  # noqa: ASYNC110 - Faust has a flag
            await asyncio.sleep(0.01)

    async def _let_rest(self, partitions: Sequence[Partition]) -> None:
        """Wait until nothing is read of partitions, and what agents have begun with is committed, within a time.

        What is still unsettled then stays pending and is delivered again, to the next owner if there is one: a batch
        in trouble must not keep a partition here.
        """
        for partition in partitions:
            partition.open = False
            partition.ledger.take_back()
        waiting = [partition for partition in partitions if not partition.lost]
        if not waiting:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.options.drain_timeout_s):
                # What was asked for before may still come in, and would be pending here.
                async with self._reading:
                    pass
                while not all(partition.lost or partition.ledger.at_rest for partition in waiting):
                    if self.commits.given_up or self.should_stop:
                        break
                    await asyncio.sleep(_LOOK_S)
        for batch in (batch for partition in waiting for batch in partition.ledger.unsettled()):
            logger.warning("%r is not done after %g s: left pending", batch, self.options.drain_timeout_s)

    async def _take_up(self) -> None:
        """Let Faust know what is held now, load the tables of what has come, and deliver its batches."""
        app, assigned = cast("App", self.app), self.assignment()
        gone, fresh = app._update_assignment(assigned)  # noqa: SLF001 - what Faust's own rebalance begins with
        app.unassigned = not assigned
        self._active_partitions -= gone
        self._paused_partitions -= gone
        for tp in gone:
            for offsets in (self._acked, self._acked_index, self._committed_offset):
                offsets.pop(tp, None)
        await app.agents.on_rebalance(gone, fresh)
        await app.topics.on_partitions_assigned(assigned)
        await app.on_partitions_revoked.send(gone)
        for table in app.tables.values():
            await table.on_rebalance(assigned, gone, fresh, app.consumer_generation_id)
        await app.on_partitions_assigned.send(assigned)
        await app.on_rebalance_complete.send()
        for table in app.tables.values():
            await table.on_recovery_completed(set(), set())
        self.resume_partitions(fresh)
        self._open()

    def _open(self) -> None:
        for partition in self.holdings.values():
            partition.open = True

    # --- reading ---

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        """Read and deliver for as long as both services run.

        Faust's own takes six tasks for each message, a tenth of a small batch. It also remembers how far it has read,
        and would drop the first batches of a partition that comes back: the ledger knows better.
        """
        try:
            while not (self.should_stop or fetcher.should_stop):
                async for _, message in self.getmany(timeout=1.0):
                    await self.callback(message)
        except asyncio.CancelledError:
            # Faust would start reading anew if partitions are being moved.
            if not self.app.should_stop:
                raise

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's signature
        """Yield one message for each batch read.

        A batch whose partition comes to rest meanwhile is left where it is, pending, and looked for again by whoever
        has the partition then. (The base class would seek at once, with batches still in flight; and it would sleep
        for a second while this worker has no partition.)
        """
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # mode's type is narrower
        left: list[Read] = await self._getmany(self._get_active_partitions(), timeout)
        left.reverse()
        try:
            while left:
                if self.should_stop or not self.flow_active:
                    return
                partition, batch = left.pop()
                if not partition.open:
                    partition.claim_again()
                    continue
                tp = TP(*partition.tp)
                self.options.observer.delivered(len(batch))
                yield tp, self._to_message(tp, (partition, batch))
        finally:
            for partition, _ in left:
                partition.claim_again()

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's
        active = [p for tp, p in self.holdings.items() if active_partitions and tp in active_partitions and p.readable]
        held_up = any(partition.ledger.is_held_up() for partition in active)
        if held_up:
            await self.commits.next_stored(within_s=_LOOK_S)
        # One batch in trouble pauses its own partition in the end, never the others.
        wanted = [partition for partition in active if not partition.ledger.is_held_up()]
        if not wanted:
            if not held_up:
                await asyncio.sleep(min(timeout, _LOOK_S))
            return []
        async with self._reading:
            reads = await self.intake.take(wanted, within_s=timeout)
        if any(partition.lost for partition in wanted):
            self.holdings.changed.set()
        return reads

    def _to_message(self, tp: TP, record: tuple[Partition, RecordBatch]) -> BatchMessage:
        partition, batch = record
        flight = partition.ledger.register(batch)
        message = BatchMessage(
            tp.topic, tp.partition, flight.offset, EntryId.parse(batch.entries[0][0]).ms / 1000, 1, None, None,
            batch, None, 0, 0, tp, time_in=time.monotonic(), generation_id=self.app.consumer_generation_id,
            flight=flight, consumer=self, on_settled=self.commits.wake,
        )  # fmt: skip
        flight.message = weakref.ref(message)
        return message

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: a full stream buffer blocks the delivery of the next batch, which is back pressure enough.

        Faust would take the partition out of the reads instead and, with none left, sleep for a whole second.
        """

    def on_buffer_drop(self, tp: TP) -> None:
        """Do nothing; see `on_buffer_full`."""

    # --- committing ---

    def _filter_tps_with_pending_acks(self, topics: TPorTopicSet | None = None) -> Iterator[TP]:
        due = [TP(*partition.tp) for partition in self.commits.due()]
        return (tp for tp in due if topics is None or tp in topics or tp.topic in topics)

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
            partition = self.holdings.get(tp)
            if partition is not None:
                committed |= await self.commits.commit_until(partition, offset)
        return committed

    # --- stopping ---

    def _app_stopping(self) -> bool:
        return self.app.should_stop

    async def wait_empty(self) -> None:
        """Wait for batches in flight, for as long as the options allow, and give the partitions back.

        At once, since their next owners wait for them while the rest of this worker stops. Faust asks for this when
        it stops, and not before: see `_rebalance`.
        """
        await self.ownership.leave()
        await self._let_rest(list(self.holdings.values()))
        await self.ownership.give_all_back()

    async def on_shutdown(self) -> None:
        """Close the connections to Redis."""
        await close(self.client)
