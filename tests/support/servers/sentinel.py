"""A master, a replica, and the three sentinels that make the replica the master when it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, Self, TypeVar

from redis.asyncio import Redis

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

    def __init__(self, master: EmbeddedValkey) -> None:
        super().__init__(server_folder())
        self._master = master

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
            f"user default {_LOOK_ONLY}",
            f"user {_WATCH[0]} on >{_WATCH[1]} ~* &* +@all",
            f"sentinel sentinel-user {_WATCH[0]}",
            f"sentinel sentinel-pass {_WATCH[1]}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._master.port} {QUORUM}",
            f"sentinel auth-user {SERVICE} {_DATA[0]}",
            f"sentinel auth-pass {SERVICE} {_DATA[1]}",
            f"sentinel down-after-milliseconds {SERVICE} 1000",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]


class SentinelStack:
    """Five servers; a context manager that ends them and deletes their files.

    Attributes:
        master: The master at the start.
        replica: The replica at the start.
        sentinels: Those who watch both.
    """

    def __init__(self) -> None:
        self._servers = ExitStack()
        self.master: EmbeddedValkey
        self.replica: EmbeddedValkey
        self.sentinels: list[DebianSentinel] = []

    @property
    def url(self) -> str:
        """The master, as the sentinels name it."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return (
            f"redis+sentinel://{_DATA[0]}:da%2Fta%231@{hosts}/{SERVICE}/0"
            f"?sentinel_username={_WATCH[0]}&sentinel_password={_WATCH[1]}"
        )

    async def __aenter__(self) -> Self:
        with self._servers:
            self.master = self._start(DebianRedis(server_folder(), extra_args=_data_options()))
            following = ["--replicaof", "127.0.0.1", str(self.master.port)]
            self.replica = self._start(DebianRedis(server_folder(), extra_args=[*_data_options(), *following]))
            await eventually(self._replicates, message="the replica follows")
            self.sentinels = [self._start(DebianSentinel(self.master)) for _ in range(3)]
            for sentinel in self.sentinels:
                await eventually(partial(self._knows_all, sentinel.port), message="the sentinels know each other")
            self._servers = self._servers.pop_all()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._servers.close()

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
