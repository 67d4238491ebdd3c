"""Acknowledgement and state changes in one step, batch by batch, in order."""

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from faust.types import TP
from redis.exceptions import ConnectionError as RedisConnectionError, ResponseError

from faust_redis.options import RedisOptions
from faust_redis.redis import keys
from faust_redis.redis.client import connect
from faust_redis.redis.errors import PartitionLost, StateConflict
from faust_redis.stream.batch import RecordBatch
from faust_redis.stream.commit import Committer
from faust_redis.stream.dead_letters import DeadLetters
from faust_redis.stream.ledger import DELETED, InFlight
from faust_redis.stream.partition import Partition
from faust_redis.stream.versions import FIELD
from tests.conftest import ProxyFactory
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, TABLE, TransportApp, names, once_each
from tests.transport.conftest import AppFactory, Stream

ONE, TWO = msgspec.msgpack.encode(1), msgspec.msgpack.encode(2)


class Holder:
    """Keeps every event, for the test to acknowledge."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    async def __call__(self, _app: TransportApp, event: Any) -> None:
        self.events.append(event)


async def test_out_of_order_acknowledgement_is_committed_in_order(
    transport_app: AppFactory, records: Stream, redis_url: str
) -> None:
    """A batch is committed when all before it are, with exactly its own state changes."""
    held = Holder()
    await records.publish(["a", "a", "b", "b", "a", "c"])
    app = await transport_app(records.name, batch_size=2, handle=held, noack=True, url=redis_url)
    await eventually(lambda: len(held.events) == 3)
    held.events[1].ack()
    held.events[2].ack()
    await app.consumer.commit()
    assert (await records.state(), await records.pending()) == ({}, 6)
    held.events[0].ack()
    await eventually(lambda: app.observer.total["acknowledged"] == 6)
    assert await records.state() == {"a": 3, "b": 2, "c": 1}


async def test_commit_carries_its_own_batch_only(transport_app: AppFactory, records: Stream) -> None:
    """What later batches have folded into the table is not stored before they are committed."""
    held = Holder()
    await records.publish(["a", "a", "a", "b", "a", "c"])
    app = await transport_app(records.name, batch_size=2, handle=held, noack=True)
    await eventually(lambda: len(held.events) == 3)
    assert app.counts == {"a": 4, "b": 1, "c": 1}
    seen: list[Any] = []
    for event in held.events:
        event.ack()
        left = await eventually(lambda: _less_pending(records, len(seen)))
        seen.append((await records.state(), left - 1))
    assert seen == [({"a": 2}, 4), ({"a": 3, "b": 1}, 2), ({"a": 4, "b": 1, "c": 1}, 0)]


async def _less_pending(records: Stream, committed: int) -> int:
    """Return the number pending plus one when one more batch of two is committed, else 0."""
    pending = await records.pending()
    return pending + 1 if pending == 6 - 2 * (committed + 1) else 0


class Bench:
    """A partition and a committer without an application."""

    def __init__(self, records: Stream, url: str) -> None:
        self.records = records
        self.client = connect(url)
        self.committer = Committer(self.client, group=GROUP, options=RedisOptions(dead_letter_after=2))
        self.partition = Partition(TP(records.name, 0), records.name, "token")

    async def read(self, *, lease: str = "token") -> RecordBatch:
        await self.records.redis.set(self.records.lease, lease)
        await self.records.redis.xgroup_create(self.records.name, GROUP, id="0")
        reply = await self.client.execute_command(
            "XREADGROUP", "GROUP", GROUP, "me", "COUNT", 10_000, "STREAMS", self.records.name, ">"
        )
        entries = reply[self.records.name.encode()] if isinstance(reply, dict) else reply[0][1]
        return RecordBatch(self.records.name, [(entry[0], entry[1]) for entry in entries])


@pytest.fixture
async def bench(records: Stream, redis_url: str) -> AsyncIterator[Bench]:
    bench = Bench(records, redis_url)
    yield bench
    await bench.client.aclose()


async def test_foreign_token_changes_nothing(bench: Bench, records: Stream) -> None:
    """With another token in the lease the commit is refused: nothing is acknowledged, stored or dead-lettered."""
    await records.publish(names("r", 3))
    batch = await bench.read(lease="another")
    flight = bench.partition.ledger.register(batch)
    flight.note(TABLE, {"k": ONE})
    batch.bury(batch.entries[0][0], "kind", "reason")
    with pytest.raises(PartitionLost, match="is no longer ours: " + records.name):
        await bench.committer.commit(bench.partition, flight)
    assert (await records.pending(), await records.state(), await records.dead()) == (3, {}, [])


async def test_commit_twice_is_commit_once(bench: Bench, records: Stream) -> None:
    """A commit whose answer was lost can be sent again: nothing changes and no dead letter is written twice."""
    await records.publish(names("r", 3))
    batch = await bench.read()
    await records.redis.hset(keys.state(records.name, GROUP, TABLE), "old", ONE)
    flight = bench.partition.ledger.register(batch)
    flight.note(TABLE, {"k": ONE, "old": DELETED})
    batch.bury(batch.entries[0][0], "kind", "reason")
    first = await bench.committer.commit(bench.partition, flight)
    again = await bench.committer.commit(bench.partition, flight)
    assert (first.acknowledged, [verdict.reason for verdict in first.dead]) == (2, ["kind"])
    assert (again.acknowledged, again.dead) == (0, [])
    assert (await records.pending(), await records.state(), len(await records.dead())) == (0, {"k": 1}, 1)


async def test_large_commit(bench: Bench, records: Stream) -> None:
    """A commit of 5,001 entries with 5,001 changes and 5,001 evictions is one step."""
    await records.publish(published := names("r", 5001))
    batch = await bench.read()
    hash_key = keys.state(records.name, GROUP, TABLE)
    await records.redis.hset(hash_key, mapping={f"old{n}": ONE for n in range(5001)})
    flight = bench.partition.ledger.register(batch)
    flight.note(TABLE, dict.fromkeys(published, ONE) | {f"old{n}": DELETED for n in range(5001)})
    result = await bench.committer.commit(bench.partition, flight)
    assert result.acknowledged == 5001
    assert await records.state() == once_each(published)


@pytest.mark.parametrize("fields", [1, 999, 1000, 1001, 5000])
async def test_dead_letter_of_any_size(bench: Bench, records: Stream, fields: int) -> None:
    """An entry goes to the dead letters with all its fields, packed when there are very many of them."""
    original = {f"f{number}": f"v{number}" for number in range(fields)}
    (entry_id,) = [await records.redis.xadd(records.name, original)]
    batch = await bench.read()
    flight = bench.partition.ledger.register(batch)
    batch.bury(entry_id, "kind", "because")
    result = await bench.committer.commit(bench.partition, flight)
    assert [verdict.detail for verdict in result.dead] == ["because"]
    (letter,) = [letter async for letter in DeadLetters(bench.client, [records.name])]
    assert letter.fields == [word.encode() for pair in original.items() for word in pair]
    assert (letter.original_id, letter.reason, letter.attempts) == (entry_id.decode(), "because", 1)


@pytest.mark.parametrize("wrong", ["state", "dead"])
async def test_failing_commit_acknowledges_nothing(bench: Bench, records: Stream, wrong: str) -> None:
    """When a key of the commit has the wrong type the entries stay pending, and a later commit does everything."""
    await records.publish(names("r", 2))
    batch = await bench.read()
    flight = bench.partition.ledger.register(batch)
    flight.note(TABLE, {"k": ONE})
    batch.bury(batch.entries[0][0], "kind", "reason")
    key = keys.state(records.name, GROUP, TABLE) if wrong == "state" else keys.dead_letters(records.name)
    await records.redis.set(key, "in the way")
    with pytest.raises(ResponseError, match=r"WRONGTYPE .* should be a"):
        await bench.committer.commit(bench.partition, flight)
    assert await records.pending() == 2
    await records.redis.delete(key)
    result = await bench.committer.commit(bench.partition, flight)
    assert (result.acknowledged, len(result.dead)) == (1, 1)
    assert (await records.pending(), await records.state()) == (0, {"k": 1})


async def test_commit_without_group(bench: Bench, records: Stream) -> None:
    """When the group is gone the commit stores the state and acknowledges nothing; it does not fail."""
    await records.publish(names("r", 2))
    batch = await bench.read()
    flight = bench.partition.ledger.register(batch)
    flight.note(TABLE, {"k": ONE})
    batch.refuse(batch.entries[0][0], "kind", "reason")
    await records.redis.xgroup_destroy(records.name, GROUP)
    result = await bench.committer.commit(bench.partition, flight)
    assert (result.acknowledged, result.dead, await records.dead()) == (0, [], [])


async def test_prompt_commit_of_an_ordinary_agent(transport_app: AppFactory, records: Stream) -> None:
    """An agent with Faust's ordinary acknowledgement is committed at once, not by Faust's timer."""
    app = await transport_app(records.name, faust_settings={"broker_commit_interval": 1000.0})
    for number in range(3):
        await records.publish([f"r{number}"])
        await records.committed(names("r", number + 1))
    assert app.offsets == [0, 1, 2]


async def _flight(bench: Bench, *ids: bytes, changes: dict[str, Any]) -> InFlight:
    """Put a batch of entries in flight that has changed the table in memory."""
    flight = bench.partition.ledger.register(RecordBatch(bench.records.name, [(i, [b"payload", b"x"]) for i in ids]))
    flight.note(TABLE, changes)
    return flight


async def test_each_commit_makes_the_version_after_the_one_before(bench: Bench, records: Stream) -> None:
    """A commit that changes a table gives it the next version, with the batch's name; one that does not leaves it."""
    ids = await records.publish(names("r", 3))
    await bench.read()
    versions = []
    for entry_id in ids[:2]:
        flight = await _flight(bench, entry_id, changes={"k": ONE})
        await bench.committer.commit(bench.partition, flight)
        versions.append(await records.version())
    unchanging = bench.partition.ledger.register(RecordBatch(records.name, [(ids[2], [])]))
    await bench.committer.commit(bench.partition, unchanging)
    assert versions == [b"1 token/0", b"2 token/1"]
    assert (await records.version(), await records.pending()) == (b"2 token/1", 0)


@pytest.mark.parametrize("stored", [b"", b"7 token/9", b"1 another token/0"])
async def test_a_commit_that_does_not_follow_on_what_is_stored_changes_nothing(
    bench: Bench, records: Stream, stored: bytes
) -> None:
    """Computed from another version than the one stored, a commit is refused: no acknowledgement, change or letter."""
    await records.publish(names("r", 2))
    batch = await bench.read()
    hash_key = keys.state(records.name, GROUP, TABLE)
    if stored:
        await records.redis.hset(hash_key, FIELD, stored)
    bench.partition.ledger.versions.loaded(TABLE, b"6 token/8")
    flight = bench.partition.ledger.register(batch)
    flight.note("another table", {"k": ONE})
    flight.note(TABLE, {"k": ONE})
    batch.bury(batch.entries[0][0], "kind", "reason")
    with pytest.raises(StateConflict, match=re.escape(f"{hash_key} is at version {stored!r} instead of b'6 token/8'")):
        await bench.committer.commit(bench.partition, flight)
    assert (await records.pending(), await records.state(), await records.dead()) == (2, {}, [])
    assert not await records.redis.exists(keys.state(records.name, GROUP, "another table"))


async def test_a_commit_that_arrives_late_changes_nothing(bench: Bench, records: Stream) -> None:
    """Sent, given up as lost, sent again and overtaken by the next one: when the first arrives it is refused."""
    ids = await records.publish(names("r", 2))
    await bench.read()
    first, second = [await _flight(bench, i, changes={"k": v}) for i, v in zip(ids, (ONE, TWO), strict=True)]
    for flight in (first, first, second):
        await bench.committer.commit(bench.partition, flight)
    with pytest.raises(StateConflict):
        await bench.committer.commit(bench.partition, first)
    assert (await records.state(), await records.version()) == ({"k": 2}, b"2 token/1")


async def test_a_key_that_looks_like_the_version_does_no_harm(bench: Bench, records: Stream) -> None:
    """A key that a hostile producer names as the version's field is not taken for the version, set or deleted."""
    (entry_id,) = await records.publish(["r"])
    await bench.read()
    for change in (ONE, DELETED):
        flight = await _flight(bench, entry_id, changes={FIELD.decode(): change, "k": ONE})
        await bench.committer.commit(bench.partition, flight)
    assert (await records.state(), await records.version()) == ({"k": 1}, b"2 token/1")


async def test_a_lost_reply_is_no_conflict(bench: Bench, records: Stream, tcp_proxy: ProxyFactory) -> None:
    """A commit that Redis applied and whose reply was lost is sent again, and counts as done, several tables or one."""
    parts = urlsplit(records.redis_url)
    proxy = await tcp_proxy(str(parts.hostname), parts.port or 6379)
    await records.publish(names("r", 2))
    batch = await bench.read()
    flight = bench.partition.ledger.register(batch)
    flight.note(TABLE, {"k": ONE})
    flight.note("another table", {"k": ONE})
    batch.refuse(batch.entries[0][0], "kind", "reason")
    client = connect(url_through(proxy, records.redis_url))
    committer = Committer(client, group=GROUP, options=RedisOptions(dead_letter_after=1))
    try:
        await client.ping()
        proxy.loses = lambda data: data.startswith(b"*2\r\n:1\r\n")
        with pytest.raises(RedisConnectionError):
            await committer.commit(bench.partition, flight)
        again = await committer.commit(bench.partition, flight)
    finally:
        await client.aclose()
    assert proxy.loses is None
    assert (again.acknowledged, again.dead, len(await records.dead())) == (0, [], 1)
    assert (await records.state(), await records.version(), await records.pending()) == ({"k": 1}, b"1 token/0", 0)
