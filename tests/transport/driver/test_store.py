"""The table's hash: loaded before records come, bounded, and gone from memory with its partition."""

from typing import Any

import msgspec
import pytest

from faust_redis.redis import keys
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, TABLE
from tests.transport.conftest import AppFactory, Stream


async def store(records: Stream, values: dict[str, int]) -> None:
    """Put values in the hash behind the table."""
    encoded = {key: msgspec.msgpack.encode(value) for key, value in values.items()}
    await records.redis.hset(keys.state(records.name, GROUP, TABLE), mapping=encoded)


async def test_bound_evicts_what_was_untouched_longest(transport_app: AppFactory, records: Stream) -> None:
    """Past `max_keys` the keys changed longest ago leave memory and hash in the commit; changing a key renews it."""
    app = await transport_app(records.name, table_options={"max_keys": 3}, batch_size=1)
    await records.publish(["a", "b", "c", "a", "d"])
    await eventually(lambda: app.observer.total["acknowledged"] == 5)
    assert list(app.counts.items()) == [("c", 1), ("a", 2), ("d", 1)]
    assert await records.state() == {"c": 1, "a": 2, "d": 1}
    assert (app.observer.total[f"evicted {TABLE}"], app.observer.sizes) == (1, {TABLE: 3})


async def test_order_of_eviction_survives_a_restart(transport_app: AppFactory, records: Stream) -> None:
    """After a restart keys are evicted in the order of `recency`, which the hash does not keep."""
    stored = {f"k{number}": (number * 7) % 11 + 2 for number in range(11)}
    await store(records, stored)
    options = {"max_keys": 6, "recency": lambda count: -count}
    app = await transport_app(records.name, table_options=options)
    assert app.counts == stored
    await records.publish(["new"])
    await eventually(lambda: app.observer.total["acknowledged"] == 1)
    assert list(app.counts.values()) == [6, 5, 4, 3, 2, 1]
    assert await records.state() == app.counts
    # From then on the order is kept as keys change.
    six = next(key for key, count in app.counts.items() if count == 6)
    await records.publish([six, "newer"])
    await eventually(lambda: app.observer.total["acknowledged"] == 3)
    assert list(app.counts.values()) == [4, 3, 2, 1, 7, 1]
    assert await records.state() == app.counts


async def test_evicted_key_that_returns_starts_anew(transport_app: AppFactory, records: Stream) -> None:
    """A key that was evicted and comes again is stored with a new count, not deleted."""
    app = await transport_app(records.name, table_options={"max_keys": 1}, batch_size=1)
    await records.publish(["a", "a", "b", "a"])
    await eventually(lambda: app.observer.total["acknowledged"] == 4)
    assert await records.state() == app.counts == {"a": 1}


async def test_unreadable_value_is_ignored(
    transport_app: AppFactory, records: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """A value in the hash that cannot be decoded is logged with its key and ignored; the others are loaded."""
    hash_key = keys.state(records.name, GROUP, TABLE)
    await records.redis.hset(hash_key, mapping={"good": b"\x01", "bad": b"\xc1", b"\xff": b"\x01"})
    app = await transport_app(records.name)
    assert app.counts == {"good": 1}
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 2
    assert all(hash_key in message and "unreadable" in message for message in said)
    assert any("'bad'" in message for message in said)


async def test_what_is_given_back_during_the_load_is_left_out(
    transport_app: AppFactory, records: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a worker stops while it loads tables, what it has given back by then is no mistake, and not kept."""
    app = await transport_app(records.name, partitions=2)
    store: Any = app.table.data
    load = store._load

    async def overtaken(partition: Any) -> Any:
        for held in list(app.consumer.holdings.values()):
            app.consumer.holdings.drop(held)
        return await load(partition)

    monkeypatch.setattr(store, "_load", overtaken)
    assigned = app.consumer.assignment()
    for partition in app.consumer.holdings.values():
        partition.ledger.versions.parted.add(TABLE)
    await store.on_rebalance(assigned, set(), set())
    assert not assigned & store._partitions.keys()
