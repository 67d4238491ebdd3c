"""PgBouncer, as Debian distributes it, in front of a test's PostgreSQL."""

import socket
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from telemetry_app.tools.embedded.server import EmbeddedServer
from tests.support.servers.packaged import Program, pgbouncer

PoolMode = Literal["session", "transaction"]
_CONNECT_TIMEOUT_S = 1.0


class PgBouncer(EmbeddedServer):
    """A private PgBouncer whose settings are its defaults but for where it listens and whom it lets in.

    Args:
        folder: For its files, made when missing.
        server_url: The PostgreSQL behind it; every database of that server can be reached.
        pool_mode: When a server connection goes back to the pool.
        pool_size: Server connections of each database and user.
    """

    name = "pgbouncer"

    def __init__(self, folder: Path, server_url: str, *, pool_mode: PoolMode, pool_size: int) -> None:
        super().__init__(folder)
        self._program: Program = pgbouncer()
        self._server = urlsplit(server_url)
        self._settings = {"pool_mode": pool_mode, "default_pool_size": str(pool_size)}

    @property
    def url(self) -> str:
        """Where clients reach the database of the server's URL."""
        return self.url_of(self._server.geturl())

    def url_of(self, server_url: str) -> str:
        """Return where clients reach the database of a URL of the server."""
        return urlsplit(server_url)._replace(netloc=f"{self._server.username}@127.0.0.1:{self.port}").geturl()

    def _argv(self) -> list[str]:
        configuration, users = self._home.data / "pgbouncer.ini", self._home.data / "users.txt"
        users.write_text(f'"{self._server.username}" ""\n')
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": str(users),
            **self._settings,
        }
        lines = ["[databases]", f"* = host={self._server.hostname} port={self._server.port}", "[pgbouncer]"]
        configuration.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in settings.items())]) + "\n")
        for path in (configuration, users):
            path.chmod(0o644)
        return [str(self._program.executable), str(configuration)]

    def _is_ready(self, pid: int) -> bool:  # noqa: ARG002 - it ends by itself when another has the port
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=_CONNECT_TIMEOUT_S):
                return True
        except OSError:
            return False

    def _environment(self) -> dict[str, str]:
        return super()._environment() | dict(self._program.env)
