"""The command that shows and changes the number of partitions, between real workers."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from faust_redis.redis import keys
from tests.conftest import PROJECT, ProxyFactory
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually
from tests.worker.conftest import GROUP, STEADY, Pipeline, StartWorker, record, until_drained
from tests.worker.spectators import TABLES

DEVICES = 40
#: Of a worker that sets refused records aside at once, so that none is pending for that.
STRICT = {"DEAD_LETTER_AFTER": "1"}


def spread(partitions: int, producer: str) -> dict[str, str]:
    return {"REDIS_TELEMETRY_PARTITIONS": str(partitions), "REDIS_TELEMETRY_PRODUCER": producer, **STRICT}


class Trackers:
    """Publishes records and knows what is to come of them.

    Args:
        pipeline: Where to.
        producer: `single` or `sharded`; it may be changed.
    """

    def __init__(self, pipeline: Pipeline, producer: str) -> None:
        self._pipeline = pipeline
        self.producer = producer
        self._random = random.Random(producer)
        self._second = 0
        self.rows: set[tuple[str, datetime]] = set()
        self.counts = Counter[str]()
        self.last: dict[str, datetime] = {}
        self.refused = 0

    async def send(self, seconds: int, partitions: int) -> None:
        """Send a record of each device for each second, some again and some unreadable ones."""
        for _ in range(seconds):
            payloads = [record(device, self._second) for device in range(DEVICES)]
            payloads += [record(self._random.randrange(DEVICES), self._random.randrange(self._second + 1))]
            for payload in payloads:
                device, at = payload["device_id"], datetime.fromisoformat(payload["timestamp"])
                self.rows.add((device, at))
                self.counts[device] += 1
                self.last[device] = max(at, self.last.get(device, at))
            payloads.append(record(self._random.randrange(DEVICES), self._second, latitude=91))
            self.refused += 1
            self._second += 1
            for payload in payloads:
                await self._pipeline.publish([payload], self._stream_of(payload, partitions))

    def _stream_of(self, payload: dict[str, Any], partitions: int) -> str:
        number = keys.partition_of(payload["device_id"].encode(), partitions)
        partitions = partitions if self.producer == "sharded" else 1
        return keys.partition_stream(self._pipeline.stream, number, partitions)


def streams(pipeline: Pipeline, partitions: int) -> list[str]:
    return [keys.partition_stream(pipeline.stream, number, partitions) for number in range(partitions)]


async def all_done(pipeline: Pipeline, partitions: int) -> bool:
    """Tell whether nothing is unread or pending, in the plain stream neither where that is distributed."""
    for stream in {*streams(pipeline, partitions), pipeline.stream}:
        if await pipeline.redis.exists(stream):
            for group in await pipeline.redis.xinfo_groups(stream):
                delivered = group["last-delivered-id"].decode()
                unread: Any = await pipeline.redis.xrange(stream, f"({delivered}", "+", 1)
                if group["name"] == GROUP.encode() and (unread or group["pending"]):
                    return False
    return True


async def leave_pending(pipeline: Pipeline, partitions: int) -> int:
    """Let somebody read some entries and die; return how many."""
    read = 0
    for stream in streams(pipeline, partitions):
        await pipeline.redis.xreadgroup(GROUP, "gone", {stream: ">"}, count=25)
        read += await pipeline.pending(stream)
    return read


async def telemetry(pipeline: Pipeline, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "telemetry_app", *arguments],
        env={"PATH": "", "PYTHONPATH": str(PROJECT), **pipeline.env, **variables},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
    )


async def run_until_done(start_worker: StartWorker, pipeline: Pipeline, variables: dict[str, str]) -> None:
    """Let a worker do all there is, and stop it."""
    worker = start_worker(**variables)
    await worker.wait_ready()
    done = partial(all_done, pipeline, int(variables["REDIS_TELEMETRY_PARTITIONS"]))
    await eventually(done, timeout_s=60, message="everything is read and acknowledged")
    assert await worker.stop() == 0


async def require_exact(pipeline: Pipeline, trackers: Trackers, partitions: int) -> None:
    """Compare rows, states and dead letters with what was sent."""
    rows = await pipeline.database.fetch("SELECT device_id, ts FROM positions")
    assert Counter(map(tuple, rows)) == dict.fromkeys(trackers.rows, 1)
    states: dict[str, Any] = {}
    letters = 0
    for number, stream in enumerate(streams(pipeline, partitions)):
        for device, state in (await pipeline.states(stream)).items():
            assert keys.partition_of(device.encode(), partitions) == number
            states[device] = state
        letters += await pipeline.redis.xlen(keys.dead_letters(stream))
    assert {device: state.count for device, state in states.items()} == trackers.counts
    assert {device: state.last_seen for device, state in states.items()} == trackers.last
    assert letters == trackers.refused


@pytest.mark.timeout(300)
@pytest.mark.parametrize("producer", ["sharded", "single"])
@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (4, 6)])
async def test_what_workers_store_and_count_is_exact(
    pipeline: Pipeline, start_worker: StartWorker, before: int, after: int, producer: str
) -> None:
    """Over a change with backlog, pending entries, dead letters and states all is stored, counted and refused once."""
    trackers = Trackers(pipeline, producer)
    await trackers.send(8, before)
    await run_until_done(start_worker, pipeline, spread(before, producer))
    await trackers.send(8, before)
    if producer == "sharded" or before == 1:
        assert await leave_pending(pipeline, before) > 0
    changed = await telemetry(pipeline, "partitions", "--to", str(after), **spread(before, producer))
    assert changed.returncode == 0, changed.stderr
    assert f"changed {pipeline.stream} from {before} to {after} partitions: moved" in changed.stdout
    set_both = f"now set REDIS_TELEMETRY_PARTITIONS={after} and REDIS_TELEMETRY_PRODUCER={producer} for"
    assert (set_both if after > 1 else "now set REDIS_TELEMETRY_PARTITIONS=1 for") in changed.stdout
    await trackers.send(8, after)
    await run_until_done(start_worker, pipeline, spread(after, producer))
    await require_exact(pipeline, trackers, after)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("producer", ["sharded", "single"])
async def test_a_command_that_is_killed_and_run_again(
    pipeline: Pipeline, start_worker: StartWorker, tcp_proxy: ProxyFactory, producer: str
) -> None:
    """Killed in the middle, it lets no worker start, and is finished by the next run."""
    trackers = Trackers(pipeline, producer)
    await trackers.send(8, 4)
    await run_until_done(start_worker, pipeline, spread(4, producer))
    await trackers.send(8, 4)
    parts = urlsplit(pipeline.env["REDIS_URL"])
    line = await tcp_proxy(parts.hostname or "", parts.port or 6379)

    def slowed(piece: bytes) -> bool:
        """Lose nothing, but take so long from its first step on that there is time to kill it, however busy we are."""
        if b"4>6" in piece:
            line.latency_s = 0.3
        return False

    line.loses = slowed
    through_it = {"REDIS_URL": url_through(line, pipeline.env["REDIS_URL"])}
    env = {"PYTHONPATH": str(PROJECT), **pipeline.env, **spread(4, producer), **through_it}
    command = [sys.executable, "-m", "telemetry_app", "partitions", "--to", "6"]
    process = await asyncio.create_subprocess_exec(*command, env=env, cwd=PROJECT)

    async def is_changing() -> bool:
        return b">" in bytes(await pipeline.redis.get(keys.partitions(pipeline.stream)) or b"")  # type: ignore[arg-type]  # bytes

    await eventually(is_changing, timeout_s=60, message="the change has begun")
    process.kill()
    await process.wait()
    worker = start_worker(**spread(4, producer))
    await eventually(lambda: worker.exit_code is not None, timeout_s=60)
    assert worker.exit_code == 1
    assert "a change from 4 to 6 partitions was not finished" in worker.log_tail()
    changed = await telemetry(pipeline, "partitions", "--to", "6", **spread(4, producer))
    assert changed.returncode == 0, changed.stderr
    await run_until_done(start_worker, pipeline, spread(6, producer))
    await require_exact(pipeline, trackers, 6)


async def test_it_refuses_while_a_worker_is_alive(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """It names the worker in one sentence and changes nothing, whichever side the worker has."""
    await pipeline.database.execute(TABLES)
    await pipeline.publish([record(1, 1)])
    for roles in ("write", "live"):
        worker = start_worker(ROLES=roles, LIVE_AUTH="none", INSTANCE_ID=f"worker-{roles}", **STEADY)
        await worker.wait_ready()
        await until_drained(pipeline)
        before = sorted(await pipeline.redis.keys(f"*{pipeline.stream}*"))
        refused = await telemetry(pipeline, "partitions", "--to", "3")
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"Error: Workers are alive: stop worker-{roles} first")
        assert refused.stderr.count("\n") == 1
        assert sorted(await pipeline.redis.keys(f"*{pipeline.stream}*")) == before
        assert await worker.stop() == 0


@pytest.mark.parametrize("roles", ["write", "live"])
async def test_a_worker_of_another_number_stops(pipeline: Pipeline, start_worker: StartWorker, roles: str) -> None:
    """It says in one sentence what to do, and has read nothing; `telemetry check` says the same."""
    await run_until_done(start_worker, pipeline, spread(2, "sharded"))
    worker = start_worker(ROLES=roles, LIVE_AUTH="none", REDIS_TELEMETRY_PARTITIONS="3")
    await eventually(lambda: worker.exit_code is not None, timeout_s=60, message="the worker stops")
    assert worker.exit_code == 1
    sentence = (
        f"REDIS_TELEMETRY_PARTITIONS is 3, but Redis has the streams of 2 ({pipeline.stream}:0 to {pipeline.stream}:1):"
        " set REDIS_TELEMETRY_PARTITIONS=2, or stop all workers and run `telemetry partitions --to 3`"
    )
    assert worker.log_tail().endswith(f"Error: The partitions are not as they are in Redis: {sentence}")
    assert not await pipeline.redis.exists(f"{pipeline.stream}:2")
    checked = await telemetry(pipeline, "check", REDIS_TELEMETRY_PARTITIONS="3")
    assert sentence in checked.stdout
    listed = await telemetry(pipeline, "partitions", "--json", REDIS_TELEMETRY_PARTITIONS="3")
    assert (listed.returncode, listed.stderr) == (0, f"Warning: {sentence}\n")
    assert [status["partition"] for status in json.loads(listed.stdout)] == [0, 1]


async def test_a_worker_beside_those_of_another_producer_stops(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """It names the setting in one sentence, as does `telemetry check`."""
    await pipeline.redis.set(keys.producer(pipeline.stream), "single")
    worker = start_worker(**spread(2, "sharded"))
    await eventually(lambda: worker.exit_code is not None, timeout_s=60, message="the worker stops")
    assert worker.exit_code == 1
    sentence = (
        f"REDIS_TELEMETRY_PRODUCER is sharded, but workers of {pipeline.stream} have used single:"
        " set REDIS_TELEMETRY_PRODUCER=single, or stop all workers and run `telemetry partitions --to 2`"
        " with REDIS_TELEMETRY_PRODUCER=sharded"
    )
    assert worker.log_tail().endswith(f"Error: The partitions are not as they are in Redis: {sentence}")
    assert sentence in (await telemetry(pipeline, "check", **spread(2, "sharded"))).stdout


async def test_another_producer_by_the_command(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """Run with the setting changed, it brings what waits to where it belongs; workers then start, and all is exact."""
    trackers = Trackers(pipeline, "single")
    await trackers.send(4, 2)
    await run_until_done(start_worker, pipeline, spread(2, "single"))
    await trackers.send(4, 2)
    changed = await telemetry(pipeline, "partitions", "--to", "2", **spread(2, "sharded"))
    assert changed.returncode == 0, changed.stderr
    trackers.producer = "sharded"
    await trackers.send(4, 2)
    await run_until_done(start_worker, pipeline, spread(2, "sharded"))
    await require_exact(pipeline, trackers, 2)


async def test_a_standby_of_another_number_takes_nothing(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """A worker that was there before the change looks again when it is to read, and stops."""
    worker = start_worker(REDIS_TELEMETRY_PARTITIONS="2", LEASE_TTL_MS="500")
    await worker.wait_ready()
    await pipeline.redis.set(keys.partitions(pipeline.stream), "3")
    await pipeline.redis.delete(*(keys.lease(stream, GROUP) for stream in streams(pipeline, 2)))
    await eventually(lambda: worker.exit_code is not None, timeout_s=60, message="the worker stops")
    assert worker.exit_code == 1
    assert "telemetry partitions --to 2" in worker.log_tail()


async def test_installations_of_earlier_releases(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """Without a record, the number is recorded where the streams agree, and a worker of another one stops."""
    record_key = keys.partitions(pipeline.stream)
    await run_until_done(start_worker, pipeline, spread(2, "sharded"))
    await pipeline.redis.delete(record_key)
    worker = start_worker(REDIS_TELEMETRY_PARTITIONS="4")
    await eventually(lambda: worker.exit_code is not None, timeout_s=60, message="the worker stops")
    assert "run `telemetry partitions --to 4`" in worker.log_tail()
    assert await pipeline.redis.get(record_key) is None
    await run_until_done(start_worker, pipeline, spread(2, "sharded"))
    assert await pipeline.redis.get(record_key) == b"2"


async def test_the_partitions_are_listed(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """Owner, lag, pending entries, the age of the oldest of them and the number of states, as JSON and as a table."""
    variables = spread(2, "sharded")
    trackers = Trackers(pipeline, "sharded")
    await trackers.send(2, 2)
    await run_until_done(start_worker, pipeline, variables)
    await trackers.send(2, 2)
    pending = await leave_pending(pipeline, 2)
    await pipeline.redis.set(keys.lease(f"{pipeline.stream}:0", GROUP), "owner-1#token", px=60_000)
    found = json.loads((await telemetry(pipeline, "partitions", "--json", **variables)).stdout)
    assert [(one["partition"], one["stream"], one["owner"]) for one in found] == [
        (0, f"{pipeline.stream}:0", "owner-1"),
        (1, f"{pipeline.stream}:1", None),
    ]
    assert sum(one["pending"] for one in found) == pending
    assert sum(one["pending"] + one["lag"] for one in found) == 2 * (DEVICES + 2)
    assert sum(one["state_size"] for one in found) == DEVICES
    assert all(0 <= one["oldest_pending_s"] < 60 for one in found)
    table = (await telemetry(pipeline, "partitions", **variables)).stdout
    for heading in ("partition", "owner", "lag", "pending", "oldest pending", "states"):
        assert heading in table
    for one in found:
        [line] = [line for line in table.splitlines() if one["stream"] in line]
        assert line.split()[2:5] == [one["owner"] or "nobody", str(one["lag"]), str(one["pending"])]


async def test_the_plain_stream_is_listed_before_its_partitions(pipeline: Pipeline) -> None:
    """What waits to be distributed is in no partition yet; who sets `sharded` beside such a producer is warned."""
    await Trackers(pipeline, "single").send(1, 2)
    variables = spread(2, "single")
    found = json.loads((await telemetry(pipeline, "partitions", "--json", **variables)).stdout)
    assert [(one["partition"], one["stream"], one["owner"], one["lag"]) for one in found] == [
        (None, pipeline.stream, None, DEVICES + 2),
        (0, f"{pipeline.stream}:0", None, 0),
        (1, f"{pipeline.stream}:1", None, 0),
    ]
    await pipeline.redis.set(keys.lease(pipeline.stream, GROUP), "owner-1#token", px=60_000)
    table = (await telemetry(pipeline, "partitions", **variables)).stdout
    assert ["-", pipeline.stream, "owner-1", str(DEVICES + 2)] in [line.split()[:4] for line in table.splitlines()]
    warning = f"{DEVICES + 2} records wait in {pipeline.stream}, which nobody reads then: stop all workers"
    assert warning in (await telemetry(pipeline, "check", **spread(2, "sharded"))).stdout
    assert warning not in (await telemetry(pipeline, "check", **variables)).stdout
    # Where the producer chooses the partition the plain name may be used for something else.
    await pipeline.redis.delete(pipeline.stream)
    await pipeline.redis.set(pipeline.stream, "x")
    assert "WRONGTYPE" not in (await telemetry(pipeline, "check", **spread(2, "sharded"))).stdout
    assert (await telemetry(pipeline, "partitions", **spread(2, "sharded"))).returncode == 0


async def test_a_partition_of_another_type_is_named(pipeline: Pipeline) -> None:
    """Redis itself says only that some key is of the wrong kind."""
    await pipeline.redis.set(f"{pipeline.stream}:1", "x")
    listed = await telemetry(pipeline, "partitions", **spread(2, "single"))
    assert f"{pipeline.stream}:1 should be a stream and is a string" in listed.stderr


async def test_the_lag_is_known_beside_a_record_that_is_pending(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """A refused record that is tried again does not hide how many records wait behind it."""
    two = {"REDIS_TELEMETRY_PARTITIONS": "2", "REDIS_TELEMETRY_PRODUCER": "single"}
    worker = start_worker(**two)
    await worker.wait_ready()
    number = keys.partition_of(record(1, 0)["device_id"].encode(), 2)
    partition = keys.partition_stream(pipeline.stream, number, 2)
    await pipeline.publish([record(1, 0, latitude=91)])
    await eventually(partial(_is_pending, pipeline, partition), timeout_s=60, message="it is refused")
    for second in range(1, 4):
        await pipeline.publish([record(1, second)])
        await eventually(partial(_has_stored, pipeline, second), timeout_s=60)
    assert await worker.stop() == 0
    await pipeline.publish([record(1, 10 + second) for second in range(5)], partition)
    listed = json.loads((await telemetry(pipeline, "partitions", "--json", **two)).stdout)
    (found,) = [status for status in listed if status["partition"] == number]
    assert (found["lag"], found["pending"]) == (5, 1)


async def _is_pending(pipeline: Pipeline, stream: str) -> bool:
    return await pipeline.redis.exists(stream) == 1 and await pipeline.pending(stream) == 1


async def _has_stored(pipeline: Pipeline, rows: int) -> bool:
    return await pipeline.stored() == rows
