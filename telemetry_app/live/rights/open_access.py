"""Rights without Directus, for demonstrations and tests: everybody may see everything."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import msgspec
from cachetools import TTLCache

from telemetry_app.database.errors import DATABASE_ERRORS, describe
from telemetry_app.database.outage import Outage
from telemetry_app.live.ports import Authentication, Authorization
from telemetry_app.live.rights.authorization import MAX_EVENTS, can_be_an_id
from telemetry_app.live.rights.entries import MAX_ENTRIES, shown_entries
from telemetry_app.live.wire.course import BadCourseError, fit_course

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telemetry_app.database.postgres import Postgres
    from telemetry_app.live.ports import Credentials
    from telemetry_app.live.wire.protocol import EntryFields

logger = logging.getLogger(__name__)

_TIMEOUT_S: Final = 5.0
#: A crowd asks about one event all the time: one that is there is not looked up again for so long.
_REMEMBERED_S: Final = 1.0
_REMEMBERED: Final = 1000
_EXISTS: Final = "SELECT EXISTS (SELECT FROM events WHERE id::text = $1)"
# By way of JSON, because not every table of events has names.
_LIST: Final = """
SELECT event ->> 'id' AS id, event ->> 'name' AS name
FROM (SELECT to_jsonb(events) AS event FROM events) AS listed
ORDER BY 2, 1
LIMIT $1
"""
_ENTRIES: Final = """
SELECT id::text AS id, (SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(entries)) WHERE key = ANY ($2))
FROM entries
WHERE event_id::text = $1
LIMIT $3
"""
_COURSE: Final = "SELECT to_jsonb(events) -> $2 FROM events WHERE id::text = $1"


class OpenAuthenticator:
    """Accepts everybody, with or without a session."""

    async def authenticate(self, credentials: Credentials) -> Authentication:  # noqa: ARG002 - whoever it is
        """Return `ok`."""
        return Authentication("ok")


class OpenAuthorizer:
    """Grants every event in the table of events; without that table, any event. Never raises."""

    def __init__(self, postgres: Postgres) -> None:
        self._tables = _Tables(postgres, "reading the table of events")
        self._known: TTLCache[str, bool] = TTLCache(_REMEMBERED, _REMEMBERED_S)

    async def may_see(self, event_id: str, credentials: Credentials) -> Authorization:  # noqa: ARG002 - whoever it is
        """Tell whether an event exists."""
        if not can_be_an_id(event_id):
            return Authorization("not-found")
        if event_id in self._known:
            return Authorization("ok")
        rows = await self._tables.fetch(_EXISTS, event_id, missing=[[True]])
        if rows is None:
            return Authorization("error", why="The database cannot be read. Try again.")
        if not rows[0][0]:
            return Authorization("not-found")
        self._known[event_id] = True
        return Authorization("ok")

    async def visible_events(self, credentials: Credentials) -> list[dict[str, Any]]:  # noqa: ARG002 - whoever it is
        """Return up to 200 events, each with `id` and, where it has one, `name`."""
        rows = await self._tables.fetch(_LIST, MAX_EVENTS, missing=[]) or []
        return [{"id": row[0], "name": row[1]} if row[1] else {"id": row[0]} for row in rows]


class OpenDetails:
    """Tells of every entry and course in the tables. Never raises: what cannot be had is left out."""

    def __init__(self, postgres: Postgres, entry_fields: Sequence[str], course_field: str | None) -> None:
        self._tables = _Tables(postgres, "reading the tables of entries and events")
        self._entry_fields = list(entry_fields)
        self._course_field = course_field

    async def entries(
        self,
        event_id: str,
        credentials: Credentials,  # noqa: ARG002 - whoever it is
        edition: int,  # noqa: ARG002 - it is read each time
    ) -> Mapping[str, EntryFields] | None:
        """Return the entries of an event, by their ids, each with those of the fields that the table has."""
        rows = await self._tables.fetch(_ENTRIES, event_id, self._entry_fields, MAX_ENTRIES, missing=[])
        if rows is None:
            return None
        return shown_entries({**msgspec.json.decode(fields), "id": entry_id} for entry_id, fields in rows if fields)

    async def course(self, event_id: str, credentials: Credentials) -> bytes | None:  # noqa: ARG002 - whoever it is
        """Return the course of an event, if the table has one."""
        rows = await self._tables.fetch(_COURSE, event_id, self._course_field, missing=[]) or []
        try:
            return fit_course(msgspec.json.decode(rows[0][0])) if rows and rows[0][0] else None
        except BadCourseError:
            return None


class _Tables:
    """Reads Directus' own tables, in time.

    Args:
        postgres: Where they are.
        what: Said in the log when that fails.
    """

    def __init__(self, postgres: Postgres, what: str) -> None:
        self._postgres = postgres
        self._outage = Outage(logger, what)

    async def fetch(self, statement: str, *arguments: object, missing: list[Any]) -> list[Any] | None:
        """Return the rows, `missing` when there is no such table, None when the database cannot be asked."""
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._postgres.acquire() as connection:
                rows: list[Any] = await connection.fetch(statement, *arguments)
        except asyncpg.UndefinedTableError:
            return missing
        except DATABASE_ERRORS as error:
            self._outage.failed(describe(error))
            return None
        self._outage.over()
        return rows
