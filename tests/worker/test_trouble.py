"""Rows that the database does not take, seen from the stream."""

from functools import partial
from typing import Final

import aiohttp

from faust_redis.redis import keys
from telemetry_app.database.migrate import migrate
from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker, record, until_counted, until_drained

BAD: Final = 666
#: A full disk is never a row's fault: the batch of such a row is in trouble for as long as the error is there.
_REFUSE: Final = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
  IF NEW.device_id LIKE '%00666' THEN RAISE EXCEPTION 'device not welcome' USING ERRCODE = '{code}'; END IF;
  RETURN NEW;
END$$;
CREATE TRIGGER refuse BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION refuse()
"""


async def test_refused_rows_in_several_batches_are_dead_letters_and_all_else_is_stored(
    pipeline: Pipeline, start_worker: StartWorker
) -> None:
    """Everything behind them is stored and acknowledged, and readiness is what it was."""
    await migrate(pipeline.env["POSTGRES_URL"])
    await pipeline.database.execute(_REFUSE.format(code="P0001"))
    await pipeline.publish([record(BAD if n % 100 == 50 else n % 9, n) for n in range(1000)])
    worker = start_worker(BATCH_SIZE="50", DEAD_LETTER_AFTER="3")
    await worker.wait_ready()
    await until_drained(pipeline)
    await worker.wait_ready()
    assert await pipeline.stored() == 990
    letters = await pipeline.dead_letters()
    assert len(letters) == 10
    assert {letter[b"reason"].decode() for letter in letters} == {"device not welcome"}
    await until_counted(worker, {"processor_dead_letters_total{database}": 10, "processor_writes_in_trouble": 0})


async def test_a_batch_in_trouble_stops_its_own_partition_in_the_end_and_no_other(
    pipeline: Pipeline, start_worker: StartWorker
) -> None:
    """Others go on, its own stops after some batches, and a second worker can take partitions over meanwhile."""
    await migrate(pipeline.env["POSTGRES_URL"])
    await pipeline.database.execute(_REFUSE.format(code="53100"))
    streams = [keys.partition_stream(pipeline.stream, number, 3) for number in range(3)]
    await pipeline.publish([record(BAD, 0), *(record(1, n) for n in range(1, 1000))], streams[0])
    variables = {"REDIS_TELEMETRY_PARTITIONS": "3", "BATCH_SIZE": "10"}
    first = start_worker(**variables)
    await eventually(partial(_shows, first, "processor_writes_in_trouble"), timeout_s=60)
    for number in (1, 2):
        await pipeline.publish([record(10 + number, n) for n in range(300)], streams[number])
    for stream in streams[1:]:
        await eventually(partial(_is_drained, pipeline, stream), timeout_s=60)
    assert await pipeline.stored() < 600 + 300
    assert await pipeline.unread(streams[0]) > 0
    second = start_worker(**variables)
    await eventually(
        partial(_shows, second, "processor_partitions_owned"), timeout_s=60, message="the second worker has a partition"
    )
    await pipeline.database.execute("DROP TRIGGER refuse ON positions")
    await eventually(partial(_is_drained, pipeline, streams[0]), timeout_s=60)
    assert await pipeline.stored() == 1600
    assert await pipeline.redis.exists(keys.dead_letters(streams[0])) == 0


async def _shows(worker: WorkerProcess, name: str) -> bool:
    try:
        return (await worker.metrics())[name] > 0
    except (aiohttp.ClientError, TimeoutError):  # it is starting
        return False


async def _is_drained(pipeline: Pipeline, stream: str) -> bool:
    return await pipeline.unread(stream) == 0 and await pipeline.pending(stream) == 0
