"""Changing the number of partitions while no worker is alive."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from faust_redis.partitions import backlog
from faust_redis.partitions.copy import Copy, Moved
from faust_redis.partitions.discovery import group_of, kinds, other_number, streams_with_anything
from faust_redis.partitions.exclusive import ExclusiveAccess
from faust_redis.partitions.layout import Layout
from faust_redis.partitions.places import Places
from faust_redis.partitions.record import PartitionRecord, Recorded
from faust_redis.partitions.sources import Sources
from faust_redis.redis import keys
from faust_redis.redis.client import Client, execute
from faust_redis.redis.errors import own_errors
from faust_redis.stream.versions import NOT_A_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from faust_redis.options import RedisOptions
    from faust_redis.partitions.layout import Combine, KeyOf

    #: Told how much has been looked at, and of how much.
    Progress = Callable[[int, int], None]


class Outcome(NamedTuple):
    """What a change did.

    Attributes:
        before: The number of partitions that was recorded or found.
        after: The number now.
        moved: What came to another stream; None when everything was where it belongs.
        late: Entries that came meanwhile, which may be where they do not belong.
        finished: The number that an interrupted change led to, which was finished first.
    """

    before: int
    after: int
    moved: Moved | None
    late: int = 0
    finished: int | None = None


class Repartitioning:
    """Brings what the group has not acknowledged, dead letters and tables to where they belong.

    First everything is copied beside what is there. A change that ends by then has changed nothing, and the next one
    begins anew. Once the record says that all is copied, the copies take their places, one stream at a time, each in
    one step; whoever comes next goes on with that. So nothing is lost and nothing there twice, whenever it ends.

    Entries keep their ids, and are merged in the order of these. What was pending is unread afterwards. What was
    acknowledged goes with the streams, except in the plain stream, which is never removed: producers may write to it.

    Args:
        client: Redis.
        topic: Name of the topic.
        group: Name of the consumer group.
        options: Name of this process, and length of a lease.
        tables: The tables kept with the partitions, and what combines two values of a key; only what was left behind
            by a change without this one has two.
        key_of: What decides on an entry's partition.
        broadcast_prefix: How the groups of a broadcast begin.
        distributed: Whether workers distribute the plain stream when there are several partitions: then what nobody
            has distributed of it stays there.
    """

    def __init__(
        self,
        client: Client,
        topic: str,
        *,
        group: str,
        options: RedisOptions,
        tables: Mapping[str, Combine],
        key_of: KeyOf,
        broadcast_prefix: str,
        distributed: bool,
    ) -> None:
        self._client = client
        self._topic = topic
        self._group = group
        self._tables = tables
        self._key_of = key_of
        self._broadcast_prefix = broadcast_prefix
        self._distributed = distributed
        self._record = PartitionRecord(client, topic, group=group, options=options)
        self._access = ExclusiveAccess(client, topic, group=group, options=options)
        self._places = Places(client, self._access)

    async def to(self, partitions: int, progress: Progress) -> Outcome:
        """Change the number of partitions; with the same number, bring what is misplaced to where it belongs.

        Raises:
            WorkersAlive: Workers are alive.
            OtherReaders: Other groups read the streams.
            Unavailable: Redis does not answer. Run it again.
            Misconfigured: Redis refuses.
            PartitionLost: Another process took over.
        """
        with own_errors():
            await self._access.refuse_workers()
            streams = [self._topic, *self._layout(partitions).streams, *await self._found()]
            interrupted = await self._record.read()
            if interrupted and interrupted.run:
                streams += self._layout(interrupted.after).streams
            async with self._access.holding(list(dict.fromkeys(streams))):
                return await self._to(partitions, progress)

    async def _to(self, partitions: int, progress: Progress) -> Outcome:
        await self._places.require_permissions(self._topic)
        streams = await self._streams()
        rebuilt = streams if partitions == 1 else [stream for stream in streams if stream != self._topic]
        await self._access.refuse_readers(streams, rebuilt, self._broadcast_prefix)
        recorded, finished, late = await self._record.read(), None, 0
        if recorded and recorded.copied:
            late += await self._finish(recorded)
            finished = recorded.after
            recorded, streams = Recorded(finished, finished), await self._streams()
        elif recorded and recorded.run:
            await self._places.remove_copies(self._layout(recorded.after, recorded.run), streams)
            recorded = Recorded(recorded.before, recorded.before)
            await self._write(recorded)
        found = await other_number(self._client, self._topic, self._group, partitions) or partitions
        before = recorded.after if recorded else found
        if before == partitions and await self._all_in_place(streams, partitions):
            await self._settle(partitions)
            return Outcome(before, partitions, None, late, finished)
        moved, came = await self._change(before, partitions, streams, progress)
        return Outcome(before, partitions, moved, late + came, finished)

    async def _change(self, before: int, after: int, streams: Sequence[str], progress: Progress) -> tuple[Moved, int]:
        """Copy everything, then let the copies take their places; return what moved, and how much came meanwhile."""
        change = Recorded(before, after, run=secrets.token_hex(4))
        layout = self._layout(after, change.run)
        sources = await self._look(layout, streams, before)
        total, looked_at = await self._everything(streams), 0

        def look(number: int) -> None:
            nonlocal looked_at
            looked_at += number
            progress(looked_at, max(total, looked_at))

        await self._write(change)
        await self._places.note(layout, sources)
        moved = await Copy(self._client, layout, sources, look).everything()
        change = change._replace(copied=True)
        await self._write(change)
        return moved, await self._finish(change)

    async def _finish(self, change: Recorded) -> int:
        layout = self._layout(change.after, change.run)
        late = await self._places.take(layout, await self._streams(), distributed=self._distributed)
        await self._settle(change.after)
        return late

    def _layout(self, partitions: int, run: str = "") -> Layout:
        return Layout(self._topic, self._group, partitions, run, self._key_of, self._tables)

    async def _look(self, layout: Layout, streams: Sequence[str], before: int) -> Sources:
        sources = Sources(self._client, layout, streams, before=before, distributed=self._distributed)
        await sources.look()
        return sources

    async def _found(self) -> list[str]:
        return await streams_with_anything(self._client, self._topic, self._group, self._tables)

    async def _streams(self) -> list[str]:
        """Return the streams with anything; not those that were made since their leases were taken."""
        return [stream for stream in await self._found() if stream in self._access.tokens]

    async def _write(self, recorded: Recorded) -> None:
        await self._record.write(recorded, self._access.tokens[self._topic])

    async def _settle(self, partitions: int) -> None:
        await self._record.settle(partitions, self._access.tokens[self._topic])

    async def _all_in_place(self, streams: Sequence[str], partitions: int) -> bool:
        layout, page = self._layout(partitions), backlog.page_size(1)
        sources = await self._look(layout, streams, partitions)
        for stream in streams:
            async for moving in sources.backlog(stream, page):
                if layout.stream_of_entry(moving) != stream:
                    return False
            async for moving in backlog.dead_letters(self._client, stream, page):
                if layout.stream_of_letter(moving) != stream:
                    return False
            for table in self._tables:
                stored = await backlog.read_hash(self._client, keys.state(stream, self._group, table))
                if any(not key.startswith(NOT_A_KEY) and layout.stream_of(key) != stream for key in stored):
                    return False
        return True

    async def _everything(self, streams: Sequence[str]) -> int:
        """Return about how much there is to look at."""
        total = 0
        for stream in streams:
            if await kinds(self._client, [stream]):
                known = await group_of(self._client, stream, self._group) or {}
                lag = known.get("lag")
                total += int(known.get("pending", 0))
                total += int(await execute(self._client, "XLEN", stream) if lag is None else lag)
            total += int(await execute(self._client, "XLEN", keys.dead_letters(stream)))
            for table in self._tables:
                total += int(await execute(self._client, "HLEN", keys.state(stream, self._group, table)))
        return total
