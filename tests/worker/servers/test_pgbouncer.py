"""Workers behind PgBouncer with its default settings and fewer sessions than they would open."""

from __future__ import annotations

import pytest

from faust_redis.redis import keys
from tests.conftest import BouncerFactory
from tests.support.servers.pgbouncer import PoolMode
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker, record

RECORDS = 100


@pytest.mark.timeout(180)
@pytest.mark.parametrize("pool_mode", ["session", "transaction"])
async def test_workers_and_a_restart(
    pipeline: Pipeline,
    start_worker: StartWorker,
    pgbouncer: BouncerFactory,
    plain_postgres_url: str,
    pool_mode: PoolMode,
) -> None:
    """Two workers store everything once, an empty database migrated, through a pooler that is killed meanwhile."""
    bouncer = pgbouncer(pool_mode=pool_mode, pool_size=3)
    url = bouncer.url_of(plain_postgres_url)
    workers = [start_worker(POSTGRES_URL=url, REDIS_TELEMETRY_PARTITIONS="2", BATCH_SIZE="10") for _ in range(2)]
    streams = [keys.partition_stream(pipeline.stream, partition, 2) for partition in range(2)]

    async def publish(first: int) -> None:
        for device, stream in enumerate(streams):
            await pipeline.publish([record(device, second) for second in range(first, first + RECORDS)], stream)

    await publish(0)
    await eventually(pipeline.stored, timeout_s=60, message="something is stored")
    bouncer.kill()
    await publish(RECORDS)
    bouncer.start()

    async def all_stored() -> bool:
        return await pipeline.stored() == 2 * 2 * RECORDS

    await eventually(all_stored, timeout_s=60, message="everything is stored")
    for worker in workers:
        worker.require_alive()
