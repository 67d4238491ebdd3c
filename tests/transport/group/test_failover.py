"""Redis restarts, loses its data, or becomes a replica."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.conftest import ProxyFactory, ValkeyFactory
from tests.support.waiting import eventually
from tests.transport.apps import TransportApp, names, once_each
from tests.transport.conftest import AppFactory, Stream

TTL = {"lease_ttl_ms": 1500}


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_restart_with_data(
    transport_app: AppFactory, valkey_factory: ValkeyFactory, stream: str, how: str
) -> None:
    """After a restart or a crash of a server with an append-only file everything goes on; all is counted once."""
    server = valkey_factory(appendonly=True, extra_args=["--appendfsync", "always"])
    async with Redis.from_url(server.url) as redis:
        own = Stream(redis, server.url, stream)
        app = await transport_app(stream, url=server.url, batch_size=5, **TTL)
        await own.publish(before := names("a", 100))
        getattr(server, how)()
        await eventually(lambda: app.observer.reads["error"] >= 2)
        server.start()
        await redis.connection_pool.disconnect()
        await own.publish(after := names("b", 20))
        await own.committed([*before, *after])
        await eventually(lambda: app.counts == once_each([*before, *after]))


async def test_restart_without_data(
    transport_app: AppFactory, valkey_factory: ValkeyFactory, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After a restart that lost everything the worker takes its partition anew and counts from nothing."""
    server = valkey_factory()
    async with Redis.from_url(server.url) as redis:
        own = Stream(redis, server.url, stream)
        # So long that it is not by the renewal that the loss is noticed.
        app = await transport_app(stream, url=server.url, lease_ttl_ms=60_000)
        await own.publish(before := names("a", 10))
        await own.committed(before)
        server.restart(empty=True)
        await redis.connection_pool.disconnect()
        await own.publish(after := names("b", 10))
        await own.committed(after)
        await eventually(lambda: app.counts == once_each(after))
        assert any(f"group of stream {stream} was gone" in record.getMessage() for record in caplog.records)


async def test_master_becomes_read_only(transport_app: AppFactory, valkey_factory: ValkeyFactory, stream: str) -> None:
    """While the server is a replica every write waits; when it is a master again, all is counted once."""
    server = valkey_factory()
    gate = asyncio.Event()

    async def wait(_app: TransportApp, _event: Any) -> None:
        await gate.wait()

    async with Redis.from_url(server.url) as redis:
        own = Stream(redis, server.url, stream)
        app = await transport_app(stream, url=server.url, batch_size=5, handle=wait, **TTL)
        await own.publish(published := names("r", 20))
        await eventually(lambda: app.batches)
        await redis.replicaof("127.0.0.1", 1)
        gate.set()
        await eventually(lambda: app.observer.retries["commit"] >= 2)
        assert (await own.state(), await own.pending() > 0) == ({}, True)
        await redis.replicaof("NO", "ONE")
        await own.committed(published)
        await eventually(lambda: app.counts == once_each(published))


async def test_failover_behind_one_address(
    transport_app: AppFactory, valkey_factory: ValkeyFactory, tcp_proxy: ProxyFactory, stream: str
) -> None:
    """When another server becomes master behind the same address, connections to the former one are given up."""
    # A replica is otherwise only served after five seconds, in case another one comes.
    old, new = valkey_factory(extra_args=["--repl-diskless-sync-delay", "0"]), valkey_factory()
    proxy = await tcp_proxy("127.0.0.1", old.port)
    url = f"redis://127.0.0.1:{proxy.port}"
    async with Redis.from_url(old.url) as old_redis, Redis.from_url(new.url) as redis:
        await redis.replicaof("127.0.0.1", old.port)
        app = await transport_app(stream, url=url, batch_size=5, **TTL)
        await Stream(old_redis, old.url, stream).publish(before := names("a", 20))
        await Stream(old_redis, old.url, stream).committed(before)
        own = Stream(redis, new.url, stream)
        await own.committed(before)  # the replica has all of it
        proxy.retarget("127.0.0.1", new.port)
        await redis.replicaof("NO", "ONE")
        await old_redis.replicaof("127.0.0.1", 1)
        await own.publish(after := names("b", 20))
        await own.committed([*before, *after])
        await eventually(lambda: app.counts == once_each([*before, *after]))
