"""Which positions are not to be believed: the rules, and when a device was where it says.

A tracker's clock alone never decides what is newest, or one record from the future would hide all that follow. So a
device was at a place at the smaller of the record's timestamp and the time of its append, its *effective* time; and
a record that is too far ahead of its append is faulty: stored, and shown nowhere.
"""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from faust_redis.redis.replies import EntryId
from telemetry_app.records.decoding import Positions
from telemetry_app.records.position import Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from telemetry_app.records.decoding import DecodedEntries

#: Further ahead of its append than `QUALITY_MAX_AHEAD_S`.
AHEAD: Final = "ahead"
#: At 0/0 without satellites: a receiver that has had no fix since it was switched on.
NULL_ISLAND: Final = "null-island"
REASONS: Final = (AHEAD, NULL_ISLAND)
#: Before every position that is accepted.
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)

# So many are looked at together. Their appends are milliseconds apart, so that one look at the greatest of their
# timestamps nearly always proves that none is ahead.
_TOGETHER: Final = 64


class Doubted(Position, frozen=True, gc=False, kw_only=True):
    """A position against which something speaks: it is ahead of its append, or faulty. Nearly all are plain positions.

    Attributes:
        appended_ms: When its entry was appended to the stream, in epoch ms.
        fault: The rule by which it is faulty; None when it is good.
    """

    appended_ms: int
    fault: str | None


def epoch_ms(ts: datetime) -> int:
    """Return a time as milliseconds since the epoch.

    Records from the stream and from the database have to come out alike, because they are compared.
    """
    return round(ts.timestamp() * 1000)


def fault_of(position: Position, appended_ms: int, *, max_ahead_s: int) -> str | None:
    """Return the rule by which a position is faulty, or None."""
    if epoch_ms(position.ts) - appended_ms > max_ahead_s * 1000:
        return AHEAD
    if position.latitude == position.longitude == position.satellites == 0:
        return NULL_ISLAND
    return None


def doubted(decoded: DecodedEntries, *, max_ahead_s: int) -> dict[int, Doubted]:
    """Return the positions that are ahead of their append or faulty, by index.

    Args:
        decoded: In stream order.
        max_ahead_s: How far ahead of its append a good one may be.
    """
    positions, entry_ids, _ = decoded
    times = positions.times
    latitudes = [position.latitude for position in positions]
    found: dict[int, Doubted] = {}
    for start in range(0, len(times), _TOGETHER):
        some = slice(start, start + _TOGETHER)
        newest_ms = round(max(times[some]) * 1000)
        if newest_ms <= EntryId.parse(entry_ids[start]).ms and 0.0 not in latitudes[some]:
            continue
        for index, position in enumerate(positions[some], start):
            appended_ms = EntryId.parse(entry_ids[index]).ms
            fault = fault_of(position, appended_ms, max_ahead_s=max_ahead_s)
            if fault or epoch_ms(position.ts) > appended_ms:
                found[index] = Doubted(**msgspec.structs.asdict(position), appended_ms=appended_ms, fault=fault)
    return found


def judged(decoded: DecodedEntries, *, max_ahead_s: int) -> Positions:
    """Return decoded positions, those in doubt as such."""
    found = doubted(decoded, max_ahead_s=max_ahead_s)
    if not found:
        return decoded.positions
    positions = copy(decoded.positions)
    positions.doubted = True
    for index, position in found.items():
        positions[index] = position
    return positions


def good(decoded: DecodedEntries, *, max_ahead_s: int) -> Iterator[tuple[Position, bytes]]:
    """Yield the decoded positions that are not faulty, each with the id of its entry."""
    found = doubted(decoded, max_ahead_s=max_ahead_s)
    for index, pair in enumerate(zip(decoded.positions, decoded.entry_ids, strict=True)):
        if index not in found or found[index].fault is None:
            yield pair


def any_doubted(positions: Iterable[Position]) -> bool:
    """Tell whether something speaks against any of these."""
    if isinstance(positions, Positions):
        return positions.doubted
    return Doubted in set(map(type, positions))


def as_seen(positions: Sequence[Position]) -> Sequence[Position]:
    """Return positions with their effective times instead of their timestamps; faulty ones were seen `NEVER`."""
    return [_as_seen(position) for position in positions] if any_doubted(positions) else positions


def _as_seen(position: Position) -> Position:
    if not isinstance(position, Doubted):
        return position
    if position.fault is None:
        return msgspec.structs.replace(position, ts=datetime.fromtimestamp(position.appended_ms / 1000, UTC))
    return msgspec.structs.replace(
        position, ts=NEVER, latitude=0.0, longitude=0.0, altitude=0.0, angle=0.0, speed=0.0, satellites=0
    )
