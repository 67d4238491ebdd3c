"""Decoding a whole batch: what could be read, and why the rest could not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from telemetry_app.shared.codec import CodecError, decode_entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telemetry_app.shared.position import Position

#: Trackers' clocks may run ahead by so much; beyond it a record is refused.
_AHEAD = timedelta(days=1)


class DecodedEntries(NamedTuple):
    """Positions with the entry ids they came from, index by index, and the entries that were refused."""

    positions: list[Position]
    entry_ids: list[bytes]
    refused: list[tuple[bytes, CodecError]]


def decode_entries(entries: Iterable[tuple[bytes, list[bytes]]]) -> DecodedEntries:
    """Decode entries given as pairs of id and flat field list; order is kept."""
    latest = datetime.now(UTC) + _AHEAD
    positions: list[Position] = []
    entry_ids: list[bytes] = []
    refused: list[tuple[bytes, CodecError]] = []
    for entry_id, fields in entries:
        try:
            positions.append(decode_entry(fields, latest=latest))
        except CodecError as error:
            refused.append((entry_id, error))
        else:
            entry_ids.append(entry_id)
    return DecodedEntries(positions, entry_ids, refused)
