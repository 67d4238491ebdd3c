"""Positions that cannot be true, or that somebody holds for wrong, through a whole worker."""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from telemetry_app.core.device_state import DeviceState
from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker, record, until_drained
from tests.worker.spectators import Client, Spectators

DEVICE = record(1, 0)["device_id"]
HOURS_23 = timedelta(hours=23)


def at(device: int, speed: int, ahead: timedelta = timedelta(0), **changes: object) -> dict[str, Any]:
    """Return a record of the last second, or of one that is ahead of it; of two the faster is the newer one."""
    taken = datetime.now(UTC) - timedelta(seconds=1) + speed * timedelta(milliseconds=100) + ahead
    return record(device, 0, timestamp=taken.isoformat(), speed=speed, **changes)


async def telemetry(pipeline: Pipeline, *arguments: str) -> str:
    """Run a command and return what it prints."""
    command = (sys.executable, "-m", "telemetry_app", *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | pipeline.env, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    return out.decode()


async def speeds(client: Client, spectators: Spectators) -> dict[str, float]:
    """Return the speed of each device in a snapshot."""
    answer = await client.subscribe(spectators.event_id)
    return {position["deviceId"]: position["speed"] for position in answer["snapshot"]}


async def stored(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    rows = await pipeline.database.fetch("SELECT speed, faulty, faulty_reason FROM positions ORDER BY speed")
    return [tuple(row) for row in rows]


async def state(pipeline: Pipeline) -> DeviceState:
    return (await pipeline.states())[DEVICE]


async def test_a_record_from_the_future_freezes_nothing(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker
) -> None:
    """It is stored with its reason, counted, told of; the next good record is shown, live and after a restart."""
    worker = start_both()
    await worker.wait_ready()
    async with spectators.connect(worker) as client:
        await client.subscribe(spectators.event_id)
        await pipeline.publish([at(1, 1), at(1, 2, HOURS_23), at(1, 3, HOURS_23), at(1, 5)])
        await pipeline.publish([at(1, 4, latitude=0, longitude=0, satellites=0)])
        assert [(await client.receive())["speed"] for _ in range(2)] == [1, 5]
        await until_drained(pipeline)
        await pipeline.publish([at(1, 6)])
        assert (await client.receive())["speed"] == 6
    await until_drained(pipeline)
    assert await stored(pipeline) == [
        (1, False, None), (2, True, "ahead"), (3, True, "ahead"), (4, True, "null-island"), (5, False, None),
        (6, False, None),
    ]  # fmt: skip
    assert ((await state(pipeline)).speed, (await state(pipeline)).count) == (6, 6)
    metrics = await worker.metrics()
    assert [metrics[f"processor_faulty_positions_total{{{reason}}}"] for reason in ("ahead", "null-island")] == [2, 1]
    assert worker.log_path.read_text().count(f"positions of device {DEVICE} are stored as faulty (ahead)") == 1
    assert await worker.stop() == 0

    again = start_both()
    await again.wait_ready()
    async with spectators.connect(again) as client:
        assert await speeds(client, spectators) == {DEVICE: 6}
        await pipeline.publish([at(1, 7)])
        assert (await client.receive())["speed"] == 7


async def test_what_an_earlier_release_stored_ahead_freezes_nothing(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker
) -> None:
    """The row is marked by the migration, the state is replaced by the next good record, and both are followed."""
    worker = start_both()
    await worker.wait_ready()
    await pipeline.publish([at(1, 1)])
    await until_drained(pipeline)
    assert await worker.stop() == 0
    await pipeline.database.execute("ALTER TABLE positions DROP COLUMN faulty_reason")
    await pipeline.database.execute("DELETE FROM schema_migrations WHERE version = 3")
    await pipeline.database.execute(
        "INSERT INTO positions (device_id, ts, latitude, longitude, speed) VALUES ($1, now() + $2::interval, 1, 1, 99)",
        DEVICE,
        HOURS_23,
    )
    worker = start_both()
    await worker.wait_ready()
    async with spectators.connect(worker) as client:
        assert await speeds(client, spectators) == {DEVICE: 1}
        await pipeline.publish([at(1, 2)])
        assert (await client.receive())["speed"] == 2
    assert (99, True, "ahead") in await stored(pipeline)


async def test_marks_reach_open_maps(pipeline: Pipeline, spectators: Spectators, start_both: StartWorker) -> None:
    """A device whose place is marked goes back to its newest good one within the refresh; unmarked, it returns."""
    worker = start_both(LIVE_DEVICE_EVENT_REFRESH_MS="1000")
    await worker.wait_ready()
    async with spectators.connect(worker) as client:
        await client.subscribe(spectators.event_id)
        first, wrong = at(1, 1), at(1, 2)
        await pipeline.publish([first, wrong, at(2, 9)])
        cursors = [(await client.receive())["cursor"] for _ in range(3)]
        await until_drained(pipeline)
        span = ("--device", DEVICE, "--from", wrong["timestamp"])
        assert await telemetry(pipeline, "faulty", "mark", *span, "--reason", "on a trailer") == "marked 1\n"
        back = await client.receive()
        assert (back["deviceId"], back["speed"]) == (DEVICE, 1)
        (listed,) = json.loads(await telemetry(pipeline, "faulty", "list", "--json"))
        assert (listed["device_id"], listed["reason"]) == (DEVICE, "on a trailer")
        async with spectators.connect(worker) as newcomer:
            assert (await speeds(newcomer, spectators))[DEVICE] == 1
        async with spectators.connect(worker) as returning:
            answer = await returning.subscribe(spectators.event_id, since=cursors[-1])
            assert (answer["resumed"], (await returning.receive())["speed"]) == (True, 1)

        assert await telemetry(pipeline, "faulty", "unmark", *span) == "unmarked 1\n"
        assert (await client.receive())["speed"] == 2
        await pipeline.publish([at(1, 3)])
        assert (await client.receive())["speed"] == 3


async def test_a_quiet_review_sends_nothing(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker
) -> None:
    """While nobody marks anything no map is told anything, however often the database is read."""
    worker = start_both(LIVE_DEVICE_EVENT_REFRESH_MS="1000")
    await worker.wait_ready()
    async with spectators.connect(worker) as client:
        await client.subscribe(spectators.event_id)
        await pipeline.publish([at(device, 1, timedelta(seconds=60 * device)) for device in range(4)])
        for _ in range(4):
            await client.receive()
        before = await _snapshots(worker)
        await eventually(lambda: _reviewed(worker, before + 3), timeout_s=30)
        assert (await worker.metrics())["processor_live_frames_total{sent}"] == 4


async def _snapshots(worker: WorkerProcess) -> float:
    return (await worker.metrics())["processor_live_snapshot_duration_seconds_count"]


async def _reviewed(worker: WorkerProcess, times: float) -> bool:
    return await _snapshots(worker) >= times
