"""One partition to which nothing can be appended until somebody mends it."""

from __future__ import annotations

import pytest

from faust_redis.redis import keys
from tests.support.waiting import eventually
from tests.transport.apps import names
from tests.transport.conftest import Stream
from tests.transport.distribution.test_distributor import PARTITIONS, Start, arrived, partitions_of, start
from tests.transport.distribution.test_moving import EVERYBODY, Source, place, placed, source

__all__ = ["source", "start"]

LAST_ID = "18446744073709551615-18446744073709551615"
BLOCKED = place("a")
OTHERS = [number for number in range(PARTITIONS) if number != BLOCKED]


async def block(records: Stream, stream: str, how: str) -> str:
    """Let nothing be appended to a partition; return the key that it is mended by deleting."""
    if how == "last id":
        await records.redis.xadd(stream, {"payload": "last"}, id=LAST_ID)
        await records.redis.xdel(stream, LAST_ID)
        return stream
    key = stream if how == "stream" else keys.distribution(stream)
    await records.redis.set(key, "in the way")
    return key


@pytest.mark.parametrize("how", ["stream", "position", "last id"])
@pytest.mark.parametrize("others_take_over", [False, True])
async def test_the_others_go_on(source: Source, how: str, others_take_over: bool) -> None:  # noqa: FBT001 - a parameter
    """What it lacks waits in the source and comes in order when it is mended; nothing is anywhere twice."""
    broken = await block(source.records, source.partitions[BLOCKED], how)
    await source.records.publish(EVERYBODY[:100])
    tenure = await source.tenure("first")
    await source.distribute(tenure)
    await source.records.publish(EVERYBODY[100:])
    if others_take_over:
        tenure = await source.tenure("second")
    await source.mover.unblock(tenure)
    await source.distribute(tenure)
    assert source.partitions[BLOCKED] in tenure.blocked[source.partitions[BLOCKED]]
    stored = {n: await source.redis.xrange(source.partitions[n]) for n in OTHERS}
    assert {n: [fields[b"payload"].decode() for _, fields in entries] for n, entries in stored.items()} == {
        n: placed(EVERYBODY)[n] for n in OTHERS
    }
    assert (await source.group())["lag"] == len(EVERYBODY)
    await source.redis.delete(broken)
    await source.mover.unblock(tenure)
    await source.distribute(tenure)
    assert await source.payloads() == placed(EVERYBODY)
    assert (await source.group())["lag"] == 0


@pytest.mark.parametrize("how", ["stream", "last id"])
async def test_a_worker_says_so(start: Start, records: Stream, caplog: pytest.LogCaptureFixture, how: str) -> None:
    """It is not ready and names the key and the remedy, as does the log, once; when it is mended everything arrives."""
    one = await start("one", lease_ttl_ms=60_000)
    await records.publish(some := names("a", 20))
    await arrived(records, some)
    stream = partitions_of(records)[0]
    await records.redis.delete(stream)
    broken = await block(records, stream, how)
    await records.publish(more := names("b", 40))
    await eventually(one.service.why_not_ready)
    await eventually(lambda: one.observer.retries["distribute"] >= 2)
    said = str(await one.service.why_not_ready())
    assert f"nothing can be appended to {stream}" in said
    assert (f"DEL {stream}" if how == "last id" else "mend it") in said
    assert [r.levelname for r in caplog.records if "the other partitions go on" in r.getMessage()] == ["ERROR"]
    await records.redis.delete(broken)
    gone = {name for name in some if keys.partition_of(name.encode(), PARTITIONS) == 0}
    await arrived(records, [*(name for name in some if name not in gone), *more])

    async def ready() -> bool:
        return await one.service.why_not_ready() is None

    await eventually(ready)
    await eventually(lambda: one.observer.backlogs[-1] == (0, 0.0))
    await eventually(lambda: one.observer.total["distributed"] == len(some) + len(more))
