"""Records that were gone before anybody read them are counted exactly, and nothing else is."""

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.conftest import ValkeyFactory
from tests.support.servers.redis import DebianRedis
from tests.support.servers.server import server_folder, started
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, TransportApp, names
from tests.transport.conftest import AppFactory, Stream

OFTEN = {"lag_interval_s": 0.1}


class Gate:
    """An agent that takes a batch whenever it is let."""

    def __init__(self) -> None:
        self._passes = asyncio.Semaphore(0)

    async def __call__(self, *_: object) -> None:
        await self._passes.acquire()

    def open(self, batches: int) -> None:
        for _ in range(batches):
            self._passes.release()


@pytest.fixture(params=["valkey", "redis 7.0"])
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each kind of server: they count differently what a group has read."""
    if request.param == "valkey":
        yield request.getfixturevalue("redis_url")
        return
    with started(DebianRedis(server_folder())) as server:
        yield server.url


@contextlib.asynccontextmanager
async def stream_at(url: str, name: str) -> Any:
    async with Redis.from_url(url) as redis:
        yield Stream(redis, url, name)


def lost(caplog: pytest.LogCaptureFixture, entries: int, *ids: bytes) -> bool:
    said = [record.getMessage() for record in caplog.records if f"{entries} records of stream" in record.getMessage()]
    return any(all(entry_id.decode() in line for entry_id in ids) for line in said)


def all_accounted(app: TransportApp, published: int) -> bool:
    """Tell whether some records were lost, and with those that were received are all there were."""
    counts = app.observer.total
    return counts["trimmed"] > 0 and counts["trimmed"] + counts["delivered"] - counts["redelivered"] == published


async def test_trimmed_while_nobody_read(
    transport_app: AppFactory, server_url: str, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was trimmed while no worker ran is counted by the next one, with the ids between which it was."""
    async with stream_at(server_url, stream) as records:
        before = await records.publish(first := names("a", 10))
        app = await transport_app(stream, url=server_url, **OFTEN)
        await records.committed(first)
        await app.stop()
        after = await records.publish(names("b", 30))
        await records.redis.xtrim(stream, maxlen=10, approximate=False)
        again = await transport_app(stream, url=server_url, **OFTEN)
        await records.committed([*first, *names("b", 30)[20:]])
        assert again.observer.total["trimmed"] == 20
        assert lost(caplog, 20, before[-1], after[20])


async def test_trimmed_under_a_slow_reader(transport_app: AppFactory, server_url: str, stream: str) -> None:
    """A reader whom the trimming overtakes again and again: what it received and what is counted is everything."""
    gate = Gate()
    async with stream_at(server_url, stream) as records:
        app = await transport_app(stream, url=server_url, handle=gate, batch_size=3, **OFTEN)
        published = 0
        for _ in range(12):
            for _ in range(20):
                await records.redis.xadd(stream, {"payload": f"r{published}"}, maxlen=15, approximate=False)
                published += 1
            gate.open(2)
            await asyncio.sleep(0.05)
        gate.open(1000)
        await eventually(lambda: app.observer.ages and app.observer.ages[-1] == 0)
        await eventually(partial(all_accounted, app, published), message="every record was received or counted as lost")


async def test_deleted_ahead_of_the_reader(
    transport_app: AppFactory, server_url: str, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Entries that somebody deletes in the midst of what waits are counted once the reader is past them."""
    gate = Gate()
    async with stream_at(server_url, stream) as records:
        await records.publish(first := names("a", 3))
        app = await transport_app(stream, url=server_url, handle=gate, batch_size=3, **OFTEN)
        gate.open(1)
        await records.committed(first)
        await eventually(lambda: app.observer.ages and app.observer.ages[-1] == 0)
        ids = await records.publish(second := names("b", 60))
        deleted = [*range(40, 47), 55]
        await records.redis.xdel(stream, *(ids[number] for number in deleted))
        gate.open(1000)
        await records.committed([*first, *(name for number, name in enumerate(second) if number not in deleted)])
        await eventually(lambda: app.observer.total["trimmed"] == len(deleted))
        assert lost(caplog, len(deleted), ids[-1])


async def test_all_that_waited_deleted(transport_app: AppFactory, records: Stream) -> None:
    """When nothing is left of what waited, all of it is counted."""
    gate = Gate()
    app = await transport_app(records.name, handle=gate, batch_size=1, **OFTEN)
    await records.publish(names("a", 40))
    await eventually(lambda: app.observer.total["delivered"] and app.observer.lags and app.observer.lags[-1])
    await records.redis.xtrim(records.name, maxlen=0, approximate=False)
    read = int((await records.redis.xinfo_consumers(records.name, GROUP))[0]["pending"])
    await eventually(lambda: app.observer.total["trimmed"] == 40 - read)
    gate.open(1000)


async def test_what_was_read_may_be_trimmed(transport_app: AppFactory, server_url: str, stream: str) -> None:
    """Nothing is counted when only what was read is trimmed or deleted, also after connections were lost."""
    async with stream_at(server_url, stream) as records:
        app = await transport_app(stream, url=server_url, batch_size=5, **OFTEN)
        published: list[str] = []
        for number in range(5):
            ids = await records.publish(more := names(f"r{number}-", 30))
            published += more
            await records.committed(published)
            if number == 1:
                await records.redis.client_kill_filter(_type="normal", skipme=True)
            await records.redis.xdel(stream, ids[7], ids[-1])
            await records.redis.xtrim(stream, maxlen=number * 3, approximate=False)
            app.observer.ages.clear()
            await eventually(lambda: len(app.observer.ages) > 1)
        assert app.observer.total["trimmed"] == 0
        await app.stop()
        again = await transport_app(stream, url=server_url, **OFTEN)
        await eventually(lambda: len(again.observer.ages) > 1)
        assert again.observer.total["trimmed"] == 0


async def test_what_another_owner_reads_is_not_lost(transport_app: AppFactory, records: Stream) -> None:
    """One that was paused and has lost its lease meanwhile counts nothing of what its successor read and removed."""
    redis = records.redis
    app = await transport_app(records.name, **OFTEN)
    await records.publish(first := names("a", 10))
    await records.committed(first)
    async with redis.pipeline(transaction=True) as pipeline:  # before the first one looks
        pipeline.set(records.lease, "another")
        for name in names("b", 30):
            pipeline.xadd(records.name, {"payload": name})
        pipeline.execute_command("XREADGROUP", "GROUP", GROUP, "another", "NOACK", "STREAMS", records.name, ">")
        pipeline.xtrim(records.name, maxlen=0, approximate=False)
        await pipeline.execute()
    app.observer.ages.clear()
    await eventually(lambda: len(app.observer.ages) > 1)
    assert app.observer.total["trimmed"] == 0
    await redis.delete(records.lease)
    await eventually(lambda: app.observer.owned == 1 and app.fetching)
    app.observer.ages.clear()
    await eventually(lambda: len(app.observer.ages) > 1)
    assert app.observer.total["trimmed"] == 0


async def test_a_stream_that_is_gone(
    transport_app: AppFactory, valkey_factory: ValkeyFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """When Redis loses its data, what is known to have waited is counted, and said; new records are read."""
    server = valkey_factory()
    gate = Gate()
    async with stream_at(server.url, "s") as records:
        app = await transport_app("s", url=server.url, handle=gate, batch_size=1, **OFTEN)
        await records.publish(names("a", 40))
        await eventually(lambda: app.observer.lags and app.observer.lags[-1], message="it has seen that some wait")
        server.restart(empty=True)
        await records.redis.connection_pool.disconnect()
        gate.open(1000)
        await records.publish(new := names("b", 5))
        await eventually(lambda: set(new) <= set(app.counted))
        await eventually(partial(all_accounted, app, 45), message="every record was received or counted as lost")
        said = f"at least {app.observer.total['trimmed']} records"
        assert any(said in record.getMessage() for record in caplog.records)
