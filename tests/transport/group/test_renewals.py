"""Renewing many leases at once."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urlsplit

from redis.asyncio import Redis

from faust_redis.group.lease import Leases
from faust_redis.redis import keys
from faust_redis.redis.client import Client, close, connect
from tests.conftest import ProxyFactory
from tests.support.servers.cluster import Cluster
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually
from tests.transport.apps import GROUP

NUMBER: Final = 300
TTL_MS: Final = 60_000
#: What is left of a lease before it is renewed.
LEFT_MS: Final = 20_000
#: How long a node has to answer; a busy machine does in less.
TIMEOUT_S: Final = 4


async def hold(client: Client, streams: list[str]) -> tuple[Leases, dict[str, str]]:
    """Take the lease of each stream, as it is some time later; return them and their tokens."""
    leases = Leases(client, group=GROUP, instance_id="me", ttl_ms=TTL_MS)
    tokens = {stream: str(await leases.acquire(stream)) for stream in streams}
    for stream in streams:
        await client.pexpire(keys.lease(stream, GROUP), LEFT_MS)
    return leases, tokens


async def test_hundreds_are_renewed_in_one_round_trip(
    redis: Redis, redis_url: str, stream: str, tcp_proxy: ProxyFactory
) -> None:
    """All are before the first answer has come, so that a slow line costs none; one that is gone is told."""
    parts = urlsplit(redis_url)
    line = await tcp_proxy(str(parts.hostname), int(parts.port or 0))
    client = connect(url_through(line, redis_url))
    leases, tokens = await hold(client, [f"{stream}:{number}" for number in range(NUMBER)])
    expected = dict.fromkeys(tokens, True)
    assert await leases.renew(tokens, timeout_s=30) == expected  # the server knows the script from here on
    gone, *_, last = (keys.lease(name, GROUP) for name in tokens)
    await redis.set(gone, "another")
    await redis.pexpire(last, LEFT_MS)
    line.stall("to client")
    renewing = asyncio.create_task(leases.renew(tokens, timeout_s=30))

    async def last_is_renewed() -> bool:
        return await redis.pttl(last) > LEFT_MS

    await eventually(last_is_renewed)
    line.flow()
    assert await renewing == expected | {f"{stream}:0": False}
    assert await redis.get(gone) == b"another"
    await close(client)


async def test_a_silent_node_costs_only_its_own_leases() -> None:
    """While a node of a cluster does not answer, the leases of the others are renewed, and its own are doubtful."""
    async with Cluster() as cluster:
        await cluster.in_sync()
        client = connect(cluster.url)
        leases, tokens = await hold(client, [f"s:{number}" for number in range(30)])
        assert await leases.renew(tokens, timeout_s=30) == dict.fromkeys(tokens, True)
        silent = await cluster.master_of(keys.lease("s:0", GROUP))
        assert silent is not None
        theirs = {name for name in tokens if await cluster.master_of(keys.lease(name, GROUP)) is silent}
        silent.pause()
        try:
            renewed = await leases.renew(tokens, timeout_s=TIMEOUT_S)
        finally:
            silent.resume()
        assert {name for name, kept in renewed.items() if kept is True} == tokens.keys() - theirs
        assert all(isinstance(renewed[name], TimeoutError) for name in theirs)
        await close(client)
