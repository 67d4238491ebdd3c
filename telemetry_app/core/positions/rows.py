"""Positions as columns, the shape in which a whole batch goes to the database in one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telemetry_app.records.codec import storable_attributes_of
from telemetry_app.records.decoding import Positions
from telemetry_app.records.quality import Doubted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from telemetry_app.records.position import Position

#: The columns of `positions` that a record fills, in the order of `columns()`.
COLUMN_NAMES: Final = (
    "device_id",
    "ts",
    "latitude",
    "longitude",
    "altitude",
    "angle",
    "speed",
    "satellites",
    "priority",
    "codec",
    "attributes",
)

#: Most bytes of attributes in one statement: on their way to the server they are in memory several times.
MOST_BYTES: Final = 2 << 20

Columns = tuple[
    list[str],
    list[float],
    list[float],
    list[float],
    list[float],
    list[float],
    list[float],
    list[int],
    list[int],
    list[str | None],
    list[str],
]

DoubtColumns = tuple[list[float | None], list[str | None]]


def columns(positions: Sequence[Position]) -> Columns:
    """Return one list per column, each as long as `positions` and in their order.

    `ts` is in seconds since 1970: asyncpg writes a float four times faster than a datetime with a time zone.
    `attributes` is JSON text.

    Raises:
        ValueError: Attributes that are not what a decoded record holds.
        OverflowError: A time out of the calendar's range.
    """
    times, storable = (positions.times, positions.storable) if isinstance(positions, Positions) else (None, None)
    are_known = storable is not None and None not in storable
    return (
        [p.device_id for p in positions],
        times or [p.ts.timestamp() for p in positions],
        [p.latitude for p in positions],
        [p.longitude for p in positions],
        [p.altitude for p in positions],
        [p.angle for p in positions],
        [p.speed for p in positions],
        [p.satellites for p in positions],
        [p.priority for p in positions],
        [p.codec for p in positions],
        storable_attributes_of([] if are_known else [p.attributes for p in positions], storable),
    )


def doubt_columns(positions: Sequence[Position]) -> DoubtColumns:
    """Return when positions were appended, in seconds since 1970, and why they are faulty, where they are in doubt."""
    return (
        [p.appended_ms / 1000 if isinstance(p, Doubted) else None for p in positions],
        [p.fault if isinstance(p, Doubted) else None for p in positions],
    )


def statements(positions: Sequence[Position], max_rows: int) -> Iterator[tuple[int, int]]:
    """Yield where each statement begins and ends, so that none is longer than allowed, in rows or in bytes."""
    if len(positions) <= max_rows and _bytes_of(positions) <= MOST_BYTES:
        # Nearly always.
        yield from [(0, len(positions))] if positions else []
        return
    start, size = 0, 0
    for index, position in enumerate(positions):
        length = len(position.attributes)
        if index - start == max_rows or (size + length > MOST_BYTES and index > start):
            yield start, index
            start, size = index, 0
        size += length
    yield start, len(positions)


def _bytes_of(positions: Sequence[Position]) -> int:
    """Return how many bytes of attributes there are, as they are stored where that is known."""
    found = positions.storable if isinstance(positions, Positions) else None
    if found and None not in found:
        return sum([len(piece) for piece in found if piece])
    return sum([len(p.attributes) for p in positions])
