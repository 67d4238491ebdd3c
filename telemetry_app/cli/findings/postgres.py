"""PostgreSQL: whether it takes writes, its extensions, the migrations and the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import asyncpg

from telemetry_app.cli.findings.finding import TIMEOUT_S, Finding, good, warned, wrong
from telemetry_app.core.positions.insert import insert
from telemetry_app.core.positions.rows import columns, doubt_columns
from telemetry_app.database.errors import describe, meaning_of
from telemetry_app.database.migrate import MigrationError, status
from telemetry_app.database.postgres import Postgres, connect
from telemetry_app.database.sessions import end_session, needs_transactions, used
from telemetry_app.redaction import redact_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry_app.settings import Settings

_CHANGE_NOTHING: Final = "UPDATE positions SET attributes = attributes, priority = priority WHERE false"
_MERGING: Final = "grant UPDATE, or a second record of one device and time is not merged into the first"


async def look_at_postgres(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the server, its extensions, the migrations and the table."""
    connection = await connect(settings.postgres_url, pooler=settings.postgres_pooler, attempts=1, timeout_s=TIMEOUT_S)
    try:
        version = ".".join(str(part) for part in connection.get_server_version()[:2])
        pooler = ", through a pooler" if needs_transactions(connection) else ""
        label = f"{redact_url(settings.postgres_url)}{pooler}, version {version}"
        async with used(connection):
            in_recovery = await connection.fetchval("SELECT pg_is_in_recovery()")
            extensions = await _extensions(connection)
            table = await _positions(connection)
        if in_recovery:
            yield wrong("postgres", f"{label} is in recovery and takes no writes", "set POSTGRES_URL to the primary")
            return
        pool = Postgres(settings.postgres_url, size=1, pooler=settings.postgres_pooler)
        async with pool:
            if problem := await pool.why_not_ready():
                yield wrong(
                    "postgres", f"{label}: {problem}", "let its user work as a worker does, see docs/operations.md"
                )
                return
            yield good("postgres", f"{label}, takes writes")
            yield extensions
            yield await _migrations(connection)
            yield await _writing(pool, table) if table.ok else table
    finally:
        await end_session(connection)


async def _extensions(connection: asyncpg.Connection[Any]) -> Finding:
    rows = await connection.fetch(
        "SELECT name, installed_version FROM pg_available_extensions WHERE name IN ('timescaledb', 'postgis')"
    )
    versions = {row["name"]: row["installed_version"] for row in rows}
    states = (
        f"{title} {versions[name] or 'available'}" if name in versions else f"{title} not available"
        for name, title in (("timescaledb", "TimescaleDB"), ("postgis", "PostGIS"))
    )
    return good("extensions", ", ".join(states))


async def _migrations(connection: asyncpg.Connection[Any]) -> Finding:
    try:
        rows = await status(connection)
    except MigrationError as exc:
        return wrong("migrations", str(exc), "install the release again")
    behind = [f"{row.version:04d}_{row.name} is {row.state}" for row in rows if row.state != "applied"]
    if not behind:
        return good("migrations", f"{len(rows)} applied, none pending")
    drifted = any(row.state in {"changed", "unknown"} for row in rows)
    return wrong(
        "migrations", ", ".join(behind), "run the release it belongs to" if drifted else "run `telemetry migrate`"
    )


async def _positions(connection: asyncpg.Connection[Any]) -> Finding:
    if await connection.fetchval("SELECT to_regclass('positions')") is None:
        return wrong("table", "there is no table positions", "run `telemetry migrate`")
    hypertable = await connection.fetchval("SELECT to_regclass('timescaledb_information.hypertables')") and (
        await connection.fetchval(
            "SELECT 1 FROM timescaledb_information.hypertables WHERE hypertable_name = 'positions'"
        )
    )
    return good("table", f"positions is a {'hypertable' if hypertable else 'plain table'}")


async def _writing(pool: Postgres, table: Finding) -> Finding:
    """Run the worker's statements, without a row, which the database looks through all the same."""
    rows = columns(())
    try:
        async with pool.acquire() as connection:
            await insert(connection, rows)
            await insert(connection, rows, doubt_columns(()))
    except asyncpg.PostgresError as error:
        return wrong("table", f"positions takes no rows: {describe(error)}", meaning_of(error).advice)
    try:
        async with pool.acquire() as connection:
            await connection.execute(_CHANGE_NOTHING)
    except asyncpg.PostgresError as error:
        return warned("table", f"{table.text} whose rows cannot be changed: {describe(error)}", _MERGING)
    return table
