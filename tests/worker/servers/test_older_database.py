"""A worker on a database that it cannot migrate."""

from telemetry_app.database.indexes import DUPLICATES_QUERY
from tests.app.database.test_older_table import TABLE
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker, record, until_drained
from tests.worker.test_sharing import readiness


async def test_a_worker_waits_for_a_table_that_has_duplicates_to_be_mended(
    pipeline: Pipeline, start_worker: StartWorker
) -> None:
    """It lives, is not ready and says why; once the rows are removed it is ready and stores what waited."""
    await pipeline.database.execute(TABLE)
    await pipeline.database.execute("INSERT INTO positions (device_id, ts) VALUES ('old', 'epoch'), ('old', 'epoch')")
    await pipeline.publish([record(0, 0), record(0, 0, priority=2, attributes={"panic": 1})])
    worker = start_worker()

    async def says_why() -> bool:
        status, body = await readiness(worker)
        reason = body["checks"].get("migrations", "")
        return status == 503 and "telemetry migrate --remove-duplicates" in reason and DUPLICATES_QUERY in reason

    async def has_tried() -> bool:
        return (await worker.metrics()).get("processor_retries_total{migrations}", 0) >= 2

    async def is_read() -> bool:
        return await pipeline.unread() == 0

    await eventually(says_why, timeout_s=60)
    await eventually(has_tried, timeout_s=30)
    assert "telemetry migrate --remove-duplicates" in worker.log_path.read_text()
    worker.require_alive()
    await eventually(is_read, message="the records are read, and pending")
    assert await pipeline.pending() == 2
    await pipeline.database.execute("DELETE FROM positions WHERE ctid = '(0,2)'")
    await worker.wait_ready()
    await until_drained(pipeline)

    row = await pipeline.database.fetchrow(
        "SELECT priority, attributes ? 'panic' FROM positions WHERE device_id <> 'old'"
    )
    assert row is not None
    assert tuple(row) == (2, True)
    metrics = await worker.metrics()
    counted = [
        metrics[f"processor_position_writes_total{{{status}}}"] for status in ("inserted", "merged", "duplicate")
    ]
    assert counted == [1, 1, 0]
    assert await worker.stop() == 0
