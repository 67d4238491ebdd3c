"""Redis is full: it refuses writes, or throws keys away, as its policy says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from faust_redis.redis import keys
from tests.conftest import ValkeyFactory
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, names, once_each
from tests.transport.conftest import AppFactory, Stream

OFTEN = {"lag_interval_s": 0.1}


@contextlib.asynccontextmanager
async def limited(valkey_factory: ValkeyFactory, policy: str) -> AsyncIterator[Stream]:
    """A server of one's own that knows what to do when it is full."""
    server = valkey_factory(extra_args=["--maxmemory-policy", policy])
    async with Redis.from_url(server.url) as redis:
        yield Stream(redis, server.url, "s")


async def test_writes_are_refused(
    transport_app: AppFactory, valkey_factory: ValkeyFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """While Redis refuses writes the worker says so, in its log and readiness; afterwards all is counted once."""
    async with limited(valkey_factory, "noeviction") as own:
        app = await transport_app(own.name, url=own.redis_url, batch_size=5, **OFTEN)
        await own.publish(first := names("a", 10))
        await own.committed(first)
        published = names("b", 50)
        pipeline = own.redis.pipeline(transaction=True)
        for name in published:
            pipeline.xadd(own.name, {"payload": name})
        pipeline.config_set("maxmemory", 1)
        # As after a silence, so that the worker has something to write.
        pipeline.delete(keys.workers(own.name, GROUP))
        await pipeline.execute()
        await eventually(lambda: app.observer.retries["balance"] >= 2)
        assert "OutOfMemoryError" in (await app.consumer.why_not_ready() or "")
        assert any("used memory > 'maxmemory'" in record.getMessage() for record in caplog.records)
        # What it holds needs no memory, and what it has read is stored.
        await eventually(lambda: set(published) <= set(app.counted))
        assert app.partitions == [0]
        await own.redis.config_set("maxmemory", 0)
        await own.publish(last := names("c", 10))
        await own.committed([*first, *published, *last])
        assert app.counts == once_each([*first, *published, *last])
        assert app.observer.total["trimmed"] == 0

        async def is_ready() -> bool:
            return await app.consumer.why_not_ready() is None

        await eventually(is_ready)


async def test_the_stream_is_thrown_away(
    transport_app: AppFactory, valkey_factory: ValkeyFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A full Redis that evicts keys costs what waited: that is counted and said, and what comes later is read."""
    hold = asyncio.Event()

    async def wait(*_: object) -> None:
        await hold.wait()

    async with limited(valkey_factory, "allkeys-lru") as own:
        # Its lease may be left, and is then waited for.
        app = await transport_app(own.name, url=own.redis_url, batch_size=10, handle=wait, lease_ttl_ms=5000, **OFTEN)
        await own.publish(f"{number}-{'x' * 1000}" for number in range(4000))
        await eventually(lambda: app.observer.lags and app.observer.lags[-1], message="it has seen that some wait")
        # The server is full by half of the stream, and has nothing else to throw away.
        used, half = (await own.redis.info("memory"))["used_memory"], await own.redis.memory_usage(own.name) // 2
        await own.redis.config_set("maxmemory", used - half)
        await eventually(lambda: is_gone(own))
        await own.redis.config_set("maxmemory", 0)
        hold.set()
        await own.publish(new := names("new", 10))
        await eventually(lambda: set(new) <= set(app.counted), timeout_s=60)
        total = app.observer.total

        def all_accounted() -> bool:
            received = total["delivered"] - total["redelivered"]
            return total["trimmed"] > 0 and total["trimmed"] + received == 4000 + len(new)

        await eventually(all_accounted, message="every record was received or counted as lost")
        assert any(f"at least {total['trimmed']} records" in record.getMessage() for record in caplog.records)


async def is_gone(own: Stream) -> bool:
    """Let the server look for room, and tell whether it has found some where the stream was."""
    with contextlib.suppress(OutOfMemoryError):
        await own.redis.set("filler", "x")
    return not await own.redis.exists(own.name)
