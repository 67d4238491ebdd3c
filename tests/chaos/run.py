"""One run: trackers, workers and faults, then a comparison of what is stored with what the streams hold."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec
from redis.asyncio import Redis

from telemetry_app.core.device_state import DeviceState
from tests.chaos.faults import START_TIMEOUT_S, Faults, Workers
from tests.chaos.schedule import WORKERS, Step, is_distributed, plan
from tests.chaos.servers import Servers, running
from tests.chaos.traffic import GROUP, STREAM, STREAMS, Expected, Last, Trackers, expected
from tests.chaos.watch import Event, Watch
from tests.support.servers.databases import fresh_database

#: A run fails when nothing more happens for so long, although not everything is acknowledged.
STANDSTILL_S: Final = 150
_POLL_S: Final = 0.5
#: At most so many differences of one kind are named.
_NAMED: Final = 5


class Report(NamedTuple):
    """What came of a run.

    Attributes:
        seed: Of its schedule.
        entries: Records in the streams.
        faults: How many there were.
        conflicts: Refused commits, by the workers' logs.
        late: What workers still sent for partitions that had another owner by then.
        differences: What is not as it should be; none when all is well.
    """

    seed: int
    entries: int
    faults: int
    conflicts: int
    late: int
    differences: list[str]

    def __str__(self) -> str:
        """Say it in one line, differences below."""
        outcome = f"{len(self.differences)} DIFFERENCES" if self.differences else "exact"
        run = f"seed {self.seed}{' (distributed)' if is_distributed(self.seed) else ''}"
        seen = f"{self.entries} records, {self.faults} faults, {self.late} late writers, {self.conflicts} conflicts"
        line = f"{run}: {seen}, {outcome}"
        return "\n  ".join([line, *self.differences])


async def run(seed: int, seconds: float, *, without: str | None = None) -> Report:
    """Run the schedule of a seed, perhaps without one of the workers' checks, and compare."""
    steps, one_stream, watch = plan(seed, seconds), is_distributed(seed), Watch()
    async with (
        running() as servers,
        watch.following(servers.primary.port, servers.replica.port),
        fresh_database(servers.postgres.url) as database_url,
    ):
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            producer = "single" if one_stream else "sharded"
            workers = Workers(servers, database_url, Path(folder), producer=producer, without=without)
            try:
                await _disturb(servers, workers, steps, seed)
                differences = await _until_drained(servers, workers, [STREAM, *STREAMS] if one_stream else STREAMS)
                alive = [slot for slot, worker in workers.running.items() if worker.exit_code is None]
                if len(alive) < len(workers.running):
                    differences.append(f"workers that ended by themselves: {set(workers.running) - set(alive)}")
                for slot in alive:
                    await workers.stop(slot)
                if any(workers.exits):
                    differences.append(f"exit codes of stopped workers: {workers.exits}")
                model, found = await _compare(servers, database_url, one_stream=one_stream)
            finally:
                workers.kill()
            lines = [line for log in workers.logs for line in log.read_text().splitlines()]
    conflicts = sum("is not the one that a batch" in line for line in lines)
    differences += _named("reports of lost records, although none are", [line for line in lines if "are lost" in line])
    if conflicts:
        differences.append(f"{conflicts} commits refused since memory and hash had parted")
    late = watch.late()
    differences += _named("steps of former owners got past the lease", [step for step in late if step.passed])
    if not watch.commits:
        differences.append("no commit was seen by MONITOR")
    faults = sum(len(step.faults) for step in steps)
    return Report(seed, model.entries, faults, conflicts, len(late), [*differences, *found])


async def _disturb(servers: Servers, workers: Workers, steps: list[Step], seed: int) -> None:
    """Let all the faults happen while records come and workers work."""
    faults, stop = Faults(servers, workers), asyncio.Event()
    for slot in range(WORKERS):
        workers.start(slot)
    for worker in workers.running.values():
        await worker.wait_ready(START_TIMEOUT_S)
    sending = asyncio.create_task(Trackers(servers, seed, one_stream=is_distributed(seed)).run(stop))
    begun_s = time.monotonic()
    try:
        for step in steps:
            await asyncio.sleep(max(0.0, begun_s + step.at_s - time.monotonic()))
            print(f"{step.at_s:6.1f} s: {', '.join(map(_words, step.faults))}", flush=True)  # noqa: T201 - the run's log
            await asyncio.gather(*(faults.happen(fault) for fault in step.faults))
    finally:
        stop.set()
        await sending


def _words(fault: Any) -> str:
    slot = f" {fault.slot}" if "worker" in fault.kind else ""
    return f"{fault.kind}{slot}" + (f" for {fault.lasts_s:g} s" if fault.lasts_s else "")


async def _until_drained(servers: Servers, workers: Workers, streams: Sequence[str]) -> list[str]:
    """Wait until all is read and acknowledged; return what is left when nothing moves any more."""
    before, since_s = None, time.monotonic()
    async with Redis.from_url(servers.primary.url) as redis:
        while True:
            left = {stream: await _left(redis, stream) for stream in streams}
            if not any(map(sum, left.values())):
                return []
            if left != before:
                before, since_s = left, time.monotonic()
            if time.monotonic() - since_s > STANDSTILL_S:
                logs = [worker.log_tail(8) for worker in workers.running.values()]
                return [f"unread and pending: {left}", *logs]
            await asyncio.sleep(_POLL_S)


async def _left(redis: Redis, stream: str) -> tuple[int, int]:
    """Return how many entries are unread, and how many pending; one where no worker has been yet."""
    groups = await redis.xinfo_groups(stream) if await redis.exists(stream) else ()
    for group in groups:
        if group["name"] == GROUP.encode():
            unread: Any = await redis.xrange(stream, f"({group['last-delivered-id'].decode()}", "+", 1)
            return len(unread), group["pending"]
    return 1, 0


async def _compare(servers: Servers, database_url: str, *, one_stream: bool) -> tuple[Expected, list[str]]:
    async with Redis.from_url(servers.primary.url) as redis, _connected(database_url) as database:
        model = await expected(redis, one_stream=one_stream)
        left = {stream: await redis.xlen(stream) for stream in STREAMS} if one_stream else {}
        stored = Counter(map(tuple, await database.fetch("SELECT device_id, ts FROM positions")))
        states = await _states(redis)
        dead = await _dead(redis)
    return model, [
        *_named("rows stored more than once", [row for row, times in stored.items() if times > 1]),
        *_named("rows not stored", list(model.rows - stored.keys())),
        *_named("rows nobody sent", list(stored.keys() - model.rows)),
        *_named("states that differ", _different(model.devices, states)),
        *_named("partitions that hold what was committed", [item for item in left.items() if item[1]]),
        *_named("refused and not in the dead letters once", _different(model.refused, dead)),
    ]


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    database = await asyncpg.connect(url)
    try:
        yield database
    finally:
        await database.close()


async def _states(redis: Redis) -> dict[str, Last]:
    found = {}
    for stream in STREAMS:
        raw: dict[Any, Any] = await redis.hgetall(f"{{{stream}}}:state:{GROUP}:device_state")
        for device, encoded in raw.items():
            if not device.startswith(b"\x00"):
                state = msgspec.msgpack.decode(encoded, type=DeviceState)
                found[device.decode()] = Last(state.count, state.last_seen, state.latitude, state.longitude)
    return found


async def _dead(redis: Redis) -> Counter[tuple[str, str]]:
    found = Counter[tuple[str, str]]()
    for stream in STREAMS:
        letters: Any = await redis.xrange(f"{{{stream}}}:dead")
        found.update((stream, fields[b"original_id"].decode()) for _, fields in letters)
    return found


def _different(expected_: dict[Any, Any], actual: dict[Any, Any]) -> list[Any]:
    keys = expected_.keys() | actual.keys()
    return [(key, expected_.get(key), actual.get(key)) for key in keys if expected_.get(key) != actual.get(key)]


def _named(what: str, found: list[Any]) -> list[str]:
    if not found:
        return []
    examples = ", ".join(str(_plain(one)) for one in sorted(found, key=str)[:_NAMED])
    return [f"{len(found)} {what}: {examples}"]


def _plain(one: Any) -> Any:
    if isinstance(one, datetime):
        return one.isoformat()
    if isinstance(one, Event):
        return str(one)
    return tuple(map(_plain, one)) if isinstance(one, tuple) else one
