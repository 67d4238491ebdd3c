"""A Redis Cluster of three masters, each with a replica."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, Self

from redis.asyncio import Redis
from redis.exceptions import RedisError

from faust_redis.redis.client import execute
from telemetry_app.tools.embedded.ports import free_port
from telemetry_app.tools.embedded.valkey import EmbeddedValkey
from tests.support.servers.server import server_folder
from tests.support.waiting import eventually

_SLOTS: Final = 16384
_MASTERS: Final = 3
#: Busy machines start servers, and notice that one is gone, slowly.
_PATIENCE_S: Final = 60


class Cluster:
    """Six servers; a context manager that ends them and deletes their files.

    Attributes:
        nodes: All of them; at the start the first three are masters and the last three their replicas.
    """

    def __init__(self) -> None:
        self._servers = ExitStack()
        self.nodes: list[EmbeddedValkey] = []

    @property
    def url(self) -> str:
        """The address of one node, from which clients learn the others."""
        return self.nodes[-1].url.replace("redis://", "redis+cluster://")

    async def __aenter__(self) -> Self:
        with self._servers:
            for _ in range(2 * _MASTERS):
                self.nodes.append(await asyncio.to_thread(self._start))
            await self._join()
            self._servers = self._servers.pop_all()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await asyncio.to_thread(self._servers.close)

    async def master_of(self, key: str) -> EmbeddedValkey | None:
        """Return the server that has a key, as the others know; None while they do not."""
        for node in self.nodes:
            try:
                slot = await ask(node, "CLUSTER", "KEYSLOT", key)
                ranges = await ask(node, "CLUSTER", "SLOTS")
            except (RedisError, OSError):
                continue
            port = next((master[1] for first, last, master, *_ in ranges if first <= slot <= last), None)
            return next((node for node in self.nodes if node.port == port), None)
        return None

    async def in_sync(self) -> None:
        """Wait until every slot has a master, and each master a replica that follows it."""
        await eventually(self._is_whole, timeout_s=_PATIENCE_S, message="the cluster is whole")

    def _start(self) -> EmbeddedValkey:
        options = {
            "cluster-enabled": "yes", "cluster-port": str(free_port()), "cluster-node-timeout": "2000",
            "cluster-replica-validity-factor": "0", "appendonly": "yes", "repl-diskless-sync-delay": "0",
        }  # fmt: skip
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        server = EmbeddedValkey(server_folder(), extra_args=words)
        self._servers.callback(server.discard)
        server.start()
        return server

    async def _join(self) -> None:
        masters, replicas = self.nodes[:_MASTERS], self.nodes[_MASTERS:]
        bounds = [_SLOTS * number // _MASTERS for number in range(_MASTERS + 1)]
        first = self.nodes[0]
        bus = int((await ask(first, "CONFIG", "GET", "cluster-port"))[1])
        for number, master in enumerate(masters):
            await ask(master, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            await ask(master, "CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
        for node in self.nodes[1:]:
            await ask(node, "CLUSTER", "MEET", "127.0.0.1", first.port, bus)
        for node in self.nodes:
            await eventually(partial(self._knows_all, node), timeout_s=_PATIENCE_S, message="all have met")
        for master, replica in zip(masters, replicas, strict=True):
            await ask(replica, "CLUSTER", "REPLICATE", await ask(master, "CLUSTER", "MYID"))
        await self.in_sync()

    async def _knows_all(self, node: EmbeddedValkey) -> bool:
        lines = (await ask(node, "CLUSTER", "NODES")).decode().splitlines()
        return len(lines) == len(self.nodes) and not any("handshake" in line for line in lines)

    async def _is_whole(self) -> bool:
        followed = 0
        for node in self.nodes:
            if b"cluster_state:ok" not in await ask(node, "CLUSTER", "INFO"):
                return False
            role = await ask(node, "ROLE")
            followed += role[0] == b"slave" and role[3] == b"connected"
        return followed == _MASTERS


async def ask(node: EmbeddedValkey, *command: Any) -> Any:
    """Send one command to one node and return its reply as it is."""
    async with Redis(port=node.port, socket_timeout=20, protocol=2) as redis:
        # In words of their own the client knows no shape of the reply.
        return await execute(redis, *command, NEVER_DECODE=True)
