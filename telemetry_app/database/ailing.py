"""Which connections are healthy to look at and good for nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from telemetry_app.database.errors import READ_ONLY, Outlook, meaning_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

#: A connection that has failed this often and for so long, without a success between, is not used any more.
_FAILURES: Final = 3
_PERSISTS_S: Final = 1.0


class Ailing:
    """Notes the failures of each connection in a row.

    After a failover a session may stay read-only, or be that of a standby; after an upgrade of an extension it may
    still have the old library. The server answers, so nobody closes the connection, and it fails until somebody does.
    A new one costs some milliseconds: whatever the error is, it is worth trying one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[int, tuple[int, float]] = {}

    def works(self, connection: PoolConnectionProxy[Any]) -> None:
        """Note a success."""
        if self._failures:
            self._failures.pop(connection.get_server_pid(), None)

    def is_lost(self, connection: PoolConnectionProxy[Any], error: asyncpg.PostgresError) -> bool:
        """Note a failure, and tell whether another connection should be tried."""
        if meaning_of(error).outlook is Outlook.REFUSED:
            return False
        session, now = connection.get_server_pid(), self._clock()
        failures, since = self._failures.pop(session, (0, now))
        if error.sqlstate == READ_ONLY or (failures + 1 >= _FAILURES and now - since >= _PERSISTS_S):
            return True
        self._failures[session] = failures + 1, since
        return False
