"""Which devices take part in which events: read from the business tables at intervals, answered from memory."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg
from mode import Service

from telemetry_app.database.backoff import Backoff, jittered
from telemetry_app.database.errors import DATABASE_ERRORS, describe
from telemetry_app.database.outage import Outage
from telemetry_app.live.positions.event_ids import can_be_an_event_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from telemetry_app.database.postgres import Postgres
    from telemetry_app.live.ports import LiveObserver

logger = logging.getLogger(__name__)

# Ids may be uuids, integers or texts: as text they are what Directus and topics call them.
_QUERY: Final = """
SELECT ed.device_id::text, e.event_id::text, e.id::text
FROM entry_devices ed JOIN entries e ON e.id = ed.entry_id
WHERE ed.device_id IS NOT NULL AND e.event_id IS NOT NULL
"""
_TYPE: Final = (
    "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'entries'::regclass AND attname = 'event_id'"
)
#: Reading a hundred thousand rows takes less than a second.
_TIMEOUT_S: Final = 10.0
#: Longest wait after the first failure; it grows with each further one, up to the ordinary time between refreshes.
_FIRST_RETRY_S: Final = 1.0
_NONE: Final[frozenset[str]] = frozenset()


class CachedDeviceEvents(Service):
    """Knows which devices take part in which events.

    It reads the tables once during start and then every `refresh_s`. While the database cannot be read, it keeps what
    it knows. Without the tables, which Directus creates, it knows nothing.

    Args:
        postgres: Where the tables are.
        refresh_s: Time between two reads, or up to a tenth less.
        observer: Told of failures.
    """

    logger = logger

    def __init__(self, postgres: Postgres, *, refresh_s: float, observer: LiveObserver, **kwargs: Any) -> None:
        self._postgres = postgres
        self._refresh_s = refresh_s
        self._backoff = Backoff(first_s=_FIRST_RETRY_S, longest_s=refresh_s)
        self._observer = observer
        self._events: Mapping[str, frozenset[str]] = {}
        self._devices: Mapping[str, frozenset[str]] = {}
        self._entries: Mapping[str, Mapping[str, str]] = {}
        self._id_type: str | None = None
        self._version = 0
        self._missing: str | None = None
        self._outage = Outage(logger, "refreshing device events (the last known stay in use)")
        super().__init__(**kwargs)

    async def why_not_ready(self) -> str | None:
        """Return None unless the tables are not there, which is said at once; an outage of the database is not."""
        return self._missing

    def events_of(self, device_id: str) -> frozenset[str]:
        """Return the ids of a device's events."""
        return self._events.get(device_id, _NONE)

    def devices_of(self, event_id: str) -> frozenset[str]:
        """Return the devices of an event; the same object until they change."""
        return self._devices.get(event_id, _NONE)

    def entries_of(self, event_id: str) -> Mapping[str, str]:
        """Return the id of the entry for which each device of an event takes part; of several, one."""
        return self._entries.get(event_id, {})

    def can_be_an_event(self, event_id: str) -> bool:
        """Tell whether an event can have this id; until the tables have been read, any can."""
        return can_be_an_event_id(event_id, self._id_type)

    @property
    def version(self) -> int:
        """How often the tables were read with another result than before; 0 = not yet, and nothing is known."""
        return self._version

    async def on_start(self) -> None:
        """Read the tables, so that the first positions already have their events."""
        await self.refresh()

    async def refresh(self) -> bool:
        """Read the tables and return whether that succeeded; if not, keep what is known."""
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._postgres.acquire() as connection:
                try:
                    rows: list[Any] = await connection.fetch(_QUERY)
                    id_type: str | None = await connection.fetchval(_TYPE)
                except asyncpg.UndefinedTableError as error:
                    # Within the block, as that is an answer: a connection that fails on and on is replaced.
                    return self._lacks_tables(error)
        except DATABASE_ERRORS as error:
            return self._failed(describe(error))
        self._missing = None
        self._outage.over()
        self._id_type = id_type
        # Beside the event loop: a hundred thousand rows take some tenths of a second.
        entered = await asyncio.to_thread(_entered, rows, self._devices)
        self._version += entered.differ or not self._version
        self._events, self._devices, self._entries, _ = entered
        return True

    def _lacks_tables(self, error: asyncpg.UndefinedTableError) -> bool:
        what = f"Directus has not made the tables entries and entry_devices in this database ({describe(error)})"
        self._missing = what
        # Nobody has been entered yet.
        self._version = self._version or 1
        return self._failed(what)

    def _failed(self, reason: str) -> bool:
        self._observer.retried("device events")
        self._outage.failed(reason)
        return False

    @Service.task
    async def _keep_fresh(self) -> None:
        while not self.should_stop:
            await self.sleep(self._wait_s())
            await self.refresh()

    def _wait_s(self) -> float:
        if self._outage.failures:
            return self._backoff.wait_s(self._outage.failures)
        return jittered(self._refresh_s)


class _Entered(NamedTuple):
    """Who is entered in what, as the service's mappings, and whether that differs from what was known."""

    events: Mapping[str, frozenset[str]]
    devices: Mapping[str, frozenset[str]]
    entries: Mapping[str, Mapping[str, str]]
    differ: bool


def _entered(rows: list[Any], known: Mapping[str, frozenset[str]]) -> _Entered:
    devices = _grouped((event_id, device_id) for device_id, event_id, _ in rows)
    entries: dict[str, dict[str, str]] = {}
    for device_id, event_id, entry_id in rows:
        entries.setdefault(event_id, {})[device_id] = entry_id
    return _Entered(
        _grouped((device_id, event_id) for device_id, event_id, _ in rows),
        {event_id: _same(members, known.get(event_id)) for event_id, members in devices.items()},
        entries,
        devices != known,
    )


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, set()).add(value)
    return {key: frozenset(values) for key, values in groups.items()}


def _same(members: frozenset[str], before: frozenset[str] | None) -> frozenset[str]:
    """Return the set from before if it is equal, so that whoever has it sees at once that nothing has changed."""
    return before if before == members else members
