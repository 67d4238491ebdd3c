"""One child process: started safely, watched, and never left behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

LOG_TAIL_LINES = 12
KILL_TIMEOUT_S = 30.0
POLL_S = 0.01

_PR_SET_PDEATHSIG = 1
_NOBODY = 65534

# Loaded here because the child, between fork and exec, must not import or load anything.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

# The kernel's parent-death signal follows the *thread* that started the child. Threads of a pool may end at
# any time, so children asked for outside the main thread are started by this one, which lives to the end.
_launcher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedded-launcher")


class EmbeddedServerError(RuntimeError):
    """The server did not start, or did not do what it was told; the message ends with its log."""


@dataclass(frozen=True)
class Account:
    """The user a server runs as when we are root."""

    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """Return the account to change to (nobody) when we are root, else None: stay who we are."""
    return Account(_NOBODY, _NOBODY) if os.geteuid() == 0 else None


@dataclass(frozen=True)
class Command:
    """What to run, where, as whom, and which signal ends it when this process dies."""

    argv: Sequence[str]
    cwd: Path
    log_path: Path
    env: Mapping[str, str]
    account: Account | None = None
    death_signal: signal.Signals = signal.SIGKILL


class ChildProcess:
    """A running child in a process group of its own, with its output in a log file.

    It ends when this process ends, however that happens (on Linux).
    """

    def __init__(self, command: Command) -> None:
        self._command = command
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> None:
        """Start the child.

        Raises:
            EmbeddedServerError: The program cannot be run.
        """
        try:
            if threading.current_thread() is threading.main_thread():
                self._popen = self._spawn()
            else:
                self._popen = _launcher.submit(self._spawn).result()
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedServerError(f"{self._command.argv[0]} cannot be run: {error}.") from error

    def _spawn(self) -> subprocess.Popen[bytes]:
        command, account = self._command, self._command.account
        with command.log_path.open("ab") as log, warnings.catch_warnings():
            # Python 3.12 warns of code between fork and exec beside threads: ours is one system call.
            warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
            self._log_start = log.tell()
            return subprocess.Popen(  # noqa: S603 - the programs are ours
                command.argv,
                cwd=command.cwd,
                env=dict(command.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
                preexec_fn=_death_pact(os.getpid(), command.death_signal),  # noqa: PLW1509 - one system call, see above
            )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._started.pid

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        if self._popen is None:
            raise EmbeddedServerError(f"{self._command.argv[0]} was not started.")
        return self._popen

    def exit_code(self) -> int | None:
        """Return the exit code (negative: the signal), or None while it runs."""
        return self._started.poll()

    def wait(self, timeout_s: float) -> int:
        """Wait for the child's end and return its exit code; kill it at the deadline."""
        try:
            return self._started.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until `ready()` is true.

        Raises:
            EmbeddedServerError: The child ended first, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        name = Path(self._command.argv[0]).name
        while not ready():
            if self.exit_code() is not None:
                raise EmbeddedServerError(
                    f"{name} ended with status {self.exit_code()} before it was ready{self._log_says()}"
                )
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"{name} was not ready within {timeout_s:g} s{self._log_says()}")
            time.sleep(POLL_S)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the child itself."""
        self._started.send_signal(number)

    def terminate(self, number: signal.Signals = signal.SIGTERM, *, timeout_s: float = 10) -> int:
        """Ask the child to end, kill it with its descendants at the deadline, and return the exit code."""
        self.resume()
        self.send_signal(number)
        return self.wait(timeout_s)

    def kill(self) -> int:
        """End the child and its descendants at once (SIGKILL) and return the exit code."""
        if self.exit_code() is None:
            family = self._stopped_family()
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._started.wait(KILL_TIMEOUT_S)
            self._wait_gone(family)
        return self._started.wait(KILL_TIMEOUT_S)

    def pause(self) -> None:
        """Stop the child and its descendants (SIGSTOP): connections stay open, nothing answers."""
        self._stopped_family()

    def resume(self) -> None:
        """Let a paused child and its descendants go on (SIGCONT)."""
        if self.exit_code() is None:
            root = psutil.Process(self.pid)
            for process in (*root.children(recursive=True), root):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def _stopped_family(self) -> list[psutil.Process]:
        # The root is stopped first, so that the list of its descendants is complete.
        root = psutil.Process(self.pid)
        root.suspend()
        descendants = root.children(recursive=True)
        for process in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        return [root, *descendants]

    def _wait_gone(self, family: list[psutil.Process]) -> None:
        deadline = time.monotonic() + KILL_TIMEOUT_S
        while any(_alive(process) for process in family):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"{self._command.argv[0]} survived SIGKILL for {KILL_TIMEOUT_S:g} s.")
            time.sleep(POLL_S)

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """Return the last lines that this start has written to the log."""
        with self._command.log_path.open("rb") as log:
            log.seek(self._log_start)
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def _log_says(self) -> str:
        tail = self.log_tail()
        return f"; its log ({self._command.log_path}) ends:\n{tail}" if tail else " and logged nothing."


def _death_pact(parent_pid: int, death_signal: signal.Signals) -> Callable[[], None]:
    """Return what the child does before exec (and after its change of user, which would undo it)."""

    def in_child() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal))
            if os.getppid() != parent_pid:  # it died before the kernel knew of the pact
                os._exit(1)

    return in_child


def _alive(process: psutil.Process) -> bool:
    try:
        # A dead orphan stays a zombie where nobody reaps, as in a container without an init.
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
