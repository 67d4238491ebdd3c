"""Changing the number of partitions moves what is not done with to where it belongs, and nothing twice."""

from __future__ import annotations

import pytest

from faust_redis.partitions.copy import Moved
from faust_redis.redis import keys
from tests.transport.partitions.conftest import GROUP, TABLE, Topic, require_all

DEVICES = 20
CHANGES = [(1, 3), (3, 1), (4, 6), (6, 4), (3, 3)]


@pytest.mark.parametrize(("before", "after"), CHANGES)
async def test_everything_is_where_it_belongs(topic: Topic, before: int, after: int) -> None:
    """Pending and unread entries in order, dead letters and counts are in the partitions of their keys."""
    left = await topic.fill(before)
    outcome = await topic.change(after)
    await require_all(topic, left, after)
    assert (outcome.before, outcome.after, outcome.late) == (before, after, 0)
    moved = [name for name in left if topic.stream_of(name, before) != topic.stream_of(name, after)]
    n = len(moved)
    assert outcome.moved == (Moved(unread=3 * n, pending=2 * n, dead_letters=n, states=n) if before != after else None)


async def test_in_a_cluster(clustered: Topic) -> None:
    """The same where partitions lie in different slots."""
    for before, after in CHANGES:
        left = await clustered.fill(before)
        await clustered.change(after)
        await require_all(clustered, left, after)
        await clustered.clear()


async def test_up_and_down_again(topic: Topic) -> None:
    """One change after the other loses nothing and repeats nothing."""
    left = await topic.fill(1)
    for partitions in (3, 4, 6, 2, 1, 5, 1):
        await topic.change(partitions)
        await require_all(topic, left, partitions)


async def test_entries_keep_their_times(topic: Topic) -> None:
    """By an entry's id everybody knows when it was appended; two of one id get the next one within the millisecond."""
    for number in range(30):
        await topic.client.execute_command("XADD", topic.streams(3)[number % 3], f"{number // 3 + 1}-0", "key", "k")
    await topic.change(1)
    found = [entry_id for entry_id, _ in await topic.client.execute_command("XRANGE", topic.name, "-", "+")]
    assert found == [b"%d-%d" % (number // 3 + 1, number % 3) for number in range(30)]


async def test_no_commit_that_is_under_way_follows_on_a_table(topic: Topic) -> None:
    """Every partition's table has a version that is above all versions there were."""
    await topic.fill(3)
    await topic.change(2)
    versions = {await topic.client.hget(keys.state(s, GROUP, TABLE), b"\x00version") for s in topic.streams(2)}
    assert len(versions) == 1
    assert versions.pop().startswith(b"8 ")
