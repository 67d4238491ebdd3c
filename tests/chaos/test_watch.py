"""The watch over who writes names those who did something after they had been succeeded, and nobody else."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from redis.asyncio import Redis

from faust_redis.redis.client import Script, execute
from telemetry_app.tools.embedded.valkey import EmbeddedValkey
from tests.chaos.watch import Watch
from tests.conftest import ValkeyFactory
from tests.support.waiting import eventually

LEASE, STREAM, DEAD, KNOWN = "{s}:lease:g", "s", "{s}:dead", "{s}:distribution"
#: Like a commit: one that looks at its lease, and one that does not.
CHECKED = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('XACK', KEYS[2], 'g', '1-1') end"
UNCHECKED = "redis.call('TYPE', KEYS[2]) redis.call('XACK', KEYS[2], 'g', '1-1')"
#: Like a look at how far the group is, which nobody needs the lease for.
LOOK = "redis.call('XLEN', KEYS[2]) redis.call('GET', KEYS[1])"
#: Like a distributor: one that is told of a greater epoch, and one that does not ask.
FENCED = "redis.call('HGET', KEYS[2], 'epoch')"
UNFENCED = "redis.call('HGET', KEYS[2], 'epoch') redis.call('HSET', KEYS[2], 'epoch', ARGV[1])"


class Writers:
    """Do to a server what workers do, and tell what the watch makes of it."""

    def __init__(self, redis: Redis, watch: Watch) -> None:
        self.redis = redis
        self._watch = watch

    async def ask(self, token: str) -> None:
        """Ask for the lease."""
        await execute(self.redis, "SET", LEASE, token, "NX", "PX", 60_000)

    async def commit(self, source: str, token: str) -> None:
        """Run a script under the lease."""
        await Script(self.redis, source)([LEASE, STREAM, DEAD], [token])

    async def look(self, token: str) -> None:
        """Run a script that does not commit."""
        await Script(self.redis, LOOK)([LEASE, STREAM], [token])

    async def append(self, source: str, epoch: int) -> None:
        """Run a script of a distributor."""
        await Script(self.redis, source)([STREAM, KNOWN], [epoch])

    async def late(self, number: int) -> list[tuple[str, bool]]:
        """Return who was late, as soon as there are so many, and whether they got further than their first look."""

        async def found() -> bool:
            await self.redis.ping()
            return len(self._watch.late()) >= number

        await eventually(found)
        return [(event.writer, event.passed) for event in self._watch.late()]


@contextlib.asynccontextmanager
async def watched(server: EmbeddedValkey, watch: Watch) -> AsyncIterator[Writers]:
    """Connect to a server that the watch listens to."""
    async with Redis.from_url(server.url) as redis:

        async def is_listened_to() -> bool:
            return any(client["flags"] == "O" for client in await redis.client_list())

        await eventually(is_listened_to)
        yield Writers(redis, watch)


async def test_a_former_owner_is_late(valkey_factory: ValkeyFactory) -> None:
    """From where its successor has got the lease all that it commits is late; who did not get it succeeds nobody."""
    server, watch = valkey_factory(), Watch()
    async with watch.following(server.port), watched(server, watch) as writers:
        await writers.ask("a#1")
        await writers.commit(CHECKED, "a#1")
        await writers.ask("b#1")
        await writers.commit(UNCHECKED, "a#1")
        await execute(writers.redis, "DEL", LEASE)
        await writers.ask("c#1")
        await writers.commit(UNCHECKED, "a#1")
        await writers.commit(CHECKED, "c#1")
        await writers.look("a#1")
        await writers.commit(CHECKED, "a#1")
        await writers.commit(CHECKED, "c#1")
        assert await writers.late(2) == [("a#1", True), ("a#1", False)]


async def test_a_former_distributor_is_late(valkey_factory: ValkeyFactory) -> None:
    """A partition that a greater epoch has written to has another distributor; and a restart of Redis is survived."""
    server, watch = valkey_factory(appendonly=True), Watch()
    async with watch.following(server.port):
        async with watched(server, watch) as writers:
            await writers.append(UNFENCED, 9)
            await writers.append(UNFENCED, 10)
        server.stop()
        server.start()
        async with watched(server, watch) as writers:
            await writers.append(FENCED, 9)
            await writers.append(UNFENCED, 9)
            await writers.append(UNFENCED, 10)
            assert await writers.late(2) == [("9", False), ("9", True)]
