"""Reading entries of streams again, without a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.exceptions import ResponseError

from faust_redis.redis.client import Client, close, connect, execute
from faust_redis.redis.errors import is_no_group
from faust_redis.stream.batch import entry_position

if TYPE_CHECKING:
    from collections.abc import Sequence

_PAGE: Final = 1000


class StreamTips(NamedTuple):
    """What a stream can still give; ids as (milliseconds, sequence).

    Attributes:
        first: Oldest entry that is still there; None when there is none.
        last: Id of the last entry ever added; (0, 0) when there was none.
        complete: Whether nothing was ever removed from it.
    """

    first: tuple[int, int] | None
    last: tuple[int, int]
    complete: bool


_NOTHING: Final = StreamTips(None, (0, 0), complete=True)


async def stream_tips(client: Client, stream: str) -> StreamTips:
    """Return what a stream can still give; a stream that does not exist is an empty one."""
    try:
        reply = await execute(client, "XINFO", "STREAM", stream)
    except ResponseError as error:
        if is_no_group(error):
            return _NOTHING
        raise
    facts = named(reply)
    entry = facts["first-entry"]
    return StreamTips(
        entry_position(entry[0]) if entry else None,
        entry_position(facts["last-generated-id"]),
        int(facts["entries-added"]) == int(facts["length"]),
    )


def named(reply: Any) -> dict[str, Any]:
    """Return facts by name: RESP2 answers a flat list, RESP3 a map."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {name.decode() if isinstance(name, bytes) else name: value for name, value in pairs}


class StreamReplay:
    """Looks at streams and reads parts of them. Passing errors of Redis are raised.

    Args:
        url: `redis://…`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The client, made when it is first needed: it belongs to the event loop that uses it."""
        if self._client is None:
            self._client = connect(self._url)
        return self._client

    async def tips(self, streams: Sequence[str]) -> list[StreamTips]:
        """Return what each stream can still give."""
        return [await stream_tips(self.client, stream) for stream in streams]

    async def page(
        self, stream: str, after: tuple[int, int], until: tuple[int, int]
    ) -> list[tuple[bytes, list[bytes]]]:
        """Return the first thousand entries of `after < id <= until`; none when there are no more."""
        reply = await execute(
            self.client, "XRANGE", stream, f"({after[0]}-{after[1]}", f"{until[0]}-{until[1]}", "COUNT", _PAGE
        )
        return [(entry[0], entry[1]) for entry in reply or ()]

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await close(client)
