"""Resuming where a client left off, on whichever worker."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec

from faust_redis.redis.errors import FaustRedisError
from faust_redis.redis.replies import BEFORE_ALL, EntryId
from telemetry_app.live.positions.history import sight
from telemetry_app.live.wire import cursor
from telemetry_app.live.wire.position import LivePosition
from telemetry_app.records.decoding import decode_entries
from telemetry_app.records.quality import good

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faust_redis.broadcast.replay import StreamTips
    from faust_redis.redis.replies import Entry
    from telemetry_app.live.ports import LiveObserver, Replay
    from telemetry_app.live.positions.history import History, Sighting
    from telemetry_app.live.wire.cursor import Vector

logger = logging.getLogger(__name__)

#: Most entries read again for a cursor: some tenths of a second of work. Beyond it a snapshot is cheaper.
MAX_ENTRIES: Final = 50_000

#: The same of their bytes, which are all held until the last page is known.
MAX_BYTES: Final = 48 << 20

#: Concurrent questions to Redis: its client refuses connections to a crowd that reconnects at once.
_QUESTIONS: Final = 16


class _Sender(msgspec.Struct, gc=False):
    device_id: str


_sender = msgspec.json.Decoder(_Sender)


class Resumer:
    """Extends the history back to clients' cursors.

    The history holds the newest position of each device since this worker began to listen. For an older cursor the
    entries in between are read from the streams, once for all clients.

    Args:
        replay: Reads the streams.
        streams: Keys of the partitions, in order.
        history: What has passed; it is extended.
        events_of: Events of a device.
        observer: Told about failures.
        max_ahead_s: How far ahead of its append a position may be to be shown.
        max_entries: Most entries read again for a cursor.
    """

    def __init__(
        self,
        replay: Replay,
        streams: Sequence[str],
        history: History,
        events_of: Callable[[str], frozenset[str]],
        observer: LiveObserver,
        *,
        max_ahead_s: int,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self._replay = replay
        self._streams = streams
        self._history = history
        self._events_of = events_of
        self._observer = observer
        self._max_ahead_s = max_ahead_s
        self._max_entries = max_entries
        self._max_bytes = MAX_BYTES
        self._lock = asyncio.Lock()
        self._questions = asyncio.Semaphore(_QUESTIONS)
        self._begins: Vector = (BEFORE_ALL,) * len(streams)
        self._too_far: Vector | None = None

    def start_at(self, vector: Vector) -> None:
        """Note where the history begins."""
        self._begins = vector

    async def reach(self, since: Vector) -> bool:
        """Make sure that the history has everything after a client's cursor.

        Returns:
            False when it cannot, and the client should get a snapshot: the cursor is unknown, trimmed away or too far
            back, or Redis fails, for which no client is kept waiting.
        """
        try:
            # Checked again afterwards: entries trimmed away during the read would be missing unnoticed.
            return await self._can_be_read(since) and await self.reach_back(since) and await self._can_be_read(since)
        except FaustRedisError as error:
            self._observer.retried("resume")
            logger.warning("entries that a client missed cannot be read, so it gets a snapshot: %s", error)
            return False

    async def reach_back(self, since: Vector) -> bool:
        """Extend the history back to an id of each stream.

        Returns:
            False when that takes too many entries.

        Raises:
            FaustRedisError: Redis cannot be read.
        """
        if self._covers(since):
            return True
        async with self._lock:
            return self._covers(since) or (not self._is_too_far(since) and await self._extend(since))

    async def _can_be_read(self, since: Vector) -> bool:
        async with self._questions:
            return all(map(_still_there, await self._replay.tips(self._streams), since))

    def _covers(self, since: Vector) -> bool:
        return _at_most(self._begins, since)

    def _is_too_far(self, since: Vector) -> bool:
        """Tell whether a cursor is at or before one that was too far back, so that reading would be in vain."""
        return self._too_far is not None and _at_most(since, self._too_far)

    async def _extend(self, since: Vector) -> bool:
        # Nothing is decoded until all pages are known to be few enough.
        pages = await self._read_after(since)
        if pages is None:
            logger.info("a client's cursor is too far back to read all entries again, so it gets a snapshot")
            self._too_far = since
            return False
        found: list[Sighting] = []
        for partition, page in pages:
            found += self._sightings(page, partition, since)
            # Let live positions through between pages.
            await asyncio.sleep(0)
        self._history.prepend(found)
        self._begins = tuple(map(min, self._begins, since))
        return True

    async def _read_after(self, since: Vector) -> list[tuple[int, list[Entry]]] | None:
        """Return partitions and pages from a cursor to where the history begins; None when they are too many."""
        pages: list[tuple[int, list[Entry]]] = []
        entries_left, bytes_left = self._max_entries, self._max_bytes
        for partition, stream in enumerate(self._streams):
            at, until = since[partition], self._begins[partition]
            while at < until and (page := await self._replay.page(stream, at, until)):
                entries_left -= len(page)
                bytes_left -= sum(len(value) for _, fields in page for value in fields)
                if entries_left < 0 or bytes_left < 0:
                    return None
                pages.append((partition, page))
                at = EntryId.parse(page[-1][0])
        return pages

    def _sightings(self, page: list[Entry], partition: int, since: Vector) -> list[Sighting]:
        """Return the positions of devices that take part in events; of the others only the device id is decoded.

        The cursors of these positions keep the other streams where the client left them: a client that resumes from
        one gets positions of those streams twice rather than not at all.
        """
        decoded = decode_entries(entry for entry in page if self._takes_part(entry[1]))
        tail = cursor.tail(since)
        now, clock = asyncio.get_running_loop().time(), time.time()
        return [
            sight(
                LivePosition.from_position(position, appended.ms),
                cursor.text(partition, entry_id.decode(), tail),
                appended,
                partition=partition,
                seq=0,
                now=now - max(clock - appended.ms / 1000, 0.0),
            )
            for position, entry_id in good(decoded, max_ahead_s=self._max_ahead_s)
            for appended in (EntryId.parse(entry_id),)
        ]

    def _takes_part(self, fields: list[bytes]) -> bool:
        pairs = iter(fields)
        payload = dict(zip(pairs, pairs, strict=False)).get(b"payload", b"")
        try:
            return bool(self._events_of(_sender.decode(payload).device_id))
        except msgspec.MsgspecError:
            return False


def _still_there(tips: StreamTips, since: EntryId) -> bool:
    """Tell whether everything after an id can still be read, and the stream has come that far at all."""
    if since > tips.last:
        return False
    oldest = tips.first or tips.last
    if tips.complete:
        # Before any entry, or, in an answer to a subscribe, just before the first one.
        return since == BEFORE_ALL or since >= cursor.before(oldest)
    return since >= oldest


def _at_most(one: Vector, other: Vector) -> bool:
    return all(mine <= theirs for mine, theirs in zip(one, other, strict=True))
