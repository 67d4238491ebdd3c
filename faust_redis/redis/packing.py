"""Entries of very many values as one value: Lua, whose calls take some thousands, can pass on no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

#: So many values of an entry a script can append, and a few of its own.
MOST_VALUES: Final = 7000
#: Name of the one field of a packed entry.
_PACKED: Final = b"packed"


def packed(fields: Sequence[bytes], most: int = MOST_VALUES) -> list[bytes]:
    """Return names and values of an entry, as one field if they are more than so many."""
    return list(fields) if len(fields) <= most else [_PACKED, msgspec.msgpack.encode(fields)]


def unpacked(fields: Sequence[bytes]) -> Sequence[bytes]:
    """Return the names and values that were packed; those of any other entry as they are."""
    if len(fields) != 2 or fields[0] != _PACKED:  # noqa: PLR2004 - one name, one value
        return fields
    try:
        return msgspec.msgpack.decode(fields[1], type=list[bytes])
    except msgspec.MsgspecError:
        return fields  # somebody's own field of that name
