"""Committing as soon as batches are settled, oldest first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mode import Service
from redis.exceptions import ResponseError

from faust_redis.redis.errors import ANY_REDIS_ERROR, PASSING_ERRORS, PartitionLost, StateConflict, describe
from faust_redis.redis.retry import retry_until_stopped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from faust_redis.observer import Observer
    from faust_redis.stream.batch import RecordBatch
    from faust_redis.stream.commit import CommitResult, Committer
    from faust_redis.stream.ledger import InFlight
    from faust_redis.stream.partition import Partition

logger = logging.getLogger(__name__)

#: What Redis refuses until somebody mends something is tried again after so long.
_PUT_OFF_S: Final = 1.0


class CommitLoop(Service):
    """Commits batches when they are durable, not on a timer.

    Args:
        committer: Commits one batch.
        judge: Told of each batch before it is committed, in order.
        held: Returns the partitions held.
        commit_due: Commits every partition that `due` names, by way of `commit_until`; True when it did.
        lose: Told of a partition whose lease turned out to be gone.
        reload: Told that the tables of a partition must be loaded again.
        observer: Told what was acknowledged.
        stopping: Whether the application is stopping.
    """

    logger = logger

    def __init__(
        self,
        committer: Committer,
        *,
        judge: Callable[[Partition, RecordBatch], None],
        held: Callable[[], Iterable[Partition]],
        commit_due: Callable[[], Awaitable[bool]],
        lose: Callable[[Partition], None],
        reload: Callable[[], None],
        observer: Observer,
        stopping: Callable[[], bool],
        **kwargs: Any,
    ) -> None:
        self._committer = committer
        self._judge = judge
        self._held = held
        self._commit_due = commit_due
        self._lose = lose
        self._reload = reload
        self._observer = observer
        self._stopping = stopping
        self._settled = asyncio.Event()
        self._stored = asyncio.Event()
        #: Whether Redis did not answer before the application stopped, so that nothing more is committed.
        self.given_up = False
        self._failure: str | None = None
        super().__init__(**kwargs)

    @property
    def failure(self) -> str | None:
        """Why a commit is tried again; None when none is."""
        return self._failure or next((partition.refused for partition in self._held() if partition.refused), None)

    def wake(self) -> None:
        """Take note that a batch was settled."""
        self._settled.set()

    async def next_stored(self, *, within_s: float) -> None:
        """Wait until a batch has been committed, or for so long: readers that commits hold up go on at once."""
        self._stored.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._stored.wait()

    def due(self) -> Iterator[Partition]:
        """Yield the partitions whose oldest batch is settled."""
        if not self.given_up:
            now_s = time.monotonic()
            yield from (
                p
                for p in self._held()
                if not p.lost and p.ledger.watermark > p.ledger.committed and p.commit_again_s <= now_s
            )

    @Service.task
    async def _commit_when_settled(self) -> None:
        while not self.should_stop:
            # A stop cancels this; a wait of mode's, that looks for a stop itself, takes three tasks for each batch.
            await self._settled.wait()
            self._settled.clear()
            if not await self._commit_due() and any(self.due()):
                self._settled.set()

    async def commit_until(self, partition: Partition, offset: int) -> bool:
        """Commit a partition's settled batches before an offset; False when one of them cannot be."""
        async with partition.committing:
            for flight in partition.ledger.settled_before(offset):
                if partition.lost or self.given_up:
                    return False
                if not partition.refused:  # else this batch was judged before
                    self._judge(partition, flight.batch)
                result = await self._commit(partition, flight)
                if result is None:
                    return False
                partition.ledger.stored(flight)
                self._stored.set()
                self._report(result)
        return True

    async def _commit(self, partition: Partition, flight: InFlight) -> CommitResult | None:
        try:
            return await retry_until_stopped(
                partial(self._try_to_commit, partition, flight),
                operation="commit",
                observer=self._observer,
                stopping=self._stopping,
                passing=PASSING_ERRORS,
            )
        except PartitionLost:
            self._failure = partition.refused = None
            logger.warning("lost the lease of %s before a commit; its next owner goes on", partition.stream)
            self._lose(partition)
        except StateConflict as conflict:
            self._failure = partition.refused = None
            logger.error("%s; loading it again, and reading what is pending", conflict)  # noqa: TRY400 - it says it
            self._observer.state_conflict()
            partition.ledger.refused(flight)
            self._reload()
        except PASSING_ERRORS as error:
            logger.warning("stopping without a commit to %s (%s): left pending", partition.stream, error)
            self.given_up = True
        except ResponseError as error:
            self._put_off(partition, error)
        return None

    def _put_off(self, partition: Partition, error: ResponseError) -> None:
        """Go on with the other partitions: only people can mend this one."""
        self._failure = None
        partition.refused = f"batches of {partition.stream} cannot be committed ({describe(error)})"
        partition.commit_again_s = time.monotonic() + _PUT_OFF_S
        asyncio.get_running_loop().call_later(_PUT_OFF_S, self.wake)
        self._observer.retried("commit")
        logger.error("%s, next try in %.1f s", partition.refused, _PUT_OFF_S)

    async def _try_to_commit(self, partition: Partition, flight: InFlight) -> CommitResult:
        try:
            result = await self._committer.commit(partition, flight)
        except ANY_REDIS_ERROR as error:
            self._failure = f"batches of {partition.stream} cannot be committed ({describe(error)})"
            raise
        self._failure = partition.refused = None
        return result

    def _report(self, result: CommitResult) -> None:
        if result.acknowledged:
            self._observer.acknowledged(result.acknowledged)
        dead = [verdict.reason for verdict in result.dead]
        for reason in set(dead):
            self._observer.dead_lettered(reason, dead.count(reason))
