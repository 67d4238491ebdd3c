"""How far the database is, read from a real one."""

from __future__ import annotations

from telemetry_app.database.migrate import migrate
from telemetry_app.live.positions.stored import StoredPositions
from telemetry_app.live.wire.position import epoch_ms
from tests.core.writing import FIRST_TS, desk, pool, positions, session


async def test_the_newest_of_each_device(postgres_url: str) -> None:
    """The newest timestamp of each device asked for is told, faulty or not; unknown devices are left out."""
    await migrate(postgres_url)
    async with desk(postgres_url) as writing:
        await writing.writer.write(positions(3))
        async with session(postgres_url) as connection:
            await connection.execute("UPDATE positions SET faulty = true WHERE ts = (SELECT max(ts) FROM positions)")
        device = positions(1)[0].device_id
        stored = StoredPositions(writing.postgres)
        assert await stored.stored_until([device, "unknown"]) == {device: epoch_ms(FIRST_TS) + 2000}


async def test_a_database_that_cannot_be_read() -> None:
    """Without a database nothing is known, and nothing is raised."""
    async with pool("postgresql://127.0.0.1:1/none") as postgres:
        assert await StoredPositions(postgres).stored_until(["a"]) == {}
