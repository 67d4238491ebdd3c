"""What the migration that adds reasons does to a table of an earlier release."""

from telemetry_app.database.migrate import migrate
from tests.app.database.test_migrate import OLD_TABLE
from tests.support.database import session


async def test_rows_of_the_future(postgres_url: str) -> None:
    """What an earlier release stored as good and is still to come is marked; what has passed is left alone."""
    async with session(postgres_url) as connection:
        await connection.execute(OLD_TABLE)
        await connection.execute(
            "INSERT INTO positions (device_id, ts) VALUES ('ahead', now() + interval '23 hours'), ('right', now())"
        )
        await migrate(connection)
        rows = await connection.fetch("SELECT device_id, faulty, faulty_reason FROM positions ORDER BY device_id")

    assert [tuple(row) for row in rows] == [("ahead", True, "ahead"), ("old", False, None), ("right", False, None)]


async def test_a_table_that_does_not_say_when_rows_came(postgres_url: str) -> None:
    """A table of other hands without `ingested_at` gets it, and from then on says so of new rows."""
    async with session(postgres_url) as connection:
        await connection.execute(f"{OLD_TABLE}; ALTER TABLE positions DROP COLUMN ingested_at")
        await migrate(connection)
        await connection.execute("INSERT INTO positions (device_id, ts) VALUES ('new', '2026-01-01 00:00:00Z')")
        rows = await connection.fetch("SELECT device_id, ingested_at <= now() FROM positions ORDER BY device_id")

    assert [tuple(row) for row in rows] == [("new", True), ("old", None)]
