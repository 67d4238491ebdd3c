"""Several workers and the one stream that the ingestion writes: they distribute it among themselves."""

from __future__ import annotations

from functools import partial

from faust_redis.redis import keys
from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker, record

PARTITIONS = 4
VARIABLES = {"REDIS_TELEMETRY_PARTITIONS": str(PARTITIONS), "BATCH_SIZE": "50"}


def streams(pipeline: Pipeline) -> list[str]:
    return [keys.partition_stream(pipeline.stream, number, PARTITIONS) for number in range(PARTITIONS)]


async def counts(pipeline: Pipeline) -> dict[str, int]:
    """Return the number of records of each device, by the states of all partitions."""
    states = [await pipeline.states(stream) for stream in streams(pipeline)]
    return {device: state.count for of_stream in states for device, state in of_stream.items()}


async def counted(pipeline: Pipeline, expected: dict[str, int]) -> bool:
    return await counts(pipeline) == expected


async def left(pipeline: Pipeline) -> int:
    """Return how many entries the partitions still hold."""
    return sum([await pipeline.redis.xlen(stream) for stream in streams(pipeline)])


async def test_two_workers_share_one_stream(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """Every record of the plain stream is stored once, in the partition of its device, and then leaves that."""
    workers = [start_worker(**VARIABLES) for _ in range(2)]
    await pipeline.publish([record(device, second) for second in range(50) for device in range(20)])
    expected = {record(device, 0)["device_id"]: 50 for device in range(20)}
    await eventually(partial(counted, pipeline, expected), timeout_s=30, message="each device was counted")
    assert await pipeline.stored() == 1000
    for number, stream in enumerate(streams(pipeline)):
        devices = await pipeline.states(stream)
        assert {keys.partition_of(device.encode(), PARTITIONS) for device in devices} == {number}
    assert await left(pipeline) == 0
    assert await pipeline.drained()
    assert await pipeline.redis.xlen(pipeline.stream) == 1000
    for worker in workers:
        await worker.wait_ready()
    assert [await _distributed(worker) for worker in workers] in ([1000, 0], [0, 1000])


async def _distributed(worker: WorkerProcess) -> float:
    return (await worker.metrics())["processor_distributed_records_total"]
