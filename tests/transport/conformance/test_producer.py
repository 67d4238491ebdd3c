"""Faust's contract of a producer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from faust.types import TP

from faust_redis import App, BatchSchema
from faust_redis.driver.partitioning import partition_for
from faust_redis.redis.errors import Misconfigured
from tests.support.waiting import eventually
from tests.transport.conftest import AppFactory, Stream

PARTITIONS = 3


@pytest.fixture
async def app(redis_url: str) -> AsyncIterator[App]:
    """An application that only sends."""
    app = App("sender", broker=redis_url, topic_partitions=PARTITIONS)
    await app.producer.start()
    yield app
    await app.producer.stop()


async def _sent(records: Stream) -> dict[int, list[dict[bytes, bytes]]]:
    """Return the fields of the entries of each partition that has any."""
    entries = {n: await records.redis.xrange(f"{records.name}:{n}") for n in range(PARTITIONS)}
    return {number: [fields for _, fields in found] for number, found in entries.items() if found}


async def test_send_and_wait_tells_where_the_message_is(app: App, records: Stream) -> None:
    """`send_and_wait` returns topic, partition and offset of a message that is in Redis by then."""
    sent = await app.producer.send_and_wait(records.name, None, b"v", 1, 7.5, None)
    [(entry_id, fields)] = await records.redis.xrange(f"{records.name}:1")
    assert fields == {b"payload": b"v"}
    assert (sent.topic, sent.partition, sent.topic_partition) == (records.name, 1, TP(records.name, 1))
    assert (sent.offset, sent.timestamp) == (int(entry_id.partition(b"-")[0]), 7.5)


async def test_send_returns_something_to_wait_for(app: App, records: Stream) -> None:
    """`send` returns an awaitable of what `send_and_wait` returns."""
    sent = await (await app.producer.send(records.name, None, b"v", 2, None, None))
    assert (sent.partition, await _sent(records)) == (2, {2: [{b"payload": b"v"}]})


async def test_key_decides_the_partition(app: App, records: Stream) -> None:
    """A message without a partition goes to the one that `key_partition` names, by which a key stays in one place."""
    for number in range(20):
        key = b"k%d" % number
        sent = await app.producer.send_and_wait(records.name, key, b"v", None, None, None)
        assert sent.topic_partition == app.producer.key_partition(records.name, key)
        assert sent.partition == app.consumer.key_partition(records.name, key)
    assert set(await _sent(records)) == {0, 1, 2}


async def test_given_partition_wins_over_the_key(app: App, records: Stream) -> None:
    """A message with a key and a partition goes to that partition."""
    other = (partition_for(app, records.name, b"k") + 1) % PARTITIONS
    await app.producer.send_and_wait(records.name, b"k", b"v", other, None, None)
    assert await _sent(records) == {other: [{b"payload": b"v", b"key": b"k"}]}


@pytest.mark.parametrize("headers", [{"h": b"x", "i": b"y"}, [("h", b"x"), ("i", b"y")]])
async def test_headers_become_fields(app: App, records: Stream, headers: Any) -> None:
    """Headers, given in either of Faust's forms, are fields of the entry."""
    assert app.producer.supports_headers()
    await app.producer.send_and_wait(records.name, None, b"v", 0, None, headers)
    assert await _sent(records) == {0: [{b"payload": b"v", b"h": b"x", b"i": b"y"}]}


async def test_message_without_a_value_is_sent(app: App, records: Stream) -> None:
    """None is a value that Kafka has; here its payload is empty."""
    await app.producer.send_and_wait(records.name, b"k", None, 0, None, None)
    assert await _sent(records) == {0: [{b"payload": b"", b"key": b"k"}]}


async def test_topic_serializes_what_it_sends(app: App, records: Stream) -> None:
    """`Topic.send` encodes key and value by the topic's serializers."""
    topic = app.topic(records.name, partitions=1, schema=BatchSchema())
    await topic.send(key="k", value={"a": 1})
    [(_, fields)] = await records.redis.xrange(records.name)
    assert fields == {b"payload": b'{"a":1}', b"key": b"k"}


async def test_flush_sends_what_is_buffered(app: App, records: Stream) -> None:
    """What `send_soon` took is in Redis when `flush` returns, also what Faust's own task was sending meanwhile."""
    topic = app.topic(records.name, partitions=1, schema=BatchSchema())
    for number in range(50):
        topic.send_soon(value=number)
    await asyncio.sleep(0)  # the task takes its first one
    await app.producer.flush()
    sent = [fields[b"payload"] for _, fields in await records.redis.xrange(records.name)]
    assert sorted(map(int, sent)) == list(range(50))


async def test_error_is_raised_to_the_sender(app: App, records: Stream) -> None:
    """What Redis refuses is an error of the call that sent it."""
    await records.redis.set(f"{records.name}:0", "text")
    with pytest.raises(Misconfigured, match="WRONGTYPE"):
        await app.producer.send_and_wait(records.name, None, b"v", 0, None, None)


async def test_declaring_a_topic_makes_no_stream(app: App, records: Stream) -> None:
    """A topic can be declared as often as wanted; its first entry makes the stream."""
    await app.topic(records.name, partitions=1, schema=BatchSchema()).declare()
    assert not await records.redis.exists(records.name)


async def test_sent_messages_are_read_back(transport_app: AppFactory, records: Stream) -> None:
    """What `topic.send` appends is read back from the partition of its key, key and headers as fields, in order."""
    app = await transport_app(records.name, partitions=PARTITIONS)
    sent = {f"device-{number}": f"v{number}" for number in range(12)}
    for key, value in sent.items():
        await app.topic.send(key=key, value=value, key_serializer="raw", value_serializer="raw", headers={"h": b"x"})
    await eventually(lambda: len(app.counted) == len(sent))
    expected: dict[str, list[list[bytes]]] = {}
    for key, value in sent.items():
        stream = f"{records.name}:{partition_for(app.app, records.name, key.encode())}"
        fields = [b"payload", value.encode(), b"key", key.encode(), b"h", b"x"]
        expected.setdefault(stream, []).append(fields)
    got: dict[str, list[list[bytes]]] = {}
    for batch in app.batches:
        got.setdefault(batch.stream, []).extend(fields for _, fields in batch)
    assert len(expected) == PARTITIONS
    assert got == expected
