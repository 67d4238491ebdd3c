"""A master, a replica, and the three sentinels that make the replica the master when it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from redis.asyncio import Redis

from telemetry_app.tools.embedded.ports import free_port
from telemetry_app.tools.embedded.valkey import EmbeddedValkey
from tests.support.servers.redis import DebianRedis
from tests.support.servers.server import server_folder
from tests.support.waiting import eventually

SERVICE: Final = "mymaster"
QUORUM: Final = 2
#: Whoever has not signed in may be asked whether he is there.
_LOOK_ONLY: Final = "on nopass ~* +ping +info"
_DATA: Final = ("worker", "da/ta#1")
_WATCH: Final = ("watcher", "watch")


Kind = TypeVar("Kind", bound=EmbeddedValkey)


class DebianSentinel(DebianRedis):
    """A sentinel of one's own."""

    name = "redis-sentinel"

    def __init__(self, master_port: int, options: Sequence[str]) -> None:
        super().__init__(server_folder())
        self._master_port = master_port
        self._options = options

    def _argv(self) -> list[str]:
        program = super()._argv()[:4]
        # Sentinels write what they learn into their configuration.
        path = self._home.data / "sentinel.conf"
        path.write_text("\n".join(self._configuration()))
        path.chmod(0o666)
        return [*program, str(path), "--sentinel"]

    def _configuration(self) -> list[str]:
        return [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self._home.data}",
            *self._options,
            f"user default {_LOOK_ONLY}",
            f"user {_WATCH[0]} on >{_WATCH[1]} ~* &* +@all",
            f"sentinel sentinel-user {_WATCH[0]}",
            f"sentinel sentinel-pass {_WATCH[1]}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._master_port} {QUORUM}",
            f"sentinel auth-user {SERVICE} {_DATA[0]}",
            f"sentinel auth-pass {SERVICE} {_DATA[1]}",
            f"sentinel down-after-milliseconds {SERVICE} 1000",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]


class SentinelStack:
    """Five servers; a context manager that ends them and deletes their files.

    Args:
        certificates: A folder with certificates: all then speak to each other and to clients over TLS, and have a port
            in plain text for the test's own questions.

    Attributes:
        master: The master at the start.
        replica: The replica at the start.
        sentinels: Those who watch both.
    """

    def __init__(self, certificates: Path | None = None) -> None:
        self._certificates = certificates
        self._tls_ports: dict[EmbeddedValkey, int] = {}
        self._servers = ExitStack()
        self.master: EmbeddedValkey
        self.replica: EmbeddedValkey
        self.sentinels: list[DebianSentinel] = []

    @property
    def url(self) -> str:
        """The master, as the sentinels name it."""
        hosts = ",".join(f"127.0.0.1:{self._port(sentinel)}" for sentinel in self.sentinels)
        scheme, trust = "redis", ""
        if self._certificates:
            scheme, trust = "rediss", f"&ssl_ca_certs={self._certificates}/ca.pem"
        return (
            f"{scheme}+sentinel://{_DATA[0]}:da%2Fta%231@{hosts}/{SERVICE}/0"
            f"?sentinel_username={_WATCH[0]}&sentinel_password={_WATCH[1]}{trust}"
        )

    async def __aenter__(self) -> Self:
        with self._servers:
            self.master = self._start_data()
            self.replica = self._start_data("--replicaof", "127.0.0.1", str(self._port(self.master)))
            await eventually(self._replicates, message="the replica follows")
            self.sentinels = [self._start_sentinel() for _ in range(3)]
            for sentinel in self.sentinels:
                await eventually(partial(self._knows_all, sentinel.port), message="the sentinels know each other")
            self._servers = self._servers.pop_all()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._servers.close()

    def _start_data(self, *following: str) -> EmbeddedValkey:
        port, tls = self._tls()
        options = [word for name, value in tls.items() for word in (f"--{name}", value)]
        server = DebianRedis(server_folder(), extra_args=[*_data_options(), *options, *following])
        self._tls_ports[server] = port
        return self._start(server)

    def _start_sentinel(self) -> DebianSentinel:
        port, tls = self._tls()
        sentinel = DebianSentinel(self._port(self.master), [f"{name} {value}" for name, value in tls.items()])
        self._tls_ports[sentinel] = port
        return self._start(sentinel)

    def _tls(self) -> tuple[int, dict[str, str]]:
        """Return a port for TLS and the settings that open it; 0 and none without certificates."""
        if self._certificates is None:
            return 0, {}
        port = free_port()
        return port, {
            "tls-port": str(port),
            "tls-cert-file": f"{self._certificates}/server.pem",
            "tls-key-file": f"{self._certificates}/server.key",
            "tls-ca-cert-file": f"{self._certificates}/ca.pem",
            "tls-auth-clients": "no",
            "tls-replication": "yes",
        }

    def _port(self, server: EmbeddedValkey) -> int:
        """Return the port by which others reach a server."""
        return self._tls_ports[server] or server.port

    def _start(self, server: Kind) -> Kind:
        self._servers.callback(server.discard)
        server.start()
        return server

    async def _replicates(self) -> bool:
        return bool((await _info(self.replica.port, "replication"))["master_link_status"] == "up")

    async def _knows_all(self, port: int) -> bool:
        known = (await _info(port, "sentinel"))["master0"]
        return bool(known["slaves"] == 1 and known["sentinels"] == len(self.sentinels) and known["status"] == "ok")


def _data_options() -> Sequence[str]:
    user, password = _DATA
    return [
        "--user", "default", *_LOOK_ONLY.split(), "--user", user, "on", f">{password}", "~*", "&*", "+@all",
        "--masteruser", user, "--masterauth", password, "--repl-diskless-sync-delay", "0",
    ]  # fmt: skip


async def _info(port: int, section: str) -> Any:
    async with Redis(port=port) as client:
        return await client.info(section)
