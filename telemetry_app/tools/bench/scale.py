"""What more workers bring and cost, and what the distribution of one stream costs, all in one run."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg
import msgspec
import psutil

from faust_redis.redis.client import connect, execute
from faust_redis.redis.keys import partition_of, partition_stream
from faust_redis.redis.replies import streams
from telemetry_app.tools.bench.feeding import BATCH, append_all, fresh_database
from telemetry_app.tools.bench.usage import cpu_s
from telemetry_app.tools.embedded.stack import Stack
from telemetry_app.tools.simulation.backlog import bench_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from telemetry_app.tools.embedded.worker import WorkerProcess

PARTITIONS: Final = 8
_POLL_S: Final = 0.1
#: Workers that store nothing for this long will not finish.
_STALLED_S: Final = 60.0
#: Long enough that no worker loses anything while all of them are stopped and the records are appended.
_LEASE_TTL_MS: Final = "60000"


class ScalePlan(NamedTuple):
    """How many records of how many devices, and how many workers share them."""

    records: int
    devices: int
    workers: Sequence[int]


class Shared(msgspec.Struct, frozen=True):
    """A backlog drained by some workers.

    Attributes:
        workers: How many.
        partitions: How many streams they share.
        distributed: Whether the records are in the plain stream, from which one of the workers distributes them.
        records_per_s: From the moment the workers are let go to the last row.
        cpu_us_per_record: Processor time of all workers.
    """

    workers: int
    partitions: int
    distributed: bool
    records_per_s: float
    cpu_us_per_record: float


class ScaleResult(msgspec.Struct, frozen=True):
    """Everything measured.

    Attributes:
        records: Of each measurement.
        devices: Number that they are of.
        single: One worker on one stream.
        sharded: The numbers of workers on eight partitions.
        distributed: The same from one stream.
        cpu_growth: Processor time per record of the most workers, to that of the fewest, sharded.
        hop_us: Processor time per record of the distribution, for each number of workers: what they use more for it.
        bare_hop_us: Processor time per record of a bare loop that reads a stream and appends to the partitions.
    """

    records: int
    devices: int
    single: Shared
    sharded: list[Shared]
    distributed: list[Shared]
    cpu_growth: float
    hop_us: list[float]
    bare_hop_us: float


async def measure(plan: ScalePlan, folder: Path, say: Callable[[str, float], None]) -> ScaleResult:
    """Measure all of it on the same servers.

    Args:
        plan: How much.
        folder: Data folder for the servers; deleted at the end.
        say: Told what is going on, and how much of it is done (0 to 1).

    Raises:
        EmbeddedServerError: A server or a worker did not start.
        RuntimeError: The workers stored too much or too little, or nothing for a minute.
    """
    async with Stack(folder, {"ROLES": "write", "LOG_LEVEL": "warning", "LEASE_TTL_MS": _LEASE_TTL_MS}) as stack:
        single = await _Sharing(plan, 1, 1, distributed=False).measure(stack, say)
        pairs = [
            [await _Sharing(plan, workers, PARTITIONS, distributed=one).measure(stack, say) for one in (False, True)]
            for workers in plan.workers
        ]
        bare_hop_us = await _bare_hop_us(plan, stack.valkey.url, say)
    sharded, distributed = (list(each) for each in zip(*pairs, strict=True))
    return ScaleResult(
        records=plan.records,
        devices=plan.devices,
        single=single,
        sharded=sharded,
        distributed=distributed,
        cpu_growth=round(sharded[-1].cpu_us_per_record / sharded[0].cpu_us_per_record, 2),
        hop_us=[
            round(with_hop.cpu_us_per_record - without.cpu_us_per_record, 2)
            for without, with_hop in zip(sharded, distributed, strict=True)
        ],
        bare_hop_us=bare_hop_us,
    )


class _Sharing:
    """One measurement: some workers, which all begin at the same moment with everything there."""

    def __init__(self, plan: ScalePlan, workers: int, partitions: int, *, distributed: bool) -> None:
        self._plan = plan
        self._workers = workers
        self._partitions = partitions
        self._distributed = distributed
        self._stream = f"scale:{partitions}:{workers}:{'single' if distributed else 'sharded'}"

    async def measure(self, stack: Stack, say: Callable[[str, float], None]) -> Shared:
        name = f"{self._workers} workers, {self._partitions} partitions{', distributed' if self._distributed else ''}"

        def say_of_it(what: str, done: float) -> None:
            say(f"{name}: {what}", done)

        redis = connect(stack.valkey.url)
        async with fresh_database(stack.postgres.url, "bench_scale") as url:
            database = await asyncpg.connect(url)
            workers = [self._start(stack, url, number) for number in range(self._workers)]
            await self._spread(workers)
            for worker in workers:
                worker.pause()
            await append_all(redis, self._entries(), self._plan.records, say_of_it)
            shared = await self._time(workers, database, say_of_it)
            for worker in workers:
                await stack.stop_worker(worker)
            await database.close()
        await execute(redis, "FLUSHALL")
        await redis.aclose()
        return shared

    def _start(self, stack: Stack, url: str, number: int) -> WorkerProcess:
        return stack.start_worker(
            POSTGRES_URL=url,
            INSTANCE_ID=f"scale-{number}",
            REDIS_TELEMETRY_STREAM=self._stream,
            REDIS_TELEMETRY_PARTITIONS=str(self._partitions),
            REDIS_TELEMETRY_PRODUCER="single" if self._distributed else "sharded",
        )

    async def _spread(self, workers: Sequence[WorkerProcess]) -> None:
        """Wait until every worker has its share of the partitions."""
        await asyncio.gather(*(worker.wait_ready() for worker in workers))
        deadline = time.monotonic() + _STALLED_S
        while min([(await worker.metrics())["processor_partitions_owned"] for worker in workers]) < (
            self._partitions // len(workers)
        ):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the partitions are not shared out:\n{workers[0].log_tail()}")
            await asyncio.sleep(_POLL_S)

    def _entries(self) -> Iterator[tuple[str, list[bytes]]]:
        for fields in bench_records(self._plan.records, self._plan.devices):
            partitions = 1 if self._distributed else self._partitions
            partition = partition_of(fields[3], partitions)
            yield partition_stream(self._stream, partition, partitions), fields

    async def _time(
        self, workers: Sequence[WorkerProcess], database: asyncpg.Connection, say: Callable[[str, float], None]
    ) -> Shared:
        processes = [psutil.Process(worker.pid) for worker in workers]
        used_before_s = sum(map(cpu_s, processes))
        started = moved_at = time.perf_counter()
        for worker in workers:
            worker.resume()
        done = 0
        while done < self._plan.records:
            await asyncio.sleep(_POLL_S)
            now_done: int = await database.fetchval("SELECT count(*) FROM positions")
            if now_done > done:
                done, moved_at = now_done, time.perf_counter()
            elif time.perf_counter() - moved_at > _STALLED_S:
                raise RuntimeError(f"the workers stalled at {done} records:\n{workers[0].log_tail()}")
            for worker in workers:
                worker.require_alive()
            say("draining", done / self._plan.records)
        elapsed_s, used_s = moved_at - started, sum(map(cpu_s, processes)) - used_before_s
        if done != self._plan.records:
            raise RuntimeError(f"{done} rows stored of {self._plan.records} records")
        return Shared(
            workers=len(workers),
            partitions=self._partitions,
            distributed=self._distributed,
            records_per_s=round(done / elapsed_s),
            cpu_us_per_record=round(used_s / done * 1e6, 2),
        )


async def _bare_hop_us(plan: ScalePlan, url: str, say: Callable[[str, float], None]) -> float:
    """Read a stream and append what it holds to partitions, with nothing that would make it safe."""
    redis = connect(url)
    entries = (("bare", fields) for fields in bench_records(plan.records, plan.devices))
    await append_all(redis, entries, plan.records, lambda what, done: say(f"bare hop: {what}", done))
    started_s = time.process_time()
    moved = 0
    position: Any = b"0-0"
    while found := streams(await execute(redis, "XREAD", "COUNT", BATCH, "STREAMS", "bare", position)):
        [(_, page)] = found
        pipeline = redis.pipeline(transaction=False)
        for entry_id, fields in page:
            target = partition_stream("bare", partition_of(fields[3], PARTITIONS), PARTITIONS)
            pipeline.execute_command("XADD", target, entry_id, *fields)
        await pipeline.execute()
        moved += len(page)
        position = page[-1][0]
        say("bare hop: moving", moved / plan.records)
    used_s = time.process_time() - started_s
    await execute(redis, "FLUSHALL")
    await redis.aclose()
    return round(used_s / moved * 1e6, 2)
