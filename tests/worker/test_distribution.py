"""Several workers and the one stream that the ingestion writes: they distribute it among themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import pytest

from faust_redis.redis import keys
from faust_redis.redis.replies import text
from telemetry_app.live.wire import cursor
from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.support.waiting import eventually
from tests.worker.conftest import GROUP, Pipeline, StartWorker, record, until_drained
from tests.worker.spectators import Spectators

PARTITIONS = 4
VARIABLES = {"REDIS_TELEMETRY_PARTITIONS": str(PARTITIONS), "BATCH_SIZE": "50"}
DEVICES = 20


def streams(pipeline: Pipeline) -> list[str]:
    return [keys.partition_stream(pipeline.stream, number, PARTITIONS) for number in range(PARTITIONS)]


def stream_of(pipeline: Pipeline, device_id: str) -> str:
    return streams(pipeline)[keys.partition_of(device_id.encode(), PARTITIONS)]


class Traffic:
    """Records of some devices, one second after the other."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.seconds = 0
        self._pipeline = pipeline

    async def go_on(self, seconds: int) -> None:
        for _ in range(seconds):
            self.seconds += 1
            await self._pipeline.publish([record(device, self.seconds) for device in range(DEVICES)])

    async def go_on_with(self, fields: int) -> None:
        """One second with so many fields more in each entry."""
        self.seconds += 1
        more: dict[Any, Any] = {f"field{number}": "x" for number in range(fields)}
        for device in range(DEVICES):
            payload = json.dumps(record(device, self.seconds))
            await self._pipeline.redis.xadd(self._pipeline.stream, {"payload": payload, **more})

    @property
    def counts(self) -> dict[str, int]:
        return {record(device, 0)["device_id"]: self.seconds for device in range(DEVICES)}

    async def counted(self) -> None:
        """Wait until each record was counted once; it is stored once then, and has left its partition."""
        await eventually(self._is_counted, timeout_s=90, message="each record was counted once")
        assert await self._pipeline.stored() == DEVICES * self.seconds
        assert [await self._pipeline.redis.xlen(stream) for stream in streams(self._pipeline)] == [0] * PARTITIONS
        # The plain stream's group moves on when all partitions have their part.
        await until_drained(self._pipeline)

    async def _is_counted(self) -> bool:
        return await counts(self._pipeline) == self.counts


async def counts(pipeline: Pipeline) -> dict[str, int]:
    """Return the number of records of each device, by the states of all partitions."""
    states = [await pipeline.states(stream) for stream in streams(pipeline)]
    return {device: state.count for of_stream in states for device, state in of_stream.items()}


@pytest.fixture
def traffic(pipeline: Pipeline) -> Traffic:
    return Traffic(pipeline)


async def distributor(pipeline: Pipeline, workers: Sequence[WorkerProcess]) -> WorkerProcess:
    """Return the worker that distributes, as soon as one of these does."""

    async def holder() -> WorkerProcess | None:
        token = text(await pipeline.redis.get(keys.lease(pipeline.stream, GROUP)) or b"")
        return next((w for w in workers if w.env["INSTANCE_ID"] == token.rpartition("#")[0]), None)

    return cast("WorkerProcess", await eventually(holder, timeout_s=60, message="one of them distributes"))


def start(start_worker: StartWorker, number: int, **variables: str) -> list[WorkerProcess]:
    return [start_worker(**VARIABLES, INSTANCE_ID=f"worker-{n}", **variables) for n in range(number)]


async def total(workers: Sequence[WorkerProcess], name: str) -> float:
    return sum([(await worker.metrics())[name] for worker in workers])


async def test_two_workers_share_one_stream(pipeline: Pipeline, start_worker: StartWorker, traffic: Traffic) -> None:
    """Every record of the plain stream is stored once, in the partition of its device, and then leaves that.

    However many fields it has: those of the last second have more than a script can append.
    """
    workers = start(start_worker, 2)
    await traffic.go_on(50)
    await traffic.go_on_with(5000)
    await traffic.counted()
    for stream in streams(pipeline):
        assert {stream_of(pipeline, device) for device in await pipeline.states(stream)} == {stream}
    assert await pipeline.redis.xlen(pipeline.stream) == 1020
    for worker in workers:
        await worker.wait_ready()

    async def all_counted() -> bool:
        return await total(workers, "processor_distributed_records_total") >= 1020

    await eventually(all_counted, message="what was moved is counted")
    assert await total(workers, "processor_distributed_records_total") == 1020
    assert await total(workers, "processor_trimmed_records_total") == 0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["killed", "paused", "stopped"])
async def test_another_worker_goes_on(
    pipeline: Pipeline, start_worker: StartWorker, traffic: Traffic, how: str
) -> None:
    """When the distributor is killed, paused for longer than its lease or stopped, each record is counted once."""
    workers = start(start_worker, 2)
    former = await distributor(pipeline, workers)
    other = next(worker for worker in workers if worker is not former)
    await asyncio.gather(*(worker.wait_ready() for worker in workers))
    await traffic.go_on(30)
    sending = asyncio.create_task(traffic.go_on(60))
    if how == "killed":
        former.kill()
    elif how == "paused":
        former.pause()
    else:
        assert await former.stop() == 0
    assert await distributor(pipeline, [other]) is other
    if how == "paused":
        former.resume()
    await sending
    await traffic.go_on(10)
    await traffic.counted()
    assert other.exit_code is None


async def test_odd_entries_find_a_partition(pipeline: Pipeline, start_worker: StartWorker, redis_entries: Any) -> None:
    """Without a usable field the payload decides; what names nobody is refused in partition 0, all else is stored."""
    anonymous, named, wrong = record(1, 1), record(2, 1), record(3, 1)
    await redis_entries(
        {"payload": json.dumps(anonymous)},
        {"device_id": "", "payload": json.dumps(anonymous | {"timestamp": "2026-05-02T12:00:09Z"})},
        {"payload": json.dumps(named), "device_id": named["device_id"], "more": "x"},
        {"device_id": "elsewhere", "payload": json.dumps(wrong)},
        {"payload": "junk"},
        {"codec": "8E"},
        {"device_id": named["device_id"], "payload": "junk"},
    )
    start_worker(**VARIABLES, DEAD_LETTER_AFTER="1")
    places = {
        anonymous["device_id"]: (stream_of(pipeline, anonymous["device_id"]), 2),
        named["device_id"]: (stream_of(pipeline, named["device_id"]), 1),
        wrong["device_id"]: (stream_of(pipeline, "elsewhere"), 1),
    }

    async def found() -> dict[str, tuple[str, int]]:
        states = {stream: await pipeline.states(stream) for stream in streams(pipeline)}
        return {device: (stream, s.count) for stream, of in states.items() for device, s in of.items()}

    async def dead() -> dict[str, int]:
        letters = {stream: await pipeline.redis.xlen(keys.dead_letters(stream)) for stream in streams(pipeline)}
        return {stream: number for stream, number in letters.items() if number}

    async def done() -> bool:
        return await found() == places and sum((await dead()).values()) == 3

    await eventually(done, timeout_s=60, message="all is stored or refused")
    refused = {streams(pipeline)[0]: 2}
    refused[places[named["device_id"]][0]] = refused.get(places[named["device_id"]][0], 0) + 1
    assert await dead() == refused


@pytest.fixture
def redis_entries(pipeline: Pipeline) -> Any:
    """Give a coroutine function that appends entries as they are."""

    async def append(*entries: dict[str, str]) -> None:
        for entry in entries:
            await pipeline.redis.xadd(pipeline.stream, entry)  # type: ignore[arg-type]  # its dict is invariant

    return append


async def test_maps_are_shown_the_plain_stream(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker
) -> None:
    """Spectators see every position although it leaves its partition, and resume by the id of an entry."""
    workers = [start_both(**VARIABLES) for _ in range(2)]
    for worker in workers:
        await worker.wait_ready()
    async with spectators.connect(workers[0]) as client:
        await client.subscribe(spectators.event_id)
        ids = await pipeline.publish([record(device, 1) for device in range(3)])
        frames = [await client.receive() for _ in range(3)]
    assert [cursor.split(frame["cursor"])[0].encode() for frame in frames] == ids
    await eventually(partial(_stored, pipeline, 3))
    async with spectators.connect(workers[1]) as client:
        answer = await client.subscribe(spectators.event_id, since=frames[0]["cursor"])
        missed = [await client.receive() for _ in range(2)]
    assert answer["resumed"]
    assert {frame["deviceId"] for frame in missed} == {frame["deviceId"] for frame in frames[1:]}


async def _stored(pipeline: Pipeline, rows: int) -> bool:
    return await pipeline.stored() == rows


async def test_the_stream_is_trimmed_to_what_it_shall_keep(
    pipeline: Pipeline, start_worker: StartWorker, traffic: Traffic
) -> None:
    """With a retention only so many records stay in the plain stream, none goes that a second group has not read."""
    await pipeline.redis.xgroup_create(pipeline.stream, "archive", id="0", mkstream=True)
    start(start_worker, 2, STREAM_RETENTION="100")
    await traffic.go_on(20)
    await traffic.counted()
    await pipeline.redis.xreadgroup("archive", "me", {pipeline.stream: ">"}, count=150, noack=True)

    async def kept(number: int) -> bool:
        return await pipeline.redis.xlen(pipeline.stream) == number

    # The last one that everybody has acknowledged is not needed, but is what the others are reckoned from.
    await eventually(partial(kept, 400 - 149), timeout_s=60, message="what everybody has read is gone")
    await pipeline.redis.xreadgroup("archive", "me", {pipeline.stream: ">"}, count=1000, noack=True)
    await eventually(partial(kept, 100), timeout_s=60, message="as many stay as shall")
