"""Appending entries to several streams, many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from faust_redis.redis.client import execute_all
from faust_redis.redis.packing import packed
from faust_redis.redis.replies import BEFORE_ALL, EntryId

if TYPE_CHECKING:
    from faust_redis.partitions.backlog import Moving
    from faust_redis.redis.client import Client

_MOST_BUFFERED: Final = 500
_MOST_BUFFERED_BYTES: Final = 1 << 20


class Appender:
    """Appends entries to several streams under the ids that they had, as far as these are ascending."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._last: dict[str, EntryId] = {}
        self._waiting: list[tuple[str, EntryId, list[bytes]]] = []
        self._bytes = 0

    async def append(self, stream: str, moving: Moving) -> None:
        """Append an entry; what came from several streams may have one id, of which the second gets the next."""
        last = self._last.get(stream, BEFORE_ALL)
        entry_id = max(moving.entry_id, EntryId(last.ms, last.seq + 1))
        self._last[stream] = entry_id
        # What takes the copies' places are scripts.
        self._waiting.append((stream, entry_id, packed(moving.fields)))
        self._bytes += sum(map(len, moving.fields))
        if len(self._waiting) >= _MOST_BUFFERED or self._bytes >= _MOST_BUFFERED_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Send what is waiting."""
        if not self._waiting:
            return
        await execute_all(self._client, [("XADD", stream, str(at), *fields) for stream, at, fields in self._waiting])
        self._waiting.clear()
        self._bytes = 0
