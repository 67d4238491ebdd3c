"""A Redis, a PostgreSQL and workers between them, each a process of its own, in one data folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Final, Self

from telemetry_app.settings import Settings
from telemetry_app.tools.embedded.postgres import EmbeddedPostgres
from telemetry_app.tools.embedded.process import EmbeddedServerError
from telemetry_app.tools.embedded.valkey import EmbeddedValkey
from telemetry_app.tools.embedded.worker import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: The demo's report measures when each row was committed.
_POSTGRES_SETTINGS: Final = {"track_commit_timestamp": "on"}
#: What ends a block that was stopped, not one that failed.
_STOPPED: Final = (KeyboardInterrupt, asyncio.CancelledError)


class Stack:
    """The servers and the workers; an async context manager that leaves no process.

    Args:
        folder: Data folder; deleted at the end unless something failed.
        variables: Environment variables for the workers, in addition to the addresses of the servers.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._variables = dict(variables or {})
        self.valkey = EmbeddedValkey(folder / "redis")
        self.postgres = EmbeddedPostgres(folder / "postgres", settings=_POSTGRES_SETTINGS)
        self._cleanup = contextlib.AsyncExitStack()

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables by which a worker finds the servers."""
        return {"REDIS_URL": self.valkey.url, "POSTGRES_URL": self.postgres.url, **self._variables}

    def start_worker(self, **variables: str) -> WorkerProcess:
        """Start a worker, which also applies the migrations; `variables` replace those of the stack."""
        env = {**_inherited(), "LOG_FORMAT": "json", **self.variables, **variables}
        worker = WorkerProcess(env, self.folder / "worker.log", cwd=self.folder)
        worker.start()
        self._cleanup.push_async_callback(self.stop_worker, worker)
        return worker

    async def stop_worker(self, worker: WorkerProcess) -> None:
        """Let a worker drain unless it has ended; kill it when that takes too long."""
        if worker.exit_code is None:
            with contextlib.suppress(EmbeddedServerError):
                await worker.stop()

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True)
        async with contextlib.AsyncExitStack() as starting:
            for server in (self.valkey, self.postgres):
                server.start()
                starting.callback(server.discard)
            self._cleanup = starting.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        failed = kind is not None and not issubclass(kind, _STOPPED)
        try:
            await self._cleanup.aclose()
        except BaseException as error:
            # Whoever is told to stop once more while it stops still leaves nothing.
            failed = failed or not isinstance(error, _STOPPED)
            raise
        finally:
            if not failed:
                shutil.rmtree(self.folder, ignore_errors=True)


def _inherited() -> dict[str, str]:
    """Return this process's environment without settings: what a shell sets is meant for other workers."""
    settings = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name.upper() not in settings}
