"""How close the durable side comes to what the machine's database can take: both in one run."""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import asyncpg
import msgspec
import psutil

from faust_redis.redis.client import Client, connect, execute
from faust_redis.redis.replies import facts
from telemetry_app.core.positions.insert import insert
from telemetry_app.core.positions.rows import columns
from telemetry_app.records.codec import decode_entry
from telemetry_app.tools.bench.feeding import BATCH, append_all, fresh_database
from telemetry_app.tools.bench.usage import cpu_s, peak_rss_mb
from telemetry_app.tools.embedded.stack import Stack
from telemetry_app.tools.simulation.backlog import RecordKind, bench_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from asyncpg.pool import PoolConnectionProxy

    from telemetry_app.core.positions.rows import Columns
    from telemetry_app.tools.embedded.worker import WorkerProcess

#: A worker that stores nothing for this long will not finish.
_STALLED_S = 60.0
_POLL_S = 0.02


class WritePlan(NamedTuple):
    """How many records of how many devices, of each kind, and how often all of it is measured."""

    records: int
    devices: int
    kinds: Sequence[RecordKind] = tuple(RecordKind)
    rounds: int = 3


class RawLimit(msgspec.Struct, frozen=True):
    """Rows already decoded, by one connection of asyncpg as it comes, with the INSERT the worker uses."""

    rows_per_s: float
    cpu_us_per_row: float


class Drain(msgspec.Struct, frozen=True):
    """A worker process draining a backlog, timed from the first rows in the table to the last acknowledgement."""

    records_per_s: float
    cpu_us_per_record: float
    peak_rss_mb: float


class Measured(msgspec.Struct, frozen=True):
    """Both measurements with records of one kind, and their ratios: of each the median of the rounds.

    The machine's speed changes from minute to minute, so the ratios are those within a round.
    """

    raw: RawLimit
    worker: Drain
    throughput_ratio: float
    cpu_ratio: float

    @classmethod
    def of(cls, rounds: Sequence[tuple[RawLimit, Drain]]) -> Measured:
        """Return the medians of what was measured in each round."""
        raws, workers = zip(*rounds, strict=True)
        return cls(
            RawLimit(*(median(facts) for facts in zip(*map(msgspec.structs.astuple, raws), strict=True))),
            Drain(*(median(facts) for facts in zip(*map(msgspec.structs.astuple, workers), strict=True))),
            round(median(worker.records_per_s / raw.rows_per_s for raw, worker in rounds), 3),
            round(median(worker.cpu_us_per_record / raw.cpu_us_per_row for raw, worker in rounds), 2),
        )


class WriteResult(Measured, frozen=True, kw_only=True):
    """All measurements; what stands next to `kinds` is of the first kind.

    Attributes:
        records: Number of each kind.
        devices: Number that they are of.
        rounds: How often each was measured.
        kinds: What was measured with each kind of record.
    """

    records: int
    devices: int
    rounds: int
    kinds: dict[RecordKind, Measured]


async def measure(plan: WritePlan, folder: Path, say: Callable[[str, float], None]) -> WriteResult:
    """Run both measurements with each kind of record, all on the same servers.

    Args:
        plan: How much of what.
        folder: Data folder for the servers; deleted at the end.
        say: Told what is going on, and how much of it is done (0 to 1).

    Raises:
        EmbeddedServerError: A server or the worker did not start.
        RuntimeError: The worker stored fewer rows than there were records, or none for a minute.
    """
    async with Stack(folder, {"ROLES": "write", "LOG_LEVEL": "warning"}) as stack:
        rounds: dict[RecordKind, list[tuple[RawLimit, Drain]]] = {kind: [] for kind in plan.kinds}
        for number in range(plan.rounds):
            for kind, measured in rounds.items():
                backlog = _Backlog(plan.records, plan.devices, kind, number)
                measured.append(await _measure_both(backlog, stack, say))
    kinds = {kind: Measured.of(measured) for kind, measured in rounds.items()}
    first = kinds[plan.kinds[0]]
    of_first = (first.raw, first.worker, first.throughput_ratio, first.cpu_ratio)
    return WriteResult(*of_first, records=plan.records, devices=plan.devices, rounds=plan.rounds, kinds=kinds)


class _Backlog(NamedTuple):
    """Records of one kind, for one round."""

    records: int
    devices: int
    kind: RecordKind
    round: int

    @property
    def stream(self) -> str:
        """Key of the stream they are published to."""
        return f"bench:{self.kind}:{self.round}"

    def entries(self) -> Iterator[list[bytes]]:
        """Make them, always the same."""
        return bench_records(self.records, self.devices, self.kind)


async def _measure_both(backlog: _Backlog, stack: Stack, say: Callable[[str, float], None]) -> tuple[RawLimit, Drain]:
    def say_of_kind(what: str, done: float) -> None:
        say(f"{backlog.kind}, round {backlog.round + 1}: {what}", done)

    async with fresh_database(stack.postgres.url, "bench_raw") as url:
        raw = await _raw_limit(backlog, url, say_of_kind)
    async with fresh_database(stack.postgres.url, "bench_worker") as url:
        return raw, await _drain(backlog, stack, url, say_of_kind)


async def _raw_limit(backlog: _Backlog, url: str, say: Callable[[str, float], None]) -> RawLimit:
    batches = list(_decoded_batches(backlog))
    connection = await asyncpg.connect(url)
    gc.collect()
    started, cpu = time.perf_counter(), time.process_time()
    for number, rows in enumerate(batches):
        await insert(cast("PoolConnectionProxy[Any]", connection), rows)
        if number % 20 == 0:
            say("raw limit", number / len(batches))
    elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    await connection.close()
    return RawLimit(round(backlog.records / elapsed_s), round(cpu_s / backlog.records * 1e6, 2))


def _decoded_batches(backlog: _Backlog) -> Iterator[Columns]:
    latest = datetime.now(UTC) + timedelta(days=1)
    batch = []
    for fields in backlog.entries():
        batch.append(decode_entry(fields, latest=latest))
        if len(batch) == BATCH:
            yield columns(batch)
            batch = []
    if batch:
        yield columns(batch)


async def _drain(backlog: _Backlog, stack: Stack, url: str, say: Callable[[str, float], None]) -> Drain:
    redis = connect(stack.valkey.url)
    database = await asyncpg.connect(url)
    try:
        await append_all(redis, ((backlog.stream, fields) for fields in backlog.entries()), backlog.records, say)
        worker = stack.start_worker(POSTGRES_URL=url, REDIS_TELEMETRY_STREAM=backlog.stream)
        drain = await _time_drain(backlog, _Watched(redis, database, worker, backlog.stream), say)
        # The next measurement has the machine for itself.
        await stack.stop_worker(worker)
        await execute(redis, "DEL", backlog.stream)
        return drain
    finally:
        await database.close()
        await redis.aclose()


class _Watched(NamedTuple):
    redis: Client
    database: asyncpg.Connection
    worker: WorkerProcess
    stream: str

    async def acknowledged(self) -> int:
        """Return how many entries the group has read and acknowledged."""
        for group in map(facts, await execute(self.redis, "XINFO", "GROUPS", self.stream)):
            return int(group["entries-read"] or 0) - int(group["pending"])
        return 0


async def _time_drain(backlog: _Backlog, watched: _Watched, say: Callable[[str, float], None]) -> Drain:
    process = psutil.Process(watched.worker.pid)
    while not (first := await watched.acknowledged()):
        watched.worker.require_alive()
        await asyncio.sleep(_POLL_S)
    started, cpu_before_s = time.perf_counter(), cpu_s(process)
    done, moved_at = first, started
    while done < backlog.records:
        await asyncio.sleep(_POLL_S)
        now_done = await watched.acknowledged()
        if now_done > done:
            done, moved_at = now_done, time.perf_counter()
        elif time.perf_counter() - moved_at > _STALLED_S:
            raise RuntimeError(
                f"the worker stalled at {done} of {backlog.records} records:\n{watched.worker.log_tail()}"
            )
        say("worker", done / backlog.records)
    elapsed_s, used_s = time.perf_counter() - started, cpu_s(process) - cpu_before_s
    stored = await watched.database.fetchval("SELECT count(*) FROM positions")
    if stored != backlog.records:
        raise RuntimeError(f"{stored} rows stored of {backlog.records} records")
    timed = backlog.records - first
    return Drain(round(timed / elapsed_s), round(used_s / timed * 1e6, 2), round(peak_rss_mb(process), 1))
