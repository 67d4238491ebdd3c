"""Streams of several partitions with everything that can lie in them, and a look at what is where."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest
from redis.exceptions import ResponseError

from faust_redis import RedisOptions, Repartitioning
from faust_redis.partitions import discovery
from faust_redis.partitions.change import Outcome
from faust_redis.redis import keys
from faust_redis.redis.client import Client, close, connect
from faust_redis.redis.replies import streams
from tests.transport.conftest import Stream, cluster

__all__ = ["cluster"]

GROUP, TABLE = "group", "counts"
TTL_MS = 500


def key_of(fields: Sequence[bytes]) -> bytes:
    return dict(zip(fields[::2], fields[1::2], strict=True)).get(b"key", b"")


def add(one: bytes, other: bytes) -> bytes:
    return b"%d" % (int(one) + int(other))


class Topic:
    """A topic and what its group has not done with.

    Attributes:
        client: Redis.
        name: Name of the topic.
    """

    def __init__(self, client: Client, name: str) -> None:
        self.client: Any = client
        self.name = name

    def streams(self, partitions: int) -> list[str]:
        return [keys.partition_stream(self.name, number, partitions) for number in range(partitions)]

    def stream_of(self, key: str, partitions: int) -> str:
        return keys.partition_stream(self.name, keys.partition_of(key.encode(), partitions), partitions)

    async def append(self, key: str, value: str, partitions: int) -> str:
        """Append an entry to the stream of its key."""
        entry_id = await self.client.execute_command(
            "XADD", self.stream_of(key, partitions), "*", "key", key, "payload", value
        )
        return str(entry_id.decode())

    async def fill(self, partitions: int, devices: int = 20) -> dict[str, list[str]]:
        """Leave entries that are done with, pending and unread ones, dead letters and counts; return those to be done.

        Each key has two entries that are done with, two pending, three unread, one dead letter, and its count.
        """
        names = [f"d{number}" for number in range(devices)]
        for name in names:
            for value in ("done 0", "done 1"):
                await self.append(name, value, partitions)
        await self.read(partitions, acknowledge=True)
        for value in ("pending 0", "pending 1"):
            for name in names:
                await self.append(name, value, partitions)
        await self.read(partitions, acknowledge=False)
        for name in names:
            for value in ("unread 0", "unread 1", "unread 2"):
                await self.append(name, value, partitions)
            stream = self.stream_of(name, partitions)
            letter = ("key", name, "payload", "dead", "reason", "bad", "attempts", 5, "original_id", "1-1")
            await self.client.execute_command("XADD", keys.dead_letters(stream), "*", *letter)
            await self.client.hset(keys.state(stream, GROUP, TABLE), mapping={name: 2, b"\x00version": b"7 token/3"})
        return {name: ["pending 0", "pending 1", "unread 0", "unread 1", "unread 2"] for name in names}

    async def read(self, partitions: int, *, acknowledge: bool) -> None:
        """Deliver what there is to somebody."""
        for stream in self.streams(partitions):
            with contextlib.suppress(ResponseError):  # the second time
                await self.client.xgroup_create(stream, GROUP, "0", mkstream=True)
            reply = await self.client.execute_command(
                "XREADGROUP", "GROUP", GROUP, "reader", "COUNT", 10_000, "STREAMS", stream, ">"
            )
            for _, entries in streams(reply):
                if acknowledge:
                    await self.client.xack(stream, GROUP, *(entry_id for entry_id, _ in entries))

    async def to_be_done(self, partitions: int) -> dict[str, list[str]]:
        """Return the values that each key has left, in order; fails where an entry is in a stream not its own."""
        found: dict[str, list[str]] = {}
        for stream in self.streams(partitions):
            for fields in [*await self._pending(stream), *await self._unread(stream)]:
                key = fields[1].decode()
                assert self.stream_of(key, partitions) == stream
                found.setdefault(key, []).append(fields[3].decode())
        return found

    async def _unread(self, stream: str) -> list[list[bytes]]:
        start = "-"
        if await self.client.exists(stream):
            for group in await self.client.xinfo_groups(stream):
                if group["name"] == GROUP.encode():
                    start = f"({group['last-delivered-id'].decode()}"
        return [fields for _, fields in await self.client.execute_command("XRANGE", stream, start, "+")]

    async def _pending(self, stream: str) -> list[list[bytes]]:
        if not await self.client.exists(stream) or not await self.client.xinfo_groups(stream):
            return []
        waiting = await self.client.xpending_range(stream, GROUP, "-", "+", 10_000)
        ids = [one["message_id"] for one in waiting]
        return [(await self.client.execute_command("XRANGE", stream, i, i))[0][1] for i in ids]

    async def letters(self, partitions: int) -> Counter[str]:
        """Return how many dead letters each key has where they belong."""
        found = Counter[str]()
        for stream in self.streams(partitions):
            for _, fields in await self.client.execute_command("XRANGE", keys.dead_letters(stream), "-", "+"):
                assert self.stream_of(fields[1].decode(), partitions) == stream
                assert fields[4:] == [b"reason", b"bad", b"attempts", b"5", b"original_id", b"1-1"]
                found[fields[1].decode()] += 1
        return found

    async def counts(self, partitions: int) -> dict[str, int]:
        """Return the table as it is where it belongs."""
        found: dict[str, int] = {}
        for stream in self.streams(partitions):
            stored: Mapping[bytes, bytes] = await self.client.hgetall(keys.state(stream, GROUP, TABLE))
            for key, value in stored.items():
                if not key.startswith(b"\x00"):
                    assert self.stream_of(key.decode(), partitions) == stream
                    found[key.decode()] = int(value)
        return found

    async def change(
        self,
        partitions: int,
        *,
        distributed: bool = False,
        client: Any = None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Outcome:
        """Change the number of partitions."""
        repartitioning = Repartitioning(
            client or self.client,
            self.name,
            group=GROUP,
            options=RedisOptions(instance_id="command", lease_ttl_ms=TTL_MS),
            tables={TABLE: add},
            key_of=key_of,
            broadcast_prefix="live-",
            distributed=distributed,
        )
        return await repartitioning.to(partitions, progress)

    async def expire_leases(self) -> None:
        """Let leases end that nobody renews."""
        if leases := [name for name in await self.names() if ":lease:" in name]:
            await self.client.unlink(*leases)

    async def clear(self) -> None:
        """Remove everything."""
        for name in await self.names():  # one by one, since a cluster has them in different slots
            await self.client.unlink(name)

    async def names(self) -> set[str]:
        """Return all keys of the topic."""
        found = await self.client.keys(f"*{self.name}*")
        return {name.decode() for name in found}


async def require_all(topic: Topic, before: dict[str, list[str]], partitions: int) -> None:
    """Fail unless everything is where it belongs, once and in order, and nothing is left of the change."""
    assert await topic.to_be_done(partitions) == before
    assert await topic.letters(partitions) == dict.fromkeys(before, 1)
    assert await topic.counts(partitions) == dict.fromkeys(before, 2)
    assert await topic.client.get(keys.partitions(topic.name)) == b"%d" % partitions
    assert [name for name in await topic.names() if "moving" in name or "lease" in name] == []


@pytest.fixture
async def topic(redis_url: str, stream: str) -> AsyncIterator[Topic]:
    client = connect(redis_url)
    yield Topic(client, stream)
    await close(client)


@pytest.fixture
async def clustered(cluster: Stream) -> AsyncIterator[Topic]:
    """A topic in a Redis Cluster, where commands and scripts may touch one slot only."""
    client = connect(cluster.redis_url)
    yield Topic(client, "s")
    await close(client)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at a few streams only, in tests that change the number again and again."""
    monkeypatch.setattr(discovery, "MOST", 4)
