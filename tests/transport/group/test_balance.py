"""How workers share partitions, decided by each for itself."""

import random

from hypothesis import given, strategies as st

from faust_redis.group.balance import Share, share

Holders = dict[str, str]


def names_of(count: int) -> list[str]:
    return [f"w{number}" for number in range(count)]


def turn(me: str, partitions: int, workers: list[str], holders: Holders, pick: random.Random) -> bool:
    """Let one worker look once and act, as the ownership service does; True when something changed."""
    wanted = share(me, partitions, workers, holders)
    free = sorted({f"s{number}" for number in range(partitions)} - holders.keys())
    taken = pick.sample(free, min(wanted.take, len(free)))
    mine = sorted(stream for stream, holder in holders.items() if holder == me)
    given_back = pick.sample(mine, wanted.give)
    for stream in given_back:
        del holders[stream]
    holders.update(dict.fromkeys(taken, me))
    return bool(taken or given_back)


def settle(partitions: int, workers: list[str], holders: Holders, pick: random.Random) -> int:
    """Let all workers act in turns, in changing order, until nobody wants anything; return the rounds it took."""
    for rounds in range(10 * (partitions + 1)):
        order = pick.sample(workers, len(workers))
        changed = [turn(me, partitions, workers, holders, pick) for me in order]
        if not any(changed):
            return rounds
    raise AssertionError(f"Workers never settle: {holders}")


@given(st.integers(1, 24), st.integers(1, 8), st.randoms(use_true_random=False), st.data())
def test_any_start_converges_and_then_rests(
    partitions: int, workers: int, pick: random.Random, data: st.DataObject
) -> None:
    """From any holding of partitions, acting in turns ends with even shares of all, and with rest."""
    names = names_of(workers)
    owner = st.one_of(st.none(), st.sampled_from(names))
    drawn = {f"s{number}": data.draw(owner) for number in range(partitions)}
    holders = {stream: name for stream, name in drawn.items() if name is not None}
    settle(partitions, names, holders, pick)
    shares = [list(holders.values()).count(name) for name in names]
    assert sum(shares) == partitions
    assert max(shares) - min(shares) <= 1


@given(st.integers(1, 24), st.integers(1, 7), st.randoms(use_true_random=False))
def test_a_newcomer_moves_no_more_than_its_share(partitions: int, workers: int, pick: random.Random) -> None:
    """When a worker joins, at most the ceiling of its share changes hands."""
    names = names_of(workers)
    holders: Holders = {}
    settle(partitions, names, holders, pick)
    before = dict(holders)
    settle(partitions, [*names, "a-newcomer"], holders, pick)
    moved = [stream for stream in before if holders[stream] != before[stream]]
    assert len(moved) <= -(-partitions // (workers + 1))


@given(st.integers(2, 8), st.integers(0, 7), st.randoms(use_true_random=False))
def test_one_partition_never_moves_between_live_workers(workers: int, holder: int, pick: random.Random) -> None:
    """The only partition stays where it is for as long as its holder lives; the others stand by."""
    names = names_of(workers)
    holders = {"s0": names[holder % workers]}
    assert settle(1, names, holders, pick) == 0
    assert holders == {"s0": names[holder % workers]}


@given(st.integers(1, 24), st.integers(1, 8), st.integers(1, 24), st.randoms(use_true_random=False))
def test_partitions_of_dead_workers_are_taken(partitions: int, workers: int, dead: int, pick: random.Random) -> None:
    """What a worker that no longer counts still holds is nobody's to give; once free, it is shared out evenly."""
    names = names_of(workers)
    holders = {f"s{number}": "dead" for number in range(min(dead, partitions))}
    settle(partitions, names, holders, pick)
    assert sum(name == "dead" for name in holders.values()) == min(dead, partitions)
    freed = {stream: name for stream, name in holders.items() if name != "dead"}
    settle(partitions, names, freed, pick)
    shares = [list(freed.values()).count(name) for name in names]
    assert sum(shares) == partitions
    assert max(shares) - min(shares) <= 1


def test_alone_takes_everything() -> None:
    """A worker alone takes every partition; without partitions it wants nothing."""
    assert share("me", 4, ["me"], {}) == Share(4, 0)
    assert share("me", 4, ["me"], dict.fromkeys("abcd", "me")) == Share(0, 0)
    assert share("me", 0, ["me"], {}) == Share(0, 0)
