"""The tables that belong to Directus in production, with one event that all devices of the demo take part in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

EVENT_ID = 1

_TABLES = """
CREATE TABLE events (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE entries (id integer PRIMARY KEY, event_id integer NOT NULL REFERENCES events);
CREATE TABLE entry_devices (
    id integer PRIMARY KEY, entry_id integer NOT NULL REFERENCES entries, device_id text NOT NULL
);
"""


async def enter_devices(database: asyncpg.Connection, device_ids: Sequence[str]) -> None:
    """Make the tables, an event, and an entry for each device."""
    numbered = list(enumerate(device_ids, start=1))
    await database.execute(_TABLES)
    await database.execute("INSERT INTO events VALUES ($1, 'Demo race')", EVENT_ID)
    await database.executemany("INSERT INTO entries VALUES ($1, $2)", [(number, EVENT_ID) for number, _ in numbered])
    await database.executemany(
        "INSERT INTO entry_devices VALUES ($1, $1, $2)", [(number, device_id) for number, device_id in numbered]
    )
