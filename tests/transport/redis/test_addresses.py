"""Unix sockets and Redis Cluster."""

import asyncio
from pathlib import Path

from redis.asyncio import Redis

from tests.conftest import ValkeyFactory
from tests.support.waiting import eventually
from tests.transport.apps import names, once_each
from tests.transport.conftest import AppFactory, Stream


async def test_unix_socket(transport_app: AppFactory, valkey_factory: ValkeyFactory, stream: str) -> None:
    """A `unix://` address works for reading, committing and the state."""
    server = valkey_factory(extra_args=["--unixsocket", "redis.sock", "--unixsocketperm", "777"])
    path: Path = server._home.data / "redis.sock"
    async with Redis.from_url(server.url) as redis:
        records = Stream(redis, server.url, stream)
        await records.publish(published := names("r", 20))
        app = await transport_app(stream, url=f"unix://{path}", batch_size=10)
        await records.committed(published)
        assert app.counted == published


async def test_cluster(transport_app: AppFactory, cluster: Stream) -> None:
    """On a Redis Cluster three partitions in different slots are read, committed, shared, restarted and cut off."""
    streams = [f"s:{number}" for number in range(3)]
    published: list[list[str]] = [[], [], []]

    async def publish(prefix: str) -> None:
        for number, stream in enumerate(streams):
            published[number] += (new := names(f"{prefix}{number}-", 20))
            await cluster.publish(new, stream=stream)

    async def all_counted() -> bool:
        states = [await cluster.state(stream) for stream in streams]
        pending = [await cluster.pending(stream) for stream in streams]
        return states == [once_each(payloads) for payloads in published] and not any(pending)

    options = {"url": cluster.redis_url, "partitions": 3, "batch_size": 7}
    await publish("a")
    first = await transport_app("s", **options)
    await eventually(all_counted)
    second = await transport_app("s", **options)
    await publish("b")
    await eventually(lambda: len(first.partitions) == 2 and first.fetching)
    await eventually(all_counted)
    await cluster.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await publish("c")
    await eventually(all_counted)
    await first.stop()
    await publish("d")
    await eventually(lambda: second.partitions == [0, 1, 2])
    await eventually(all_counted)
    assert await asyncio.gather(*(second.topic.send(key=str(n), value="x", value_serializer="raw") for n in range(3)))
