"""A source that is deleted, whose successor has lower ids: one entry was from the future."""

from __future__ import annotations

import pytest

from faust_redis.redis import keys
from tests.support.waiting import eventually
from tests.transport.apps import names
from tests.transport.conftest import Stream
from tests.transport.distribution.test_distributor import Start, arrived, start
from tests.transport.distribution.test_moving import EVERYBODY, Source, place, placed, source

__all__ = ["source", "start"]

FUTURE = "9999999999999-0"


async def leave_the_future(source: Source) -> list[list[str]]:
    """Distribute some entries, one of them of the future, and delete the source; return what is distributed."""
    await source.records.publish(EVERYBODY[:50])
    await source.redis.xadd(source.records.name, {"payload": "a-future"}, id=FUTURE)
    await source.records.publish(EVERYBODY[50:100])
    await source.distribute(await source.tenure("first"))
    await source.redis.delete(source.records.name)
    return placed([*EVERYBODY[:50], "a-future", *EVERYBODY[50:100]])


@pytest.mark.parametrize("times", [1, 2])
async def test_what_comes_afterwards_is_distributed(source: Source, times: int) -> None:
    """Each entry once and in order, whoever takes over and however often."""
    before = await leave_the_future(source)
    await source.records.publish(EVERYBODY[100:])
    for number in range(times):
        await source.distribute(await source.tenure(f"later-{number}"))
    after = placed(EVERYBODY[100:])
    assert await source.payloads() == [[*some, *more] for some, more in zip(before, after, strict=True)]


async def test_a_distributor_that_dies_while_positions_are_forgotten(source: Source) -> None:
    """The next one sees by the greatest, which is the last to go, that others are still to be forgotten."""
    before = await leave_the_future(source)
    future = source.partitions[place("a-future")]
    for stream in source.partitions[1:]:
        await source.redis.hset(keys.distribution(stream), "position", "5000000000000-0")
    await source.redis.hset(keys.distribution(future), "position", FUTURE)
    await source.redis.hset(keys.distribution(source.partitions[0]), "position", "0-0")
    await source.records.publish(EVERYBODY[100:])
    await source.distribute(await source.tenure("second"))
    after = placed(EVERYBODY[100:])
    assert await source.payloads() == [[*some, *more] for some, more in zip(before, after, strict=True)]


async def test_a_worker_notices_it(start: Start, records: Stream, caplog: pytest.LogCaptureFixture) -> None:
    """Within a second or so it says so, counts it and goes on; nothing is there twice."""
    one = await start("one", lease_ttl_ms=60_000)
    await records.publish(some := names("a", 20))
    await records.redis.xadd(records.name, {"payload": "a-future"}, id=FUTURE)
    await arrived(records, [*some, "a-future"])
    await records.redis.delete(records.name)
    await records.publish(more := names("b", 20))
    await arrived(records, [*some, "a-future", *more])
    assert one.observer.total["restarts"] == 1
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert any("was deleted, or is another stream" in line and FUTURE in line for line in said)


async def test_a_source_that_stays_away(start: Start, records: Stream) -> None:
    """While nobody appends there is nothing to read, and then everything comes, once."""
    one = await start("one", lease_ttl_ms=60_000)
    await records.publish(some := names("a", 20))
    await arrived(records, some)
    await records.redis.delete(records.name)
    await eventually(lambda: one.observer.total["restarts"])
    await records.publish(more := names("b", 20))
    await arrived(records, [*some, *more])
