"""Whoever holds the lease distributes, through failures of Redis and entries of any size."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

from faust_redis.distribution.distributor import Distributor
from faust_redis.options import Pacing, RedisOptions
from faust_redis.partitions.record import OtherPartitions
from faust_redis.redis import bounds, keys
from tests.conftest import ProxyFactory
from tests.support.observed import TransportObserved
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, names
from tests.transport.conftest import Stream

PARTITIONS = 3
Start = Callable[..., Awaitable["Running"]]


class Running:
    """A distributor, and what it told."""

    def __init__(self, records: Stream, url: str, instance_id: str, **options: Any) -> None:
        self.observer = TransportObserved()
        self.service = Distributor(
            url,
            source=records.name,
            partitions=partitions_of(records),
            group=GROUP,
            key_of=lambda fields: fields[1],
            options=RedisOptions(observer=self.observer, instance_id=instance_id, lag_interval_s=0.1, **options),
        )


def partitions_of(records: Stream) -> list[str]:
    return [keys.partition_stream(records.name, number, PARTITIONS) for number in range(PARTITIONS)]


@pytest.fixture
async def start(records: Stream, tcp_proxy: ProxyFactory) -> AsyncIterator[Start]:  # noqa: ARG001 - see below
    """Give a coroutine function that starts a distributor; proxies end after these have stopped."""
    running: list[Running] = []

    async def begin(instance_id: str, *, url: str | None = None, **options: Any) -> Running:
        running.append(Running(records, url or records.redis_url, instance_id, **options))
        await running[-1].service.start()
        return running[-1]

    yield begin
    for one in running:
        await one.service.stop()


async def arrived(records: Stream, expected: Sequence[str]) -> None:
    """Wait until each payload is in one of the partitions, once."""

    async def there() -> bool:
        entries = [entry for stream in partitions_of(records) for entry in await records.redis.xrange(stream)]
        return sorted(fields[b"payload"].decode() for _, fields in entries) == sorted(expected)

    await eventually(there, timeout_s=30, message="everything is in its partition")


async def test_one_distributes_and_the_other_takes_over(start: Start, records: Stream) -> None:
    """The second does nothing until the first stops, and then at once what comes."""
    first = await start("first", lease_ttl_ms=60_000)
    await eventually(lambda: first.service.distributing() is not None)
    second = await start("second", lease_ttl_ms=60_000)
    await records.publish(some := names("a", 50))
    await arrived(records, some)
    assert second.service.distributing() is None
    await eventually(lambda: first.observer.total["distributed"] == 50)
    await first.service.stop()
    await records.publish(more := names("b", 50))
    await arrived(records, [*some, *more])
    assert second.service.distributing() is not None
    await eventually(lambda: second.observer.total["distributed"] == 50)
    assert first.observer.total["distributed"] == 50


async def test_a_backlog_moves_as_full_batches(start: Start, records: Stream) -> None:
    """As much is moved at once as a batch for each partition, since each of them reads its share as one."""
    await records.publish(backlog := names("a", 100))
    one = await start("one", batch_size=10, lease_ttl_ms=60_000)
    await arrived(records, backlog)
    await eventually(lambda: sum(one.observer.moves) == len(backlog))
    assert one.observer.moves == [30, 30, 30, 10]


async def test_an_entry_that_comes_alone_does_not_wait(start: Start, records: Stream) -> None:
    """After reads that brought nothing an entry is moved at once."""
    one = await start("one", block_ms=1, lease_ttl_ms=60_000, pacing=Pacing(gather_s=3600))
    await eventually(lambda: len(one.observer.backlogs) > 2, message="several reads brought nothing")
    await records.publish(["alone"])
    await arrived(records, ["alone"])


async def test_redis_goes_and_comes(start: Start, records: Stream, tcp_proxy: ProxyFactory) -> None:
    """While Redis does not answer it is not ready, says why and counts; then everything arrives."""
    server = urlsplit(records.redis_url)
    proxy = await tcp_proxy(str(server.hostname), int(server.port or 0))
    one = await start("one", url=url_through(proxy, records.redis_url), lease_ttl_ms=60_000)
    await records.publish(some := names("a", 50))
    await arrived(records, some)

    async def ready() -> bool:
        return await one.service.why_not_ready() is None

    await eventually(ready)
    await proxy.refuse()
    proxy.cut()
    await records.publish(more := names("b", 50))
    await eventually(one.service.why_not_ready)
    assert "cannot be distributed" in str(await one.service.why_not_ready())
    await proxy.accept()
    await arrived(records, [*some, *more])
    await eventually(ready)
    assert one.observer.retries["distribute"] > 0


async def test_what_waits_is_shown(start: Start, records: Stream) -> None:
    """How many entries are not distributed, and for how long; nothing where another distributes."""
    await records.redis.set(keys.distribution(f"{records.name}:0"), "in the way")
    await records.publish(names("a", 50))
    one = await start("one")
    await eventually(lambda: any(entries == 50 and waited_s > 0 for entries, waited_s in one.observer.backlogs))
    await records.redis.delete(keys.distribution(f"{records.name}:0"))
    await arrived(records, names("a", 50))
    await eventually(lambda: one.observer.backlogs[-1] == (0, 0.0))
    await records.redis.set(records.lease, "another")
    one.observer.backlogs.clear()
    await eventually(lambda: one.observer.backlogs[-1:] == [(0, 0.0)])
    assert one.observer.total["trimmed"] == 0


async def test_another_number_of_partitions_is_refused(start: Start, records: Stream) -> None:
    """Where Redis says that the topic is of another number nothing is moved, and the lease is given back."""
    await records.redis.set(keys.partitions(records.name), PARTITIONS + 1)
    await records.publish(names("a", 5))
    one = await start("one")
    await eventually(lambda: one.service.crashed)
    assert isinstance(one.service.crash_reason, OtherPartitions)
    await one.service.stop()
    assert await records.redis.exists(records.lease, *partitions_of(records)) == 0


async def test_an_entry_too_large_to_be_read_is_passed_over(
    start: Start, records: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It becomes a dead letter of the source, with all its fields, and those around it arrive."""
    monkeypatch.setattr(bounds, "MOST_REPLY_BYTES", 100_000)
    huge = "huge".ljust(200_000, "x")
    await records.publish(around := [*names("before", 50), *(name.ljust(30_000, "x") for name in names("large", 20))])
    (huge_id,) = await records.publish([huge])
    await records.publish(behind := names("behind", 50))
    one = await start("one", batch_bytes=20_000)
    await arrived(records, [*around, *behind])
    (letter,) = await records.dead()
    assert (letter[b"payload"].decode(), letter[b"original_id"]) == (huge, huge_id)
    assert one.observer.dead == {"too-large": 1}

    async def is_done() -> bool:
        (group,) = await records.redis.xinfo_groups(records.name)
        return bool(group["lag"] == 0)

    await eventually(is_done)
