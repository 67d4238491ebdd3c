"""Entries that an agent cannot process: pending, delivered again, and in the end among the dead letters."""

from typing import Any

import pytest

from faust_redis.redis.client import connect
from faust_redis.stream.dead_letters import DeadLetters
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, TransportApp, names
from tests.transport.conftest import AppFactory, Stream


class Refusing:
    """Refuses or buries entries by the beginning of their payload, and notes how often it saw each."""

    def __init__(self) -> None:
        self.deliveries: dict[str, int] = {}

    async def __call__(self, _app: TransportApp, event: Any) -> None:
        for entry_id, fields in event.value:
            payload = fields[1].decode()
            self.deliveries[payload] = self.deliveries.get(payload, 0) + 1
            if payload.startswith("bad"):
                event.value.refuse(entry_id, "decode", f"{payload} is bad")
            if payload.startswith("worse"):
                event.value.bury(entry_id, "database", f"{payload} is worse")


async def test_refused_entry_is_pending_and_its_neighbours_are_not(transport_app: AppFactory, records: Stream) -> None:
    """A refused entry stays pending after one delivery; the others of its batch are acknowledged."""
    ids = await records.publish(["a", "bad", "b"])
    app = await transport_app(records.name, handle=Refusing())
    await eventually(lambda: app.observer.total["acknowledged"] == 2)
    assert await records.deliveries() == {ids[1]: 1}
    assert await records.dead() == []


@pytest.mark.parametrize("attempts", [1, 3])
async def test_dead_after_exactly_so_many_deliveries(transport_app: AppFactory, records: Stream, attempts: int) -> None:
    """A refused entry goes to the dead letters in its n-th delivery, with its fields, the reason and its id."""
    ids = await records.publish(["a", "bad", "b"])
    refusing = Refusing()
    options = {"dead_letter_after": attempts, "redeliver_after_ms": 300}
    app = await transport_app(records.name, handle=refusing, **options)
    (letter,) = await eventually(records.dead)
    assert letter == {
        b"payload": b"bad",
        b"reason": b"bad is bad",
        b"attempts": b"%d" % attempts,
        b"original_id": ids[1],
    }
    await eventually(lambda: app.observer.dead == {"decode": 1})
    assert await records.pending() == 0
    assert refusing.deliveries == {"a": 1, "bad": attempts, "b": 1}
    assert [batch.redelivered for batch in app.batches] == [False] + [True] * (attempts - 1)
    assert app.observer.total["redelivered"] == attempts - 1


async def test_buried_entry_is_dead_at_once(transport_app: AppFactory, records: Stream) -> None:
    """A buried entry goes to the dead letters in the commit of its first batch, and comes no more."""
    ids = await records.publish(["a", "worse", "b"])
    refusing = Refusing()
    app = await transport_app(records.name, handle=refusing, redeliver_after_ms=200)
    await eventually(lambda: app.observer.dead == {"database": 1})
    assert app.observer.total["acknowledged"] == 2
    (letter,) = await records.dead()
    assert (letter[b"attempts"], letter[b"original_id"]) == (b"1", ids[1])
    assert await records.pending() == 0
    assert refusing.deliveries == {"a": 1, "worse": 1, "b": 1}


async def test_many_kinds_in_one_batch(transport_app: AppFactory, records: Stream) -> None:
    """Dead letters are counted by kind, each as often as it happened."""
    await records.publish([f"{kind}{number}" for number in range(7) for kind in ("bad", "worse", "good")])
    app = await transport_app(records.name, handle=Refusing(), dead_letter_after=1)
    await eventually(lambda: app.observer.dead == {"decode": 7, "database": 7})
    assert app.observer.total["acknowledged"] == 7
    assert len(await records.dead()) == 14


async def test_pending_of_a_dead_owner_come_first(transport_app: AppFactory, records: Stream) -> None:
    """What another group member had read comes first, page by page and marked redelivered; then new entries."""
    await records.publish(old := names("old", 250))
    await records.redis.xgroup_create(records.name, GROUP, id="0")
    await records.redis.xreadgroup(GROUP, "dead owner", {records.name: ">"}, count=250)
    await records.publish(new := names("new", 50))
    app = await transport_app(records.name, batch_size=40)
    await records.committed([*old, *new])
    assert app.counted == [*old, *new]
    assert [len(batch) for batch in app.batches if batch.redelivered] == [40] * 6 + [10]
    await eventually(lambda: app.observer.total == {"delivered": 300, "acknowledged": 300, "redelivered": 250})


async def test_replayed_dead_letter_is_processed(transport_app: AppFactory, records: Stream, redis_url: str) -> None:
    """A dead letter that is replayed comes as a new entry with its fields, and is no dead letter any more."""
    await records.redis.xadd(records.name, {"payload": "worse", "codec": "8E"})
    app = await transport_app(records.name, handle=Refusing())
    await eventually(lambda: app.observer.dead)
    client = connect(redis_url)
    letters = DeadLetters(client, [records.name])
    letter = await letters.find((await records.dead())[0][b"original_id"].decode())
    assert letter is not None
    app.batches.clear()
    await letters.replay(letter)
    await eventually(lambda: app.batches)
    assert [fields for _, fields in app.batches[0]] == [[b"payload", b"worse", b"codec", b"8E"]]
    await eventually(lambda: app.observer.dead == {"database": 2})
    assert await letters.count() == 1
    await client.aclose()
