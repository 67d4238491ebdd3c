import asyncio
import os
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from telemetry_app.database.migrate import migrate
from tests.conftest import ProxyFactory
from tests.support.database import session
from tests.support.servers.proxy import url_through

#: The last that a client of Postgres sends.
FAREWELL = b"X\x00\x00\x00\x04"
NOTHING_TO_DO = "nothing to do: the schema is up to date"
APPLIED = [
    "applied 0001_positions.sql",
    "applied 0002_positions_faulty.sql",
    "applied 0003_positions_faulty_reason.sql",
]


async def run(url: str, *arguments: str) -> tuple[int | None, list[str], list[str]]:
    """Run `telemetry migrate`; return its exit code and the lines of its output and of its errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from telemetry_app.cli.commands.migrate import command; command()",
        *arguments,
        env={**os.environ, "POSTGRES_URL": url, "LOG_LEVEL": "warning"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode().splitlines(), errors.decode().splitlines()


async def test_twelve_processes_at_once(postgres_url: str) -> None:
    """Twelve processes that migrate at the same moment all succeed, and together apply each file once."""
    results = await asyncio.gather(*(run(postgres_url) for _ in range(12)))

    assert [code for code, _, _ in results] == [0] * 12
    assert sorted(line for _, output, _ in results for line in output) == APPLIED + [NOTHING_TO_DO] * 11


async def test_listing_and_applying(plain_postgres_url: str) -> None:
    """The command lists, applies, and finds nothing more to do, with exit code 0."""
    code, listed, _ = await run(plain_postgres_url, "--status")
    assert code == 0
    assert sum("pending" in line for line in listed) == 3

    assert await run(plain_postgres_url) == (0, APPLIED, [])
    assert await run(plain_postgres_url) == (0, [NOTHING_TO_DO], [])


@pytest.mark.parametrize("arguments", [[], ["--status"]])
async def test_drift(plain_postgres_url: str, arguments: list[str]) -> None:
    """On drift the command ends with 1 and one sentence that names the migration."""
    await migrate(plain_postgres_url)
    async with session(plain_postgres_url) as connection:
        await connection.execute("UPDATE schema_migrations SET checksum = 'other' WHERE version = 2")
    code, _, errors = await run(plain_postgres_url, *arguments)

    assert code == 1
    assert len(errors) == 1
    assert errors[0].startswith("Error: ")
    assert "0002" in errors[0]


async def test_no_database(plain_postgres_url: str) -> None:
    """A database that does not exist ends the command with 1 and one sentence."""
    missing = urlsplit(plain_postgres_url)._replace(path="/nowhere").geturl()
    code, output, errors = await run(missing)

    assert (code, output, len(errors)) == (1, [], 1)
    assert errors[0].startswith("Error: The database of POSTGRES_URL cannot be migrated: InvalidCatalogNameError: ")


async def test_a_farewell_that_is_not_answered(plain_postgres_url: str, tcp_proxy: ProxyFactory) -> None:
    """What is done counts, although the server does not end the connection when it is told to."""
    parts = urlsplit(plain_postgres_url)
    proxy = await tcp_proxy(parts.hostname or "", parts.port or 5432)
    proxy.holds = lambda piece: piece.endswith(FAREWELL)

    assert await run(url_through(proxy, plain_postgres_url)) == (0, APPLIED, [])
    assert proxy.holds is None


async def test_removing_duplicates(plain_postgres_url: str) -> None:
    """Duplicates are told in one sentence with status 1; with --remove-duplicates they go, and it says how many."""
    async with session(plain_postgres_url) as connection:
        await migrate(connection)
        await connection.execute("DROP TABLE schema_migrations; DROP INDEX positions_device_ts_idx")
        await connection.execute(
            "INSERT INTO positions (device_id, ts) SELECT 'a', '2026-01-01' FROM generate_series(1, 3)"
        )
    code, output, errors = await run(plain_postgres_url)
    assert (code, output, len(errors)) == (1, [], 1)
    assert errors[0].startswith("Error: The table positions holds several rows of one device_id and ts")

    removed = ["removed 2 duplicate rows", *APPLIED]
    assert await run(plain_postgres_url, "--remove-duplicates") == (0, removed, [])
    nothing = ["there are no duplicate rows", NOTHING_TO_DO]
    assert await run(plain_postgres_url, "--remove-duplicates") == (0, nothing, [])
