"""Who owns a partition, and what becomes of its records when that changes."""

import asyncio
import itertools
import json
import sys
from typing import Any
from urllib.parse import urlsplit

from faust_redis.redis import keys
from tests.conftest import ProxyFactory
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, TransportApp, names, once_each
from tests.transport.conftest import AppFactory, Stream

#: A lease is looked at three times in this.
LOOKS_OFTEN = {"lease_ttl_ms": 6000}


def held(*apps: TransportApp) -> list[int]:
    """Return how many partitions each application has, once all of them take records."""
    return [len(app.partitions) if not app.app.rebalancing else -1 for app in apps]


class Gate:
    """Lets an agent process a batch when the test opens it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, _app: TransportApp, event: Any) -> None:
        await self.open.wait()
        event.ack()


async def test_commit_after_losing_the_lease_changes_nothing(transport_app: AppFactory, records: Stream) -> None:
    """A worker whose lease was taken commits nothing, loses the partition, and counts exactly once when it is back."""
    gate = Gate()
    await records.publish(published := names("r", 20))
    app = await transport_app(records.name, handle=gate, noack=True, batch_size=10)
    await eventually(lambda: app.observer.total["delivered"] == 20)
    await records.redis.set(records.lease, "somebody else#1")
    gate.open.set()
    await eventually(lambda: app.observer.owned == 0)
    await eventually(lambda: app.counts == {})
    assert (await records.state(), await records.pending()) == ({}, 20)
    await records.redis.delete(records.lease)
    await records.committed(published)
    assert app.counts == once_each(published)
    assert app.observer.owned == 1


async def test_commit_finds_out_first(transport_app: AppFactory, records: Stream) -> None:
    """When the commit is the first to see that the lease is gone, nothing is changed; the partition is taken anew."""
    gate = Gate()
    await records.publish(published := names("r", 5))
    app = await transport_app(records.name, handle=gate, noack=True)
    await eventually(lambda: app.batches)
    await records.redis.delete(records.lease)
    gate.open.set()
    await records.committed(published)
    assert app.counts == once_each(published)
    assert app.counted == [*published, *published]


async def test_paused_worker_changes_nothing(transport_app: AppFactory, records: Stream) -> None:
    """While a worker is frozen another takes over and finishes; when it wakes up nothing is counted twice."""
    await records.publish(published := names("r", 200))
    options = json.dumps({"batch_size": 1, "lease_ttl_ms": 1000, "instance_id": "frozen"})
    arguments = ["-m", "tests.transport.worker", records.redis_url, records.name, options]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    try:
        await eventually(records.state, timeout_s=60)
        process.send_signal(19)
        app = await transport_app(records.name, batch_size=1, redeliver_after_ms=1000, **LOOKS_OFTEN)
        await records.committed(published)
        process.send_signal(18)
        await records.publish(more := names("s", 50))
        await records.committed([*published, *more])
        assert app.partitions == [0]
    finally:
        process.kill()
        await process.wait()


async def test_killed_worker_is_replaced(transport_app: AppFactory, records: Stream, tcp_proxy: ProxyFactory) -> None:
    """When a worker is killed in mid-work, another takes over when its lease ends; every record is counted once."""
    await records.publish(published := names("r", 2000))
    server = urlsplit(records.redis_url)
    proxy = await tcp_proxy(str(server.hostname), int(server.port or 0))
    commits = itertools.count(1)
    proxy.holds = lambda piece: keys.dead_letters(records.name).encode() in piece and next(commits) == 50
    options = json.dumps({"batch_size": 3, "lease_ttl_ms": 1500})
    arguments = ["-m", "tests.transport.worker", url_through(proxy, records.redis_url), records.name, options]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    try:
        await eventually(lambda: proxy.holds is None, timeout_s=60, message="a commit is on its way")
    finally:
        process.kill()
        await process.wait()
    done = len(await records.state())
    assert 0 < done < 2000
    app = await transport_app(records.name, **LOOKS_OFTEN)
    await records.committed(published)
    assert len(app.counted) == 2000 - done


async def test_released_on_stop(transport_app: AppFactory, records: Stream) -> None:
    """A worker that stops gives its lease and its heartbeat back at once: another need not wait for their end."""
    first = await transport_app(records.name, lease_ttl_ms=60_000)
    assert await records.redis.exists(records.lease)
    await first.stop()
    assert not await records.redis.exists(records.lease)
    assert await records.redis.zcard(keys.workers(records.name, GROUP)) == 0
    second = await transport_app(records.name, lease_ttl_ms=60_000)
    assert second.partitions == [0]


async def test_partitions_are_shared_and_handed_over(transport_app: AppFactory, records: Stream) -> None:
    """Two workers share four partitions evenly, one that leaves gives its own back, and nothing is lost or doubled."""
    published: list[list[str]] = [[] for _ in range(4)]

    async def publish(prefix: str) -> None:
        for number in range(4):
            published[number] += (new := names(f"{prefix}{number}-", 50))
            await records.publish(new, stream=f"{records.name}:{number}")

    async def all_counted() -> bool:
        states = [await records.state(f"{records.name}:{number}") for number in range(4)]
        return states == [once_each(payloads) for payloads in published]

    options = {"partitions": 4, "batch_size": 5}
    first = await transport_app(records.name, **options)
    await eventually(lambda: held(first) == [4])
    await publish("a")
    second = await transport_app(records.name, ready=False, **options)
    await publish("b")
    await eventually(lambda: held(first, second) == [2, 2])
    assert sorted(first.partitions + second.partitions) == [0, 1, 2, 3]
    await publish("c")
    await eventually(lambda: second.counted)
    await second.stop()
    await publish("d")
    await eventually(lambda: held(first) == [4])
    await eventually(all_counted)
    assert await asyncio.gather(*(records.pending(f"{records.name}:{n}") for n in range(4))) == [0] * 4


async def test_hot_standby(transport_app: AppFactory, records: Stream) -> None:
    """With one partition a second worker stands by, takes nothing, and goes on when the first one stops."""
    first = await transport_app(records.name)
    second = await transport_app(records.name, ready=False)
    await eventually(lambda: second.consumer.ownership.assigned_once and not second.app.rebalancing)
    await records.publish(before := names("a", 10))
    await records.committed(before)
    assert (held(first, second), second.counted) == ([1, 0], [])
    await first.stop()
    await records.publish(after := names("b", 10))
    await records.committed([*before, *after])
    assert second.counted == after


async def test_late_read_of_a_zombie_is_found(transport_app: AppFactory, records: Stream) -> None:
    """Entries that a former owner reads after it lost the partition are claimed and processed."""
    app = await transport_app(records.name, redeliver_after_ms=400, block_ms=1)
    app.consumer.pause_partitions(app.consumer.assignment())
    await eventually(lambda: not app.consumer._get_active_partitions())
    await records.publish(published := names("r", 5))
    reply = await records.redis.xreadgroup(GROUP, "zombie", {records.name: ">"}, block=2000)
    app.consumer.resume_partitions(app.consumer.assignment())
    await records.committed(published)
    taken = 0 if not reply else 5
    assert app.observer.total["redelivered"] == taken


async def test_rebalance_during_a_blocked_read(transport_app: AppFactory, records: Stream) -> None:
    """A read that outlives a whole rebalance delivers nothing of a partition that was lost, and nothing is missed."""
    app = await transport_app(records.name, block_ms=900)
    for number in range(3):
        await records.redis.delete(records.lease)
        (lost,) = app.consumer.holdings.values()
        app.consumer.holdings.lose(lost)
        await eventually(lambda: lost not in app.consumer.holdings.values())  # noqa: B023 - waited for at once
        await records.publish([f"r{number}"])
        await records.committed(names("r", number + 1))
        await eventually(lambda: app.fetching)
    assert app.counts == once_each(names("r", 3))
