"""Connections to a test's database."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from telemetry_app.database.postgres import Postgres
from telemetry_app.database.sessions import Pooler


@contextlib.asynccontextmanager
async def pool(
    url: str, *, size: int = 2, statement_timeout_ms: int = 30_000, pooler: Pooler = "auto", writes: bool = True
) -> AsyncIterator[Postgres]:
    """Start a pool for the time of the block; by default it is as patient as a busy machine needs."""
    postgres = Postgres(
        url,
        size=size,
        statement_timeout_ms=statement_timeout_ms,
        connect_timeout_s=30,
        acquire_timeout_s=30,
        pooler=pooler,
        writes=writes,
    )
    async with postgres:
        yield postgres


@contextlib.contextmanager
def counted(postgres: Postgres) -> Iterator[list[None]]:
    """Give a list that grows with each use of one of the pool's connections, within the block."""
    uses: list[None] = []
    acquire = postgres.acquire

    def counting(**options: Any) -> Any:
        uses.append(None)
        return acquire(**options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "acquire", counting)
        yield uses


@contextlib.asynccontextmanager
async def session(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Open a connection of the test's own."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close(timeout=30)
