"""Looking at refused entries, sending them through again, and throwing them away."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from faust_redis.redis import keys
from faust_redis.redis.client import Client, execute, execute_all
from faust_redis.redis.errors import own_errors
from faust_redis.redis.packing import unpacked
from faust_redis.redis.replies import entries, text
from faust_redis.stream.sizing import ReadSize

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

_PAGE = 500
_PAGE_BYTES = 2 << 20
#: The last fields of a dead letter, in this order; see the commit script.
_ADDED = [b"reason", b"attempts", b"original_id"]
ADDED_FIELDS = 2 * len(_ADDED)


class DeadLetter(NamedTuple):
    """One refused entry.

    Attributes:
        stream: Stream it came from, where a replay puts it again.
        dead_id: Its id among the dead letters.
        original_id: Its id in the stream.
        reason: Why it was refused.
        attempts: How often it had been delivered.
        fields: The original field names and values, alternating.
    """

    stream: str
    dead_id: str
    original_id: str
    reason: str
    attempts: int
    fields: list[bytes]


class DeadLetters:
    """The dead letters of some streams, oldest first within each.

    Raises:
        Unavailable: Redis does not answer; from every method, and while iterating.
        Misconfigured: Redis refuses; likewise.
    """

    def __init__(self, client: Client, streams: Sequence[str]) -> None:
        self._client = client
        self._streams = streams

    async def __aiter__(self) -> AsyncIterator[DeadLetter]:
        for stream in self._streams:
            start = "-"
            size = ReadSize(_PAGE, _PAGE_BYTES)
            while page := await self._range(stream, start, size):
                for letter in page:
                    yield letter
                start = f"({page[-1].dead_id}"

    async def count(self) -> int:
        """Return how many there are."""
        with own_errors():
            return sum([int(await execute(self._client, "XLEN", keys.dead_letters(s))) for s in self._streams])

    async def find(self, letter_id: str) -> DeadLetter | None:
        """Return the dead letter with this id, or whose original id it is."""
        async for letter in self:
            if letter_id in (letter.dead_id, letter.original_id):
                return letter
        return None

    async def replay(self, letter: DeadLetter) -> str:
        """Append the original entry to its stream again and drop the dead letter, both or neither.

        Returns the new entry's id.
        """
        with own_errors():
            return await self._move(letter)

    async def _move(self, letter: DeadLetter) -> str:
        append = ("XADD", letter.stream, "*", *letter.fields)
        drop = ("XDEL", keys.dead_letters(letter.stream), letter.dead_id)
        new_id, _ = await execute_all(self._client, [append, drop], transaction=True)
        return text(new_id)

    async def purge(self) -> int:
        """Throw all dead letters away; return how many there were."""
        purged = await self.count()
        for stream in self._streams:
            with own_errors():
                await execute(self._client, "DEL", keys.dead_letters(stream))
        return purged

    async def _range(self, stream: str, start: str, size: ReadSize) -> list[DeadLetter]:
        with own_errors():
            reply = await execute(self._client, "XRANGE", keys.dead_letters(stream), start, "+", "COUNT", size.count())
        pieces = size.pieces(found) if (found := entries(reply)) else ()
        return [_parse(stream, entry_id, fields) for piece in pieces for entry_id, fields in piece]


def _parse(stream: str, dead_id: bytes, fields: list[bytes]) -> DeadLetter:
    original, added = fields[:-ADDED_FIELDS], fields[-ADDED_FIELDS:]
    if added[::2] != _ADDED or not added[3].isdigit():
        # It must not keep the others from being shown.
        return DeadLetter(stream, text(dead_id), text(dead_id), "appended by somebody else", 0, fields)
    reason, attempts, original_id = added[1::2]
    return DeadLetter(stream, text(dead_id), text(original_id), text(reason), int(attempts), list(unpacked(original)))
