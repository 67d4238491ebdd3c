"""Faust's contract of a table and its store."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from faust.types import TP

from faust_redis.redis import keys
from tests.support.waiting import eventually
from tests.transport.apps import GROUP, TABLE, TransportApp, names
from tests.transport.conftest import AppFactory, Stream

#: What one may do with a table as with a dictionary, by name; each is done to both and compared.
OPERATIONS: dict[str, Callable[[Any], object]] = {
    "set": lambda table: table.__setitem__("a", 7),
    "get": lambda table: (table["a"], table.get("a")),
    "contains": lambda table: ("a" in table, "none" in table),
    "length": len,
    "iterate": sorted,
    "items": lambda table: (sorted(table.items()), sorted(table.keys()), sorted(table.values())),
    "delete": lambda table: table.__delitem__("a"),
    "delete what is not there": lambda table: _raises(KeyError, lambda: table.__delitem__("none")),
    "pop": lambda table: table.pop("a"),
    "setdefault": lambda table: table.setdefault("a", 9),
    "update": lambda table: (table.update({"a": 5, "new": 6}), table.update(b=8)),
    "clear": lambda table: table.clear(),
}


def _raises(error: type[Exception], act: Callable[[], object]) -> bool:
    try:
        act()
    except error:
        return True
    return False


def _summary(table: Any) -> dict[str, int]:
    return dict(sorted(table.items()))


async def test_table_is_a_dictionary(transport_app: AppFactory, records: Stream) -> None:
    """In an agent a table answers and changes as a dictionary does, and the hash follows with the commit."""
    start = {"a": 1, "b": 2, "c": 3}
    got: dict[str, object] = {}
    expected: dict[str, object] = {}
    for name, operation in OPERATIONS.items():
        plain = dict(start)
        expected[name] = (operation(plain), dict(sorted(plain.items())))

    async def act(app: TransportApp, _event: Any) -> None:
        for name, operation in OPERATIONS.items():
            app.table.clear()
            app.table.update(start)
            got[name] = (operation(app.table), _summary(app.table))
        app.table.clear()
        app.table.update(start)

    await transport_app(records.name, handle=act)
    await records.publish(["r"])
    await eventually(lambda: len(got) == len(OPERATIONS))
    assert got == expected

    async def stored() -> bool:
        return await records.state() == start

    await eventually(stored)


async def test_missing_key_has_the_default(transport_app: AppFactory, records: Stream) -> None:
    """A key that is not there reads as the table's default and is not stored by reading it."""
    got: list[int] = []

    async def act(app: TransportApp, _event: Any) -> None:
        got.append(app.table["none"])

    app = await transport_app(records.name, handle=act)
    await records.publish(["r"])
    await eventually(lambda: app.observer.total["acknowledged"] == 1)
    assert got == [0]
    assert await records.state() == {"r": 1}


async def test_keys_are_strings(transport_app: AppFactory, records: Stream) -> None:
    """Another key is refused where it is set: after a restart it would come back as a string."""
    refused: list[bool] = []

    async def act(app: TransportApp, _event: Any) -> None:
        table: Any = app.table
        refused.append(_raises(TypeError, lambda: table.__setitem__(5, 1)))
        refused.append(_raises(TypeError, lambda: table.update({b"k": 1})))

    await transport_app(records.name, handle=act)
    await records.publish(["r"])
    await records.committed(["r"])
    assert refused == [True, True]


async def test_changes_are_stored_with_the_commit(transport_app: AppFactory, records: Stream) -> None:
    """What a batch changed is in the hash when the batch is acknowledged, and not before."""
    held: list[Any] = []

    async def hold(_app: TransportApp, event: Any) -> None:
        held.append(event)

    await transport_app(records.name, noack=True, handle=hold, drain_timeout_s=0.1)
    await records.publish(["r"])
    await eventually(lambda: held)
    assert await records.state() == {}
    held[0].ack()
    await records.committed(["r"])


async def test_store_has_no_changelog(transport_app: AppFactory, records: Stream) -> None:
    """Nothing is read to recover a table, nobody keeps a copy warm, and no changelog stream is written."""
    app = await transport_app(records.name)
    store: Any = app.table.data
    assert store.persisted_offset(TP(records.name, 0)) is None
    assert not await store.need_active_standby_for(TP(records.name, 0))
    await records.publish(["r"])
    await records.committed(["r"])
    assert not await records.redis.exists(app.table.changelog_topic_name)


async def test_recovery_is_told(transport_app: AppFactory, records: Stream) -> None:
    """A function given to `on_recover` is called once the state is loaded."""
    told: list[dict[str, int]] = []
    await _store(records, {"k": 7})

    def declare(app: TransportApp) -> None:
        async def recovered() -> None:
            told.append(_summary(app.table))

        app.table.on_recover(recovered)

    await transport_app(records.name, declare=declare)
    await eventually(lambda: told)
    assert told == [{"k": 7}]


async def _store(records: Stream, values: dict[str, int]) -> None:
    """Put values in the hash behind the table."""
    encoded = {key: msgspec.msgpack.encode(value) for key, value in values.items()}
    await records.redis.hset(keys.state(records.name, GROUP, TABLE), mapping=encoded)


async def test_state_is_loaded_before_the_first_record(transport_app: AppFactory, records: Stream) -> None:
    """The first record already finds what an earlier worker has stored, however much that is."""
    stored = {f"k{number}": number for number in range(3000)}
    await _store(records, stored)
    await records.publish(["k41", "k41", "new"])
    app = await transport_app(records.name)
    await eventually(lambda: app.observer.total["acknowledged"] == 3)
    assert app.counts == stored | {"k41": 43, "new": 1}
    assert await records.state() == app.counts
    assert app.observer.sizes == {TABLE: 3001}


async def test_deletions_and_single_keys_are_stored(transport_app: AppFactory, records: Stream) -> None:
    """Setting, deleting and clearing keys one by one is in memory at once and in the hash with the commit."""

    async def act(app: TransportApp, event: Any) -> None:
        for _, (_, payload) in event.value:
            if payload == b"del":
                del app.table["gone"]
                app.table["single"] = 7
            if payload == b"clear":
                app.table.clear()

    app = await transport_app(records.name, handle=act)
    await records.publish(["gone", "kept"])
    await eventually(lambda: app.observer.total["acknowledged"] == 2)
    await records.publish(["del"])
    await eventually(lambda: app.observer.total["acknowledged"] == 3)
    assert await records.state() == app.counts == {"kept": 1, "del": 1, "single": 7}
    assert ("gone" in app.table, "kept" in app.table, len(app.table), sorted(app.table)) == (
        False,
        True,
        3,
        ["del", "kept", "single"],
    )
    await records.publish(["clear"])
    await eventually(lambda: app.observer.total["acknowledged"] == 4)
    assert await records.state() == app.counts == {}
    assert app.observer.sizes == {TABLE: 0}


async def test_changing_a_table_outside_an_agent_is_refused(transport_app: AppFactory, records: Stream) -> None:
    """Outside an agent there is no batch to carry a change: it is refused, and reading is not."""
    app = await transport_app(records.name)
    with pytest.raises(RuntimeError, match="can only be changed while an agent processes an event"):
        app.table["k"] = 1
    assert "k" not in app.table
    assert app.counts == {}


async def test_partitions_keep_their_state_apart(transport_app: AppFactory, records: Stream) -> None:
    """Each partition has a hash of its own; a partition that is given away leaves memory, the others stay."""
    for number in range(2):
        await records.publish(names(f"p{number}-", 3), stream=f"{records.name}:{number}")
    app = await transport_app(records.name, partitions=2)
    await eventually(lambda: app.observer.total["acknowledged"] == 6)
    hashes = [await records.state(f"{records.name}:{number}") for number in range(2)]
    assert hashes == [dict.fromkeys(names(f"p{number}-", 3), 1) for number in range(2)]
    other = await transport_app(records.name, partitions=2)
    await eventually(lambda: (len(app.partitions), len(other.partitions)) == (1, 1) and app.fetching)
    assert app.counts == hashes[app.partitions[0]]
    assert other.counts == hashes[other.partitions[0]]
    assert (app.observer.sizes[TABLE], other.observer.sizes[TABLE]) == (3, 3)
