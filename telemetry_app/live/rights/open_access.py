"""Rights without Directus, for demonstrations and tests: everybody may see everything."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg

from telemetry_app.database.errors import DATABASE_ERRORS, describe
from telemetry_app.database.outage import Outage
from telemetry_app.live.ports import Authentication, Authorization
from telemetry_app.live.rights.authorization import MAX_EVENTS, can_be_an_id, shown_events
from telemetry_app.live.rights.courses import MAX_COURSE_BYTES, ShownCourse, shown_course
from telemetry_app.live.rights.entries import MAX_ENTRIES, Shown, shown_entries
from telemetry_app.live.rights.lately import Lately
from telemetry_app.live.rights.left_out import LeftOut
from telemetry_app.live.rights.tolerant import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from telemetry_app.database.postgres import Postgres
    from telemetry_app.live.ports import Credentials
    from telemetry_app.live.wire.protocol import EntryFields

logger = logging.getLogger(__name__)

_TIMEOUT_S: Final = 5.0
#: A crowd asks about one event all the time: what was found is not looked up again for so long.
_REMEMBERED_S: Final = 1.0
#: Most events that are remembered, most of their entries, and most bytes of their courses, all together.
_EVENTS: Final = 1000
_ENTRIES_KEPT: Final = 5 * MAX_ENTRIES
_COURSE_BYTES: Final = 8 * MAX_COURSE_BYTES
_EXISTS: Final = "SELECT EXISTS (SELECT FROM events WHERE id::text = $1)"
#: Which columns a table has, and how each is shown. Whole rows are never made JSON: one odd value, of whatever column,
#: would end the statement. Of texts there is more than is shown; `[]` is in the place of what is no number or huge.
_COLUMNS: Final = """
SELECT
    attname,
    quote_ident(attname),
    CASE
        WHEN typcategory = 'S' THEN format('left(%1$I::text, 1000)', attname)
        WHEN typname IN ('float4', 'float8', 'numeric') THEN
            format('CASE WHEN %1$I::text !~ ''[0-9]'' THEN ''[]'' ELSE to_json(%1$I) END', attname)
        ELSE format('CASE WHEN octet_length(%1$I::text) > 65536 THEN ''[]'' ELSE to_json(%1$I) END', attname)
    END
FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attname::text = ANY ($2)
"""
_LIST: Final = """
SELECT {fields}
FROM events
ORDER BY {order}
LIMIT $1
"""
_ENTRIES: Final = """
SELECT {fields}
FROM entries
WHERE event_id::text = $1
LIMIT $2
"""
#: Its size, and the course if that is no larger than it may be.
_COURSE: Final = """
SELECT greatest(stored, octet_length(text)), CASE WHEN octet_length(text) <= $2 THEN text END
FROM (
    SELECT
        pg_column_size({course}) AS stored,
        CASE WHEN pg_column_size({course}) <= $2 THEN to_json({course})::text END AS text
    FROM events
    WHERE id::text = $1
    OFFSET 0
) AS course
"""


class OpenAuthenticator:
    """Accepts everybody, with or without a session."""

    async def authenticate(self, credentials: Credentials) -> Authentication:  # noqa: ARG002 - whoever it is
        """Return `ok`."""
        return Authentication("ok")


class OpenAuthorizer:
    """Grants every event in the table of events; without that table, any event. Never raises."""

    def __init__(self, postgres: Postgres) -> None:
        self._tables = _Tables(postgres, "reading the table of events")
        self._found = Lately[Authorization](_EVENTS, _REMEMBERED_S, lambda found: found.result == "ok")
        self._listed = Lately[list[dict[str, Any]] | None](1, _REMEMBERED_S, lambda listed: listed is not None)

    async def may_see(self, event_id: str, credentials: Credentials) -> Authorization:  # noqa: ARG002 - whoever it is
        """Tell whether an event exists."""
        if not can_be_an_id(event_id):
            return Authorization("not-found")
        return await self._found.get(event_id, lambda: self._look(event_id))

    async def visible_events(
        self,
        credentials: Credentials,  # noqa: ARG002 - whoever it is
    ) -> list[dict[str, Any]] | None:
        """Return up to 200 events, each with `id` and, where it has one, `name`; None when they cannot be read."""
        return await self._listed.get("all", self._list)

    async def _look(self, event_id: str) -> Authorization:
        rows = await self._tables.fetch(_EXISTS, event_id, missing=[[True]])
        if rows is None:
            return Authorization("error", why="The database cannot be read. Try again.")
        return Authorization("ok" if rows[0][0] else "not-found")

    async def _list(self) -> list[dict[str, Any]] | None:
        columns = await self._tables.columns("events", ["name"])
        if columns is None:
            return None
        order = [f"{column.quoted}::text" for column in columns]
        statement = _LIST.format(fields=_object(columns), order=", ".join([*order, "id::text"]))
        rows = await self._tables.fetch(statement, MAX_EVENTS, missing=[])
        return None if rows is None else shown_events(_read(rows))


class OpenDetails:
    """Tells of every entry and course in the tables. Never raises: what cannot be had is left out."""

    def __init__(self, postgres: Postgres, entry_fields: Sequence[str], course_field: str | None) -> None:
        self._tables = _Tables(postgres, "reading the tables of entries and events")
        self._entry_fields = entry_fields
        self._course_field = course_field
        self._left_out = LeftOut()
        self._entries = Lately[Shown | None](
            _ENTRIES_KEPT, _REMEMBERED_S, lambda shown: 0 if shown is None else 1 + len(shown.entries)
        )
        self._courses = Lately[ShownCourse | None](
            _COURSE_BYTES, _REMEMBERED_S, lambda course: 0 if course is None else 1 + len(course.geojson or b"")
        )

    async def entries(
        self,
        event_id: str,
        credentials: Credentials,  # noqa: ARG002 - whoever it is
        edition: int,
    ) -> Mapping[str, EntryFields] | None:
        """Return the entries of an event, by their ids, each with those of the fields that the table has."""
        shown = await self._entries.get((event_id, edition), lambda: self._read_entries(event_id))
        return None if shown is None else shown.entries

    async def course(self, event_id: str, credentials: Credentials) -> bytes | None:  # noqa: ARG002 - whoever it is
        """Return the course of an event, if the table has one."""
        course = await self._courses.get(event_id, lambda: self._read_course(event_id))
        return None if course is None else course.geojson

    async def _read_entries(self, event_id: str) -> Shown | None:
        columns = await self._tables.columns("entries", self._entry_fields)
        if not columns:
            return None if columns is None else Shown({}, {})
        statement = _ENTRIES.format(fields=_object(columns))
        rows = await self._tables.fetch(statement, event_id, MAX_ENTRIES, missing=[])
        if rows is None:
            return None
        # Those of a large event take a tenth of a second.
        shown = await asyncio.to_thread(shown_entries, _read(rows), [column.name for column in columns])
        shown.complain(self._left_out, event_id)
        return shown

    async def _read_course(self, event_id: str) -> ShownCourse | None:
        columns = await self._tables.columns("events", [self._course_field] if self._course_field else [])
        if not columns:
            return None if columns is None else ShownCourse(None, None)
        statement = _COURSE.format(course=columns[0].quoted)
        rows = await self._tables.fetch(statement, event_id, MAX_COURSE_BYTES, missing=[])
        if rows is None:
            return None
        size_bytes, text = rows[0] if rows else (None, None)
        if size_bytes is not None and size_bytes > MAX_COURSE_BYTES:
            course = ShownCourse(None, f"it has at least {size_bytes} bytes, and may have {MAX_COURSE_BYTES}")
        else:
            course = await asyncio.to_thread(shown_course, text)
        course.complain(self._left_out, event_id)
        return course


class _Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: One of those that were asked for.
        quoted: The same, for a statement.
        shown: What is read of it of each entry, for a statement.
    """

    name: str
    quoted: str
    shown: str


def _object(columns: Sequence[_Column]) -> str:
    """Return the JSON of a row's id and of these columns, for a statement."""
    fields = ["'id', id::text", *(f"'{column.name}', {column.shown}" for column in columns)]
    return f"json_build_object({', '.join(fields)})::text"


def _read(rows: Iterable[Sequence[str]]) -> Iterator[object]:
    """Read the JSON of each row."""
    return (read_json(row[0].encode(), depth=1) for row in rows)


class _Tables:
    """Reads Directus' own tables, in time.

    Args:
        postgres: Where they are.
        what: Said in the log when that fails.
    """

    def __init__(self, postgres: Postgres, what: str) -> None:
        self._postgres = postgres
        self._outage = Outage(logger, what)

    async def columns(self, table: str, names: Sequence[str]) -> list[_Column] | None:
        """Return which of these columns a table has, None when the database cannot be asked."""
        rows = await self.fetch(_COLUMNS, table, list(names), missing=[])
        return None if rows is None else [_Column(*row) for row in rows]

    async def fetch(self, statement: str, *arguments: object, missing: list[Any]) -> list[Any] | None:
        """Return the rows, `missing` when there is no such table, None when the database cannot be asked."""
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._postgres.acquire() as connection:
                rows = missing
                # Within the block, as that is an answer: a connection that fails on and on is replaced.
                with contextlib.suppress(asyncpg.UndefinedTableError):
                    rows = await connection.fetch(statement, *arguments)
        except DATABASE_ERRORS as error:
            self._outage.failed(describe(error))
            return None
        self._outage.over()
        return rows
