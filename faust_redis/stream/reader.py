"""Reading partitions: what is pending in the group first, then new entries."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from faust_redis.redis import keys, scripts
from faust_redis.redis.bounds import MOST_REPLY_BYTES
from faust_redis.redis.client import Client, Script, execute, is_cluster
from faust_redis.redis.errors import PASSING_ERRORS, PartitionLost, ReplyTooLarge, is_no_group
from faust_redis.redis.nodes import ask_nodes
from faust_redis.redis.replies import EntryId, entries, streams, text
from faust_redis.redis.wire import DirectConnection
from faust_redis.stream.batch import RecordBatch
from faust_redis.stream.sizing import ReadSize
from faust_redis.stream.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faust_redis.options import RedisOptions
    from faust_redis.redis.replies import Entry
    from faust_redis.stream.partition import ClaimPass, Partition
    from faust_redis.stream.progress import Progress

logger = logging.getLogger(__name__)

#: Why an entry that cannot be read went to the dead letters: a class of reasons, and a sentence for people.
TOO_LARGE = "too-large"
TOO_LARGE_DETAIL = f"the entry has more than {MOST_REPLY_BYTES >> 20} MB"
#: Pause between two looks at the partitions of a cluster.
_POLL_S: Final = 0.05

#: A batch, and the partition that it was read from.
Read = tuple["Partition", RecordBatch]


class Reader:
    """Reads batches for one group member. Passing errors of Redis are raised to the caller."""

    def __init__(self, client: Client, *, group: str, options: RedisOptions) -> None:
        self._client = client
        self._group = group
        self._options = options
        self._observer = options.observer
        self.size = ReadSize(options.batch_size, options.batch_bytes)
        self._reads = DirectConnection(client)
        self._create_group = Script(client, scripts.CREATE_GROUP)
        self._survey = Survey(client, group=group, observer=options.observer, gaps=not options.removes_committed)
        self._reading = asyncio.Lock()
        self._bury_unread = Script(client, scripts.BURY_UNREAD)

    async def read(self, partitions: Sequence[Partition], block_ms: int) -> list[Read]:
        """Return the batches of one read, in stream order: one for each partition, more where entries are large.

        Pending entries come first: while any partition has some, nobody waits for new ones. What was read and is not
        delivered, for whatever reason, stays pending: `Partition.claim_again` finds it.
        """
        try:
            return await self._read(partitions, block_ms)
        except ResponseError as error:
            if isinstance(error, PASSING_ERRORS) or not await self._lose_misplaced(partitions):
                raise
        for partition in partitions:
            partition.claim_again()
        return []

    async def _read(self, partitions: Sequence[Partition], block_ms: int) -> list[Read]:
        claiming = self.size.together([partition for partition in partitions if partition.claiming])
        count = self.size.count(max(1, len(claiming)))
        batches = [read for partition in claiming for read in await self._claim_page(partition, count)]
        fresh = [partition for partition in partitions if not partition.claiming]
        if fresh and not batches:
            async with self._reading:
                batches = await self._read_new(self.size.together(fresh), block_ms)
        return batches

    async def _lose_misplaced(self, partitions: Sequence[Partition]) -> bool:
        """Lose partitions in whose places are keys of another type, which fail the reads of all; tell whether.

        They are taken again when their streams are back.
        """
        kinds = await ask_nodes(self._client, {p.stream: ("TYPE", p.stream) for p in partitions})
        for partition in partitions:
            kind = kinds[partition.stream]
            if not isinstance(kind, Exception) and text(kind) not in {"stream", "none"}:
                logger.error("%s should be a stream and is a %s: leaving it", partition.stream, text(kind))
                partition.lost = True
        return any(partition.lost for partition in partitions)

    async def look(self, partition: Partition) -> Progress | None:
        """Return how far the group is in a partition, having reported what was lost; None when the stream is gone."""
        async with self._reading:
            return await self._survey.look(partition)

    async def ensure_group(self, partition: Partition) -> bool:
        """Create the group at the beginning of the stream, and the stream; False when both existed.

        Raises:
            PartitionLost: The lease is no longer ours; nothing was changed.
        """
        stream = partition.stream
        created = await self._create_group([keys.lease(stream, self._group), stream], [partition.token, self._group])
        if created == scripts.LOST:
            raise PartitionLost(stream)
        if created:
            logger.info("created group %s on stream %s", self._group, stream)
        return bool(created)

    async def _claim_page(self, partition: Partition, count: int) -> list[Read]:
        """Claim so many pending entries that are not in flight here."""
        walk = partition.claiming
        if walk is None:
            return []
        if not walk.ids:
            await self._walk_on(partition, walk)
        ids, walk.ids = walk.ids[:count], walk.ids[count:]
        if walk.cursor is None and not walk.ids and partition.claiming is walk:  # else another was asked for meanwhile
            partition.claiming = None
        return await self._claim(partition, ids) if ids else []

    async def _walk_on(self, partition: Partition, walk: ClaimPass) -> None:
        """Look up a page of pending entries.

        JUSTID: it claims without counting a delivery, which would be untrue for entries still in flight.
        """
        reply = await self._or_recreate_group(
            [partition], "XAUTOCLAIM", partition.stream, self._group, self._options.instance_id,
            walk.min_idle_ms, walk.cursor, "COUNT", self._options.batch_size, "JUSTID",
        )  # fmt: skip
        cursor, found, *trimmed = reply or (b"0-0", [])
        walk.cursor = None if cursor == b"0-0" else cursor
        if trimmed and trimmed[0]:
            self._report_trimmed(partition, trimmed[0])
        in_flight = partition.ledger.entry_ids()
        walk.ids = [entry_id for entry_id in found if entry_id not in in_flight]

    async def _claim(self, partition: Partition, ids: list[bytes]) -> list[Read]:
        try:
            claimed = await execute(
                self._client, "XCLAIM", partition.stream, self._group, self._options.instance_id, 0, *ids
            )
        except ReplyTooLarge:
            if len(ids) > 1:
                raise
            await self._bury(partition, ids[0])
            return []
        found = entries(claimed)
        if not found:
            return []
        self._observer.redelivered(len(found))
        return [
            (partition, RecordBatch(partition.stream, piece, redelivered=True)) for piece in self.size.pieces(found)
        ]

    async def _bury(self, partition: Partition, entry_id: bytes) -> None:
        """Send an entry that is too large to be read to the dead letters: it would be asked for again for ever."""
        stream = partition.stream
        buried = await self._bury_unread(
            [keys.lease(stream, self._group), stream, keys.dead_letters(stream)],
            [partition.token, self._group, entry_id, TOO_LARGE_DETAIL],
        )
        if buried == scripts.LOST:
            partition.lost = True
        elif buried:
            self._observer.dead_lettered(TOO_LARGE, 1)
            logger.error("entry %s of %s: %s, so it is a dead letter", text(entry_id), stream, TOO_LARGE_DETAIL)

    async def _read_new(self, partitions: list[Partition], block_ms: int) -> list[Read]:
        for partition in partitions:
            if not partition.tally.current:
                await self._survey.look(partition)
        try:
            return await self._received(partitions, block_ms)
        except BaseException:
            for partition in partitions:
                partition.tally.interrupt()
            raise

    async def _received(self, partitions: list[Partition], block_ms: int) -> list[Read]:
        """Read new entries of all partitions at once; in a cluster in turns, since slots differ."""
        if is_cluster(self._client) and len(partitions) > 1:
            reply = await self._read_cluster(partitions, block_ms)
        else:
            reply = streams(await self._read_group(partitions, block_ms))
        by_stream = {partition.stream.encode(): partition for partition in partitions}
        whole = self.size.fits(self._reads.reply_bytes, sum(len(fresh) for _, fresh in reply))
        batches = []
        for stream, fresh in reply:
            partition = by_stream[stream]
            if EntryId.parse(fresh[0][0]) <= partition.read_until:
                self._begin_anew(partition, "was set back")
                continue
            partition.read_until = EntryId.parse(fresh[-1][0])
            partition.tally.received(len(fresh))
            pieces = (fresh,) if whole else self.size.pieces(fresh)
            batches += [(partition, RecordBatch(partition.stream, piece)) for piece in pieces]
        self._observer.read("ok" if batches else "empty")
        return batches

    async def _read_group(self, partitions: list[Partition], block_ms: int) -> Any:
        return await self._or_recreate_group(
            partitions, "XREADGROUP", "GROUP", self._group, self._options.instance_id,
            "COUNT", self.size.count(len(partitions)), "BLOCK", block_ms,
            "STREAMS", *(partition.stream for partition in partitions), *(">" for _ in partitions),
        )  # fmt: skip

    async def _read_cluster(self, partitions: list[Partition], block_ms: int) -> list[tuple[bytes, list[Entry]]]:
        """Read the partitions again and again until something comes, without waiting at the servers."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + block_ms / 1000
        read = ("XREADGROUP", "GROUP", self._group, self._options.instance_id)
        while True:
            options = ("COUNT", self.size.count(len(partitions)), "STREAMS")
            replies = await ask_nodes(self._client, {p.stream: (*read, *options, p.stream, ">") for p in partitions})
            errors = await self._take_errors(partitions, replies)
            found = [pair for reply in replies.values() for pair in streams(reply)]
            if errors and not found:
                raise errors[0]
            if found or loop.time() >= deadline:
                return found
            await asyncio.sleep(min(_POLL_S, deadline - loop.time()))

    async def _take_errors(self, partitions: list[Partition], replies: dict[str, Any]) -> list[Exception]:
        """Remove errors from the replies, which do not hold up what else came; return those that are not mended."""
        errors = []
        for partition in partitions:
            error = replies[partition.stream]
            if not isinstance(error, Exception):
                continue
            del replies[partition.stream]
            if is_no_group(error):
                await self._recreate_group(partition)
            else:
                errors.append(error)
                partition.claim_again()
                partition.tally.interrupt()
        return errors

    async def _or_recreate_group(self, partitions: list[Partition], *command: Any) -> Any:
        """Run a command; when the group is gone, say so, create it again, and return an empty reply."""
        try:
            return await self._reads.execute(*command)
        except ResponseError as error:
            if not is_no_group(error):
                raise
        for partition in partitions:
            await self._recreate_group(partition)
        return None

    async def _recreate_group(self, partition: Partition) -> None:
        await self._survey.look(partition)
        try:
            created = await self.ensure_group(partition)
        except PartitionLost:
            logger.warning(
                "the group of stream %s was gone, and so is the lease: Redis was emptied or replaced;"
                " reading from the beginning once there is a new lease",
                partition.stream,
            )
            partition.lost = True
            return
        if created:
            self._begin_anew(partition, "was gone: somebody removed it, or Redis was emptied or replaced")

    def _begin_anew(self, partition: Partition, why: str) -> None:
        """Lose a partition whose entries come a second time, so that nothing of it is in flight when they do."""
        logger.warning(
            "the group of stream %s %s; dropping what is in flight, and reading from the beginning of what it has not"
            " had once there is a new lease", partition.stream, why,
        )  # fmt: skip
        partition.lost = True

    def _report_trimmed(self, partition: Partition, ids: list[bytes]) -> None:
        self._observer.trimmed(len(ids))
        lost = sorted(map(EntryId.parse, ids))
        logger.error(
            "%d pending records of stream %s, from %s to %s, were trimmed or deleted while they were being processed"
            " and are lost: raise the producer's MAXLEN well above the longest outage",
            len(ids), partition.stream, lost[0], lost[-1],
        )  # fmt: skip
