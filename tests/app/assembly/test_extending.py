"""A second database and a second computation in a real worker, which is killed between the first and the second."""

import sys

import msgspec
import pytest

from faust_redis.redis import keys
from tests.app.assembly.extended_worker import TABLE
from tests.support.waiting import eventually
from tests.worker.conftest import GROUP, Pipeline, StartWorker, pipeline, record, start_worker, until_drained

__all__ = ["pipeline", "start_worker"]

EXTENDED = (sys.executable, "-m", "tests.app.assembly.extended_worker")
DEVICES, SECONDS = 20, 3
RECORDS = DEVICES * SECONDS
PATIENCE_S = 60


@pytest.mark.parametrize(("between", "stored_first"), [("sinks", RECORDS), ("folds", 0)])
async def test_a_worker_killed_between_the_first_and_the_second_loses_and_doubles_nothing(
    pipeline: Pipeline, start_worker: StartWorker, between: str, stored_first: int
) -> None:
    """Nothing is acknowledged and no table is written before both have it; afterwards each has every record once."""
    await pipeline.publish([record(device, second) for second in range(SECONDS) for device in range(DEVICES)])
    worker = start_worker(command=EXTENDED, CRASH_BETWEEN=between)
    await eventually(lambda: worker.exit_code == -9, timeout_s=PATIENCE_S, message="the worker kills itself")
    assert (await pipeline.stored(), await pipeline.pending()) == (stored_first, RECORDS)
    assert (await pipeline.states(), await sums(pipeline)) == ({}, {})
    start_worker(command=EXTENDED)
    await until_drained(pipeline, timeout_s=PATIENCE_S)
    assert await pipeline.stored() == RECORDS
    assert await pipeline.database.fetchval("SELECT count(*) FROM speeds") == RECORDS
    assert {state.count for state in (await pipeline.states()).values()} == {SECONDS}
    assert await sums(pipeline) == dict.fromkeys(await pipeline.states(), sum(range(SECONDS)))


async def sums(pipeline: Pipeline) -> dict[str, float]:
    """Return what the second computation has in its hash; a record's speed is its second."""
    raw: dict[bytes, bytes] = await pipeline.redis.hgetall(keys.state(pipeline.stream, GROUP, TABLE))  # type: ignore[assignment]
    return {
        field.decode(): msgspec.msgpack.decode(value) for field, value in raw.items() if not field.startswith(b"\x00")
    }
