"""Which streams of a topic there are, whatever number of partitions they are of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from faust_redis.redis import keys
from faust_redis.redis.client import Client, execute, execute_all
from faust_redis.redis.errors import Misconfigured
from faust_redis.redis.replies import facts, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Most partitions that a topic may have.
MOST: Final = 1024
#: Leases must be renewed between two answers.
_ASKED_AT_ONCE: Final = 200


async def kinds(client: Client, names: Sequence[str]) -> dict[str, str]:
    """Return the type of each key that exists."""
    found: dict[str, str] = {}
    for first in range(0, len(names), _ASKED_AT_ONCE):
        some = names[first : first + _ASKED_AT_ONCE]
        kinds_of_some = map(text, await execute_all(client, [("TYPE", name) for name in some]))
        found.update((name, kind) for name, kind in zip(some, kinds_of_some, strict=True) if kind != "none")
    return found


async def numbered(client: Client, topic: str) -> list[int]:
    """Return the numbers of the partition streams that exist, ascending."""
    found = await kinds(client, [f"{topic}:{number}" for number in range(MOST)])
    return [int(name.rpartition(":")[2]) for name, kind in found.items() if kind == "stream"]


async def group_of(client: Client, stream: str, group: str) -> dict[str, Any] | None:
    """Return what Redis says of a group of a stream; None when there is no such group."""
    for info in await execute(client, "XINFO", "GROUPS", stream):
        said = facts(info)
        if text(said["name"]) == group:
            return said
    return None


async def other_number(client: Client, topic: str, group: str, wanted: int) -> int | None:
    """Return of how many partitions a topic's streams are when that is another number than the one wanted.

    Streams come into being with their first entry and are read from when a worker takes them. So fewer streams may be
    of more partitions unless somebody has read them.
    """
    numbers = await numbered(client, topic)
    if wanted > 1 and not numbers and await _is_read(client, topic, group):
        return 1
    if numbers and (wanted == 1 or numbers[-1] >= wanted):
        return numbers[-1] + 1
    read = [n for n in numbers if await _is_read(client, f"{topic}:{n}", group)]
    return read[-1] + 1 if read and read[-1] + 1 < wanted else None


async def _is_read(client: Client, stream: str, group: str) -> bool:
    """Tell whether the group has been made on a stream, which is when a worker takes it."""
    return (await kinds(client, [stream])).get(stream) == "stream" and bool(await group_of(client, stream, group))


async def streams_with_anything(client: Client, topic: str, group: str, tables: Iterable[str]) -> list[str]:
    """Return the streams of which there are entries, dead letters or states.

    Raises:
        Misconfigured: One of these keys is of another type.
    """
    streams = (topic, *(f"{topic}:{number}" for number in range(MOST)))
    wanted = {stream: kinds_of(stream, group, tables) for stream in streams}
    found = await kinds(client, [name for of_stream in wanted.values() for name in of_stream])
    for of_stream in wanted.values():
        if misplaced := misplaced_among(of_stream, found):
            raise Misconfigured(misplaced)
    return [stream for stream, of_stream in wanted.items() if of_stream.keys() & found.keys()]


def kinds_of(stream: str, group: str, tables: Iterable[str]) -> dict[str, str]:
    """Return the keys of a partition and of which type each is, if it is there."""
    states = {keys.state(stream, group, table): "hash" for table in tables}
    return {stream: "stream", keys.dead_letters(stream): "stream", **states}


def misplaced_among(wanted: Mapping[str, str], found: Mapping[str, str]) -> str | None:
    """Return which key is of another type than wanted, in a sentence; None when none is."""
    for name, kind in wanted.items():
        if found.get(name, kind) != kind:
            return f"{name} should be a {kind} and is a {found[name]}"
    return None
