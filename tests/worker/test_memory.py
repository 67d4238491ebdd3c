"""A worker's memory, whatever the records."""

import json
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from faust_redis.redis import keys
from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.conftest import PostgresFactory
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker, record, until_counted, until_drained

#: Of a worker with both sides.
_MOST_KB: Final = 250_000
_PAYLOAD: Final = "x" * 64_000
_RECORDS: Final = 2_000


async def publish_large(pipeline: Pipeline, first: int, count: int = _RECORDS) -> None:
    """Append records of 64 KB, 125 MB in all, some at a time so that the test itself stays small."""
    for start in range(first, first + count, 100):
        await pipeline.publish([record(n % 50, n, attributes={"log": _PAYLOAD}) for n in range(start, start + 100)])


def peak_kb(worker: WorkerProcess) -> int:
    """Return the most memory that the worker ever had."""
    status = Path(f"/proc/{worker.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])


async def test_large_records_and_an_outage_stay_within_250_mb(
    pipeline: Pipeline, start_both: StartWorker, postgres_factory: PostgresFactory, redis: Redis
) -> None:
    """A backlog of 64 KB payloads after small ones, then the same again after a database outage: all is stored."""
    server = postgres_factory()
    await pipeline.publish([record(n % 50, n) for n in range(5000)])
    worker = start_both(POSTGRES_URL=server.url)
    await worker.wait_ready()
    await _until_acknowledged(worker, 5000)
    await publish_large(pipeline, 5000)
    await _until_acknowledged(worker, 5000 + _RECORDS)
    at_ease = peak_kb(worker)
    server.stop("immediate")
    await publish_large(pipeline, 5000 + _RECORDS)
    await eventually(lambda: _fails(worker), timeout_s=30)
    server.start()
    await until_drained(pipeline, timeout_s=60)
    assert max(at_ease, peak_kb(worker)) < _MOST_KB, (at_ease, peak_kb(worker))
    await redis.delete(pipeline.stream)


async def test_a_burst_far_above_the_usual_size_stays_within_250_mb(
    pipeline: Pipeline, start_both: StartWorker, redis: Redis
) -> None:
    """After small records come, at once, a hundred of 1 MB and two of 9 MB: dead letters, and all others are stored."""
    await pipeline.publish([record(n % 50, n) for n in range(5000)])
    worker = start_both(DEAD_LETTER_AFTER="1")
    await worker.wait_ready()
    await _until_acknowledged(worker, 5000)
    sizes = [*[0] * 100, *[1_000_000] * 50, 9_000_000, *[1_000_000] * 50, 9_000_000, *[0] * 100]
    async with redis.pipeline(transaction=True) as transaction:
        for number, size in enumerate(sizes, start=5000):
            payload = json.dumps(record(number % 50, number, attributes={"log": "x" * size}))
            transaction.xadd(pipeline.stream, {"payload": payload})
        await transaction.execute()
    await until_drained(pipeline, timeout_s=60)
    assert await pipeline.stored() == 5200
    assert await redis.xlen(keys.dead_letters(pipeline.stream)) == 102
    await until_counted(
        worker, {"processor_dead_letters_total{decode}": 100, "processor_dead_letters_total{too-large}": 2}
    )
    assert peak_kb(worker) < _MOST_KB, peak_kb(worker)
    await redis.delete(pipeline.stream, keys.dead_letters(pipeline.stream))


async def _until_acknowledged(worker: WorkerProcess, records: int) -> None:
    async def acknowledged() -> bool:
        return (await worker.metrics())["processor_acks_total"] == records

    await eventually(acknowledged, timeout_s=60)


async def _fails(worker: WorkerProcess) -> Any:
    return (await worker.metrics()).get("processor_retries_total{postgres}", 0) > 3
