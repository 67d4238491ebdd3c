"""Replies and entry ids, as both protocols of a real Valkey give them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given, strategies as st

from faust_redis.redis.client import Client, close, connect, execute
from faust_redis.redis.replies import EntryId, entries, facts, pairs, streams, text


@pytest.fixture(params=[2, 3])
async def client(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Client]:
    client = connect(f"{redis_url}?protocol={request.param}")
    yield client
    await close(client)


async def test_reads(client: Client, stream: str) -> None:
    """What a read gives are streams with their entries, in order; nothing read is no stream."""
    for number in (1, 2):
        await execute(client, "XADD", stream, f"5-{number}", "n", number)
    await execute(client, "XGROUP", "CREATE", stream, "g", "0")
    command = ("XREADGROUP", "GROUP", "g", "me", "STREAMS", stream, ">")
    read = streams(await execute(client, *command))
    assert [(key, [tuple(entry) for entry in found]) for key, found in read] == [
        (stream.encode(), [(b"5-1", [b"n", b"1"]), (b"5-2", [b"n", b"2"])])
    ]
    assert streams(await execute(client, *command)) == []


async def test_ranges(client: Client, stream: str) -> None:
    """Entries of a range or a claim are pairs of id and fields; what is gone from the stream is left out."""
    for number in (1, 2):
        await execute(client, "XADD", stream, f"5-{number}", "n", number)
    assert entries(await execute(client, "XRANGE", stream, "-", "+")) == [
        (b"5-1", [b"n", b"1"]),
        (b"5-2", [b"n", b"2"]),
    ]
    await execute(client, "XGROUP", "CREATE", stream, "g", "0")
    await execute(client, "XREADGROUP", "GROUP", "g", "one", "STREAMS", stream, ">")
    await execute(client, "XDEL", stream, "5-1")
    claimed = await execute(client, "XCLAIM", stream, "g", "two", 0, "5-1", "5-2")
    assert entries(claimed) == [(b"5-2", [b"n", b"2"])]
    assert entries(None) == entries([None, [b"5-1", None]]) == []


async def test_facts(client: Client, stream: str) -> None:
    """What XINFO says is found by name, of a stream, its groups, and their members."""
    await execute(client, "XADD", stream, "5-1", "n", 1)
    await execute(client, "XGROUP", "CREATE", stream, "g", "0")
    await execute(client, "XREADGROUP", "GROUP", "g", "one", "STREAMS", stream, ">")
    assert facts(await execute(client, "XINFO", "STREAM", stream))["length"] == 1
    (group,) = await execute(client, "XINFO", "GROUPS", stream)
    assert (text(facts(group)["name"]), facts(group)["lag"]) == ("g", 0)
    (member,) = await execute(client, "XINFO", "CONSUMERS", stream, "g")
    assert (text(facts(member)["name"]), facts(member)["pending"]) == ("one", 1)


async def test_pairs(client: Client, stream: str) -> None:
    """A hash is pairs of field and value, whole or in pages."""
    await execute(client, "HSET", stream, "a", "1", "b", "2")
    assert sorted(pairs(await execute(client, "HGETALL", stream))) == [(b"a", b"1"), (b"b", b"2")]
    _, page = await execute(client, "HSCAN", stream, "0")
    assert sorted(pairs(page)) == [(b"a", b"1"), (b"b", b"2")]


@given(st.tuples(st.integers(0, 2**63), st.integers(0, 2**63)), st.tuples(st.integers(0, 2**63), st.integers(0, 9)))
def test_entry_ids_compare_as_redis_compares(one: tuple[int, int], other: tuple[int, int]) -> None:
    """Entry ids become numbers that order as the server orders the entries, and are written as they were read."""
    raw, text = b"%d-%d" % one, "{}-{}".format(*other)
    assert (EntryId.parse(raw), EntryId.parse(text)) == (one, other)
    assert (EntryId.parse(raw) < EntryId.parse(text)) == (one < other)
    assert (str(EntryId.parse(raw)), str(EntryId.parse(text))) == (raw.decode(), text)


def test_entry_id_without_sequence() -> None:
    """An id without a sequence is the first of its millisecond."""
    assert EntryId.parse(b"1700000000000") == (1_700_000_000_000, 0)


@pytest.mark.parametrize("raw", [b"", "x-1", b"1-x"])
def test_what_is_not_an_entry_id(raw: bytes | str) -> None:
    """What is not an entry id is refused."""
    with pytest.raises(ValueError, match="invalid literal"):
        EntryId.parse(raw)
