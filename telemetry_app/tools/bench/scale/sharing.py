"""A backlog that some workers share."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
import msgspec
import psutil

from faust_redis.redis.client import connect, execute
from faust_redis.redis.keys import partition_of, partition_stream
from telemetry_app.tools.bench.feeding import append_all, fresh_database
from telemetry_app.tools.bench.usage import cpu_s
from telemetry_app.tools.simulation.backlog import bench_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from faust_redis.redis.client import Client
    from telemetry_app.tools.embedded.stack import Stack
    from telemetry_app.tools.embedded.worker import WorkerProcess

    Say = Callable[[str, float], None]

#: Records that come first, a full read for each of eight partitions: connections are open then, statements prepared.
_WARM_UP: Final = 8000
#: How long workers are watched while they have nothing to do.
_IDLE_S: Final = 2.0
_POLL_S: Final = 0.1
#: Workers that store nothing for this long will not finish.
_STALLED_S: Final = 60.0


class Shared(msgspec.Struct, frozen=True):
    """A backlog drained by some workers.

    Attributes:
        workers: How many.
        partitions: How many streams they share.
        distributed: Whether the records are in the plain stream, from which one of the workers distributes them.
        records_per_s: From the moment the workers are let go to the last row.
        cpu_us_per_record: Processor time of all workers, without what they use as long when there is nothing to do.
        idle_cpu: Share of one processor that all of them use when there is nothing to do.
    """

    workers: int
    partitions: int
    distributed: bool
    records_per_s: float
    cpu_us_per_record: float
    idle_cpu: float

    @classmethod
    def of(cls, rounds: Sequence[Shared]) -> Shared:
        """Return the medians of what was measured in each round."""
        first = rounds[0]
        return cls(
            first.workers,
            first.partitions,
            first.distributed,
            median(one.records_per_s for one in rounds),
            round(median(one.cpu_us_per_record for one in rounds), 2),
            median(one.idle_cpu for one in rounds),
        )


class Sharing(NamedTuple):
    """One measurement: some workers, which all begin at the same moment with everything there.

    Attributes:
        records: How many they share.
        devices: Number that these are of.
        workers: Number of workers.
        partitions: Number of streams.
        distributed: Whether a worker distributes the records, rather than who appends them.
    """

    records: int
    devices: int
    workers: int
    partitions: int
    distributed: bool

    @property
    def _stream(self) -> str:
        return f"scale:{self.partitions}:{self.workers}:{'single' if self.distributed else 'sharded'}"

    async def measure(self, stack: Stack, say: Say) -> Shared:
        """Measure it; `say` is told what is going on, and how much of it is done (0 to 1).

        Raises:
            EmbeddedServerError: A worker did not start.
            RuntimeError: The workers stored too much or too little, or nothing for a minute.
        """
        name = f"{self.workers} workers, {self.partitions} partitions{', distributed' if self.distributed else ''}"
        redis = connect(stack.valkey.url)
        async with fresh_database(stack.postgres.url, "bench_scale") as url:
            database = await asyncpg.connect(url)
            workers = [self._start(stack, url, number) for number in range(self.workers)]
            await self._spread(workers)
            crew = _Crew(workers, database)
            shared = await self._time(crew, redis, lambda what, done: say(f"{name}: {what}", done))
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
            REDIS_TELEMETRY_PARTITIONS=str(self.partitions),
            REDIS_TELEMETRY_PRODUCER="single" if self.distributed else "sharded",
        )

    async def _spread(self, workers: Sequence[WorkerProcess]) -> None:
        """Wait until every worker has its share of the partitions."""
        await asyncio.gather(*(worker.wait_ready() for worker in workers))
        deadline = time.monotonic() + _STALLED_S
        while min([(await worker.metrics())["processor_partitions_owned"] for worker in workers]) < (
            self.partitions // len(workers)
        ):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the partitions are not shared out:\n{workers[0].log_tail()}")
            await asyncio.sleep(_POLL_S)

    async def _time(self, crew: _Crew, redis: Client, say: Say) -> Shared:
        entries = self._entries()
        await append_all(redis, islice(entries, _WARM_UP), _WARM_UP, say)
        await crew.finish(_WARM_UP, say)
        idle_cpu = await crew.idle_cpu()
        for worker in crew.workers:
            worker.pause()
        await append_all(redis, entries, self.records, say)
        used_before_s, started_s = crew.cpu_s(), time.perf_counter()
        for worker in crew.workers:
            worker.resume()
        finished_s = await crew.finish(_WARM_UP + self.records, say)
        used_s, elapsed_s = crew.cpu_s() - used_before_s, time.perf_counter() - started_s
        # One of the two may have met the rest of what was going on before.
        idle_cpu = min(idle_cpu, await crew.idle_cpu())
        return Shared(
            workers=self.workers,
            partitions=self.partitions,
            distributed=self.distributed,
            records_per_s=round(self.records / (finished_s - started_s)),
            cpu_us_per_record=round((used_s - idle_cpu * elapsed_s) / self.records * 1e6, 2),
            idle_cpu=round(idle_cpu, 3),
        )

    def _entries(self) -> Iterator[tuple[str, list[bytes]]]:
        partitions = 1 if self.distributed else self.partitions
        for fields in bench_records(_WARM_UP + self.records, self.devices):
            yield partition_stream(self._stream, partition_of(fields[3], partitions), partitions), fields


class _Crew:
    """The workers of one measurement, and the database they store to."""

    def __init__(self, workers: Sequence[WorkerProcess], database: asyncpg.Connection) -> None:
        self.workers = workers
        self._database = database
        self._processes = [psutil.Process(worker.pid) for worker in workers]

    def cpu_s(self) -> float:
        """Return the processor time that all have used."""
        return sum(map(cpu_s, self._processes))

    async def idle_cpu(self) -> float:
        """Return the share of one processor that all of them use now."""
        used_before_s, started_s = self.cpu_s(), time.perf_counter()
        await asyncio.sleep(_IDLE_S)
        return (self.cpu_s() - used_before_s) / (time.perf_counter() - started_s)

    async def finish(self, rows: int, say: Say) -> float:
        """Wait until so many rows are stored; return when the last ones were found, by `time.perf_counter`."""
        done, moved_at = 0, time.perf_counter()
        while done < rows:
            await asyncio.sleep(_POLL_S)
            now_done: int = await self._database.fetchval("SELECT count(*) FROM positions")
            if now_done > done:
                done, moved_at = now_done, time.perf_counter()
            elif time.perf_counter() - moved_at > _STALLED_S:
                raise RuntimeError(f"the workers stalled at {done} of {rows} records:\n{self.workers[0].log_tail()}")
            for worker in self.workers:
                worker.require_alive()
            say("draining", done / rows)
        if done != rows:
            raise RuntimeError(f"{done} rows stored of {rows} records")
        return moved_at
