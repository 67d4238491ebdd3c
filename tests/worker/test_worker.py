"""A real worker process between real servers."""

import asyncio
import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from redis.asyncio import Redis

from faust_redis.redis import keys
from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.conftest import PROJECT, PostgresFactory, ValkeyFactory
from tests.support.waiting import eventually
from tests.worker.conftest import GROUP, STEADY, Pipeline, StartWorker, record, until_counted, until_drained

FAUST = (str(Path(sys.executable).parent / "faust"), "-A", "telemetry_app.app", "worker", "-l", "info")
TELEMETRY = (sys.executable, "-m", "telemetry_app", "worker")


@pytest.mark.parametrize("command", [pytest.param(FAUST, id="faust"), pytest.param(TELEMETRY, id="telemetry")])
async def test_both_forms_store_every_record_and_leave_in_order(
    pipeline: Pipeline, start_worker: StartWorker, command: tuple[str, ...]
) -> None:
    """Backlog and live records are stored once each, counted truly, and SIGTERM ends the worker with status 0."""
    await pipeline.publish([record(device, second) for second in range(30) for device in range(50)])
    worker = start_worker(command=command, **STEADY)
    await worker.wait_ready()
    await pipeline.publish([record(device, 30) for device in range(50)])
    await pipeline.publish([record(device, 7) for device in range(10)])  # resent
    await eventually(lambda: _count(pipeline, 1550), message="all rows are stored")
    await until_drained(pipeline)
    await until_counted(worker, {
        "processor_consumer_records_total": 1560, "processor_acks_total": 1560,
        "processor_position_writes_total{inserted}": 1550, "processor_position_writes_total{duplicate}": 10,
        "processor_device_state_size": 50, "processor_partitions_owned": 1, "processor_decode_errors_total": 0,
    })  # fmt: skip
    assert await worker.stop() == 0
    assert {state.count for state in (await pipeline.states()).values()} == {31, 32}


async def test_records_that_come_one_by_one_are_stored_together(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """However they come, they cost the database few statements a second: each costs as much as many rows do."""
    worker = start_worker(**STEADY)
    await worker.wait_ready()
    clock = asyncio.get_running_loop().time
    begun_at = clock()
    for second in range(200):
        await pipeline.publish([record(1, second)])
        await asyncio.sleep(0.005)
    await eventually(lambda: _count(pipeline, 200), message="all rows are stored")
    statements = (await worker.metrics())["processor_position_write_duration_seconds_count"]
    assert statements <= 15 * (clock() - begun_at) + 2


@pytest.mark.parametrize("command", [pytest.param(FAUST, id="faust"), pytest.param(TELEMETRY, id="telemetry")])
async def test_no_password_is_shown(start_worker: StartWorker, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Whatever goes wrong, everything a worker prints is lines of JSON without the passwords of its URLs."""
    urls = {"REDIS_URL": "redis://:s3cr3t@127.0.0.1:1", "POSTGRES_URL": "postgresql://me:s3cr3t@127.0.0.1:1/x"}
    worker = start_worker(command=command, **urls)
    log = tmp_path / "worker-0.log"
    await eventually(lambda: log.read_text().count("127.0.0.1") > 2, timeout_s=60)
    assert await worker.stop() == 0
    assert "s3cr3t" not in log.read_text()
    assert all(json.loads(line)["event"] for line in log.read_text().splitlines())


async def test_attributes_are_stored_with_big_integers_and_bytes_as_strings(
    pipeline: Pipeline, start_worker: StartWorker
) -> None:
    """Sentinels become strings, everything else stays as it is."""
    await pipeline.publish([record(1, 1, attributes={"a": [{"__bigint": "-9007199254740993"}], "b": {"c": True}})])
    start_worker()
    await eventually(lambda: _count(pipeline, 1))
    assert await pipeline.database.fetchval("SELECT attributes->'a'->>0 FROM positions") == "-9007199254740993"
    assert await pipeline.database.fetchval("SELECT (attributes->'b'->'c')::text FROM positions") == "true"


async def test_refused_records_stay_pending_and_their_neighbours_are_stored(
    pipeline: Pipeline, start_worker: StartWorker
) -> None:
    """An unreadable record is counted and kept; it delays neither its neighbours nor the shutdown."""
    bad = [record(1, 1, latitude=91), record(1, 2, timestamp="2199-01-01T00:00:00Z"), {"no": "record"}]
    await pipeline.publish([record(1, 3), *bad, record(1, 4)])
    worker = start_worker()
    await eventually(lambda: _count(pipeline, 2))
    await eventually(lambda: _pending(pipeline, 3), message="the refused records are pending")
    assert (await worker.metrics())["processor_decode_errors_total"] == 3
    assert await worker.stop(signal.SIGINT) == 0
    assert await pipeline.pending() == 3


async def test_dead_letters_are_listed_shown_replayed_and_purged(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """A record refused often enough is set aside with its reason, and the commands act on it."""
    [original] = await pipeline.publish([record(1, 1, longitude=181)])
    worker = start_worker(DEAD_LETTER_AFTER="1")
    await eventually(pipeline.dead_letters, timeout_s=60, message="the record is a dead letter")
    assert await pipeline.pending() == 0
    await until_counted(worker, {"processor_dead_letters_total{decode}": 1})
    await worker.stop()
    shown = _telemetry(pipeline, "dead-letters", "show", original.decode())
    assert "longitude" in shown
    assert '"longitude": 181' in shown
    assert original.decode() in _telemetry(pipeline, "dead-letters", "list")
    assert _telemetry(pipeline, "dead-letters", "replay") == "replayed 1\n"
    assert (await pipeline.dead_letters(), await pipeline.unread()) == ([], 1)
    start_worker(DEAD_LETTER_AFTER="1")
    await eventually(pipeline.dead_letters, timeout_s=60, message="the record is refused again")
    assert _telemetry(pipeline, "dead-letters", "purge") == "purged 1\n"
    assert await pipeline.dead_letters() == []


async def test_a_partition_of_unreadable_records_pauses_until_somebody_resumes_it(
    pipeline: Pipeline, start_worker: StartWorker
) -> None:
    """Readiness and a metric say so, the other partition goes on, and with the share at 1 the records are set aside."""
    pipeline.env = {
        **pipeline.env, "REDIS_TELEMETRY_PARTITIONS": "2", "DEAD_LETTER_AFTER": "1", "BATCH_SIZE": "20"
    }  # fmt: skip
    streams = [keys.partition_stream(pipeline.stream, number, 2) for number in range(2)]
    await pipeline.publish([record(1, n, latitude=91) for n in range(1000)], streams[0])
    worker = start_worker()
    await eventually(partial(_shows, worker, "processor_partitions_paused", 1), timeout_s=60)
    await pipeline.publish([record(2, n) for n in range(20)], streams[1])
    await eventually(lambda: _count(pipeline, 20))
    async with aiohttp.ClientSession() as http, http.get(f"{worker.metrics_url}/readyz") as answer:
        assert answer.status == 503
        said = (await answer.json())["checks"]["consumer"]
        assert f"reading of {streams[0]} is paused" in said
        assert said.endswith("run `telemetry dead-letters resume`, or restart")
    # Half of the last 1,000 and one more are judged in batches, and at most a dozen batches are read ahead of that.
    assert await pipeline.unread(streams[0]) > 200
    await eventually(lambda: pipeline.redis.exists(keys.pause(streams[0], GROUP)), message="the pause is marked")
    assert _telemetry(pipeline, "dead-letters", "resume") == f"resumed 1: {streams[0]}\n"
    assert _telemetry(pipeline, "dead-letters", "resume") == "resumed 0\n"
    await worker.wait_ready()
    await eventually(partial(_is_read, pipeline, streams[0]))
    await worker.stop()
    await pipeline.publish([record(1, n, latitude=91) for n in range(2000)], streams[0])
    worker = start_worker(DEAD_LETTER_MAX_SHARE="1")
    await eventually(partial(_is_read, pipeline, streams[0]), timeout_s=60)
    assert (await worker.metrics())["processor_partitions_paused"] == 0


async def test_rows_that_the_database_refuses_are_dead_letters_and_the_rest_is_stored(
    pipeline: Pipeline, start_worker: StartWorker
) -> None:
    """A NUL character or a number out of range costs one row, not a batch."""
    bad = [record(1, 1, attributes={"label": "\x00"}), record(1, 2, satellites=99_999)]
    await pipeline.publish([*(record(2, second) for second in range(40)), *bad, record(2, 40)])
    worker = start_worker()
    await eventually(lambda: _count(pipeline, 41))
    await until_drained(pipeline)
    reasons = [letter[b"reason"].decode() for letter in await pipeline.dead_letters()]
    assert [reason.split(":")[0] for reason in reasons] == ["attributes", "satellites"]
    await until_counted(
        worker, {"processor_position_writes_total{failed}": 2, "processor_dead_letters_total{database}": 2}
    )


async def test_sigterm_during_a_database_outage_leaves_the_work_pending(
    pipeline: Pipeline, start_worker: StartWorker, postgres_factory: PostgresFactory
) -> None:
    """Readiness names Postgres, nothing is acknowledged, the exit waits for no database, and nothing is lost."""
    server = postgres_factory()
    worker = start_worker(POSTGRES_URL=server.url)
    await worker.wait_ready()
    server.kill()
    await pipeline.publish([record(device, 1) for device in range(500)])
    await eventually(lambda: _read(pipeline, 500), message="the records were read")
    await eventually(lambda: _not_ready(worker, "postgres", "writer"), message="readiness names Postgres")
    assert await worker.stop() == 0
    assert await pipeline.pending() == 500
    server.start()
    start_worker(POSTGRES_URL=server.url)
    await until_drained(pipeline)
    connection = await asyncpg.connect(server.url)
    assert await connection.fetchval("SELECT count(*) FROM positions") == 500
    await connection.close()
    assert {state.count for state in (await pipeline.states()).values()} == {1}


async def test_sigterm_while_the_database_stands_still_leaves_the_work_pending(
    pipeline: Pipeline, start_worker: StartWorker, postgres_factory: PostgresFactory
) -> None:
    """A server that accepts and never answers does not hold up the exit either."""
    server = postgres_factory()
    worker = start_worker(POSTGRES_URL=server.url)
    await worker.wait_ready()
    server.pause()
    await pipeline.publish([record(device, 1) for device in range(500)])
    await eventually(lambda: _read(pipeline, 500), message="the records were read")
    assert await worker.stop() == 0
    assert await pipeline.pending() == 500
    server.resume()


async def test_a_worker_starts_while_the_database_is_down(
    pipeline: Pipeline, start_worker: StartWorker, postgres_factory: PostgresFactory
) -> None:
    """It waits, unready, and stores everything when the database comes."""
    server = postgres_factory()
    server.stop()
    await pipeline.publish([record(1, 1)])
    worker = start_worker(POSTGRES_URL=server.url)
    await eventually(lambda: _read(pipeline, 1), timeout_s=60, message="the record was read")
    server.start()
    await until_drained(pipeline)
    await worker.wait_ready()


async def test_partitions_are_streams_of_their_own(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """With several partitions each stream is read, each with its own state hash."""
    streams = [keys.partition_stream(pipeline.stream, number, 3) for number in range(3)]
    for number, stream in enumerate(streams):
        await pipeline.publish([record(number, second) for second in range(20)], stream)
    worker = start_worker(REDIS_TELEMETRY_PARTITIONS="3")
    await eventually(lambda: _count(pipeline, 60))
    await worker.wait_ready()
    for stream in streams:
        await eventually(partial(_no_pending, pipeline, stream))
        assert [state.count for state in (await pipeline.states(stream)).values()] == [20]
    assert (await worker.metrics())["processor_partitions_owned"] == 3


async def test_evicted_devices_leave_the_hash(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """The bound on devices holds in memory and in Redis, the longest untouched go first."""
    await pipeline.publish([record(device, 1) for device in range(20)])
    worker = start_worker(DEVICE_STATE_LRU_CAP="8", BATCH_SIZE="5", **STEADY)
    await until_drained_after_start(pipeline, 20)
    assert set(await pipeline.states()) == {record(device, 1)["device_id"] for device in range(12, 20)}
    metrics = await worker.metrics()
    assert metrics["processor_device_state_size"] == 8
    assert metrics["processor_device_state_evictions_total"] == 12


async def test_an_emptied_redis_is_survived(pipeline: Pipeline, start_worker: StartWorker, redis: Redis) -> None:
    """When stream, group, lease and state vanish, the worker begins anew and stores what comes."""
    worker = start_worker()
    await pipeline.publish([record(1, second) for second in range(5)])
    await until_drained_after_start(pipeline, 5)
    gone = [key async for key in redis.scan_iter(match=f"*{pipeline.stream}*", count=1000)]
    await redis.unlink(*gone)
    await pipeline.publish([record(1, second) for second in range(5, 9)])
    await eventually(lambda: _count(pipeline, 9), timeout_s=60)
    await until_drained(pipeline)
    assert [state.count for state in (await pipeline.states()).values()] == [4]
    assert worker.exit_code is None


async def test_a_restarted_redis_is_survived(
    pipeline: Pipeline, start_worker: StartWorker, valkey_factory: ValkeyFactory
) -> None:
    """A Redis that crashes and comes back with its data costs nothing: rows and counts are exact."""
    server = valkey_factory(appendonly=True, extra_args=("--appendfsync", "always"))
    worker = start_worker(REDIS_URL=server.url)
    await worker.wait_ready()
    for second in range(1, 4):
        async with Redis.from_url(server.url) as redis:
            there = Pipeline(redis, pipeline.database, pipeline.stream, pipeline.env)
            await there.publish([record(device, second) for device in range(200)])
        server.kill()
        server.start()
    async with Redis.from_url(server.url) as redis:
        there = Pipeline(redis, pipeline.database, pipeline.stream, pipeline.env)
        await eventually(lambda: _count(there, 600), timeout_s=60, message="all rows are stored")
        await until_drained(there)
        assert {state.count for state in (await there.states()).values()} == {3}
    assert await worker.stop() == 0


async def until_drained_after_start(pipeline: Pipeline, rows: int) -> None:
    await eventually(lambda: _count(pipeline, rows), timeout_s=60)
    await until_drained(pipeline)


async def _count(pipeline: Pipeline, rows: int) -> bool:
    return await pipeline.stored() == rows


async def _pending(pipeline: Pipeline, entries: int) -> bool:
    return await pipeline.unread() == 0 and await pipeline.pending() == entries


async def _no_pending(pipeline: Pipeline, stream: str) -> bool:
    return await pipeline.pending(stream) == 0


async def _read(pipeline: Pipeline, entries: int) -> bool:
    groups = await pipeline.redis.xinfo_groups(pipeline.stream)
    return bool(groups) and groups[0]["name"] == GROUP.encode() and groups[0]["pending"] == entries


async def _not_ready(worker: WorkerProcess, *unwell: str) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{worker.metrics_url}/readyz") as answer:
        checks = (await answer.json())["checks"]
        return answer.status == 503 and [name for name, state in checks.items() if state != "ok"] == [*unwell]


def _telemetry(pipeline: Pipeline, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "telemetry_app", *arguments],
        env=dict(pipeline.env), cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return run.stdout


async def _is_read(pipeline: Pipeline, stream: str) -> bool:
    return await pipeline.unread(stream) == 0


async def _shows(worker: WorkerProcess, metric: str, value: float) -> bool:
    try:
        return (await worker.metrics()).get(metric) == value
    except (aiohttp.ClientError, TimeoutError):  # it is starting
        return False
