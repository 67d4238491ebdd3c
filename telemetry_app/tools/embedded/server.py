"""What all embedded servers share: a home, a child process, a port, and the ways to start and end them."""

import os
import signal
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from telemetry_app.tools.embedded.home import ServerHome
from telemetry_app.tools.embedded.ports import free_port
from telemetry_app.tools.embedded.process import ChildProcess, Command, EmbeddedServerError, unprivileged_account

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


class EmbeddedServer(ABC):
    """A real server on 127.0.0.1 that lives no longer than this process.

    Started as root it runs as nobody. A context manager: started on entry, stopped (data kept) on exit.
    """

    name: ClassVar[str]
    death_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self, data_dir: Path, *, port: int | None = None) -> None:
        self._account = unprivileged_account()
        self._home = ServerHome(data_dir, self._account)
        self._port = port
        self._child: ChildProcess | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect to."""

    @abstractmethod
    def _argv(self) -> list[str]:
        """Return the command line, after making what it needs."""

    @abstractmethod
    def _is_ready(self, pid: int) -> bool:
        """Tell whether the server with this process id answers."""

    @property
    def port(self) -> int:
        """The TCP port, the same for every start."""
        if self._port is None:
            self._port = free_port()
        return self._port

    @property
    def log_path(self) -> Path:
        """The file that takes the server's output."""
        return self._home.log_path

    @property
    def pid(self) -> int:
        """The process id of the running server.

        Raises:
            EmbeddedServerError: It is not running.
        """
        return self._running_child().pid

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._child is not None and self._child.exit_code() is None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            EmbeddedServerError: It is already running, or does not come up; the message ends with its log.
        """
        if self.running:
            raise EmbeddedServerError(f"{self.name} on port {self.port} is already running.")
        self._home.prepare()
        child = ChildProcess(self._command(self._argv()))
        child.start()
        self._child = child
        try:
            child.wait_until(lambda: self._is_ready(child.pid), START_TIMEOUT_S)
        except BaseException:  # an interrupt too: `with` does not stop what did not start
            child.kill()
            raise

    def stop(self) -> None:
        """End the server in order, keeping its data; does nothing when it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server and its children at once, as a crash would."""
        self._running_child().kill()

    def pause(self) -> None:
        """Freeze the server: its connections stay open and nothing answers."""
        self._running_child().pause()

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._running_child().resume()

    def restart(self, *, empty: bool = False) -> None:
        """Stop the server and start it on the same port, without its data when `empty`."""
        self.stop()
        if empty:
            self._home.wipe()
        self.start()

    def discard(self) -> None:
        """End the server and delete all its files, the log and the folder itself included."""
        if self.running:
            self.kill()
        self._home.remove()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def _end(self, how: signal.Signals) -> None:
        if self.running:
            self._running_child().terminate(how, timeout_s=STOP_TIMEOUT_S)

    def _running_child(self) -> ChildProcess:
        if self._child is None or not self.running:
            raise EmbeddedServerError(f"{self.name} on port {self.port} is not running.")
        return self._child

    def _environment(self) -> dict[str, str]:
        # No locale, time zone or PG* variable of ours: the server is the same on every machine.
        return {"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self._home.data)}

    def _command(self, argv: list[str]) -> Command:
        return Command(
            argv=argv,
            cwd=self._home.data,
            log_path=self._home.log_path,
            env=self._environment(),
            account=self._account,
            death_signal=self.death_signal,
        )
