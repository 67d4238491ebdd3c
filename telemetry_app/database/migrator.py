"""Migrating at a worker's start, whether the database is up, and in a state to be migrated, or not."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from mode import Service

from telemetry_app.database.backoff import Backoff
from telemetry_app.database.errors import DATABASE_ERRORS, describe
from telemetry_app.database.migrate import MigrationBusyError, MigrationError, migrate

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry_app.database.sessions import Pooler

logger = logging.getLogger(__name__)

#: Waits between tries, while the database is away or somebody has to mend it.
_BACKOFF: Final = Backoff(first_s=0.5, longest_s=10.0)
#: The same reason is logged again after this time.
_SAY_AGAIN_AFTER_S: Final = 60.0


class Migrator(Service):
    """Applies pending migrations when the worker starts, and goes on trying until they are applied.

    While the database is away that is a matter of waiting. What somebody has to mend (drift, a newer schema, duplicate
    rows, a missing right) is waited for as well: the worker is not ready and says why, and goes on when it is mended.

    Args:
        url: The database.
        pooler: What is between us and the server, see `Sessions`.
        enabled: Whether to migrate at all; if not, `why_not_ready` says nothing is missing.
        retried: Told of each try that failed and will be repeated.
        backoff: Waits between tries.
    """

    logger = logger

    def __init__(
        self,
        url: str,
        *,
        pooler: Pooler = "auto",
        enabled: bool,
        retried: Callable[[], None],
        backoff: Backoff = _BACKOFF,
        **kwargs: Any,
    ) -> None:
        self._url = url
        self._pooler = pooler
        self._retried = retried
        self._backoff = backoff
        self._missing: str | None = "migrations have not been applied yet" if enabled else None
        self._said: tuple[str, float] | None = None
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
            except (MigrationError, *DATABASE_ERRORS) as error:
                failures += 1
                self._retried()
                self._failed(error)
                await self.sleep(self._backoff.wait_s(failures))
            else:
                self._missing = None
                if failures:
                    logger.info("the database is migrated, after %d failed tries", failures)

    def _failed(self, error: BaseException) -> None:
        """Keep the reason for readiness, and log it when it is another one than before, or once a minute."""
        needs_mending = isinstance(error, MigrationError) and not isinstance(error, MigrationBusyError)
        reason = str(error) if isinstance(error, MigrationError) else describe(error)
        self._missing = f"migrations are waiting: {reason}"
        now = time.monotonic()
        if self._said and self._said[0] == reason and now - self._said[1] < _SAY_AGAIN_AFTER_S:
            return
        self._said = (reason, now)
        logger.log(logging.ERROR if needs_mending else logging.WARNING, "%s", self._missing)
