"""The one worker at a time that distributes a stream: it holds a lease, as for any partition."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from mode import Service

from faust_redis.distribution.moving import Mover, Tenure
from faust_redis.group.lease import Leases, renewal_interval_s
from faust_redis.partitions.record import PartitionRecord
from faust_redis.redis.client import Client, close, connect, drop_connections, forget_nodes
from faust_redis.redis.errors import ANY_REDIS_ERROR, PartitionLost, ReplyTooLarge, describe, severity
from faust_redis.redis.replies import BEFORE_ALL, text
from faust_redis.redis.retry import Backoff, pause
from faust_redis.stream.reader import TOO_LARGE, TOO_LARGE_DETAIL
from faust_redis.stream.retention import TRIM_INTERVAL_S, Trimmer
from faust_redis.stream.sizing import ReadSize
from faust_redis.stream.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from faust_redis.distribution.routing import KeyOf
    from faust_redis.options import RedisOptions
    from faust_redis.redis.replies import Entry

logger = logging.getLogger(__name__)

#: How often a process without the lease tries to take it.
_LOOK_S: Final = 0.25
#: Longer blocks would look like a dead connection and delay shutdown.
_LONGEST_BLOCK_MS: Final = 1000
#: So many batches' bytes are moved at once: of four workers this saves a fifth of the processor time for a record, and
#: Redis and this process are still busy with it for some hundredths of a second only.
_BYTES_OF_BATCHES: Final = 2
#: Nothing to read may mean that the source was replaced by one with lower ids: it is looked at after so long.
_IDLE_LOOK_S: Final = 1.0
#: How often a partition that Redis lets nothing be appended to is tried again.
_UNBLOCK_S: Final = 1.0
#: How long a stopping process tries to give the lease back.
_SHUTDOWN_TIMEOUT_S: Final = 2.0


class Distributor(Service):
    """Takes the lease of a stream when it is free, and distributes the stream while it holds it.

    It crashes with `OtherPartitions` when Redis has another number of partitions.

    Args:
        url: Redis, with connections of its own.
        source: Key of the stream that is distributed.
        partitions: Keys of the streams that it is distributed to.
        group: Name of the consumer group.
        key_of: Returns the key of an entry, which decides on its partition.
        options: Name of this process, length of a lease, size and pacing of reads, and whom to tell.
    """

    logger = logger

    def __init__(
        self,
        url: str,
        *,
        source: str,
        partitions: Sequence[str],
        group: str,
        key_of: KeyOf,
        options: RedisOptions,
        **kwargs: Any,
    ) -> None:
        self._url = url
        self._source = source
        self._partitions = partitions
        self._group = group
        self._key_of = key_of
        self._options = options
        # Workers get what is moved at once in as many batches as there are partitions, each of which costs them.
        most = options.batch_size * len(partitions)
        self._size = ReadSize(most, _BYTES_OF_BATCHES * options.batch_bytes)
        self._full_enough = int(most * options.pacing.full_enough)
        self._block_ms = min(options.block_ms, _LONGEST_BLOCK_MS)
        self._backoff = Backoff()
        self._tenure: Tenure | None = None
        self._taken = asyncio.Event()
        self._failure: str | None = None
        self._look_again_s = 0.0
        self._unblock_at_s = 0.0
        super().__init__(**kwargs)

    async def on_start(self) -> None:
        """Make the clients, which belong to the event loop that uses them."""
        options, group = self._options, self._group
        self._client: Client = connect(self._url, bounded=True)
        self._leases = Leases(self._client, group=group, instance_id=options.instance_id, ttl_ms=options.lease_ttl_ms)
        self._mover = Mover(
            self._client, source=self._source, partitions=self._partitions, group=group, key_of=self._key_of
        )
        self._record = PartitionRecord(self._client, self._source, group=group, options=options)
        self._survey = Survey(self._client, group=group, observer=options.observer)

    async def why_not_ready(self) -> str | None:
        """Return None while the source is distributed, here or elsewhere, else what is wrong."""
        return self._failure

    def distributing(self) -> str | None:
        """Return a note when it is this process that distributes."""
        return f"distributes {self._source} to its partitions" if self._tenure else None

    # --- the lease ---

    @Service.task
    async def _keep_lease(self) -> None:
        renew_s = renewal_interval_s(self._options.lease_ttl_ms)
        while not self.should_stop:
            try:
                # A silent connection must not cost the whole lease: the next try has a connection of its own.
                async with asyncio.timeout(renew_s):
                    await (self._renew(self._tenure, renew_s) if self._tenure else self._take())
            except ANY_REDIS_ERROR as error:
                self._options.observer.retried("renew")
                logger.log(severity(error), "the lease of %s cannot be kept (%s)", self._source, describe(error))
                await drop_connections(self._client, error)
            await self.sleep(renew_s if self._tenure else _LOOK_S)

    async def _take(self) -> None:
        asked_s = time.monotonic()
        token = await self._leases.acquire(self._source)
        if token is not None:
            self._look_again_s = 0.0
            self._tenure = Tenure(self._source, token, self._end_of_lease(asked_s))
            self._taken.set()

    async def _renew(self, tenure: Tenure, timeout_s: float) -> None:
        asked_s = time.monotonic()
        renewed = (await self._leases.renew({self._source: tenure.token}, timeout_s=timeout_s))[self._source]
        if isinstance(renewed, Exception):
            raise renewed
        if renewed:
            tenure.leased_until_s = self._end_of_lease(asked_s)
        else:
            self._lose(tenure)

    def _end_of_lease(self, asked_s: float) -> float:
        """Return when a lease ends that was asked for then; Redis may have given it later, so it ends no sooner."""
        return asked_s + self._options.lease_ttl_ms / 1000

    def _lose(self, tenure: Tenure) -> None:
        if self._tenure is tenure:
            logger.warning("the lease of %s is gone; whoever takes it goes on", self._source)
            self._tenure = None
            self._taken.clear()
            self._options.observer.undistributed(0, 0.0)

    # --- the work ---

    @Service.task
    async def _distribute(self) -> None:
        while not self.should_stop:
            tenure = self._tenure
            if tenure is None:
                self._failure = None
                await self.wait_for_stopped(self._taken)  # type: ignore[arg-type]  # mode's type is narrower
                continue
            try:
                await self._distribute_once(tenure)
            except PartitionLost:
                self._lose(tenure)
            except ANY_REDIS_ERROR as error:
                tenure.is_doubtful = True
                await self._after_failure(error)
            else:
                self._backoff.reset()
                self._failure = next(iter(tenure.blocked.values()), None)

    @Service.task
    async def _trim(self) -> None:
        options = self._options
        if options.retention is None:
            return
        trimmer = Trimmer(self._client, group=self._group, retention=options.retention, options=options)
        async for _ in self.itertimer(TRIM_INTERVAL_S, name="trim"):
            if self._tenure:
                await trimmer.trim(self._source, self._tenure.token)

    async def _distribute_once(self, tenure: Tenure) -> None:
        """Move what one read brings. Anything may fail or take long, and is then repeated or left to somebody else."""
        await self._find_place(tenure)
        if tenure.position is None:
            return
        asked = self._size.count()
        try:
            entries = await self._mover.read(tenure, count=asked, block_ms=self._block_ms)
        except ReplyTooLarge:
            if asked > 1 or tenure.blocked:  # behind it the group would be beyond what a partition lacks
                raise
            await self._pass_over(tenure)
            return
        for piece in self._pieces(entries):
            if not tenure.may_work:
                await pause(_LOOK_S, lambda: self.should_stop)
                return
            self._options.observer.distributed(await self._mover.move(tenure, piece))
        if not entries:
            self._look_again_s = min(self._look_again_s, time.monotonic() + _IDLE_LOOK_S)
        if entries and len(entries) < min(self._full_enough, asked):
            await pause(self._options.pacing.gather_s, lambda: self.should_stop)

    async def _find_place(self, tenure: Tenure) -> None:
        """Know where to go on; where the source turns out to be another one, not yet."""
        if tenure.position is None:
            await self._record.require(len(self._partitions))
            if await self._mover.begin(tenure):
                self._options.observer.distribution_restarted()
        if tenure.is_doubtful:
            await self._mover.reassure(tenure)
        if tenure.blocked and time.monotonic() >= self._unblock_at_s:
            self._options.observer.retried("distribute")
            await self._mover.unblock(tenure)
            self._unblock_at_s = time.monotonic() + _UNBLOCK_S
        await self._look_now_and_then(tenure)

    def _pieces(self, entries: Sequence[Entry]) -> Iterable[Sequence[Entry]]:
        if self._size.fits(self._mover.reply_bytes, len(entries)):
            return (entries,)
        return self._size.pieces(entries) if entries else ()

    async def _pass_over(self, tenure: Tenure) -> None:
        """Go on behind an entry that is too large to be read: it would be asked for again for ever."""
        entry_id = await self._mover.pass_over(tenure)
        if entry_id is not None:
            self._options.observer.dead_lettered(TOO_LARGE, 1)
            logger.error("entry %s of %s: %s, so it is a dead letter", text(entry_id), self._source, TOO_LARGE_DETAIL)

    async def _look_now_and_then(self, tenure: Tenure) -> None:
        """Report how far the source is distributed, and what of it was gone before that; begin anew where it is."""
        if time.monotonic() < self._look_again_s:
            return
        self._look_again_s = time.monotonic() + self._options.lag_interval_s
        progress = await self._survey.look(tenure)
        if progress is not None:
            self._options.observer.undistributed(progress.lag, progress.waited_s)
        if progress is None or progress.place == BEFORE_ALL < tenure.advanced:
            tenure.position = None

    async def _after_failure(self, error: BaseException) -> None:
        self._options.observer.retried("distribute")
        self._failure = f"{self._source} cannot be distributed ({type(error).__name__}: {error})"
        self._size.shrink(error)
        delay_s = self._backoff.next_s()
        logger.log(severity(error), "%s, next try in %.1f s", self._failure, delay_s)
        await drop_connections(self._client, error)
        await forget_nodes(self._client)
        await pause(delay_s, lambda: self.should_stop)

    async def on_shutdown(self) -> None:
        """Give the lease back, so that another worker need not wait for its end, and close the connections."""
        if self._tenure:
            try:
                async with asyncio.timeout(_SHUTDOWN_TIMEOUT_S):
                    await self._leases.release(self._source, self._tenure.token)
            except ANY_REDIS_ERROR as error:
                logger.warning("the lease of %s will expire by itself (%s)", self._source, describe(error))
        await close(self._client)
