"""Applications that are stopped after the test, and a look at what they left in Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from faust_redis.redis import keys
from faust_redis.stream.versions import FIELD
from telemetry_app.tools.embedded.ports import free_port
from telemetry_app.tools.embedded.valkey import EmbeddedValkey
from tests.conftest import ProxyFactory, ValkeyFactory
from tests.support.servers.server import Server, server_folder, started
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, TABLE, TransportApp, once_each

AppFactory = Callable[..., Awaitable[TransportApp]]

#: How long stopping may take before the test fails; much longer than it should.
STOP_TIMEOUT_S = 30


@pytest.fixture
async def transport_app(
    redis_url: str,
    stream: str,  # noqa: ARG001 - see below
    valkey_factory: ValkeyFactory,  # noqa: ARG001
    tcp_proxy: ProxyFactory,  # noqa: ARG001
) -> AsyncIterator[AppFactory]:
    """Give a coroutine function that starts a `TransportApp`; `ready` waits until it takes records.

    Keys are deleted and servers and proxies end after the applications have stopped, hence the other fixtures.
    """
    started: list[TransportApp] = []
    starting: list[asyncio.Task[None]] = []

    async def make(stream: str, *, url: str = redis_url, ready: bool = True, **options: Any) -> TransportApp:
        app = TransportApp(stream, url, **options)
        started.append(app)
        start = asyncio.create_task(app.start())
        if ready:
            await start
            await eventually(lambda: app.fetching, message="the application takes records")
        else:
            starting.append(start)
        return app

    yield make
    async with asyncio.timeout(STOP_TIMEOUT_S):
        await asyncio.gather(*(app.stop() for app in started))
        await asyncio.gather(*starting)


class Stream:
    """What is in Redis for one stream: published by the test, or left by the applications."""

    def __init__(self, redis: Redis, redis_url: str, name: str) -> None:
        self.redis_url = redis_url
        # Its annotations speak of both kinds of answers, text and bytes.
        self.redis: Any = redis
        self.name = name

    async def publish(self, names: Iterable[str], *, stream: str | None = None) -> list[bytes]:
        """Append one entry for each payload, all of them before anybody can read one."""
        async with self.redis.pipeline(transaction=True) as pipeline:
            for name in names:
                pipeline.xadd(stream or self.name, {"payload": name})
            ids: list[bytes] = await pipeline.execute()
        return ids

    async def pending(self, stream: str | None = None) -> int:
        """Return how many entries were delivered and not acknowledged."""
        summary = await self.redis.xpending(stream or self.name, GROUP)
        return int(summary["pending"])

    async def deliveries(self) -> dict[bytes, int]:
        """Return the number of deliveries of each pending entry."""
        entries = await self.redis.xpending_range(self.name, GROUP, "-", "+", 10_000)
        return {entry["message_id"]: entry["times_delivered"] for entry in entries}

    async def state(self, stream: str | None = None) -> dict[str, int]:
        """Return the table as it is stored."""
        stored = await self.redis.hgetall(keys.state(stream or self.name, GROUP, TABLE))
        return {
            key.decode(): msgspec.msgpack.decode(value) for key, value in stored.items() if not key.startswith(b"\x00")
        }

    async def version(self, stream: str | None = None) -> bytes:
        """Return the version of the table as it is stored."""
        return await self.redis.hget(keys.state(stream or self.name, GROUP, TABLE), FIELD) or b""

    async def dead(self) -> list[dict[bytes, bytes]]:
        """Return the fields of the dead letters."""
        return [fields for _, fields in await self.redis.xrange(keys.dead_letters(self.name))]

    async def committed(self, names: Iterable[str], *, timeout_s: float = 30) -> None:
        """Wait until exactly these records were counted, each once, and nothing is pending."""
        expected = once_each(names)

        async def stands() -> bool:
            return await self.state() == expected and not await self.pending()

        await eventually(stands, timeout_s=timeout_s, message=f"{len(expected)} records are counted once")

    @property
    def lease(self) -> str:
        return keys.lease(self.name, GROUP)


@pytest.fixture
def records(redis: Redis, redis_url: str, stream: str) -> Stream:
    return Stream(redis, redis_url, stream)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster_server() -> AsyncIterator[Server]:
    """The Redis Cluster of all tests, one node with all slots; it answers nothing for two seconds after its start."""
    ports = ("--cluster-port", str(free_port()))
    with started(EmbeddedValkey(server_folder(), extra_args=("--cluster-enabled", "yes", *ports))) as server:
        async with Redis.from_url(server.url) as redis:
            client: Any = redis
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)

            async def is_up() -> bool:
                return bool(b"cluster_state:ok" in await client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True))

            await eventually(is_up)
        yield server


@pytest.fixture
async def cluster(cluster_server: Server) -> AsyncIterator[Stream]:
    """A stream in that cluster, which holds nothing else."""
    async with Redis.from_url(cluster_server.url) as redis:
        await redis.flushall()
        yield Stream(redis, cluster_server.url.replace("redis://", "redis+cluster://"), "s")
