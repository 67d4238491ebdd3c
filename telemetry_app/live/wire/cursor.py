"""Cursors: how far a client has come in every stream, as a short text that any worker understands.

With one stream a cursor is the id of an entry, `1700000000000-0`. With several it is the partition and the id of an
entry, and how far the other streams had been read at that moment, packed: `3.1700000000000-0~AZ…`. A client's cursor
ends with a mark of the devices that the client was told of, `1700000000000-0@Xk3v0Q`: who comes back after others have
entered the event, or left it, is given a snapshot. To clients it is opaque.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from faust_redis.redis.replies import BEFORE_ALL, EntryId
from telemetry_app.live.wire.protocol import MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: How far each stream has been read, by partition.
Vector = tuple[EntryId, ...]

_MAX_NUMBER: Final = 2**64 - 1
_SINGLE: Final = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
_ONE_OF_MANY: Final = re.compile(r"(\d{1,4})\.(\d{1,20})-(\d{1,20})~([A-Za-z0-9_-]+)", re.ASCII)
_MARK: Final = "@"
_MARK_BYTES: Final = 4
# What is left of the longest cursor beside a partition, the longest entry id and a mark.
_MAX_PACKED_CHARS: Final = MAX_TEXT - len("1023.") - 2 * 20 - len("-~") - len("@123456")


def tail(vector: Vector) -> str:
    """Return the part of a cursor that says how far the other streams are; the same for all entries of a batch.

    Beyond about fifty partitions that does not fit. Then the tail only says what is true of all streams, and a client
    that resumes may get positions it has seen already.
    """
    if len(vector) == 1:
        return ""
    lowest = min(vector)
    exact = _pack([1, lowest.ms, *(number for ms, seq in vector for number in (ms - lowest.ms, seq))])
    return "~" + (exact if len(exact) <= _MAX_PACKED_CHARS else _pack([0, *lowest]))


def text(partition: int, entry_id: str, tail: str) -> str:
    """Return the cursor of an entry."""
    return f"{partition}.{entry_id}{tail}" if tail else entry_id


def of(vector: Vector) -> str:
    """Return the cursor of everything read so far."""
    return text(0, str(vector[0]), tail(vector))


def parse(cursor: str, partitions: int) -> Vector | None:
    """Return how far a cursor has come; None when it is not a cursor of a deployment with this many partitions."""
    if partitions == 1:
        single = _SINGLE.fullmatch(cursor)
        return (_id(single[1], single[2]),) if single else None
    many = _ONE_OF_MANY.fullmatch(cursor)
    others = _unpack_vector(many[4], partitions) if many else None
    if many is None or others is None or int(many[1]) >= partitions:
        return None
    return replaced(others, int(many[1]), _id(many[2], many[3]))


@lru_cache(maxsize=64)
def mark_of(devices: frozenset[str]) -> str:
    """Return what a cursor ends with whose client knows these devices of the event."""
    known = "\0".join(sorted(devices)).encode(errors="surrogatepass")
    digest = hashlib.blake2b(known, digest_size=_MARK_BYTES).digest()
    return _MARK + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def split(cursor: str) -> tuple[str, str]:
    """Return a client's cursor without its mark, and the mark; one of an earlier release has none."""
    text, mark, members = cursor.partition(_MARK)
    return text, mark + members


def replaced(vector: Vector, partition: int, entry_id: EntryId) -> Vector:
    """Return a vector with one partition at another id."""
    return (*vector[:partition], entry_id, *vector[partition + 1 :])


def before(entry_id: EntryId) -> EntryId:
    """Return the greatest id below one."""
    ms, seq = entry_id
    if seq:
        return EntryId(ms, seq - 1)
    return EntryId(ms - 1, _MAX_NUMBER) if ms else BEFORE_ALL


def _id(ms: str, seq: str) -> EntryId:
    return EntryId(min(int(ms), _MAX_NUMBER), min(int(seq), _MAX_NUMBER))


def _pack(numbers: Sequence[int]) -> str:
    """Pack numbers as base-128 groups, the last group of each without the high bit."""
    packed = bytearray()
    for number in numbers:
        rest = number
        while rest > 0x7F:  # noqa: PLR2004 - seven bits
            packed.append(0x80 | rest & 0x7F)
            rest >>= 7
        packed.append(rest)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _unpack_vector(packed: str, partitions: int) -> Vector | None:
    try:
        raw = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
    except binascii.Error:
        return None
    exact, *numbers = list(_numbers(raw)) or [0]
    if not exact and len(numbers) == 2:  # noqa: PLR2004 - one id
        return (EntryId(*numbers),) * partitions
    if exact != 1 or len(numbers) != 1 + 2 * partitions:
        return None
    floor, *pairs = numbers
    return tuple(EntryId(floor + ms, seq) for ms, seq in zip(pairs[::2], pairs[1::2], strict=True))


def _numbers(raw: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in raw:
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield min(number, _MAX_NUMBER)
            number = shift = 0
