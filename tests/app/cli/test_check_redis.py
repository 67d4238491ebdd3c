"""`telemetry check` before a Redis that is something else, permits too little, or can lose what it is given."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from faust_redis.redis import keys
from faust_redis.redis.commands import COMMANDS, DEAD_LETTER_COMMANDS
from telemetry_app.cli.findings.finding import Finding
from telemetry_app.settings import Settings
from tests.app.cli.test_check import HOST, look, settings
from tests.conftest import ValkeyFactory
from tests.support.servers.sentinel import DebianSentinel

__all__ = ["settings"]
MakeSettings = Callable[..., Settings]
#: A user who may do what a worker needs and nothing else.
RIGHTS = ("on", "nopass", "~s*", "~{s*", *(f"+{command}" for command in (*COMMANDS, *DEAD_LETTER_COMMANDS)))


@pytest.fixture
async def server(valkey_factory: ValkeyFactory) -> AsyncIterator[Any]:
    """A client of a server of the test's own."""
    async with Redis.from_url(valkey_factory(appendonly=True).url) as client:
        yield client


async def found_of(settings: MakeSettings, server: Any, user: str = "", **overrides: object) -> dict[str, Finding]:
    port = server.connection_pool.connection_kwargs["port"]
    url = f"redis://{user}{':x@' if user else ''}{HOST}:{port}"
    return await look(settings(redis_url=url, redis_telemetry_stream="s", **overrides))


def texts(found: dict[str, Finding]) -> str:
    """Return what is said of Redis and is not well."""
    return "\n".join(f.text for n, f in found.items() if n not in {"postgres", "METRICS_PORT"} and not f.ok)


async def test_all_that_a_worker_needs_is_enough(settings: MakeSettings, server: Any) -> None:
    """A user without INFO and CONFIG, who may do what a worker does, finds all well, and nothing is left behind."""
    await server.execute_command("ACL", "SETUSER", "w", *RIGHTS)
    found = await found_of(settings, server, "w")
    assert texts(found) == ""
    assert "may not run INFO" in found["redis"].text
    assert found["redis streams"].text == "usable"
    assert await server.dbsize() == 0


async def test_each_command_that_is_missing_is_named(settings: MakeSettings, server: Any) -> None:
    """A user without one of the commands, scripts included, is told which, whichever it is."""
    for command in (*COMMANDS, "xlen", "xdel"):
        await server.execute_command("ACL", "SETUSER", "w", "reset", *RIGHTS, f"-{command}")
        finding = (await found_of(settings, server, "w"))["redis streams"]
        assert not finding.ok
        assert command.replace("|", " ").upper() in finding.text
        assert "docs/operations.md" in finding.text


@pytest.mark.parametrize("pattern", ["~{s*", "~s*", "~{s}:check*"])
async def test_keys_that_are_missing(settings: MakeSettings, server: Any, pattern: str) -> None:
    """A user who may not touch some of the keys is told so."""
    await server.execute_command("ACL", "SETUSER", "w", *RIGHTS, "resetkeys", pattern)
    assert "no permissions" in (await found_of(settings, server, "w"))["redis streams"].text


async def test_a_replica_of_which_nothing_may_be_asked(settings: MakeSettings, server: Any) -> None:
    """A read-only replica is recognised without INFO."""
    await server.execute_command("ACL", "SETUSER", "w", *RIGHTS)
    await server.replicaof(HOST, 1)
    finding = (await found_of(settings, server, "w"))["redis"]
    assert finding.text.endswith("is a read-only replica: set REDIS_URL to the master")


async def test_a_sentinel(settings: MakeSettings, valkey_factory: ValkeyFactory) -> None:
    """The address of a Sentinel is told from that of a Redis, with the URL to write."""
    sentinel = DebianSentinel(valkey_factory().port, [])
    try:
        sentinel.start()
        finding = (await look(settings(redis_url=sentinel.url)))["redis"]
    finally:
        sentinel.discard()
    assert not finding.ok
    assert "is a Sentinel" in finding.text
    assert "redis+sentinel://" in finding.text


async def test_a_node_of_a_cluster(settings: MakeSettings, valkey_factory: ValkeyFactory) -> None:
    """A cluster's node addressed as a server is told from one."""
    node = valkey_factory(extra_args=("--cluster-enabled", "yes"))
    finding = (await look(settings(redis_url=node.url)))["redis"]
    assert "write redis+cluster://" in finding.text
    assert not finding.ok


async def test_what_redis_can_lose(settings: MakeSettings, server: Any) -> None:
    """Eviction and a memory without a file are warnings, which do not make it wrong."""
    assert not any(finding.warning for finding in (await found_of(settings, server)).values())
    await server.config_set("maxmemory-policy", "allkeys-lru")
    await server.config_set("appendonly", "no")
    await server.config_set("save", "")
    found = await found_of(settings, server)
    assert texts(found) == ""
    assert "set maxmemory-policy noeviction" in found["redis memory"].text
    assert "set appendonly yes" in found["redis persistence"].text
    assert {name for name, finding in found.items() if finding.warning} == {"redis memory", "redis persistence"}


async def test_what_redis_has_thrown_away(settings: MakeSettings, server: Any) -> None:
    """The warning of an evicting policy says how many keys it has cost."""
    await server.config_set("maxmemory-policy", "allkeys-lru")
    await server.config_set("maxmemory", "8mb")
    for number in range(200):
        await server.set(f"s:filler:{number}", b"x" * 100_000)
    await server.config_set("maxmemory", 0)
    evicted = (await server.info("stats"))["evicted_keys"]
    assert evicted > 0
    assert f"({evicted} keys since its start)" in (await found_of(settings, server))["redis memory"].text


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        (keys.dead_letters("s"), "stream"),
        (keys.state("s", "processor", "device_state"), "hash"),
        (keys.lease("s", "processor"), "string"),
    ],
)
async def test_a_key_of_another_type(settings: MakeSettings, server: Any, name: str, type_: str) -> None:
    """Beside the stream, each key without which its partition is not read is looked at, and named."""
    await server.xadd("s", {"payload": "x"})
    await server.sadd(name, "x")
    finding = (await found_of(settings, server))["stream"]
    assert not finding.ok
    assert finding.text.startswith(f"{name} should be a {type_} and is a set: ")


@pytest.mark.parametrize(
    ("streams", "configured", "shown"),
    [
        (["s"], 1, None), (["s"], 4, 1), (["s:0", "s:1"], 1, 2), (["s:0", "s:1", "s:2", "s:3"], 2, 4),
        (["s:0", "s:1"], 4, 2), (["s:0", "s:1"], 2, None), ([], 4, None),
    ],
)  # fmt: skip
async def test_another_number_of_partitions(
    settings: MakeSettings, server: Any, streams: list[str], configured: int, shown: int | None
) -> None:
    """Streams of another number of partitions than the settings say are wrong, with the number that they are of."""
    for stream in streams:
        await server.xgroup_create(stream, "processor", "0", mkstream=True)
    found = await found_of(settings, server, redis_telemetry_partitions=configured)
    assert ("partitions" in found) == (shown is not None)
    if shown is not None:
        assert f"set REDIS_TELEMETRY_PARTITIONS={shown}," in found["partitions"].text
        assert not found["partitions"].ok
