"""A database of its own for each test."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import urlsplit

import asyncpg

from telemetry_app.database.migrate import migrate
from tests.support.waiting import eventually


@contextlib.asynccontextmanager
async def fresh_database(server_url: str, template: str = "template0") -> AsyncIterator[str]:
    """Make a database, give its URL, and drop it with whatever is still connected.

    An empty one is cloned from template0, which nobody can be connected to: TimescaleDB's background workers may be at
    work in template1, and cloning a template in use fails.
    """
    name = f"test_{uuid.uuid4().hex}"
    await eventually(partial(_is_done, server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        await eventually(partial(_is_done, server_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


@contextlib.asynccontextmanager
async def migrated_template(server_url: str) -> AsyncIterator[str]:
    """Make a database with the table, give its name, and drop it: migrating takes ten times as long as cloning it."""
    async with fresh_database(server_url) as url:
        await migrate(url)
        name = urlsplit(url).path.removeprefix("/")
        # As for template0: not even background workers come in.
        await _execute(server_url, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await _execute(server_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield name


async def _is_done(server_url: str, statement: str) -> bool:
    """Do what can be done only without other sessions in the database, for whose end the server waits 5 s at most."""
    try:
        await _execute(server_url, statement)
    except asyncpg.ObjectInUseError:
        return False
    return True


async def _execute(server_url: str, statement: str, *arguments: str) -> None:
    # A connection for each statement: the test in between may have restarted the server.
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()
