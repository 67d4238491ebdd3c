"""How long partitions stand still while workers come and go: `python -m tests.chaos.moves [--ttl-ms 5000]`.

It measures and asserts nothing: a shared machine is no place for that. Take several runs, and the best.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from faust_redis.redis import keys
from telemetry_app.tools.embedded.stack import Stack
from telemetry_app.tools.embedded.worker import WorkerProcess
from telemetry_app.tools.simulation.backlog import bench_records

PARTITIONS: Final = 8
DEVICES: Final = 400
GROUP: Final = "processor"
STREAM: Final = "telemetry:moves"
STREAMS: Final = tuple(keys.partition_stream(STREAM, number, PARTITIONS) for number in range(PARTITIONS))
TICK_S: Final = 0.01
POLL_S: Final = 0.005
#: How long everything stays as it is between two changes.
CALM_S: Final = 4.0


class Standstill(NamedTuple):
    """What one change did: the longest time without a commit, of the partitions that moved and of the others.

    The longest time in which nothing was published, or nobody looked, says how much of it the machine takes.
    """

    change: str
    own_s: float
    moved_s: float
    moved: int
    stayed_s: float
    spread: dict[str, int]

    def __str__(self) -> str:
        """Say it in one line."""
        counts = sorted(self.spread.values(), reverse=True)
        moved = f"{self.moved} moved: {self.moved_s:5.2f} s" if self.moved else "none moved      "
        return f"{self.change:8} {moved}  others: {self.stayed_s:5.2f} s  (our own {self.own_s:5.2f} s)  {counts}"


class Longest:
    """The longest time between two ticks."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget what was."""
        self.seconds, self._since_s = 0.0, time.monotonic()

    def tick(self) -> None:
        """Take note that it is now."""
        now_s = time.monotonic()
        self.seconds, self._since_s = max(self.seconds, now_s - self._since_s), now_s


class Watch:
    """Looks at the partitions' leases and versions again and again."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.own = (Longest(), Longest())
        self._versions: list[Any] = [None] * PARTITIONS
        self._since_s = [0.0] * PARTITIONS
        self.longest_s = [0.0] * PARTITIONS
        self.owners: list[str | None] = [None] * PARTITIONS

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Look once: every commit gives a partition's state another version."""
        pipeline = self._redis.pipeline(transaction=False)
        for stream in STREAMS:
            pipeline.hget(keys.state(stream, GROUP, "device_state"), "\0version")
            pipeline.get(keys.lease(stream, GROUP))
        found: list[Any] = await pipeline.execute()
        self.own[0].tick()
        now_s = time.monotonic()
        for number, (version, token) in enumerate(zip(found[::2], found[1::2], strict=True)):
            if token is not None:
                self.owners[number] = token.decode().rpartition("#")[0]
            self.longest_s[number] = max(self.longest_s[number], now_s - self._since_s[number])
            if version != self._versions[number]:
                self._versions[number], self._since_s[number] = version, now_s

    def begin(self) -> None:
        """Forget what was seen so far."""
        self.longest_s = [0.0] * PARTITIONS
        self._since_s = [time.monotonic()] * PARTITIONS
        for own in self.own:
            own.begin()


async def measure(ttl_ms: int, rate: int) -> list[Standstill]:
    """Let one, two, four and one worker store records, kill one of two, and return what each change did."""
    variables = {
        "ROLES": "write", "LEASE_TTL_MS": str(ttl_ms), "REDIS_TELEMETRY_STREAM": STREAM,
        "REDIS_TELEMETRY_PARTITIONS": str(PARTITIONS), "REDIS_TELEMETRY_PRODUCER": "sharded",
    }  # fmt: skip
    with TemporaryDirectory(prefix="moves-") as folder:
        async with Stack(Path(folder) / "servers", variables) as stack, Redis.from_url(stack.valkey.url) as redis:
            workers = [stack.start_worker(INSTANCE_ID="a")]
            await workers[0].wait_ready()
            async with _running((watch := Watch(redis)).run()), _running(_publish(redis, rate, watch.own[1])):
                return await _changes(stack, workers, watch, ttl_ms)


async def _changes(stack: Stack, workers: list[WorkerProcess], watch: Watch, ttl_ms: int) -> list[Standstill]:
    async def add(*names: str) -> None:
        added = [stack.start_worker(INSTANCE_ID=name) for name in names]
        workers.extend(added)
        await asyncio.gather(*(worker.wait_ready() for worker in added))

    async def stop(count: int) -> None:
        await asyncio.gather(*(workers.pop().stop() for _ in range(count)))

    async def kill() -> None:
        workers.pop().kill()
        await asyncio.sleep(2.5 * ttl_ms / 1000)

    await asyncio.sleep(CALM_S)
    found = [await _change(watch, "none", lambda: asyncio.sleep(0))]
    found.append(await _change(watch, "1 to 2", lambda: add("b")))
    found.append(await _change(watch, "2 to 4", lambda: add("c", "d")))
    found.append(await _change(watch, "4 to 1", lambda: stop(3)))
    found.append(await _change(watch, "1 to 2", lambda: add("e")))
    found.append(await _change(watch, "kill -9", kill))
    return found


async def _change(watch: Watch, name: str, change: Callable[[], Awaitable[object]]) -> Standstill:
    before = list(watch.owners)
    watch.begin()
    await change()
    await asyncio.sleep(CALM_S)
    moved = [number for number in range(PARTITIONS) if watch.owners[number] != before[number]]
    stayed = [number for number in range(PARTITIONS) if number not in moved]
    found = Standstill(
        name,
        max(own.seconds for own in watch.own),
        max((watch.longest_s[number] for number in moved), default=0.0),
        len(moved),
        max((watch.longest_s[number] for number in stayed), default=0.0),
        dict(Counter(str(owner) for owner in watch.owners)),
    )
    print(found, flush=True)  # noqa: T201 - a command
    return found


async def _publish(redis: Redis, rate: int, published: Longest) -> None:
    """Append so many records a second, each to the stream of its device."""
    records = bench_records(10**9, DEVICES)
    begun_s, sent = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - begun_s) * rate)
        pipeline = redis.pipeline(transaction=False)
        for _ in range(due - sent):
            fields = next(records)
            stream = STREAMS[zlib.crc32(fields[3]) % PARTITIONS]
            pipeline.execute_command("XADD", stream, "*", *fields)
        await pipeline.execute()
        published.tick()
        sent = due
        await asyncio.sleep(TICK_S)


@contextlib.asynccontextmanager
async def _running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.moves", description=__doc__)
    parser.add_argument("--ttl-ms", type=int, default=5000)
    parser.add_argument("--rate", type=int, default=2000, help="records a second")
    parser.add_argument("--json", action="store_true", help="also as JSON")
    chosen = parser.parse_args()
    found = asyncio.run(measure(chosen.ttl_ms, chosen.rate))
    if chosen.json:
        print(json.dumps([one._asdict() for one in found]))  # noqa: T201 - a command


if __name__ == "__main__":
    main()
