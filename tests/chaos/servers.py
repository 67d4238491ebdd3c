"""Redis with a replica behind one address that can break, and a database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from faust_redis.redis.client import execute
from telemetry_app.tools.embedded.postgres import EmbeddedPostgres
from telemetry_app.tools.embedded.valkey import EmbeddedValkey
from tests.chaos.schedule import SLOTS
from tests.support.servers.proxy import TcpProxy
from tests.support.servers.server import TEST_SETTINGS, server_folder
from tests.support.waiting import eventually

#: What was answered survives a kill; and a replica is served at once.
REDIS_SETTINGS: Final = ("--appendfsync", "always", "--repl-diskless-sync-delay", "0", "--repl-timeout", "10")
#: Busy machines start servers slowly.
PATIENCE_S: Final = 60


class Servers:
    """What the workers depend on.

    Attributes:
        primary: The Redis that takes writes; another one after a failover.
        replica: The Redis that follows it.
        proxies: The workers' ways to the primary, by their places.
        postgres: The database server.
    """

    def __init__(self, primary: EmbeddedValkey, replica: EmbeddedValkey, postgres: EmbeddedPostgres) -> None:
        self.primary = primary
        self.replica = replica
        self.postgres = postgres
        self.proxies = [TcpProxy("127.0.0.1", primary.port) for _ in range(SLOTS)]

    def redis_url(self, slot: int) -> str:
        """Return where the worker in a place finds Redis."""
        return f"redis://127.0.0.1:{self.proxies[slot].port}/0"

    async def follow(self) -> None:
        """Let the replica follow the primary, and wait until it does."""
        async with Redis.from_url(self.replica.url) as redis:
            await redis.replicaof("127.0.0.1", str(self.primary.port))
        await self.in_sync()

    async def in_sync(self) -> None:
        """Wait until the replica is connected to the primary."""

        async def follows() -> bool:
            async with Redis.from_url(self.primary.url) as redis:
                info = await redis.info("replication")
            return bool(info.get("slave0", {}).get("state") == "online")

        await eventually(follows, timeout_s=PATIENCE_S, message="the replica follows")

    async def drop_clients(self) -> None:
        """Close every connection on the server's side."""
        async with Redis.from_url(self.primary.url) as redis:
            await redis.client_kill_filter(_type="normal", skipme=True)

    async def restart(self, end: Callable[[EmbeddedValkey], None], down_s: float) -> None:
        """End the primary, in order or not, and start it again with its data."""
        await asyncio.to_thread(end, self.primary)
        await asyncio.sleep(down_s)
        await asyncio.to_thread(self.primary.start)

    async def fail_over(self) -> None:
        """Make the replica the primary; Redis holds writes until it has them all, so that none is lost."""
        await self.in_sync()
        async with Redis.from_url(self.primary.url) as redis:
            await execute(redis, "FAILOVER", "TO", "127.0.0.1", self.replica.port)
        await eventually(self._has_changed, timeout_s=PATIENCE_S, message="the replica is the primary")
        self.primary, self.replica = self.replica, self.primary
        for proxy in self.proxies:
            proxy.retarget("127.0.0.1", self.primary.port)
            proxy.cut()

    async def _has_changed(self) -> bool:
        try:
            async with Redis.from_url(self.replica.url) as new, Redis.from_url(self.primary.url) as old:
                roles = [(await execute(redis, "ROLE"))[0] for redis in (new, old)]
        except (RedisError, OSError):
            return False
        return roles == [b"master", b"slave"]


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Servers]:
    """Start everything, and leave nothing behind."""
    redis = [EmbeddedValkey(server_folder(), appendonly=True, extra_args=REDIS_SETTINGS) for _ in range(2)]
    postgres = EmbeddedPostgres(server_folder(), settings=TEST_SETTINGS)
    everything = (*redis, postgres)
    try:
        for server in everything:
            await asyncio.to_thread(server.start)
        servers = Servers(redis[0], redis[1], postgres)
        await servers.follow()
        async with contextlib.AsyncExitStack() as proxies:
            for proxy in servers.proxies:
                await proxies.enter_async_context(proxy)
            yield servers
    finally:
        for server in everything:
            await asyncio.to_thread(server.discard)
