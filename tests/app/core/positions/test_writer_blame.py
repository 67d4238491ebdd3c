"""What is never a row's fault although it looks so, and what may be although it looks like an outage."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import asyncpg
import pytest

from telemetry_app.database.migrate import migrate
from tests.app.core.positions.test_writer_trouble import BAD, OTHER, execute, raising, url
from tests.app.core.positions.writing import Desk, WriteResult, desk, stored, writing
from tests.conftest import PostgresFactory
from tests.support.database import session
from tests.support.records import position, positions
from tests.support.waiting import eventually

__all__ = ["url"]

#: A row of the bad device ends its session: as a library with a fault does it, and as an administrator does.
_ENDS_ITS_SESSION: Final = (
    "CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
    f"IF NEW.device_id = '{BAD}' THEN EXECUTE format('COPY (SELECT 1) TO PROGRAM ''kill -%s %s''', '{{signal}}', "
    "pg_backend_pid()); PERFORM pg_sleep(10); END IF; RETURN NEW; END$$; "
    "CREATE TRIGGER crash BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION crash()"
)


@pytest.mark.parametrize("signal", ["SEGV", "TERM"])
async def test_a_row_that_crashes_its_session(postgres_factory: PostgresFactory, signal: str) -> None:
    """Its neighbours are stored, and it is refused: the server answers between the crashes."""
    server = postgres_factory()
    await migrate(server.url)
    await execute(server.url, _ENDS_ITS_SESSION.format(signal=signal))
    async with desk(server.url, refuse_after=2) as it:
        await it.write([position(9)])
        result = await it.write([position(0), position(1, device_id=BAD), position(2)])
        assert await it.writer.why_not_ready() is None

    assert (result.inserted, [row.index for row in result.refused]) == (2, [1])
    assert "connection was closed" in result.refused[0].reason
    assert await stored(server.url) == [0, 2, 9]


async def test_a_row_that_fails_in_another_way_each_time(url: str) -> None:
    """Failures need not be equal for a batch to be taken apart."""
    await execute(
        url,
        "CREATE SEQUENCE tried; CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        f"IF NEW.device_id = '{BAD}' THEN IF nextval('tried') % 2 = 0 THEN RAISE 'even'; "
        "ELSE RAISE 'odd' USING ERRCODE = '0A000'; END IF; END IF; RETURN NEW; END$$; "
        "CREATE TRIGGER refuse BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    async with desk(url) as it:
        result = await asyncio.wait_for(it.write([position(0), position(1, device_id=BAD)]), 30)

    assert (result.inserted, [row.index for row in result.refused]) == (1, [1])


async def takes_what_is_open(it: Desk, stack: contextlib.AsyncExitStack) -> bool:
    """Take a session of the pool, which may first try to open one although another is free."""
    try:
        await stack.enter_async_context(it.postgres.acquire())
    except asyncpg.PostgresError:
        return False
    return True


@pytest.mark.parametrize(
    ("shut", "opened"),
    [
        ("ALTER ROLE {role} NOLOGIN", "ALTER ROLE {role} LOGIN"),
        ("REVOKE CONNECT ON DATABASE {database} FROM {role}", "GRANT CONNECT ON DATABASE {database} TO {role}"),
        ("ALTER ROLE {role} CONNECTION LIMIT 1", "ALTER ROLE {role} CONNECTION LIMIT -1"),
    ],
)
async def test_no_row_is_refused_since_no_session_could_be_had(url: str, shut: str, opened: str) -> None:
    """While sessions that are open go on, as after a change of password, what needs a new one waits."""
    names = {"role": f"role_{url[-12:]}", "database": url.rpartition("/")[2]}
    async with session(url) as other, desk(url.replace("postgres@", f"{names['role']}@", 1), refuse_after=2) as it:
        await other.execute(
            "CREATE ROLE {role} LOGIN; GRANT INSERT, SELECT, UPDATE ON positions TO {role};"
            "REVOKE CONNECT ON DATABASE {database} FROM PUBLIC; GRANT CONNECT ON DATABASE {database} TO {role}"
            "".format(**names)
        )
        try:
            await it.writer.write([position(100)])
            await other.execute(shut.format(**names))
            write = None
            for n in range(20):
                async with contextlib.AsyncExitStack() as stack:
                    await eventually(partial(takes_what_is_open, it, stack))
                    write = write or asyncio.create_task(it.writer.write(positions(3)))
                    tries = it.observed.retries.total()
                    await eventually(lambda: write.done() or it.observed.retries.total() > tries)  # noqa: B023 - at once
                await it.writer.write([position(101 + n)])
            await other.execute(opened.format(**names))
            assert write is not None
            assert await asyncio.wait_for(write, 30) == []
        finally:
            await other.execute("DROP OWNED BY {role}; DROP ROLE {role}".format(**names))
    assert (await stored(url))[:3] == [0, 1, 2]


@pytest.mark.parametrize("code", ["53100", "58030", "25006", "40P01"])
async def test_merging_waits_for_what_is_the_databases_state(url: str, code: str) -> None:
    """A full disk, or a read-only server, between the two statements loses nothing of the second record."""
    async with desk(url, refuse_after=2) as it, session(url) as other:
        await it.write(positions(4))
        await other.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
            f"RAISE EXCEPTION 'not now' USING ERRCODE = '{code}'; END$$; "
            "CREATE TRIGGER refuse BEFORE UPDATE ON positions FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
        )
        write = asyncio.create_task(it.write([position(n, attributes=b'{"new":1}') for n in range(4)]))
        await eventually(lambda: it.observed.retries.total() > 8)
        assert "not now" in (await it.writer.why_not_ready() or "")
        await other.execute("DROP TRIGGER refuse ON positions")
        assert await asyncio.wait_for(write, 30) == WriteResult(inserted=0, duplicates=0, refused=(), merged=4)


async def test_the_probe_meets_what_only_the_commit_looks_at(url: str) -> None:
    """Where a deferred constraint refuses whatever is stored, no row is to blame, and a lone one waits."""
    async with desk(url, refuse_after=1) as it:
        await it.write([position(0)])
        await execute(
            url,
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'at the end'; END$$; "
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON positions DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        write = asyncio.create_task(it.writer.write([position(1, device_id=BAD)]))
        await eventually(lambda: write.done() or it.observed.retries["RaiseError"] > 12, timeout_s=30)
        await execute(url, "DROP TRIGGER refuse ON positions")
        assert await asyncio.wait_for(write, 30) == []
    assert await stored(url) == [0, 1]


async def test_merging_is_repeated_after_a_timeout(url: str) -> None:
    """A lock on a stored row, which passes, takes nothing of the second record."""
    async with desk(url, refuse_after=10) as it:
        await it.write(positions(4))
        await execute(
            url,
            "CREATE SEQUENCE tried; CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
            "IF nextval('tried') < 8 THEN RAISE 'not now' USING ERRCODE = '57014'; END IF; RETURN NULL; END$$; "
            "CREATE TRIGGER refuse BEFORE UPDATE ON positions FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
        )
        result = await it.write([position(n, attributes=b'{"new":1}') for n in range(4)])
    assert result == WriteResult(inserted=0, duplicates=0, refused=(), merged=4)


@contextlib.asynccontextmanager
async def mistaken(url: str, when: str = "true") -> AsyncIterator[Desk]:
    """Write to a table with a row of another device, and a trigger that divides by zero when this is so."""
    async with desk(url) as it:
        await it.write([position(100, device_id=OTHER)])
        await execute(
            url,
            "CREATE SEQUENCE tried; CREATE FUNCTION mistake() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$BEGIN IF {when} THEN PERFORM 1 / 0; END IF; RETURN NEW; END$$; "
            "CREATE TRIGGER mistake BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION mistake()",
        )
        yield it


@pytest.mark.parametrize("count", [1, 20])
async def test_a_mistake_that_meets_every_row_is_no_rows_fault(url: str, count: int) -> None:
    """With the error of a value that cannot be held everything waits, when what is stored would be refused as well."""
    async with mistaken(url) as it, writing(it, count) as write:
        why = str(await eventually(it.writer.why_not_ready, timeout_s=60))
        await execute(url, "DROP TRIGGER mistake ON positions")
        result = await write
    assert "division by zero" in why
    assert "a trigger" in why
    assert result == WriteResult(inserted=count, duplicates=0, refused=())


@pytest.mark.parametrize("count", [1, 2])
async def test_a_mistake_that_is_mended_before_others_pass_is_no_rows_fault(url: str, count: int) -> None:
    """A row that failed before the probe passed is tried once more, not refused."""
    async with mistaken(url, f"nextval('tried') <= {count}") as it:
        result = await asyncio.wait_for(it.write(positions(count)), 60)
    assert result == WriteResult(inserted=count, duplicates=0, refused=())


async def test_the_newest_row_is_of_the_device_that_is_refused(url: str) -> None:
    """A value that is refused is known to be its row's fault by a row of another device."""
    async with desk(url) as it:
        await it.write([position(1, device_id=OTHER), position(2, device_id=BAD)])
        await execute(url, raising("22023", f"NEW.device_id = '{BAD}'"))
        result = await asyncio.wait_for(it.write([position(3, device_id=BAD)]), 30)
    assert [row.index for row in result.refused] == [0]
