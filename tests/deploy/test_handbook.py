"""What the handbook tells operators to type does what it says, on real servers."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from telemetry_app.database.migrate import migrate
from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.conftest import ValkeyFactory, WorkerFactory
from tests.deploy import handbook
from tests.deploy.test_compose import ANSWERS, resolved
from tests.support.database import session
from tests.support.servers.databases import fresh_database
from tests.support.servers.server import Server
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, record, until_drained
from tests.worker.spectators import TABLES

STREAM = "telemetry:teltonika"


def acl_rules(password: str) -> list[str]:
    """Return the rules of the handbook's line: all behind the user's name."""
    line = handbook.block("Redis", "redis", "user processor ").replace("PASSWORD", password)
    return line.split()[2:]


def as_user(url: str, user: str, password: str = "") -> str:
    parts = urlsplit(url)
    secret = f":{password}" if password else ""
    return parts._replace(netloc=f"{user}{secret}@{parts.hostname}:{parts.port}").geturl()


def telemetry(env: dict[str, str], folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "telemetry_app", *arguments],
        cwd=folder, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_rights_of_compose_are_the_handbooks() -> None:
    """compose.prod.yaml gives the workers' user the rights that the handbook names."""
    command: Sequence[str] = resolved("compose.prod.yaml")["services"]["redis"]["command"]
    user = command.index("--user")
    assert command[user + 1 :] == ["processor", *acl_rules(ANSWERS["REDIS_PASSWORD"])]


@pytest.fixture
async def restricted(valkey_factory: ValkeyFactory, plain_postgres_url: str) -> AsyncIterator[Pipeline]:
    """A pipeline whose workers sign in as the handbook's user of Redis; the test itself may do everything."""
    server = valkey_factory(extra_args=["--user", "processor", *acl_rules("s3cret")])
    env = {
        "REDIS_URL": as_user(server.url, "processor", "s3cret"),
        "REDIS_TELEMETRY_STREAM": STREAM,
        "POSTGRES_URL": plain_postgres_url,
        "ROLES": "write,live",
        "LIVE_AUTH": "none",
        "DEAD_LETTER_AFTER": "1",
        "LEASE_TTL_MS": "1500",
    }
    async with Redis.from_url(server.url) as admin, session(plain_postgres_url) as database:
        yield Pipeline(admin, database, STREAM, env)


async def test_the_rights_suffice(restricted: Pipeline, worker_process: WorkerFactory) -> None:
    """Workers of both roles store, set aside, show, and take over from each other with the rights of the handbook."""
    await restricted.publish([record(device, 1) for device in range(20)])
    await restricted.publish([record(1, 2, latitude=91)])
    first = worker_process(restricted.env)
    await first.wait_ready()
    await until_drained(restricted)
    assert (await restricted.stored(), len(await restricted.dead_letters())) == (20, 1)
    second = worker_process(restricted.env)
    await second.wait_ready()
    first.kill()
    await restricted.publish([record(device, 3) for device in range(20)])
    await eventually(lambda: _stored(restricted, 40), timeout_s=30, message="the second worker took over")
    assert await second.stop() == 0
    assert "NOPERM" not in second.log_tail(200)


async def test_the_commands_need_no_more(restricted: Pipeline, worker_process: WorkerFactory, tmp_path: Path) -> None:
    """Dead letters are listed, replayed and purged, and records simulated, with the same rights."""
    await restricted.publish([record(1, 2, latitude=91)])
    worker = worker_process(restricted.env)
    await worker.wait_ready()
    await eventually(restricted.dead_letters, message="the bad record is set aside")
    assert await worker.stop() == 0
    env = {**worker.env, "PATH": "", **_python_path(worker)}
    assert "latitude: " in telemetry(env, tmp_path, "dead-letters", "list")
    telemetry(env, tmp_path, "simulate", "--devices", "1", "--hz", "1", "--for", "1")
    telemetry(env, tmp_path, "dead-letters", "replay")
    telemetry(env, tmp_path, "dead-letters", "purge")


async def test_the_rights_allow_nothing_else(restricted: Pipeline) -> None:
    """The workers' user can neither empty nor stop the server, nor see its settings and other keys."""
    async with Redis.from_url(restricted.env["REDIS_URL"]) as worker:
        for command in ("FLUSHALL", "SHUTDOWN", "CONFIG GET *", "KEYS *", "GET other", "ACL LIST"):
            with pytest.raises(NoPermissionError):
                await worker.execute_command(*command.split())  # type: ignore[no-untyped-call]  # not annotated there


@pytest.fixture
async def owned(timescale_postgres: Server) -> AsyncIterator[tuple[str, str]]:
    """A database with what Directus makes, and a role of the name given that owns nothing: the owner's URL and its."""
    role = f"processor_{uuid4().hex[:8]}"
    async with fresh_database(timescale_postgres.url) as url:
        async with session(url) as owner:
            await owner.execute(f'CREATE ROLE "{role}" LOGIN')
            await owner.execute(TABLES)
        yield url, as_user(url, role)
    async with session(timescale_postgres.url) as owner:
        await owner.execute(f'DROP ROLE "{role}"')


@pytest.mark.parametrize("migrate_on_start", ["true", "false"])
async def test_the_grants_suffice(
    owned: tuple[str, str],
    redis: Redis,
    redis_url: str,
    stream: str,
    worker_process: WorkerFactory,
    migrate_on_start: str,
) -> None:
    """A worker whose role owns nothing stores, merges and shows, whether it looks at the migrations or not."""
    owner_url, role_url = owned
    await migrate(owner_url)
    env = {
        "REDIS_URL": redis_url,
        "REDIS_TELEMETRY_STREAM": stream,
        "POSTGRES_URL": role_url,
        "LIVE_AUTH": "none",
        "MIGRATE_ON_START": migrate_on_start,
    }
    async with session(owner_url) as owner:
        grants = handbook.block("PostgreSQL", "sql", "GRANT ")
        await owner.execute(grants.replace(" processor;", f" {urlsplit(role_url).username};"))
        pipeline = Pipeline(redis, owner, stream, env)
        worker = worker_process(env)
        await worker.wait_ready()
        await pipeline.publish([record(device, 1) for device in range(20)])
        await until_drained(pipeline)
        assert await pipeline.stored() == 20
        # One that differs from what is stored is merged into it by an UPDATE.
        await pipeline.publish([record(1, 1, priority=2)])
        await until_drained(pipeline)
        assert await worker.stop() == 0
        await owner.execute(f'DROP OWNED BY "{urlsplit(role_url).username}"')


async def test_an_older_release_goes_on(pipeline: Pipeline, worker_process: WorkerFactory) -> None:
    """With MIGRATE_ON_START=false, a worker stores into a database that a newer release has migrated."""
    await migrate(pipeline.env["POSTGRES_URL"])
    await pipeline.database.execute("ALTER TABLE positions ADD COLUMN of_tomorrow text")
    await pipeline.database.execute("INSERT INTO schema_migrations VALUES (9999, 'of_tomorrow', 'x')")
    worker = worker_process({**pipeline.env, "MIGRATE_ON_START": "false"})
    await worker.wait_ready()
    await pipeline.publish([record(1, 1)])
    await until_drained(pipeline)
    assert await pipeline.stored() == 1


async def test_positions_are_marked(plain_postgres_url: str) -> None:
    """The commands of the handbook mark positions of one device and time, and take it back."""
    await migrate(plain_postgres_url)
    said: list[Any] = []
    async with session(plain_postgres_url) as database:
        for time in ("2026-05-02 11:59Z", "2026-05-02 12:05Z"):
            row = f"('356307042441013', '{time}')"
            await database.execute(f"INSERT INTO positions (device_id, ts) VALUES {row}")  # noqa: S608 - both are ours
        for line in handbook.block("Positions that are wrong", "sh", "telemetry faulty list").splitlines():
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "telemetry_app",
                *shlex.split(line, comments=True)[1:],
                env={**os.environ, "POSTGRES_URL": plain_postgres_url},
                stdout=asyncio.subprocess.PIPE,
            )
            said.append((await process.communicate())[0])
            marked = await database.fetch("SELECT faulty_reason FROM positions WHERE faulty")
            said.append([row["faulty_reason"] for row in marked])
    assert said == [b"", [], b"marked 1\n", ["on a trailer"], b"unmarked 1\n", []]


async def test_upgrading_timescale(timescale_postgres_url: str) -> None:
    """The command of the handbook is taken as the first one of a session, and only as such."""
    await migrate(timescale_postgres_url)
    command = handbook.block("PostgreSQL", "sh", "psql -X ").partition("-c '")[2].partition("'")[0]
    async with session(timescale_postgres_url) as fresh:
        assert await fresh.execute(command) == "ALTER EXTENSION"
    async with session(timescale_postgres_url) as used:
        await used.fetch("SELECT FROM positions")
        with pytest.raises(asyncpg.FeatureNotSupportedError, match="already been loaded"):
            await used.execute(command)


async def test_chunks(timescale_postgres_url: str) -> None:
    """The chunk interval is set; compression is refused for its licence alone where the edition has none."""
    await migrate(timescale_postgres_url)
    async with session(timescale_postgres_url) as owner:
        await owner.execute(handbook.block("PostgreSQL", "sql", "SELECT set_chunk"))
        interval = "SELECT time_interval = '1 day' FROM timescaledb_information.dimensions"
        assert await owner.fetchval(interval) is True
        licence = await owner.fetchval("SELECT current_setting('timescaledb.license')")
        statement = handbook.block("PostgreSQL", "sql", "ALTER TABLE ")
        if licence == "apache":
            with pytest.raises(asyncpg.FeatureNotSupportedError, match="apache"):
                await owner.execute(statement)
        else:
            await owner.execute(statement)


async def _stored(pipeline: Pipeline, rows: int) -> bool:
    return await pipeline.stored() == rows


def _python_path(worker: WorkerProcess) -> dict[str, str]:
    return {name: worker.env[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in worker.env}
