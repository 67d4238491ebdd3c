"""Old positions go by chunk or in batches, and nothing else goes."""

import uuid
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from telemetry_app.database import retention
from telemetry_app.database.migrate import migrate
from telemetry_app.database.retention import age_of, find_old, remove
from tests.app.cli.running import telemetry
from tests.support.database import session

#: A position for each of the last 60 days, half a day from any whole number of days.
FILL = """INSERT INTO positions (device_id, ts)
SELECT 'a', now() - (n + 0.5) * interval '1 day' FROM generate_series(0, 59) n"""


@pytest.fixture
async def url(table_url: str) -> str:
    """A database with positions of 60 days; on TimescaleDB in chunks of a week."""
    async with session(table_url) as connection:
        await connection.execute(FILL)
    return table_url


async def rows(url: str) -> int:
    async with session(url) as connection:
        number: int = await connection.fetchval("SELECT count(*) FROM positions")
    return number


async def test_rows_of_an_ordinary_table(plain_postgres_url: str) -> None:
    """A dry run says how many rows would go and removes none; then they go, and a second run finds no more."""
    await migrate(plain_postgres_url)
    async with session(plain_postgres_url) as connection:
        await connection.execute(FILL)
    code, output, errors = await telemetry(plain_postgres_url, "retention", "--older-than", "30d", "--dry-run")
    assert (code, errors, await rows(plain_postgres_url)) == (0, "", 60)
    assert output.startswith("would remove 30 rows of positions older than ")

    code, output, errors = await telemetry(plain_postgres_url, "retention", "--older-than", "30d")
    assert (code, errors, await rows(plain_postgres_url)) == (0, "", 30)
    assert output.startswith("removed 30 rows of positions older than ")
    assert (await telemetry(plain_postgres_url, "retention", "--older-than", "30d"))[1].startswith("removed 0 rows")


async def test_chunks_of_a_hypertable(timescale_table_url: str) -> None:
    """Chunks go that are older as a whole, the dry run knows how many, and no younger position goes with them."""
    async with session(timescale_table_url) as connection:
        await connection.execute(FILL)
        expected = await find_old(connection, timedelta(days=30))
        removed = await remove(connection, expected, lambda _done: None)
        young = await connection.fetchval("SELECT count(*) FROM positions WHERE ts >= $1", expected.before)
        old = await connection.fetchval("SELECT count(*) FROM positions WHERE ts < $1", expected.before)
    code, output, _ = await telemetry(timescale_table_url, "retention", "--older-than", "30d")

    assert removed == expected
    assert (removed.kind, removed.number in (3, 4, 5), young) == ("chunk", True, 30)
    assert old <= 7
    assert (code, output.partition(" of ")[0]) == (0, "removed 0 chunks")


async def test_in_batches(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on until all is removed, the oldest first, and tells how far it is."""
    monkeypatch.setattr(retention, "_AT_ONCE", 7)
    told: list[int] = []
    async with session(url) as connection:
        old = await find_old(connection, timedelta(weeks=2))
        removed = await remove(connection, old, told.append)

    assert removed.number == old.number == told[-1]
    assert len(told) > 3
    assert told == sorted(told)


async def test_breaking_off(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was removed before it broke off stays removed, and the next run removes the rest."""
    monkeypatch.setattr(retention, "_AT_ONCE", 7)

    def break_off(_done: int) -> None:
        raise KeyboardInterrupt

    async with session(url) as connection:
        old = await find_old(connection, timedelta(weeks=2))
        with pytest.raises(KeyboardInterrupt):
            await remove(connection, old, break_off)
        left = await find_old(connection, timedelta(weeks=2))
        assert 0 < left.number < old.number
        assert await remove(connection, left, lambda _done: None) == left


async def test_writers_go_on(plain_postgres_url: str) -> None:
    """Rows are deleted beside a transaction that is writing, without waiting for it, and what it writes stays."""
    await migrate(plain_postgres_url)
    async with session(plain_postgres_url) as connection, session(plain_postgres_url) as writer:
        await connection.execute(FILL)
        async with writer.transaction():
            await writer.execute("INSERT INTO positions (device_id, ts) VALUES ('b', now() - interval '40 days')")
            await remove(connection, await find_old(connection, timedelta(days=30)), lambda _done: None)

    assert await rows(plain_postgres_url) == 31


@pytest.mark.parametrize(
    ("text", "age"),
    [("36h", timedelta(hours=36)), ("400d", timedelta(days=400)), ("26w", timedelta(weeks=26))],
)
def test_ages(text: str, age: timedelta) -> None:
    """Hours, days and weeks are understood."""
    assert age_of(text) == age


@pytest.mark.parametrize("text", ["", "400", "d", "0d", "-1d", "1.5d", "10y", "5 d", "1000000d", "\u0661d", "1d; DROP"])
def test_what_is_no_age(text: str) -> None:
    """Anything else is refused in a sentence that shows how to write one."""
    with pytest.raises(ValueError, match="such as 36h, 400d or 26w"):
        age_of(text)


async def test_a_bad_age_asks_nothing() -> None:
    """A bad age ends the command before any server is asked."""
    code, output, errors = await telemetry("postgresql://127.0.0.1:1/nowhere", "retention", "--older-than", "10y")

    assert (code, output) == (2, "")
    assert "such as 36h, 400d or 26w" in " ".join(errors.split())


async def test_less_than_a_day(url: str) -> None:
    """An age below a day has to be meant: it needs --yes, but a dry run needs nothing."""
    code, _, errors = await telemetry(url, "retention", "--older-than", "1h")
    assert (code, await rows(url)) == (2, 60)
    assert "add --yes" in errors

    assert (await telemetry(url, "retention", "--older-than", "1h", "--dry-run"))[0] == 0
    assert (await telemetry(url, "retention", "--older-than", "1h", "--yes"))[0] == 0


async def test_without_a_table(plain_postgres_url: str) -> None:
    """Without a table it ends with 1 and one sentence."""
    code, _, errors = await telemetry(plain_postgres_url, "retention", "--older-than", "400d")

    assert (code, errors) == (1, "Error: There is no table positions: `telemetry migrate` makes it.")


async def test_without_the_right(url: str) -> None:
    """A user who may not remove gets one sentence, and nothing goes."""
    role = f"role_{uuid.uuid4().hex}"
    parts = urlsplit(url)
    async with session(url) as connection:
        await connection.execute(f"CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT ON positions TO {role}")
        try:
            theirs = parts._replace(netloc=f"{role}@{parts.hostname}:{parts.port}").geturl()
            code, _, errors = await telemetry(theirs, "retention", "--older-than", "30d")
        finally:
            await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

    assert (code, len(errors.splitlines())) == (1, 1)
    assert errors.startswith("Error: Old positions cannot be removed: InsufficientPrivilegeError: ")
    assert await rows(url) == 60
