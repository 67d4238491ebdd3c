"""Redis' replies in one shape, whichever of its two protocols the server speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

#: One entry of a stream: its id, and the names and values of its fields, alternating.
Entry = tuple[bytes, list[bytes]]


class EntryId(NamedTuple):
    """An entry's id as numbers, which compare as Redis compares; `str()` gives it as Redis writes it.

    Attributes:
        ms: Milliseconds since the epoch.
        seq: Sequence within the millisecond.
    """

    ms: int
    seq: int

    @classmethod
    def parse(cls, raw: bytes | str) -> EntryId:
        """Return the id that Redis wrote; without a sequence it is the first of its millisecond.

        Raises:
            ValueError: It is not an id.
        """
        ms, _, seq = raw.partition(b"-") if isinstance(raw, bytes) else raw.partition("-")
        # Not by `cls(…)`, which takes half as long again: the live side does this for every position.
        return tuple.__new__(cls, (int(ms), int(seq or 0)))

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"


#: The id below every entry's.
BEFORE_ALL = EntryId(0, 0)


def pairs(reply: Any) -> Iterable[tuple[Any, Any]]:
    """Return names and values: RESP2 answers a flat list, RESP3 a map."""
    return reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)


def facts(reply: Any) -> dict[str, Any]:
    """Return what an XINFO says, by name."""
    return {text(name): value for name, value in pairs(reply)}


def streams(reply: Any) -> list[tuple[bytes, list[Entry]]]:
    """Return a read's streams and their entries: RESP2 answers a list of pairs, RESP3 a map."""
    if not reply:
        return []
    return list(reply.items()) if isinstance(reply, dict) else [tuple(pair) for pair in reply]


def entries(reply: Any) -> list[Entry]:
    """Return the entries of an XRANGE or XCLAIM, without those that are gone from the stream."""
    return [(entry[0], entry[1]) for entry in reply or () if entry and entry[1] is not None]


def text(value: bytes | str) -> str:
    """Return a name or an id as text."""
    return value if isinstance(value, str) else value.decode(errors="replace")
