"""What each kind of fault does, to workers and to what they depend on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from faust_redis.redis import keys
from faust_redis.redis.replies import text
from telemetry_app.tools.embedded.server import EmbeddedServer
from telemetry_app.tools.embedded.worker import COMMAND, WorkerProcess
from tests.chaos import mutations
from tests.chaos.schedule import Fault
from tests.chaos.servers import PATIENCE_S, Servers
from tests.chaos.traffic import GROUP, PARTITIONS, STREAM
from tests.support.servers.proxy import Direction
from tests.support.waiting import eventually

PROJECT: Final = Path(__file__).parents[2]
#: Several start at once, on a machine that is busy with faults.
START_TIMEOUT_S: Final = 150
#: A worker that stops while nothing answers takes its time.
STOP_TIMEOUT_S: Final = 60
#: In this time a worker that has anything to do sends something.
_SENDS_S: Final = 3.0
#: Part of a key that these scripts have.
_COMMIT, _APPEND = b":dead", b":distribution"


class Workers:
    """The worker processes, by their places.

    Attributes:
        running: Those that are meant to run.
        exits: Exit codes of those that were told to stop.
        logs: Log of every one there was.
    """

    def __init__(
        self, servers: Servers, database_url: str, folder: Path, *, producer: str, without: str | None = None
    ) -> None:
        self.running: dict[int, WorkerProcess] = {}
        self.exits: list[int] = []
        self.logs: list[Path] = []
        self._servers = servers
        self._folder = folder
        self._command = COMMAND if without is None else mutations.command(without)
        inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
        self._env: Mapping[str, str] = {
            **inherited,
            "REDIS_TELEMETRY_STREAM": STREAM,
            "REDIS_TELEMETRY_PARTITIONS": str(PARTITIONS),
            "REDIS_TELEMETRY_PRODUCER": producer,
            "POSTGRES_URL": database_url,
            "ROLES": "write",
            "LEASE_TTL_MS": "1500",
            "BATCH_SIZE": "200",
            "DEAD_LETTER_AFTER": "1",
        }

    def start(self, slot: int) -> None:
        """Start a worker in a place."""
        log = self._folder / f"worker-{slot}-{len(self.logs)}.log"
        env = {**self._env, "REDIS_URL": self._servers.redis_url(slot), "INSTANCE_ID": log.stem}
        worker = WorkerProcess(env, log, cwd=PROJECT, command=self._command)
        worker.start()
        self.logs.append(log)
        self.running[slot] = worker

    async def stop(self, slot: int) -> None:
        """Tell a worker to stop, and keep its exit code; not before it is ready, since Python just dies of a signal."""
        worker = self.running.pop(slot)
        try:
            await worker.wait_ready(START_TIMEOUT_S)
            self.exits.append(await worker.stop(timeout_s=STOP_TIMEOUT_S))
        finally:
            worker.kill()

    def slot_of(self, instance_id: str) -> int | None:
        """Return the place of a running worker, by its name; None when none has it."""
        return next((slot for slot, w in self.running.items() if w.env["INSTANCE_ID"] == instance_id), None)

    def kill(self) -> None:
        """End whatever still runs."""
        for worker in self.running.values():
            worker.kill()


class Faults:
    """Lets faults happen, one at a time for each target."""

    def __init__(self, servers: Servers, workers: Workers) -> None:
        self._servers = servers
        self._workers = workers
        self._kinds: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "kill worker": self._kill_worker,
            "pause worker": self._pause_worker,
            "strand worker": self._strand_worker,
            "overtake worker": self._overtake_worker,
            "restart worker": self._restart_worker,
            "add worker": self._add_worker,
            "remove worker": self._remove_worker,
            "drop clients": self._drop_clients,
            "stop postgres": self._stop_postgres,
            "cut connections": self._cut,
            "stall to server": self._stall,
            "stall to client": self._stall,
            "stall some": self._stall_some,
            "restart redis": self._restart_redis,
            "kill redis": self._kill_redis,
            "fail over": self._fail_over,
            "kill distributor": self._kill_distributor,
            "pause distributor": self._pause_distributor,
            "strand distributor": self._strand_distributor,
        }

    async def happen(self, fault: Fault) -> None:
        """Let a fault happen, and be over."""
        await self._kinds[fault.kind](fault)

    async def _kill_worker(self, fault: Fault) -> None:
        await asyncio.to_thread(self._workers.running[fault.slot].kill)
        await asyncio.sleep(fault.lasts_s)
        self._workers.start(fault.slot)

    async def _pause_worker(self, fault: Fault) -> None:
        worker = self._workers.running[fault.slot]
        worker.require_alive()
        worker.pause()
        await asyncio.sleep(fault.lasts_s)
        worker.resume()

    async def _strand_worker(self, fault: Fault) -> None:
        await self._hold(fault, _COMMIT, alone=False)

    async def _overtake_worker(self, fault: Fault) -> None:
        await self._hold(fault, _COMMIT, alone=True)

    async def _hold(self, fault: Fault, key: bytes, *, alone: bool) -> None:
        """Hold on its way what a worker sends about a key, alone or with all that comes after; then let it arrive."""
        proxy = self._servers.proxies[fault.slot]
        proxy.holds = lambda piece: key in piece
        with contextlib.suppress(AssertionError):  # it has nothing to do
            await eventually(lambda: proxy.holds is None, timeout_s=_SENDS_S)
        proxy.holds = None
        if not alone:
            proxy.stall("to server")
        await asyncio.sleep(fault.lasts_s)
        proxy.flow()

    async def _kill_distributor(self, fault: Fault) -> None:
        await self._kill_worker(await self._at_distributor(fault))

    async def _pause_distributor(self, fault: Fault) -> None:
        await self._pause_worker(await self._at_distributor(fault))

    async def _strand_distributor(self, fault: Fault) -> None:
        await self._hold(await self._at_distributor(fault), _APPEND, alone=False)

    async def _at_distributor(self, fault: Fault) -> Fault:
        """Return the fault with the place of the worker that holds the plain stream's lease, when one does."""

        async def found() -> Fault | None:
            token = None
            with contextlib.suppress(RedisError, OSError):  # what happens to Redis meanwhile happens to this, too
                async with Redis.from_url(self._servers.primary.url) as redis:
                    token = await redis.get(keys.lease(STREAM, GROUP))
            slot = self._workers.slot_of(text(token).rpartition("#")[0]) if token else None
            return None if slot is None else fault._replace(slot=slot)

        return cast("Fault", await eventually(found, timeout_s=PATIENCE_S, message="a worker distributes"))

    async def _restart_worker(self, fault: Fault) -> None:
        await self._workers.stop(fault.slot)
        await asyncio.sleep(fault.lasts_s)
        self._workers.start(fault.slot)

    async def _add_worker(self, fault: Fault) -> None:
        self._workers.start(fault.slot)

    async def _remove_worker(self, fault: Fault) -> None:
        await self._workers.stop(fault.slot)

    async def _drop_clients(self, _fault: Fault) -> None:
        await self._servers.drop_clients()

    async def _stop_postgres(self, fault: Fault) -> None:
        await asyncio.to_thread(self._servers.postgres.stop)
        await asyncio.sleep(fault.lasts_s)
        await asyncio.to_thread(self._servers.postgres.start)

    async def _cut(self, _fault: Fault) -> None:
        for proxy in self._servers.proxies:
            proxy.cut()

    async def _stall(self, fault: Fault) -> None:
        direction = cast("Direction", fault.kind.removeprefix("stall "))
        for proxy in self._servers.proxies:
            proxy.stall(direction)
        await self._flow_after(fault.lasts_s)

    async def _stall_some(self, fault: Fault) -> None:
        draw = random.Random(fault.lasts_s)
        for proxy in self._servers.proxies:
            proxy.stall_some(lambda: draw.random() < 1 / 2)
        await self._flow_after(fault.lasts_s)

    async def _flow_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        for proxy in self._servers.proxies:
            proxy.flow()

    async def _restart_redis(self, fault: Fault) -> None:
        await self._servers.restart(EmbeddedServer.stop, fault.lasts_s)

    async def _kill_redis(self, fault: Fault) -> None:
        await self._servers.restart(EmbeddedServer.kill, fault.lasts_s)

    async def _fail_over(self, _fault: Fault) -> None:
        await self._servers.fail_over()
