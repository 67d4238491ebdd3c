"""Decoding a whole batch: what could be read, and why the rest could not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from telemetry_app.records.codec import EARLIEST, CodecError, check, inspect, read_entry
from telemetry_app.records.position import Position

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Trackers' clocks may run ahead by so much; beyond it a record is refused.
_AHEAD = timedelta(days=1)


class Positions(list[Position]):
    """Positions that were decoded together.

    Attributes:
        times: Their timestamps in seconds since 1970, exact to the microsecond until 2106.
        storable: What `inspect` found in their attributes while all were looked at; None when that was in vain.
        doubted: Whether something speaks against any of them, see `records.quality`.
    """

    __slots__ = ("doubted", "storable", "times")

    def __init__(
        self, positions: Iterable[Position], times: list[float], storable: list[bytes | None] | None = None
    ) -> None:
        super().__init__(positions)
        self.times = times
        self.storable = storable
        self.doubted = False


class DecodedEntries(NamedTuple):
    """Positions with the entry ids they came from, index by index, and the entries that were refused."""

    positions: Positions
    entry_ids: list[bytes]
    refused: list[tuple[bytes, CodecError]]


def decode_entries(entries: Iterable[tuple[bytes, list[bytes]]]) -> DecodedEntries:
    """Decode entries given as pairs of id and flat field list; order is kept.

    The same as `decode_entry` for each, but what may be looked at for all of them together is.
    """
    latest = datetime.now(UTC) + _AHEAD
    positions: list[Position] = []
    entry_ids: list[bytes] = []
    refused: list[tuple[bytes, CodecError]] = []
    for entry_id, fields in entries:
        try:
            position = read_entry(fields)
        except CodecError as error:
            refused.append((entry_id, error.bare()))
        else:
            positions.append(position)
            entry_ids.append(entry_id)
    times = [position.ts.timestamp() for position in positions]
    inspected = inspect([position.attributes for position in positions])
    doubtful = set(inspected.doubtful)
    first, last = EARLIEST.timestamp(), latest.timestamp()
    if positions and (min(times) < first or max(times) > last):
        doubtful.update(index for index, time in enumerate(times) if not first <= time <= last)
    decoded = DecodedEntries(Positions(positions, times, inspected.storable), entry_ids, refused)
    return _checked(decoded, doubtful, latest) if doubtful else decoded


def _checked(decoded: DecodedEntries, doubtful: Iterable[int], latest: datetime) -> DecodedEntries:
    """Check the positions at these indexes, and move to the refused what does not pass."""
    refused = {}
    for index in sorted(doubtful):
        try:
            check(decoded.positions[index], latest)
        except CodecError as error:
            refused[index] = (decoded.entry_ids[index], error.bare())
    if not refused:
        return decoded
    return DecodedEntries(
        Positions(
            [position for index, position in enumerate(decoded.positions) if index not in refused],
            [time for index, time in enumerate(decoded.positions.times) if index not in refused],
        ),
        [entry_id for index, entry_id in enumerate(decoded.entry_ids) if index not in refused],
        [*decoded.refused, *refused.values()],
    )
