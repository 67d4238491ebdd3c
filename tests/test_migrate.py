import asyncio
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from click.testing import CliRunner

from telemetry_app.cli.migrate import command
from telemetry_app.shared.migrate import (
    LOCK_KEY,
    DriftError,
    MigrationError,
    migrate,
    status,
)
from tests.writing import session

ALL = ["0001_positions.sql", "0002_positions_faulty.sql"]
COLUMNS = {
    "device_id": ("text", "NO"),
    "ts": ("timestamp with time zone", "NO"),
    "latitude": ("double precision", "YES"),
    "longitude": ("double precision", "YES"),
    "altitude": ("double precision", "YES"),
    "angle": ("double precision", "YES"),
    "speed": ("double precision", "YES"),
    "satellites": ("smallint", "YES"),
    "priority": ("smallint", "YES"),
    "codec": ("text", "YES"),
    "attributes": ("jsonb", "NO"),
    "ingested_at": ("timestamp with time zone", "NO"),
    "faulty": ("boolean", "NO"),
}
OLD_TABLE = """
CREATE TABLE positions (device_id text NOT NULL, ts timestamptz NOT NULL, latitude double precision,
    longitude double precision, altitude double precision, angle double precision, speed double precision,
    satellites smallint, priority smallint, codec text, attributes jsonb NOT NULL DEFAULT '{}',
    ingested_at timestamptz NOT NULL DEFAULT now());
INSERT INTO positions (device_id, ts) VALUES ('old', '2026-01-01 00:00:00Z');
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two migrations that work everywhere."""
    (tmp_path / "0001_one.sql").write_text("CREATE TABLE one (n int);")
    (tmp_path / "0002_two.sql").write_text("CREATE TABLE two (n int);")
    return tmp_path


async def indexes(connection: asyncpg.Connection[Any]) -> dict[str, str]:
    """Return the definitions of the table's indexes by name, from the method on."""
    rows = await connection.fetch("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'positions'")
    return {row["indexname"]: row["indexdef"].replace(" INDEX", "").split(" ", 1)[1] for row in rows}


async def is_hypertable(connection: asyncpg.Connection[Any]) -> bool:
    answer: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM timescaledb_information.hypertables WHERE hypertable_name = 'positions')"
    )
    return answer


async def test_the_table(postgres_url: str) -> None:
    """The table, its defaults and its two indexes are there on either kind of database."""
    assert await migrate(postgres_url) == ALL
    async with session(postgres_url) as connection:
        rows = await connection.fetch(
            "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
            " WHERE table_name = 'positions' ORDER BY ordinal_position"
        )
        found = await indexes(connection)
        await connection.execute("INSERT INTO positions (device_id, ts) VALUES ('x', now())")
        defaults = await connection.fetchrow(
            "SELECT attributes::text, faulty, ingested_at <= now() AS stamped FROM positions"
        )

    assert {row[0]: (row[1], row[2]) for row in rows} == COLUMNS
    assert found == {
        "positions_ts_idx": "positions_ts_idx ON public.positions USING btree (ts DESC)",
        "positions_device_ts_idx": "UNIQUE positions_device_ts_idx ON public.positions USING btree (device_id, ts DESC)",
    } or {name: text.removeprefix("UNIQUE ") for name, text in found.items()} == {
        "positions_ts_idx": "positions_ts_idx ON public.positions USING btree (ts DESC)",
        "positions_device_ts_idx": "positions_device_ts_idx ON public.positions USING btree (device_id, ts DESC)",
    }
    assert defaults is not None
    assert tuple(defaults) == ("{}", False, True)
