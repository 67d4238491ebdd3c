"""A worker whose database cannot be migrated waits, says why, and goes on when it is mended."""

import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from telemetry_app.database.backoff import Backoff
from telemetry_app.database.migrate import migrate
from telemetry_app.database.migrator import Migrator
from tests.support.database import session
from tests.support.waiting import eventually

DUPLICATED = """DROP INDEX positions_device_ts_idx;
INSERT INTO positions (device_id, ts) VALUES ('a', 'today'), ('a', 'today')"""
QUICK = Backoff(first_s=0.01, longest_s=0.05)


class Waiting:
    """A migrator at work, and how often it has tried in vain."""

    def __init__(self, url: str) -> None:
        self.failures = 0
        self.migrator = Migrator(url, enabled=True, retried=self._count, backoff=QUICK)

    def _count(self) -> None:
        self.failures += 1

    async def is_ready(self) -> bool:
        return await self.migrator.why_not_ready() is None


@contextlib.asynccontextmanager
async def waiting(url: str) -> AsyncIterator[Waiting]:
    """Start a migrator and let it fail several times."""
    it = Waiting(url)
    async with it.migrator:
        await eventually(lambda: it.failures >= 3)
        yield it


async def execute(url: str, *statements: str) -> None:
    async with session(url) as connection:
        for statement in statements:
            await connection.execute(statement)


def complaints(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(log.levelno, log.message) for log in caplog.records if "migrations are waiting" in log.message]


@pytest.mark.parametrize(
    ("broken", "mended", "reason"),
    [
        (
            "UPDATE schema_migrations SET checksum = 'x' || checksum WHERE version = 2",
            "UPDATE schema_migrations SET checksum = substr(checksum, 2) WHERE version = 2",
            "was changed after it was applied",
        ),
        (
            "INSERT INTO schema_migrations VALUES (9999, 'newer', 'x')",
            "DELETE FROM schema_migrations WHERE version = 9999",
            "a newer release has migrated it",
        ),
        (
            DUPLICATED,
            "DELETE FROM positions",
            "telemetry migrate --remove-duplicates",
        ),
        (
            "DROP TABLE schema_migrations; ALTER TABLE positions DROP COLUMN speed",
            "ALTER TABLE positions ADD COLUMN speed float8",
            "has no column speed",
        ),
    ],
    ids=["drift", "newer-schema", "duplicates", "another-table"],
)
async def test_it_waits_until_somebody_has_mended_it(
    plain_postgres_url: str, caplog: pytest.LogCaptureFixture, broken: str, mended: str, reason: str
) -> None:
    """It goes on trying without ending the worker, says why once and to readiness, and is ready when it is mended."""
    await migrate(plain_postgres_url)
    await execute(plain_postgres_url, broken)
    async with waiting(plain_postgres_url) as it:
        assert reason in (await it.migrator.why_not_ready() or "")
        assert [(level, reason in text) for level, text in complaints(caplog)] == [(logging.ERROR, True)]
        await execute(plain_postgres_url, mended)
        await eventually(it.is_ready)


async def test_a_missing_right_is_waited_for(plain_postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A user who may not create tables waits for the right, or for somebody who migrates in its place."""
    role = f"role_{uuid.uuid4().hex}"
    await execute(plain_postgres_url, f"CREATE ROLE {role} LOGIN")
    parts = urlsplit(plain_postgres_url)
    theirs = parts._replace(netloc=f"{role}@{parts.hostname}:{parts.port}").geturl()
    try:
        async with waiting(theirs) as it:
            assert "permission denied for schema public" in (await it.migrator.why_not_ready() or "")
            await migrate(plain_postgres_url)
            await execute(plain_postgres_url, f"GRANT SELECT ON schema_migrations TO {role}")
            await eventually(it.is_ready)
    finally:
        await execute(plain_postgres_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")

    assert {level for level, _ in complaints(caplog)} == {logging.WARNING}


async def test_the_reason_is_said_again_when_it_changes(
    plain_postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it fails for one reason there is one line, and one for the next reason."""
    await migrate(plain_postgres_url)
    await execute(plain_postgres_url, "UPDATE schema_migrations SET checksum = 'x' WHERE version = 2")
    async with waiting(plain_postgres_url) as it:
        await execute(plain_postgres_url, "UPDATE schema_migrations SET checksum = 'x' WHERE version = 1")
        await eventually(lambda: len(complaints(caplog)) == 2)
        failures = it.failures
        await eventually(lambda: it.failures >= failures + 3)

    assert ["0002" in text for _, text in complaints(caplog)] == [True, False]


async def test_limits_of_the_role_end_no_migration(plain_postgres_url: str, tmp_path: Path) -> None:
    """Whatever limits an operator has set for ordinary work, and they hold again afterwards."""
    limits = ("statement_timeout", "lock_timeout", "transaction_timeout", "idle_in_transaction_session_timeout")
    (tmp_path / "0001_slow.sql").write_text("SELECT pg_sleep(3);")
    async with session(plain_postgres_url) as other:
        for limit in limits:
            await other.execute(f"ALTER DATABASE {plain_postgres_url.rpartition('/')[2]} SET {limit} = 2000")
    async with session(plain_postgres_url) as connection:
        assert await migrate(connection, folder=tmp_path) == ["0001_slow.sql"]
        assert {await connection.fetchval("SELECT current_setting($1)", limit) for limit in limits} == {"2s"}
