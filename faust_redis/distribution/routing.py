"""Which entries go to which partition, and what one call appends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from faust_redis.redis import keys
from faust_redis.redis.packing import MOST_VALUES, packed, unpacked
from faust_redis.redis.replies import EntryId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faust_redis.redis.replies import Entry

    #: Returns the key of an entry's fields (names and values, alternating); an empty one leads to partition 0.
    KeyOf = Callable[[Sequence[bytes]], bytes]

_pack = msgspec.msgpack.encode


class Portion:
    """What one call appends to one partition's stream.

    Attributes:
        counts: Of each entry, how many values it has, its id included.
        values: Ids, names and values of all entries, in order.
    """

    __slots__ = ("counts", "values")

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.values: list[bytes] = []

    @property
    def last(self) -> EntryId:
        """Id of the last entry."""
        return EntryId.parse(self.values[-self.counts[-1]])

    def arguments(self) -> list[Any]:
        """Return three arguments for a script: thousands would cost the client far more."""
        return [_pack(self.counts), _pack(list(map(len, self.values))), b"".join(self.values)]


def route(entries: Sequence[Entry], partitions: int, key_of: KeyOf) -> dict[int, Portion]:
    """Return what each partition gets of some entries, in their order."""
    portions = [Portion() for _ in range(partitions)]
    partition_of = keys.partition_of
    for entry_id, fields in entries:
        # What shows no key may have one in the fields that are packed in it.
        portion = portions[partition_of(key_of(fields) or key_of(unpacked(fields)), partitions)]
        if len(fields) > MOST_VALUES:
            fields = packed(fields)  # noqa: PLW2901 - the same fields in another form
        portion.counts.append(len(fields) + 1)
        portion.values.append(entry_id)
        portion.values += fields
    return {number: portion for number, portion in enumerate(portions) if portion.counts}
