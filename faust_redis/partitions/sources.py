"""The streams that there are, and what of them is to be moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faust_redis.partitions.backlog import last_id, pending, unread
from faust_redis.partitions.discovery import group_of, kinds
from faust_redis.redis import keys
from faust_redis.redis.client import Client, execute
from faust_redis.redis.replies import BEFORE_ALL, EntryId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from faust_redis.partitions.backlog import Moving
    from faust_redis.partitions.layout import Layout


class Sources:
    """What the group has not acknowledged of streams.

    Where the plain stream is distributed, what nobody has distributed of it stays there. But what a distributor that
    died has given to some partitions and not to others, is moved as far as it is missing: the plain stream then counts
    as distributed until there. What is pending there was read before it was distributed.

    Args:
        client: Redis.
        layout: Where everything is to go.
        streams: The streams.
        before: Of how many partitions they are.
        distributed: Whether workers are to distribute the plain stream when there are several partitions. Whether they
            did before is another matter, which the partitions remember.

    Attributes:
        streams: The streams.
        until: Until which entry each is looked at; only those of which entries may be moved.
        position: Until which entry the plain stream is distributed; None where it is not.
        epoch: Greatest epoch of a distributor that any of them has met.
    """

    def __init__(
        self, client: Client, layout: Layout, streams: Sequence[str], *, before: int, distributed: bool
    ) -> None:
        self._client = client
        self._layout = layout
        self._before = before
        self._distributed = distributed
        self._positions: dict[str, EntryId] = {}
        self.streams = streams
        self.until: dict[str, EntryId] = {}
        self.position: EntryId | None = None
        self.epoch = 0

    async def look(self) -> None:
        """Find out how far each stream is."""
        for stream in self.streams:
            position, epoch = await execute(self._client, "HMGET", keys.distribution(stream), "position", "epoch")
            self._positions[stream] = EntryId.parse(position) if position else BEFORE_ALL
            self.epoch = max(self.epoch, int(epoch or 0))
        for stream in self.streams:
            if stream != self._layout.topic or not (self._distributed or self._layout.stays(stream)):
                self.until[stream] = await last_id(self._client, stream)
        if self._distributed:
            topic = self._layout.topic
            self.position = max(await self._delivered(topic), *self._positions.values(), BEFORE_ALL)
            if topic in self.streams:
                self.until[topic] = self.position

    async def _delivered(self, stream: str) -> EntryId:
        known = await group_of(self._client, stream, self._layout.group) if await self._exists(stream) else None
        return EntryId.parse(known["last-delivered-id"]) if known else BEFORE_ALL

    async def _exists(self, stream: str) -> bool:
        return (await kinds(self._client, [stream])).get(stream) == "stream"

    async def backlog(self, stream: str, page: int) -> AsyncIterator[Moving]:
        """Yield what is to be moved of a stream, in order; entries that are where they belong are among it."""
        if stream not in self.until or not await self._exists(stream):
            return
        if not self._layout.stays(stream):
            async for moving in pending(self._client, stream, self._layout.group, page):
                yield moving
        delivered = await self._delivered(stream)
        async for moving in unread(self._client, stream, page, after=delivered, until=self.until[stream]):
            if not self._is_distributed(moving):
                yield moving

    def _is_distributed(self, moving: Moving) -> bool:
        if moving.stream != self._layout.topic or self._before == 1:
            return False
        key = self._layout.key_of(moving.fields)
        number = keys.partition_of(key, self._before)
        stream = keys.partition_stream(self._layout.topic, number, self._before)
        return moving.entry_id <= self._positions.get(stream, BEFORE_ALL)
