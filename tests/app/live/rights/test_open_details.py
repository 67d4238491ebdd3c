"""Entries and courses without Directus, whatever the tables hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from telemetry_app.database.postgres import Postgres
from telemetry_app.live.http.events import course
from telemetry_app.live.ports import Credentials
from telemetry_app.live.rights import open_access
from telemetry_app.live.rights.courses import MAX_COURSE_BYTES
from telemetry_app.live.rights.open_access import OpenAuthenticator, OpenAuthorizer, OpenDetails
from telemetry_app.live.wire.course import fit_course
from telemetry_app.live.wire.texts import MAX_TEXT
from tests.app.live.directus.client import ADDRESS
from tests.app.live.harness import ask, live_side
from tests.support.database import counted, pool, session

NOBODY = Credentials(None, ADDRESS)
LINE = '{"type": "LineString", "coordinates": [[21.4, 42.0], [21.5, 42.1]]}'
FIELDS = ("name", "number", "class", "color")
#: Values of PostgreSQL that readers of JSON refuse, or that are no text and no number.
ODD = [
    ("jsonb", "to_jsonb(('1' || repeat('0', 400) || '.5')::numeric)"),
    ("jsonb", "to_jsonb(('-1' || repeat('0', 5000))::numeric)"),
    ("jsonb", "(repeat('[', 5000) || repeat(']', 5000))::jsonb"),
    ("jsonb", """(repeat('{"a":', 5000) || '1' || repeat('}', 5000))::jsonb"""),
    ("jsonb", "to_jsonb(repeat('x', 1000000))"),
    ("json", "'true'"),
    ("float8", "'NaN'"),
    ("numeric", "'NaN'"),
    ("float4", "'-Infinity'"),
    ("int[]", "'{1,2}'"),
    ("bigint", "9223372036854775807"),
]
#: Values of type json that make PostgreSQL's own reader fail, but are texts that can be shown.
TEXTS = [r"'\"a\\u0000b\"'", r"'\"a\\ud800b\"'"]


@dataclass(frozen=True)
class Tables:
    postgres: Postgres
    connection: asyncpg.Connection[Any]

    async def execute(self, statement: str) -> None:
        await self.connection.execute(statement)


@pytest.fixture
async def tables(plain_postgres_url: str) -> AsyncIterator[Tables]:
    """A pool, and a connection that makes the tables."""
    async with pool(plain_postgres_url) as postgres, session(plain_postgres_url) as connection:
        yield Tables(postgres, connection)


async def entries(tables: Tables) -> Any:
    return await OpenDetails(tables.postgres, FIELDS, None).entries("7", NOBODY, 1)


async def course_of(tables: Tables, event_id: str = "7") -> bytes | None:
    return await OpenDetails(tables.postgres, (), "course").course(event_id, NOBODY)


async def test_entries(tables: Tables) -> None:
    """Entries have those of the wanted fields that the table has; without a table there are none."""
    assert await entries(tables) == {}
    await tables.execute("""
        CREATE TABLE entries (id int, event_id int, name text, number int, secret text);
        INSERT INTO entries VALUES (1, 7, 'Ana', 12, 'x'), (2, 7, NULL, NULL, 'x'), (3, 8, 'Bo', 13, 'x')
    """)
    assert await entries(tables) == {"1": {"name": "Ana", "number": 12}}
    await tables.execute("ALTER TABLE entries DROP name, DROP number")
    assert await entries(tables) == {}


async def test_an_odd_field_alone_is_left_out(tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """The other fields and entries are shown, and one line of the log names the field, an entry and the reason."""
    for kind, value in ODD:
        await tables.execute(f"""
            DROP TABLE IF EXISTS entries;
            CREATE TABLE entries (id int, event_id int, name text, number {kind}, secret {kind});
            INSERT INTO entries
            VALUES (1, 7, 'Ana', {value}, {value}), (2, 7, 'Bo', NULL, {value}), (3, 7, NULL, {value}, NULL)
        """)  # noqa: S608 - the test's own value
        details = OpenDetails(tables.postgres, FIELDS, None)
        for edition in (1, 2):
            assert await details.entries("7", NOBODY, edition) == {"1": {"name": "Ana"}, "2": {"name": "Bo"}}
        [line] = caplog.messages
        caplog.clear()
        assert line.startswith("event '7': field 'number' of entry '1' and 1 more is not shown: it is ")
        assert len(line) < 300


async def test_odd_texts_are_made_fit(tables: Tables) -> None:
    """What PostgreSQL's reader of JSON refuses, of a column that is shown or of another, stops nothing."""
    for value in TEXTS:
        await tables.execute(f"""
            DROP TABLE IF EXISTS entries;
            CREATE TABLE entries (id int, event_id int, name json, color text, secret json);
            INSERT INTO entries VALUES (1, 7, E{value}, repeat('x', 1000000), E{value})
        """)  # noqa: S608 - the test's own value
        assert await entries(tables) == {"1": {"name": "a b", "color": "x" * MAX_TEXT}}


@pytest.mark.parametrize("column", ["json", "jsonb", "text"])
async def test_course(tables: Tables, caplog: pytest.LogCaptureFixture, column: str) -> None:
    """The course is read from whatever kind of column; without the column, or a line in it, there is none."""
    assert await course_of(tables) is None
    await tables.execute("CREATE TABLE events (id int, name text); INSERT INTO events VALUES (7), (8), (9)")
    assert await course_of(tables) is None
    await tables.execute(f"ALTER TABLE events ADD course {column}")
    assert caplog.messages == []
    for event_id, text in ((7, LINE), (8, '"no line"')):
        update = f"UPDATE events SET course = $2::text::{column} WHERE id = $1"  # noqa: S608 - a kind of column
        await tables.connection.execute(update, event_id, text)
    assert [await course_of(tables, event_id) for event_id in ("7", "8", "9", "10")] == [
        fit_course(LINE),
        None,
        None,
        None,
    ]
    [line] = caplog.messages
    assert line.startswith("event '8': the course is not shown: ")


async def test_an_odd_course_is_left_out(tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """There is no course then, and one line of the log says why."""
    for kind, value in ODD:
        await tables.execute(f"DROP TABLE IF EXISTS events; CREATE TABLE events (id int, course {kind})")
        await tables.execute(f"INSERT INTO events VALUES (7, {value})")  # noqa: S608 - the test's own value
        assert await course_of(tables) is None
        [line] = caplog.messages
        caplog.clear()
        assert line.startswith("event '7': the course is not shown: ")


async def test_another_column_does_no_harm(tables: Tables) -> None:
    """Whatever another column of events holds, the course is shown and the event is listed."""
    await tables.execute(rf"""
        CREATE TABLE events (id int, name text, course json, notes json);
        INSERT INTO events VALUES (7, 'Race', '{LINE}', '"\u0000"')
    """)  # noqa: S608 - the test's own value
    assert await course_of(tables) == fit_course(LINE)
    assert await OpenAuthorizer(tables.postgres).visible_events(NOBODY) == [{"id": "7", "name": "Race"}]
    await tables.execute(r"""
        ALTER TABLE events ALTER name TYPE json USING to_json(name);
        INSERT INTO events VALUES (8, '"\u0000"'), (9, 'true')
    """)
    listed = await OpenAuthorizer(tables.postgres).visible_events(NOBODY) or []
    assert sorted(listed, key=lambda event: event["id"]) == [
        {"id": "7", "name": "Race"},
        {"id": "8", "name": "\x00"},
        {"id": "9"},
    ]


async def test_a_course_that_is_too_large_stays_where_it_is(tables: Tables, caplog: pytest.LogCaptureFixture) -> None:
    """The database says how large it is, stored or written, and does not send it."""
    await tables.execute("""
        CREATE TABLE events (id int, course json);
        INSERT INTO events VALUES (7, to_json(repeat('x', 2100000)));
        INSERT INTO events SELECT 8, json_agg(md5(n::text)) FROM generate_series(1, 130000) AS n
    """)
    for event_id in ("7", "8"):
        assert await course_of(tables, event_id) is None
        [line] = caplog.messages
        caplog.clear()
        assert line.startswith(f"event '{event_id}': the course is not shown: it has at least ")
        assert line.endswith(f" bytes, and may have {MAX_COURSE_BYTES}")


async def test_one_reading_for_a_crowd(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks while an event is read, or soon after, shares what is found; another edition is read anew."""
    monkeypatch.setattr(open_access, "_REMEMBERED_S", 3600)
    await tables.execute(f"""
        CREATE TABLE entries (id int, event_id int, name text); INSERT INTO entries VALUES (1, 7, 'Ana'), (2, 8, 'Bo');
        CREATE TABLE events (id int, course text); INSERT INTO events VALUES (7, '{LINE}'), (8, '')
    """)  # noqa: S608 - the test's own value
    details = OpenDetails(tables.postgres, ("name",), "course")
    # One for the columns of the table, and one for the rows.
    each = 2
    asked = []
    for _ in range(2):
        with counted(tables.postgres) as uses:
            told = await asyncio.gather(*(details.entries(event, NOBODY, 1) for event in ("7", "8") * 100))
            drawn = await asyncio.gather(*(details.course(event, NOBODY) for event in ("7", "8") * 100))
        assert told == [{"1": {"name": "Ana"}}, {"2": {"name": "Bo"}}] * 100
        assert drawn == [fit_course(LINE), None] * 100
        asked.append(len(uses))
    with counted(tables.postgres) as uses:
        await asyncio.gather(*(details.entries("7", NOBODY, 2) for _ in range(100)))
    assert [*asked, len(uses)] == [4 * each, 0, each]


async def test_what_was_read_is_forgotten(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time it is read anew."""
    monkeypatch.setattr(open_access, "_REMEMBERED_S", 0)
    await tables.execute("CREATE TABLE entries (id int, event_id int, name text)")
    details = OpenDetails(tables.postgres, ("name",), None)
    assert await details.entries("7", NOBODY, 1) == {}
    await tables.execute("INSERT INTO entries VALUES (1, 7, 'Ana')")
    assert await details.entries("7", NOBODY, 1) == {"1": {"name": "Ana"}}


async def test_clients_are_not_sent_away(tables: Tables, redis_url: str, stream: str) -> None:
    """Who subscribes to an event with something odd is told of the rest, and its course is an empty collection."""
    await tables.execute("""
        CREATE TABLE events (id int, course jsonb); INSERT INTO events VALUES (7, to_jsonb(repeat('9', 5000)::numeric));
        CREATE TABLE entries (id text, event_id int, name text, number jsonb);
        INSERT INTO entries
        VALUES ('a', 7, 'Ana', to_jsonb(('1' || repeat('0', 400) || '.5')::numeric)), ('b', 7, 'Bo', '8')
    """)
    rights = OpenRights(tables.postgres)
    details = OpenDetails(tables.postgres, FIELDS, "course")
    async with live_side(redis_url, stream, devices={"7": ["a", "b"]}, rights=rights, details=details) as side:
        answer = await ask(await side.connect(), type="subscribe", topic="event:7")
        assert answer["entries"] == {"a": {"name": "Ana"}, "b": {"name": "Bo", "number": 8}}
        async with side.http.get(f"{side.url}{course.PATH}", params={"event": "7"}) as response:
            assert (response.status, json.loads(await response.read())["features"]) == (200, [])


class OpenRights(OpenAuthenticator, OpenAuthorizer):
    """Both in one, as a live side of the tests takes it."""

    cookie = "a=1"
