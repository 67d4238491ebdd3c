"""Reading entries of streams again, without a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from redis.exceptions import ResponseError

from faust_redis.redis import scripts
from faust_redis.redis.client import Client, Script, close, connect, execute
from faust_redis.redis.errors import ReplyTooLarge, is_no_group, own_errors
from faust_redis.redis.replies import BEFORE_ALL, Entry, EntryId, entries
from faust_redis.stream.sizing import ReadSize

if TYPE_CHECKING:
    from collections.abc import Sequence

_PAGE: Final = 1000
_PAGE_BYTES: Final = 2 << 20


class StreamTips(NamedTuple):
    """What a stream can still give.

    Attributes:
        first: Oldest entry that is still there; None when there is none.
        last: Id of the last entry ever added; 0-0 when there was none.
        complete: Whether nothing was ever removed from it.
    """

    first: EntryId | None
    last: EntryId
    complete: bool


_NOTHING: Final = StreamTips(None, BEFORE_ALL, complete=True)


async def stream_tips(client: Client, stream: str) -> StreamTips:
    """Return what a stream can still give; a stream that does not exist is an empty one."""
    try:
        first, last, added, length = await Script(client, scripts.TIPS)([stream], [])
    except ResponseError as error:
        if is_no_group(error):
            return _NOTHING
        raise
    return StreamTips(EntryId.parse(first) if length else None, EntryId.parse(last), added == length)


class StreamReplay:
    """Looks at streams and reads parts of them.

    Args:
        url: `redis://…`.

    Raises:
        Unavailable: Redis does not answer; from every method.
        Misconfigured: Redis refuses; from every method.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None
        self._size = ReadSize(_PAGE, _PAGE_BYTES)

    @property
    def client(self) -> Client:
        """The client, made when it is first needed: it belongs to the event loop that uses it."""
        if self._client is None:
            self._client = connect(self._url, bounded=True)
        return self._client

    async def tips(self, streams: Sequence[str]) -> list[StreamTips]:
        """Return what each stream can still give."""
        with own_errors():
            return [await stream_tips(self.client, stream) for stream in streams]

    async def page(self, stream: str, after: EntryId, until: EntryId) -> list[Entry]:
        """Return the first entries of `after < id <= until`, a thousand or about 2 MB; none when there are no more."""
        with own_errors():
            page = await self._entries(stream, f"({after}", str(until))
            # A piece is a page: what is beyond it is read with the next one.
            return list(next(self._size.pieces(page))) if page else page

    async def _entries(self, stream: str, after: str, until: str) -> list[Entry]:
        while True:
            count = self._size.count()
            try:
                return entries(await execute(self.client, "XRANGE", stream, after, until, "COUNT", count))
            except ReplyTooLarge as error:
                if count == 1:
                    raise
                self._size.shrink(error)

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await close(client)
