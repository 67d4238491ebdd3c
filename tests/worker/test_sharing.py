"""Workers share the partitions: who holds which, what a move leaves alone, and what those without one answer."""

from __future__ import annotations

import json
import re
import socket
import uuid
from collections import Counter
from functools import partial
from typing import Any
from zlib import crc32

import aiohttp
import pytest

from faust_redis.redis import keys
from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.support.waiting import eventually
from tests.worker.conftest import GROUP, STEADY, Pipeline, StartWorker, record, until_counted
from tests.worker.spectators import TABLES

PARTITIONS = 8
PATIENCE_S = 60


class Sharded:
    """A stream of eight partitions, whose records a producer puts where they belong."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.streams = [keys.partition_stream(pipeline.stream, n, PARTITIONS) for n in range(PARTITIONS)]
        self.published = 0

    async def publish(self) -> None:
        """Append a record of each of fifty devices."""
        self.published += 1
        for device in range(50):
            payload = record(device, self.published)
            stream = self.streams[crc32(payload["device_id"].encode()) % PARTITIONS]
            await self._pipeline.publish([payload], stream)

    async def owners(self) -> list[str | None]:
        """Return who holds each partition."""
        tokens: list[Any] = [await self._pipeline.redis.get(keys.lease(stream, GROUP)) for stream in self.streams]
        return [token.decode().rpartition("#")[0] if token else None for token in tokens]

    async def spread_over(self, names: str) -> bool:
        """Tell whether the workers of these names, and no others, hold all partitions, with at most one more."""
        held = Counter(await self.owners())
        return held.keys() == set(names) and max(held.values()) - min(held.values()) <= 1

    async def counted(self) -> bool:
        """Tell whether every record is counted once in the states."""
        states = [state for stream in self.streams for state in (await self._pipeline.states(stream)).values()]
        return [state.count for state in states] == [self.published] * 50


def logged(worker: WorkerProcess) -> list[dict[str, Any]]:
    """Return the lines of a worker's log."""
    return [json.loads(line) for line in worker.log_path.read_text().splitlines() if line.startswith("{")]


def loads(worker: WorkerProcess) -> Counter[str]:
    """Return how often the worker that wrote this log has loaded the state of each stream."""
    said = (line["event"] for line in logged(worker) if line["event"].startswith("loaded "))
    return Counter(event.rpartition("{")[2].partition("}")[0] for event in said)


async def test_a_move_leaves_alone_what_stays(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """With one, two, four and one worker the spread is even, and who keeps a partition never loads it again."""
    sharded = Sharded(pipeline)
    settings = {"REDIS_TELEMETRY_PARTITIONS": str(PARTITIONS), "REDIS_TELEMETRY_PRODUCER": "sharded", **STEADY}
    workers: list[WorkerProcess] = []
    stayed = set(sharded.streams)
    for names in ("a", "ab", "abcd"):
        workers += [start_worker(INSTANCE_ID=name, **settings) for name in names[len(workers) :]]
        await eventually(partial(sharded.spread_over, names), timeout_s=PATIENCE_S, message=f"{names} share")
        stayed &= {s for s, owner in zip(sharded.streams, await sharded.owners(), strict=True) if owner == "a"}
        await sharded.publish()
        await eventually(sharded.counted, timeout_s=PATIENCE_S)
    for worker in workers[1:]:
        assert await worker.stop() == 0
        await sharded.publish()
    await eventually(partial(sharded.spread_over, "a"), timeout_s=PATIENCE_S, message="one has all")
    await eventually(sharded.counted, timeout_s=PATIENCE_S)
    assert len(stayed) == PARTITIONS / 4
    loaded = loads(workers[0])
    assert [loaded[stream] for stream in stayed] == [1] * len(stayed)
    assert all(loaded[stream] >= 2 for stream in set(sharded.streams) - stayed)


async def readiness(worker: WorkerProcess) -> tuple[int, dict[str, Any]]:
    """Return status and body; 0 while nobody answers."""
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{worker.metrics_url}/readyz") as answer:
            return answer.status, await answer.json()
    except aiohttp.ClientConnectionError:
        return 0, {"checks": {}}


async def test_readiness_says_why_and_who_stands_by(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """A worker that may not run scripts says so until it may; a second one is ready and says that it stands by."""
    user = f"user-{uuid.uuid4().hex}"
    redis: Any = pipeline.redis
    await redis.execute_command("ACL", "SETUSER", user, "on", "nopass", "~*", "&*", "+@all", "-evalsha")
    try:
        url = pipeline.env["REDIS_URL"].replace("redis://", f"redis://{user}:x@")
        worker = start_worker(REDIS_URL=url)

        async def why() -> str:
            status, body = await readiness(worker)
            return str(body["checks"].get("consumer", "")) if status == 503 else ""

        async def names_the_command() -> bool:
            return "evalsha" in await why()

        await eventually(names_the_command, timeout_s=PATIENCE_S, message="the reason names the command")
        await redis.execute_command("ACL", "SETUSER", user, "+@all")
        await worker.wait_ready()
        assert "notes" not in (await readiness(worker))[1]
        standby = start_worker()
        await standby.wait_ready()
        status, body = await readiness(standby)
        assert (status, body["checks"]["consumer"]) == (200, "ok")
        assert body["notes"]["consumer"].startswith("stands by: ")
        assert "standby" in body["notes"]["consumer"]
        await until_counted(worker, {"processor_partitions_owned": 1, "processor_standby": 0})
        await until_counted(standby, {"processor_partitions_owned": 0, "processor_standby": 1})
        await redis.set(keys.lease(pipeline.stream, GROUP), "nobody#1")

        async def names_the_owner() -> bool:
            status, body = await readiness(standby)
            return status == 503 and "held by nobody" in body["checks"]["consumer"]

        await eventually(names_the_owner, timeout_s=30, message="the reason names who is silent")
        await until_counted(standby, {"processor_standby": 0})
        await redis.delete(keys.lease(pipeline.stream, GROUP))
        await standby.wait_ready()
    finally:
        await redis.execute_command("ACL", "DELUSER", user)


@pytest.mark.parametrize("roles", ["write", "live"])
async def test_a_name_has_one_process(pipeline: Pipeline, start_worker: StartWorker, roles: str) -> None:
    """A second process of a name ends with one sentence that names the first; after a kill the next one gets it."""
    await pipeline.database.execute(TABLES)
    # Not so short that the first loses its name while a busy machine lets it wait.
    settings = {"INSTANCE_ID": "same", "ROLES": roles, "LIVE_AUTH": "none", "LEASE_TTL_MS": "4000"}
    first = start_worker(**settings)
    await first.wait_ready()
    second = start_worker(**settings)
    await eventually(lambda: second.exit_code is not None, timeout_s=PATIENCE_S, message="the second ends")
    assert second.exit_code == 1
    (error,) = [line for line in logged(second) if line["level"] == "error"]
    assert f"same is the process {first.pid} on {socket.gethostname()} since " in error["event"]
    assert "exception" not in error
    assert first.exit_code is None
    first.kill()
    third = start_worker(**settings)
    await third.wait_ready()
    assert await third.stop() == 0


async def test_who_lost_its_name_ends(start_worker: StartWorker) -> None:
    """A process that was paused for longer than its name lasts finds that another one has it, and ends."""
    settings = {"INSTANCE_ID": "same", "ROLES": "write,live", "LIVE_AUTH": "none"}
    first = start_worker(**settings)
    await first.wait_ready()
    first.pause()
    second = start_worker(**settings)
    await second.wait_ready()
    first.resume()
    await eventually(lambda: first.exit_code is not None, timeout_s=PATIENCE_S, message="the first ends")
    assert first.exit_code == 1
    serious = [line for line in logged(first) if line["level"] not in {"debug", "info", "warning"}]
    assert [line["level"] for line in serious] == ["error"]
    assert re.fullmatch(
        f"Another process .* id: same is the process {second.pid} on .* since .*, which took it while this one was "
        r"silent for more than 1\.5 s; this one ends: give each process a name of its own", serious[0]["event"],
    )  # fmt: skip
    assert "Traceback" not in first.log_path.read_text()
    assert await second.stop() == 0
