"""Putting together, beside what is there, what the streams of another number of partitions hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from redis.exceptions import ResponseError

from faust_redis.partitions.appender import Appender
from faust_redis.partitions.backlog import dead_letters, in_order, page_size, read_hash
from faust_redis.redis import keys
from faust_redis.redis.client import Client, execute
from faust_redis.redis.errors import is_busy_group
from faust_redis.stream.versions import FIELD, NOT_A_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from faust_redis.partitions.layout import Combine, Layout
    from faust_redis.partitions.sources import Sources

#: Keys of a table written at once.
_KEYS: Final = 1000


@dataclass
class Moved:
    """How much came to another stream than it was in.

    Attributes:
        unread: Entries that nobody had read.
        pending: Entries that were pending.
        dead_letters: Refused entries.
        states: Keys of tables.
    """

    unread: int = 0
    pending: int = 0
    dead_letters: int = 0
    states: int = 0


class Copy:
    """Copies what a number of streams hold to where it belongs; what is there stays as it is.

    Args:
        client: Redis.
        layout: Where to.
        sources: The streams from which.
        progress: Told of everything that is looked at.
    """

    def __init__(self, client: Client, layout: Layout, sources: Sources, progress: Callable[[int], None]) -> None:
        self._client = client
        self._layout = layout
        self._sources = sources
        self._progress = progress
        self.moved = Moved()

    async def everything(self) -> Moved:
        """Copy entries, dead letters and tables; return what comes to another stream."""
        await self._entries()
        await self._positions()
        await self._dead_letters()
        for table, combine in self._layout.tables.items():
            await self._table(table, combine)
        return self.moved

    async def _entries(self) -> None:
        layout, page = self._layout, page_size(len(self._sources.streams))
        for stream in layout.streams:
            await self._make(layout.copied(stream))
        backlogs = [self._sources.backlog(source, page) for source in self._sources.streams]
        appender = Appender(self._client)
        async for moving in in_order(backlogs):
            stream = layout.stream_of_entry(moving)
            await appender.append(layout.copied(stream), moving)
            if stream != moving.stream and moving.pending:
                self.moved.pending += 1
            elif stream != moving.stream:
                self.moved.unread += 1
            self._progress(1)
        await appender.flush()

    async def _positions(self) -> None:
        """Let partitions know how far they were given entries of the plain stream, and by whom they take no more."""
        layout, sources = self._layout, self._sources
        if sources.position is None and not sources.epoch:
            return
        fields: list[int | str] = ["epoch", sources.epoch + 1]
        if sources.position is not None:
            fields += ["position", str(sources.position)]
        for stream in layout.streams:
            if stream != layout.topic:
                await execute(self._client, "HSET", keys.moving(stream, layout.run, "distribution"), *fields)

    async def _make(self, stream: str) -> None:
        """Make a stream, and the group at its beginning, which stays there when the stream is renamed."""
        try:
            await execute(self._client, "XGROUP", "CREATE", stream, self._layout.group, "0", "MKSTREAM")
        except ResponseError as error:
            if not is_busy_group(error):
                raise

    async def _dead_letters(self) -> None:
        layout, page = self._layout, page_size(len(self._sources.streams))
        appender = Appender(self._client)
        letters = [dead_letters(self._client, source, page) for source in self._sources.streams]
        async for moving in in_order(letters):
            stream = layout.stream_of_letter(moving)
            await appender.append(keys.moving(stream, layout.run, "dead"), moving)
            self.moved.dead_letters += stream != moving.stream
            self._progress(1)
        await appender.flush()

    async def _table(self, table: str, combine: Combine) -> None:
        """Copy a table by way of memory, which a worker that holds all partitions needs too."""
        values: dict[bytes, bytes] = {}
        version = 0
        for source in self._sources.streams:
            for key, value in (await read_hash(self._client, keys.state(source, self._layout.group, table))).items():
                if key == FIELD:
                    number = value.partition(b" ")[0]
                    version = max(version, int(number) if number.isdigit() else 0)
                elif not key.startswith(NOT_A_KEY):
                    values[key] = combine(values[key], value) if key in values else value
                    self.moved.states += self._layout.stream_of(key) != source
                    self._progress(1)
        if values or version:
            await self._write(table, values, b"%d %b" % (version + 1, self._layout.run.encode()))

    async def _write(self, table: str, values: dict[bytes, bytes], version: bytes) -> None:
        """Write a table; its version is one that no batch in flight anywhere can follow on."""
        layout = self._layout
        parts: dict[str, list[bytes | str]] = {stream: [FIELD, version] for stream in layout.streams}
        for key, value in values.items():
            parts[layout.stream_of(key)] += (key, value)
        for stream, words in parts.items():
            copy = keys.moving(stream, layout.run, f"state:{table}")
            for first in range(0, len(words), 2 * _KEYS):
                await execute(self._client, "HSET", copy, *words[first : first + 2 * _KEYS])
