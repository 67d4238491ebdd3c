import pytest

from telemetry_app.live.ports import Authentication, Authorization, Credentials
from telemetry_app.live.rights import open_access
from telemetry_app.live.rights.open_access import OpenAuthenticator, OpenAuthorizer, OpenDetails
from telemetry_app.live.wire.course import fit_course
from tests.app.live.directus.client import ADDRESS
from tests.support.database import pool, session

NOBODY = Credentials(None, ADDRESS)


async def test_everybody_comes_in() -> None:
    """Nobody needs a session."""
    assert await OpenAuthenticator().authenticate(NOBODY) == Authentication("ok")


async def test_without_a_table(plain_postgres_url: str) -> None:
    """Without a table of events any event may be seen, and none is listed."""
    async with pool(plain_postgres_url) as postgres:
        authorizer = OpenAuthorizer(postgres)

        assert await authorizer.may_see("anything", NOBODY) == Authorization("ok")
        assert await authorizer.may_see("", NOBODY) == Authorization("not-found")
        assert await authorizer.visible_events(NOBODY) == []


@pytest.mark.parametrize(
    ("table", "listed"),
    [
        pytest.param(
            """
            CREATE TABLE events (id uuid, name text);
            INSERT INTO events
            VALUES ('11111111-1111-4111-8111-111111111111', 'b'), ('22222222-2222-4222-8222-222222222222', 'a')
            """,
            [
                {"id": "22222222-2222-4222-8222-222222222222", "name": "a"},
                {"id": "11111111-1111-4111-8111-111111111111", "name": "b"},
            ],
            id="uuid",
        ),
        pytest.param(
            "CREATE TABLE events (id int); INSERT INTO events VALUES (7), (8)",
            [{"id": "7"}, {"id": "8"}],
            id="number-without-name",
        ),
    ],
)
async def test_with_a_table(plain_postgres_url: str, table: str, listed: list[dict[str, str]]) -> None:
    """With a table its events may be seen, and are listed by name."""
    async with pool(plain_postgres_url) as postgres, session(plain_postgres_url) as connection:
        await connection.execute(table)
        authorizer = OpenAuthorizer(postgres)

        assert await authorizer.visible_events(NOBODY) == listed
        assert await authorizer.may_see(listed[0]["id"], NOBODY) == Authorization("ok")
        assert await authorizer.may_see("9", NOBODY) == Authorization("not-found")


async def test_an_event_that_is_there_is_remembered(plain_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd that asks about one event costs one look; what is not there is looked up each time."""
    monkeypatch.setattr(open_access, "_REMEMBERED_S", 3600)
    async with pool(plain_postgres_url) as postgres, session(plain_postgres_url) as connection:
        await connection.execute("CREATE TABLE events (id int); INSERT INTO events VALUES (7)")
        authorizer = OpenAuthorizer(postgres)
        assert [await authorizer.may_see(event, NOBODY) for event in ("7", "8")] == [
            Authorization("ok"),
            Authorization("not-found"),
        ]
        await connection.execute("UPDATE events SET id = 8")
        assert await authorizer.may_see("7", NOBODY) == Authorization("ok")
        assert await authorizer.may_see("8", NOBODY) == Authorization("ok")


async def test_entries(plain_postgres_url: str) -> None:
    """Entries have those of the wanted fields that the table has; without a table there are none."""
    async with pool(plain_postgres_url) as postgres, session(plain_postgres_url) as connection:
        details = OpenDetails(postgres, ("name", "number", "class"), None)
        assert await details.entries("7", NOBODY, 1) == {}
        await connection.execute("""
            CREATE TABLE entries (id int, event_id int, name text, number int, secret text);
            INSERT INTO entries VALUES (1, 7, 'Ana', 12, 'x'), (2, 7, NULL, NULL, 'x'), (3, 8, 'Bo', 13, 'x')
        """)
        assert await details.entries("7", NOBODY, 1) == {"1": {"name": "Ana", "number": 12}}


@pytest.mark.parametrize("column", ["json", "jsonb", "text"])
async def test_course(plain_postgres_url: str, column: str) -> None:
    """The course is read from whatever kind of column; without the column, or a line in it, there is none."""
    line = '{"type": "LineString", "coordinates": [[21.4, 42.0], [21.5, 42.1]]}'
    async with pool(plain_postgres_url) as postgres, session(plain_postgres_url) as connection:
        details = OpenDetails(postgres, (), "course")
        assert await details.course("7", NOBODY) is None
        await connection.execute("CREATE TABLE events (id int, name text); INSERT INTO events VALUES (7), (8), (9)")
        assert await details.course("7", NOBODY) is None
        await connection.execute(f"ALTER TABLE events ADD course {column}")
        for event_id, text in ((7, line), (8, '"no line"')):
            update = f"UPDATE events SET course = $2::text::{column} WHERE id = $1"  # noqa: S608 - a kind of column
            await connection.execute(update, event_id, text)
        found = [await details.course(event_id, NOBODY) for event_id in ("7", "8", "9", "10")]
    assert found == [fit_course(line), None, None, None]


async def test_without_a_database(caplog: pytest.LogCaptureFixture) -> None:
    """Without a database the result is an error, and nothing is told of entries; each is said once in the log."""
    async with pool("postgresql://postgres@127.0.0.1:1/x") as postgres:
        authorizer = OpenAuthorizer(postgres)

        assert await authorizer.may_see("7", NOBODY) == Authorization(
            "error", why="The database cannot be read. Try again."
        )
        assert await authorizer.visible_events(NOBODY) == []
        assert await OpenDetails(postgres, ("name",), None).entries("7", NOBODY, 1) is None

    assert [r.name for r in caplog.records] == ["telemetry_app.live.rights.open_access"] * 2
    for what in ("table of events", "tables of entries and events"):
        assert caplog.text.count(f"reading the {what}: ConnectionRefusedError") == 1
