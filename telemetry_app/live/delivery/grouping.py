"""From decoded positions to those of each event, without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from faust_redis.redis.replies import EntryId
from telemetry_app.live.positions.history import History, Sighting, sight
from telemetry_app.live.wire import cursor
from telemetry_app.live.wire.position import LivePosition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from telemetry_app.records.position import Position


class Passed(NamedTuple):
    """What became of a batch: positions by event, and how many were late or from devices without an event."""

    by_event: dict[str, list[Sighting]]
    late: int
    orphans: int


def group(
    decoded: Iterable[tuple[Position, bytes]],
    events_of: Callable[[str], frozenset[str]],
    history: History,
    *,
    partition: int,
    tail: str,
    now: float,
) -> Passed:
    """Sort positions by the events of their devices and remember them.

    A position no newer than what is known of its device, or was taken back, is late: part of a bulk upload, or a record
    sent again.

    Args:
        decoded: Positions with their entry ids, in stream order.
        events_of: Events of a device.
        history: What is known; these are added to it.
        partition: Of the entries.
        tail: Of the entries' cursors, see `cursor.tail`.
        now: Loop time, in seconds.
    """
    by_event: dict[str, list[Sighting]] = {}
    late = orphans = 0
    for position, entry_id in decoded:
        events = events_of(position.device_id)
        if not events:
            orphans += 1
            continue
        appended = EntryId.parse(entry_id)
        live = LivePosition.from_position(position, appended.ms)
        if history.is_late(live.device_id, live.rank):
            late += 1
            continue
        history.seq += 1
        where = cursor.text(partition, entry_id.decode(), tail)
        sighting = sight(live, where, appended, partition=partition, seq=history.seq, now=now)
        history.add(sighting)
        for event_id in events:
            by_event.setdefault(event_id, []).append(sighting)
    return Passed(by_event, late, orphans)
