"""How many partitions a worker should hold: a pure decision that every worker makes for itself."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Share(NamedTuple):
    """What one worker should do now: take up to `take` free partitions, or give back `give`."""

    take: int
    give: int


def share(me: str, partitions: int, workers: Sequence[str], holders: Mapping[str, str]) -> Share:
    """Decide without leader or barrier from what every worker can see.

    Each worker holds the floor or the ceiling of partitions / workers. Only as many as there are partitions left
    over may hold the ceiling: those first by name among the ones that hold it already, so that nothing moves
    without need. A worker alone with one partition keeps it; the others are hot standbys.

    Args:
        me: This worker's instance id.
        partitions: Number of partitions of the topic.
        workers: Live workers, this one included.
        holders: Owner of each held partition, by stream.
    """
    floor, left_over = divmod(partitions, max(len(workers), 1))
    held = Counter(holders.values())
    above_floor = sorted(name for name in workers if held[name] > floor)
    if me in above_floor:
        may_keep = floor + 1 if above_floor.index(me) < left_over else floor
        return Share(take=0, give=max(held[me] - may_keep, 0))
    may_take_one_more = held[me] == floor and len(above_floor) < left_over
    return Share(take=floor - held[me] + int(may_take_one_more), give=0)
