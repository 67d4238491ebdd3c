"""Streams and tables for a measurement: records to drain, and a database that has none of them yet."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import asyncpg

from telemetry_app.database.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from faust_redis.redis.client import Client

#: Records of one round trip, and of one INSERT of the raw limit.
BATCH: Final = 1000


async def append_all(
    redis: Client, entries: Iterable[tuple[str, list[bytes]]], number: int, say: Callable[[str, float], None]
) -> None:
    """Append entries, each to its stream, many in one round trip.

    Args:
        redis: Where.
        entries: Pairs of stream and fields.
        number: How many they are.
        say: Told how much of it is done (0 to 1).
    """
    pipeline = redis.pipeline(transaction=False)
    for sent, (stream, fields) in enumerate(entries, 1):
        pipeline.execute_command("XADD", stream, "*", *fields)
        if sent % BATCH == 0:
            await pipeline.execute()
            say("publishing", sent / number)
    await pipeline.execute()


@asynccontextmanager
async def fresh_database(server_url: str, name: str) -> AsyncIterator[str]:
    """Make a database with our tables for the time of the block; yields its URL.

    Args:
        server_url: Of a database on the same server.
        name: An SQL name of the caller's own.
    """
    connection = await asyncpg.connect(server_url)
    await connection.execute(f"CREATE DATABASE {name}")
    url = server_url.rpartition("/")[0] + f"/{name}"
    await migrate(url)
    yield url
    await connection.execute(f"DROP DATABASE {name}")
    await connection.close()
