"""Rights without Directus, for demonstrations and tests: everybody may see every event."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from telemetry_app.database.errors import DATABASE_ERRORS, describe
from telemetry_app.database.outage import Outage
from telemetry_app.live.ports import Authentication, Authorization
from telemetry_app.live.rights.authorization import MAX_EVENTS, can_be_an_id

if TYPE_CHECKING:
    from telemetry_app.database.postgres import Postgres
    from telemetry_app.live.ports import Credentials

logger = logging.getLogger(__name__)

_TIMEOUT_S: Final = 5.0
_EXISTS: Final = "SELECT EXISTS (SELECT FROM events WHERE id::text = $1)"
# By way of JSON, because not every table of events has names.
_LIST: Final = """
SELECT event ->> 'id' AS id, event ->> 'name' AS name
FROM (SELECT to_jsonb(events) AS event FROM events) AS listed
ORDER BY 2, 1
LIMIT $1
"""


class OpenAuthenticator:
    """Accepts everybody, with or without a session."""

    async def authenticate(self, credentials: Credentials) -> Authentication:  # noqa: ARG002 - whoever it is
        """Return `ok`."""
        return Authentication("ok", "anybody")


class OpenAuthorizer:
    """Grants every event in the table of events; without that table, any event. Never raises."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._outage = Outage(logger, "reading the table of events")

    async def may_see(self, event_id: str, credentials: Credentials) -> Authorization:  # noqa: ARG002 - whoever it is
        """Tell whether an event exists."""
        if not can_be_an_id(event_id):
            return Authorization("not-found")
        rows = await self._fetch(_EXISTS, event_id, missing=[[True]])
        if rows is None:
            return Authorization("error")
        return Authorization("ok" if rows[0][0] else "not-found")

    async def visible_events(self, credentials: Credentials) -> list[dict[str, Any]]:  # noqa: ARG002 - whoever it is
        """Return up to 200 events, each with `id` and, where it has one, `name`."""
        rows = await self._fetch(_LIST, MAX_EVENTS, missing=[]) or []
        return [{"id": row[0], "name": row[1]} if row[1] else {"id": row[0]} for row in rows]

    async def _fetch(self, statement: str, argument: object, *, missing: list[Any]) -> list[Any] | None:
        """Return the rows, `missing` when there is no table of events, None when the database cannot be asked."""
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._postgres.acquire() as connection:
                rows: list[Any] = await connection.fetch(statement, argument)
        except asyncpg.UndefinedTableError:
            return missing
        except DATABASE_ERRORS as error:
            self._outage.failed(describe(error))
            return None
        self._outage.over()
        return rows
