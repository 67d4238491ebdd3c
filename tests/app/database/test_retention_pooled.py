"""Old positions are removed through a pooler too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from telemetry_app.database.migrate import migrate
from telemetry_app.database.postgres import connect
from telemetry_app.database.retention import find_old, remove
from tests.support.database import session
from tests.support.servers.pgbouncer import PgBouncer
from tests.support.servers.server import server_folder, started

INSERT = (
    "INSERT INTO positions (device_id, ts, latitude, longitude, altitude, angle, speed, satellites, priority)"
    " SELECT 'd', now() - n * interval '1 day', 0, 0, 0, 0, 0, 0, 0 FROM generate_series(1, 100) n"
)


@pytest.fixture(params=["row", "chunk"])
async def direct_url(request: pytest.FixtureRequest, plain_postgres_url: str, timescale_postgres_url: str) -> str:
    """A database with an ordinary table, or a hypertable, of a hundred days."""
    url = {"row": plain_postgres_url, "chunk": timescale_postgres_url}[request.param]
    await migrate(url)
    async with session(url) as connection:
        await connection.execute(INSERT)
    return url


@pytest.fixture(params=["session", "transaction"])
def pooled_url(request: pytest.FixtureRequest, direct_url: str) -> Iterator[str]:
    bouncer = PgBouncer(server_folder(), direct_url, pool_mode=request.param, pool_size=2)
    with started(bouncer):
        yield bouncer.url_of(direct_url)


async def test_old_positions_go_and_young_ones_stay(direct_url: str, pooled_url: str) -> None:
    """What was found to be old is what goes, rows or chunks, and a second run finds nothing."""
    connection: Any = await connect(pooled_url)
    try:
        old = await find_old(connection, timedelta(days=50))
        assert old.number > 5
        steps: list[int] = []
        assert await remove(connection, old, steps.append) == old
        assert steps[-1] == old.number
        assert (await find_old(connection, timedelta(days=50))).number == 0
    finally:
        await connection.close(timeout=5)
    async with session(direct_url) as direct:
        assert await direct.fetchval("SELECT count(*) FROM positions WHERE ts > now() - interval '50 days'") == 49
        left = await direct.fetchval("SELECT count(*) FROM positions")
        assert left == 49 if old.kind == "row" else 49 <= left < 60
