"""Decoding a whole batch: what could be read, and why the rest could not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from telemetry_app.records.codec import CodecError, check_attributes, nothing_to_check, read_entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telemetry_app.records.position import Position

#: Trackers' clocks may run ahead by so much; beyond it a record is refused.
_AHEAD = timedelta(days=1)


class DecodedEntries(NamedTuple):
    """Positions with the entry ids they came from, index by index, and the entries that were refused."""

    positions: list[Position]
    entry_ids: list[bytes]
    refused: list[tuple[bytes, CodecError]]


def decode_entries(entries: Iterable[tuple[bytes, list[bytes]]]) -> DecodedEntries:
    """Decode entries given as pairs of id and flat field list; order is kept.

    The same as `decode_entry` for each, but what may be looked at for all of them together is.
    """
    latest = datetime.now(UTC) + _AHEAD
    decoded = DecodedEntries([], [], [])
    for entry_id, fields in entries:
        try:
            position = read_entry(fields, latest=latest)
        except CodecError as error:
            decoded.refused.append((entry_id, error))
        else:
            decoded.positions.append(position)
            decoded.entry_ids.append(entry_id)
    if nothing_to_check([position.attributes for position in decoded.positions]):
        return decoded
    return _checked(decoded)


def _checked(decoded: DecodedEntries) -> DecodedEntries:
    """Check the attributes of each position, and move to the refused what does not pass."""
    passed = DecodedEntries([], [], decoded.refused)
    for position, entry_id in zip(decoded.positions, decoded.entry_ids, strict=True):
        try:
            check_attributes(position.attributes)
        except CodecError as error:
            passed.refused.append((entry_id, error))
        else:
            passed.positions.append(position)
            passed.entry_ids.append(entry_id)
    return passed
