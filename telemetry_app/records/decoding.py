"""Decoding a whole batch: what could be read, and why the rest could not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from telemetry_app.records.codec import EARLIEST, CodecError, check, inspect, read_entry
from telemetry_app.records.position import Position

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faust_redis.redis.replies import Entry

#: Trackers' clocks may run ahead by so much; beyond it a record is refused.
_AHEAD = timedelta(days=1)

#: The id of an entry, and why it cannot be read.
_Refused = tuple[bytes, CodecError]


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
    refused: list[_Refused]


def decode_entries(entries: Iterable[Entry]) -> DecodedEntries:
    """Decode entries given as pairs of id and flat field list; order is kept.

    The same as `decode_entry` for each, but what may be looked at for all of them together is.
    """
    latest = datetime.now(UTC) + _AHEAD
    positions, entry_ids, refused = _read(list(entries))
    times = [position.ts.timestamp() for position in positions]
    inspected = inspect([position.attributes for position in positions])
    doubtful = set(inspected.doubtful)
    first, last = EARLIEST.timestamp(), latest.timestamp()
    if positions and (min(times) < first or max(times) > last):
        doubtful.update(index for index, time in enumerate(times) if not first <= time <= last)
    decoded = DecodedEntries(Positions(positions, times, inspected.storable), entry_ids, refused)
    return _checked(decoded, doubtful, latest) if doubtful else decoded


def _read(entries: list[Entry]) -> tuple[list[Position], list[bytes], list[_Refused]]:
    """Return positions, their entry ids, and what is refused, without `check`."""
    positions: list[Position] = []
    entry_ids = [entry_id for entry_id, _ in entries]
    refused: list[_Refused] = []
    unread = iter([fields for _, fields in entries])
    while True:
        try:
            # The list keeps what came before an error. To append each by itself takes a tenth more.
            positions.extend(map(read_entry, unread))
        except CodecError as error:
            refused.append((entry_ids.pop(len(positions)), error.bare()))
        else:
            return positions, entry_ids, refused


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
