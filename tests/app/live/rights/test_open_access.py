import asyncio

import pytest

from telemetry_app.database import ailing
from telemetry_app.live.ports import Authentication, Authorization, Credentials
from telemetry_app.live.rights import open_access
from telemetry_app.live.rights.open_access import OpenAuthenticator, OpenAuthorizer, OpenDetails
from tests.app.live.directus.client import ADDRESS
from tests.support.database import counted, pool, session

NOBODY = Credentials(None, ADDRESS)


async def test_everybody_comes_in() -> None:
    """Nobody needs a session."""
    assert await OpenAuthenticator().authenticate(NOBODY) == Authentication("ok")


async def test_without_a_table(
    plain_postgres_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a table of events any event may be seen, and none is listed; that is no matter of the connections."""
    caplog.set_level("INFO")
    monkeypatch.setattr(ailing, "_PERSISTS_S", 0)
    async with pool(plain_postgres_url) as postgres:
        authorizer = OpenAuthorizer(postgres)

        assert await authorizer.may_see("anything", NOBODY) == Authorization("ok")
        assert await authorizer.may_see("", NOBODY) == Authorization("not-found")
        assert await authorizer.visible_events(NOBODY) == []
        assert {await authorizer.may_see(str(number), NOBODY) for number in range(10)} == {Authorization("ok")}
    assert "does not exist" not in caplog.text


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


async def test_an_event_is_looked_up_once_for_a_crowd(plain_postgres_url: str) -> None:
    """Who asks while an event is looked up shares what is found, there or not; so do those who ask for the list."""
    async with pool(plain_postgres_url) as postgres, session(plain_postgres_url) as connection:
        await connection.execute("CREATE TABLE events (id int); INSERT INTO events VALUES (7)")
        authorizer = OpenAuthorizer(postgres)
        with counted(postgres) as uses:
            answers = await asyncio.gather(*(authorizer.may_see(event, NOBODY) for event in ("7", "8") * 50))
            looks = len(uses)
            listed = await asyncio.gather(*(authorizer.visible_events(NOBODY) for _ in range(100)))

    assert answers == [Authorization("ok"), Authorization("not-found")] * 50
    assert listed == [[{"id": "7"}]] * 100
    # Listing takes two: which columns there are, and the rows.
    assert (looks, len(uses)) == (2, 4)


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


async def test_without_a_database(caplog: pytest.LogCaptureFixture) -> None:
    """Without a database the result is an error, and nothing is told of entries; each is said once in the log."""
    async with pool("postgresql://postgres@127.0.0.1:1/x") as postgres:
        authorizer = OpenAuthorizer(postgres)

        assert await authorizer.may_see("7", NOBODY) == Authorization(
            "error", why="The database cannot be read. Try again."
        )
        assert await authorizer.visible_events(NOBODY) is None
        assert await OpenDetails(postgres, ("name",), None).entries("7", NOBODY, 1) is None

    assert [r.name for r in caplog.records] == ["telemetry_app.live.rights.open_access"] * 2
    for what in ("table of events", "tables of entries and events"):
        assert caplog.text.count(f"reading the {what}: ConnectionRefusedError") == 1
