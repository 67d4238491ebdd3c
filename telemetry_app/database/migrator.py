"""Migrating at a worker's start, whether the database is up or not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from mode import Service

from telemetry_app.database.backoff import Backoff
from telemetry_app.database.errors import DATABASE_ERRORS, describe
from telemetry_app.database.migrate import MigrationBusyError, MigrationError, migrate

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry_app.database.sessions import Pooler

logger = logging.getLogger(__name__)

#: Waits between tries while the database is away.
_BACKOFF: Final = Backoff(first_s=0.5, longest_s=10.0)


class Migrator(Service):
    """Applies pending migrations when the worker starts; goes on trying while the database is away.

    A database that cannot be migrated (drift, a newer schema) stops the worker.

    Args:
        url: The database.
        pooler: What is between us and the server, see `Sessions`.
        enabled: Whether to migrate at all; if not, `why_not_ready` says nothing is missing.
        retried: Told of each try that failed and will be repeated.
    """

    logger = logger

    def __init__(
        self, url: str, *, pooler: Pooler = "auto", enabled: bool, retried: Callable[[], None], **kwargs: Any
    ) -> None:
        self._url = url
        self._pooler = pooler
        self._retried = retried
        self._missing: str | None = "migrations have not been applied yet" if enabled else None
        super().__init__(**kwargs)

    async def why_not_ready(self) -> str | None:
        """Return None when the schema is up to date as far as this worker is concerned, else what is missing."""
        return self._missing

    @Service.task
    async def _migrate(self) -> None:
        failures = 0
        while self._missing and not self.should_stop:
            try:
                await migrate(self._url, pooler=self._pooler)
            except (MigrationBusyError, *DATABASE_ERRORS) as error:
                self._missing = f"migrations are waiting for the database ({describe(error)})"
                logger.warning("%s", self._missing)
                self._retried()
                failures += 1
                await self.sleep(_BACKOFF.wait_s(failures))
            except MigrationError as error:
                logger.critical("%s", error)
                await self.crash(error)
                return
            else:
                self._missing = None
