"""An application that can get no partition, or not work on it, says why it is not ready."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from faust_redis.redis import keys
from tests.conftest import ValkeyFactory
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, TABLE, TransportApp, names
from tests.transport.conftest import AppFactory, Stream

TTL = {"lease_ttl_ms": 1500}


@pytest.fixture
async def own(valkey_factory: ValkeyFactory, stream: str) -> AsyncIterator[Stream]:
    """The records on a server of the test's own."""
    server = valkey_factory()
    async with Redis.from_url(server.url) as client:
        yield Stream(client, server.url, stream)


async def until_it_says(app: TransportApp, *words: str) -> None:
    async def says() -> bool:
        said = await app.consumer.why_not_ready() or ""
        return all(word in said for word in words)

    await eventually(says, message=f"it says {words}")


async def until_ready(app: TransportApp) -> None:
    async def is_ready() -> bool:
        return await app.consumer.why_not_ready() is None

    await eventually(is_ready)


@pytest.mark.parametrize("command", ["evalsha", "get", "xgroup", "hscan", "xreadgroup", "xack"])
async def test_without_a_permission(transport_app: AppFactory, own: Stream, command: str) -> None:
    """Whatever the user of Redis may not do, the reason names it, until it is permitted."""
    await own.publish(published := names("r", 3))
    await own.redis.execute_command("ACL", "SETUSER", "w", "on", "nopass", "~*", "+@all", f"-{command}")
    app = await transport_app(own.name, url=own.redis_url.replace("redis://", "redis://w:x@"), ready=False, **TTL)
    await until_it_says(app, "permission")
    await own.redis.execute_command("ACL", "SETUSER", "w", "+@all")
    await own.committed(published)
    await until_ready(app)


async def test_a_key_of_another_type(transport_app: AppFactory, own: Stream) -> None:
    """A stream's name that is another key is the reason, until the key is gone."""
    await own.redis.set(own.name, "x")
    app = await transport_app(own.name, url=own.redis_url, ready=False, **TTL)
    await until_it_says(app, own.name, "WRONGTYPE")
    await own.redis.delete(own.name)
    await until_ready(app)


@pytest.mark.parametrize("type_", ["string", "hash"])
async def test_what_is_no_lease_in_the_place_of_one(transport_app: AppFactory, own: Stream, type_: str) -> None:
    """It is named, and is taken for one that somebody holds until it is gone."""
    await own.publish(published := names("r", 3))
    if type_ == "string":
        await own.redis.set(own.lease, "by hand")
    else:
        await own.redis.hset(own.lease, "a", "b")
    app = await transport_app(own.name, url=own.redis_url, ready=False, **TTL)
    await until_it_says(app, own.name, "by hand" if type_ == "string" else f"a key of another type ({own.lease})")
    await own.redis.delete(own.lease)
    await own.committed(published)
    await until_ready(app)


async def test_what_is_no_lease_of_one_partition(transport_app: AppFactory, own: Stream) -> None:
    """The other partitions go on."""
    lease = keys.lease(f"{own.name}:0", GROUP)
    await own.redis.hset(lease, "a", "b")
    app = await transport_app(own.name, url=own.redis_url, partitions=2, **TTL)
    await eventually(lambda: app.observer.owned == 1)
    await own.redis.delete(lease)
    await eventually(lambda: app.observer.owned == 2)


async def test_a_read_only_replica(transport_app: AppFactory, own: Stream) -> None:
    """A server that takes no writes is the reason, until it is the master."""
    await own.redis.replicaof("127.0.0.1", 1)
    app = await transport_app(own.name, url=own.redis_url, ready=False, **TTL)
    await until_it_says(app, "ReadOnlyError")
    await own.redis.replicaof("NO", "ONE")
    await until_ready(app)


async def test_a_state_of_another_type(transport_app: AppFactory, own: Stream) -> None:
    """A table's key that is no hash is the reason, until it is gone."""
    key = keys.state(own.name, GROUP, TABLE)
    await own.redis.set(key, "x")
    app = await transport_app(own.name, url=own.redis_url, ready=False, **TTL)
    await until_it_says(app, key, "WRONGTYPE")
    await own.redis.delete(key)
    await until_ready(app)


async def test_a_hot_standby_is_ready_and_says_so(transport_app: AppFactory, own: Stream) -> None:
    """Who holds nothing because others hold everything is ready, and says what it waits for."""
    first = await transport_app(own.name, url=own.redis_url)
    second = await transport_app(own.name, url=own.redis_url, ready=False)
    await until_ready(second)
    assert first.consumer.standing_by() is None
    assert "stands by" in (second.consumer.standing_by() or "")
    await first.stop()
    await eventually(lambda: second.consumer.standing_by() is None)
