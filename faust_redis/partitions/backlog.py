"""What a group has not acknowledged of streams, in the order in which it was appended."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.exceptions import ResponseError

from faust_redis.partitions.discovery import group_of
from faust_redis.redis import keys
from faust_redis.redis.client import Client, execute
from faust_redis.redis.errors import is_no_group
from faust_redis.redis.replies import BEFORE_ALL, EntryId, entries, facts, pairs, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from faust_redis.redis.replies import Entry

#: Entries kept of all streams together while they are merged.
_KEPT: Final = 5000
_LARGEST_PAGE: Final = 500
#: Fields of a hash read at once.
_FIELDS: Final = 1000


class Moving(NamedTuple):
    """An entry, and where it is.

    Attributes:
        entry_id: Its id.
        stream: The stream that has it.
        fields: Names and values, alternating.
        pending: Whether it was delivered before.
    """

    entry_id: EntryId
    stream: str
    fields: list[bytes]
    pending: bool = False


def page_size(streams: int) -> int:
    """Return how many entries of each stream to read at once."""
    return max(10, min(_LARGEST_PAGE, _KEPT // max(streams, 1)))


async def last_id(client: Client, stream: str) -> EntryId:
    """Return the id of the last entry that a stream ever had; that below all ids when there is no stream."""
    try:
        return EntryId.parse(facts(await execute(client, "XINFO", "STREAM", stream))["last-generated-id"])
    except ResponseError as error:
        if is_no_group(error):
            return BEFORE_ALL
        raise


async def pending(client: Client, stream: str, group: str, page: int) -> AsyncIterator[Moving]:
    """Yield the pending entries of a group, in order."""
    async for entry_id in _pending_ids(client, stream, group, page):
        for _, fields in entries(await execute(client, "XRANGE", stream, entry_id, entry_id)):
            yield Moving(EntryId.parse(entry_id), stream, fields, pending=True)


async def unread(client: Client, stream: str, page: int, *, after: EntryId, until: EntryId) -> AsyncIterator[Moving]:
    """Yield the entries between two ids, in order; the second one included."""
    async for entry_id, fields in scan(client, stream, page, after=str(after), until=str(until)):
        yield Moving(EntryId.parse(entry_id), stream, fields)


async def scan(
    client: Client, stream: str, page: int, *, after: str | None = None, until: str = "+"
) -> AsyncIterator[Entry]:
    """Yield the entries of a stream that come after an id, until another."""
    start = f"({after}" if after else "-"
    while found := entries(await execute(client, "XRANGE", stream, start, until, "COUNT", page)):
        for entry in found:
            yield entry
        start = f"({text(found[-1][0])}"


async def dead_letters(client: Client, stream: str, page: int) -> AsyncIterator[Moving]:
    """Yield the dead letters of a stream, in order."""
    async for entry_id, fields in scan(client, keys.dead_letters(stream), page):
        yield Moving(EntryId.parse(entry_id), stream, fields)


async def read_hash(client: Client, key: str) -> dict[bytes, bytes]:
    """Return a hash; a scan may give a field twice."""
    found: dict[bytes, bytes] = {}
    cursor: Any = 0
    while True:
        cursor, fields = await execute(client, "HSCAN", key, cursor, "COUNT", _FIELDS)
        found.update(pairs(fields))
        if int(cursor) == 0:
            return found


async def in_order(sources: Sequence[AsyncIterator[Moving]]) -> AsyncIterator[Moving]:
    """Merge streams by the ids of their entries."""
    tie = count()  # sources of equal ids are never compared
    heads: list[tuple[EntryId, int, Moving, AsyncIterator[Moving]]] = []
    for source in sources:
        async for first in source:
            heads.append((first.entry_id, next(tie), first, source))
            break
    heapq.heapify(heads)
    while heads:
        _, _, moving, source = heads[0]
        yield moving
        following = await anext(source, None)
        if following is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (following.entry_id, next(tie), following, source))


async def _pending_ids(client: Client, stream: str, group: str, page: int) -> AsyncIterator[str]:
    if not await group_of(client, stream, group):
        return
    start = "-"
    while found := await pending_page(client, stream, group, start, page):
        for entry_id in found:
            yield entry_id
        start = f"({found[-1]}"


async def pending_page(client: Client, stream: str, group: str, start: str, page: int) -> list[str]:
    """Return the ids of the first pending entries from one on."""
    reply: Any = await client.xpending_range(stream, group, start, "+", page)
    return [text(one["message_id"]) for one in reply]
