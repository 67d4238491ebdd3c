"""Entries of any size: what can be read comes once, what cannot is a dead letter."""

from __future__ import annotations

import pytest

from faust_redis.options import RedisOptions
from faust_redis.redis import bounds
from faust_redis.redis.client import close, connect
from faust_redis.stream.partition import Partition
from faust_redis.stream.reader import Reader
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, names
from tests.transport.conftest import AppFactory, Stream

#: Most bytes of a reply, and of a batch.
BOUNDS = (100_000, 20_000)


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Let replies be small, so that small entries are large; the options that go with it."""
    most_bytes, batch_bytes = BOUNDS
    monkeypatch.setattr(bounds, "MOST_REPLY_BYTES", most_bytes)
    return {"batch_bytes": batch_bytes}


def large(prefix: str, count: int, size: int) -> list[str]:
    return [name.ljust(size, "x") for name in names(prefix, count)]


async def test_a_burst_of_large_entries_behind_small_ones(
    transport_app: AppFactory, records: Stream, small_bounds: dict[str, int]
) -> None:
    """A read that asks for hundreds finds fifty times what it may bring: each record is counted once all the same."""
    app = await transport_app(records.name, **small_bounds)
    await records.publish(small := names("small", 500))
    await records.committed(small)
    await records.publish(burst := [*names("before", 50), *large("large", 100, 50_000), *names("behind", 50)])
    await records.committed([*small, *burst])
    assert app.observer.retries["read"] > 0
    assert await records.dead() == []


async def test_large_entries_of_many_streams(
    transport_app: AppFactory, records: Stream, small_bounds: dict[str, int]
) -> None:
    """Partitions whose next entries together are too much are read in turn."""
    app = await transport_app(records.name, partitions=6, **small_bounds)
    published = []
    for partition in range(6):
        published += (some := large(f"p{partition}-", 8, 40_000))
        await records.publish(some, stream=f"{records.name}:{partition}")
    await eventually(lambda: app.observer.total["acknowledged"] == len(published), timeout_s=30)
    assert sorted(app.counted) == sorted(published)


async def test_pending_entries_are_claimed_few_at_a_time(
    transport_app: AppFactory, records: Stream, small_bounds: dict[str, int]
) -> None:
    """What another worker left is claimed once and in order, few at a time, and looked up many at a time."""
    published = large("large", 120, 5_000)
    await records.publish(published)
    await records.redis.xgroup_create(records.name, GROUP, "0")
    await records.redis.xreadgroup(GROUP, "gone", {records.name: ">"}, count=200)
    before = await calls(records)
    app = await transport_app(records.name, **small_bounds)
    await records.committed(published)
    assert app.counted == published
    assert all(len(batch) <= 4 and batch.redelivered for batch in app.batches)
    assert await calls(records) - before < len(app.batches)


async def calls(records: Stream) -> int:
    """Return how often pending entries were looked up."""
    return int((await records.redis.info("commandstats")).get("cmdstat_xautoclaim", {"calls": 0})["calls"])


@pytest.mark.parametrize("kind", ["server", "cluster"])
async def test_an_entry_too_large_to_be_read_is_a_dead_letter(
    transport_app: AppFactory, records: Stream, cluster: Stream, small_bounds: dict[str, int], kind: str
) -> None:
    """It goes there unread, with all its fields, and those around it are counted."""
    where = {"server": records, "cluster": cluster}[kind]
    (huge,) = large("huge", 1, 200_000)
    ids = await where.publish([*(before := names("before", 30)), huge, *(behind := names("behind", 30))])
    app = await transport_app(where.name, url=where.redis_url, **small_bounds)
    await where.committed([*before, *behind])
    assert await where.dead() == [
        {
            b"payload": huge.encode(),
            b"reason": b"the entry has more than 8 MB",
            b"attempts": (await where.dead())[0][b"attempts"],
            b"original_id": ids[30],
        }
    ]
    assert app.observer.dead == {"too-large": 1}


@pytest.mark.usefixtures("small_bounds")
async def test_a_former_owner_buries_nothing(records: Stream) -> None:
    """What is too large to be read stays pending when somebody else has the lease, and the partition counts as lost."""
    client = connect(records.redis_url, bounded=True)
    reader = Reader(client, group=GROUP, options=RedisOptions(instance_id="former"))
    await records.publish(large("huge", 1, 200_000))
    await records.redis.xgroup_create(records.name, GROUP, "0")
    await records.redis.xreadgroup(GROUP, "former", {records.name: ">"}, count=1)
    await records.redis.set(records.lease, "somebody else#1")
    partition = Partition(("topic", 0), records.name, "former#1")
    read = await reader.read([partition], block_ms=1)
    await close(client)
    assert (read, partition.lost) == ([], True)
    assert (await records.pending(), await records.dead()) == (1, [])
