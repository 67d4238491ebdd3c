"""Everything the demo runs on: embedded servers and one worker, each a process of its own, in one data folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

from telemetry_app.settings import Settings
from telemetry_app.tools.embedded.postgres import EmbeddedPostgres
from telemetry_app.tools.embedded.process import ChildProcess, Command, EmbeddedServerError, free_port
from telemetry_app.tools.embedded.valkey import EmbeddedValkey

if TYPE_CHECKING:
    from collections.abc import Mapping

_READY_TIMEOUT_S = 60.0
_DRAIN_TIMEOUT_S = 15.0
#: Commit times of rows are what the demo's report measures.
_POSTGRES_SETTINGS = {"track_commit_timestamp": "on"}


class WorkerProcess:
    """One worker started as an operator would start it, with its log in a file.

    Args:
        folder: Where its log goes.
        variables: Environment variables on top of this process's own, of which settings are left out.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.metrics_port = free_port()
        self.log_path = folder / "worker.log"
        bind = {"METRICS_HOST": "127.0.0.1", "METRICS_PORT": str(self.metrics_port), "LOG_FORMAT": "json"}
        self._child = ChildProcess(
            Command(
                argv=[sys.executable, "-m", "telemetry_app", "worker"],
                cwd=folder,
                log_path=self.log_path,
                env={**_inherited(), **bind, **variables},
                death_signal=signal.SIGTERM,
            )
        )

    @property
    def url(self) -> str:
        """Where its metrics and health are served."""
        return f"http://127.0.0.1:{self.metrics_port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def start(self) -> None:
        """Start it."""
        self._child.start()

    def wait_ready(self) -> None:
        """Wait until it is ready to consume."""
        self._child.wait_until(self._is_ready, _READY_TIMEOUT_S)

    def stop(self) -> int:
        """Let it drain, and return its exit code."""
        return self._child.terminate(signal.SIGTERM, timeout_s=_DRAIN_TIMEOUT_S)

    def exit_code(self) -> int | None:
        """Return the exit code if it has ended."""
        return self._child.exit_code()

    def require_alive(self) -> None:
        """Raise an EmbeddedServerError if it has ended."""
        if self.exit_code() is not None:
            raise EmbeddedServerError(
                f"The worker ended with status {self.exit_code()}; its log ends:\n{self.log_tail()}"
            )

    def log_tail(self) -> str:
        """Return the end of its log."""
        return self._child.log_tail()

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:  # noqa: S310 - our own address
                return bool(answer.status == 200)  # noqa: PLR2004 - OK
        except (urllib.error.URLError, OSError):
            return False


def _inherited() -> dict[str, str]:
    """Return this process's environment without settings: what a shell has set is meant for other workers."""
    settings = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name.upper() not in settings}


class Stack:
    """A Redis, a PostgreSQL and a worker between them; a context manager that leaves no process.

    Args:
        folder: Data folder; deleted at the end unless something failed.
        variables: Further environment variables for the worker.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._variables = dict(variables or {})
        self.valkey = EmbeddedValkey(folder / "redis")
        self.postgres = EmbeddedPostgres(folder / "postgres", settings=_POSTGRES_SETTINGS)
        self._cleanup = contextlib.ExitStack()

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables by which a worker finds the servers."""
        return {"REDIS_URL": self.valkey.url, "POSTGRES_URL": self.postgres.url, **self._variables}

    def start_worker(self, **variables: str) -> WorkerProcess:
        """Start a worker, which also applies the migrations; `variables` go before those of the stack."""
        worker = WorkerProcess(self.folder, {**self.variables, **variables})
        worker.start()
        self._cleanup.callback(worker.stop)
        return worker

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        with contextlib.ExitStack() as starting:
            for server in (self.valkey, self.postgres):
                server.start()
                starting.callback(server.discard)
            self._cleanup = starting.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._cleanup.close()
        if kind is None or issubclass(kind, KeyboardInterrupt):
            shutil.rmtree(self.folder, ignore_errors=True)
