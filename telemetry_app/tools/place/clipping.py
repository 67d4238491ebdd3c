"""Cutting lines and areas at the edges of a box."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Point = tuple[float, float]
#: Left, top, right and bottom.
Box = tuple[float, float, float, float]


def clip_area(ring: Sequence[Point], box: Box) -> list[Point]:
    """Return the part of an area in a box, edge by edge (Sutherland and Hodgman); empty when there is none."""
    inside = list(ring)
    for edge, limit in enumerate(box):
        axis, sign = edge % 2, 1 if edge < 2 else -1  # noqa: PLR2004 - the first two are the lower ones
        outside_by = [sign * (limit - point[axis]) for point in inside]
        before = list(zip(inside, outside_by, strict=True))
        inside = []
        for (start, start_by), (end, end_by) in zip(before[-1:] + before[:-1], before, strict=True):
            if (start_by > 0) != (end_by > 0):
                inside.append(_between(start, end, start_by / (start_by - end_by)))
            if end_by <= 0:
                inside.append(end)
    return inside


def clip_line(line: Sequence[Point], box: Box) -> Iterator[list[Point]]:
    """Give the parts of a line in a box."""
    part: list[Point] = []
    for start, end in itertools.pairwise(line):
        shares = _inside(start, end, box)
        if shares is None:
            continue
        first, last = (_between(start, end, share) for share in shares)
        if part and part[-1] == first:
            part.append(last)
            continue
        if part:
            yield part
        part = [first, last]
    if part:
        yield part


def _inside(start: Point, end: Point, box: Box) -> tuple[float, float] | None:
    """Return from which share of a segment to which it is in a box (Liang and Barsky); None when it is not."""
    low, high = 0.0, 1.0
    for axis in (0, 1):
        length = end[axis] - start[axis]
        to_low, to_high = box[axis] - start[axis], box[axis + 2] - start[axis]
        if length == 0:
            if to_low > 0 or to_high < 0:
                return None
            continue
        enters, leaves = sorted((to_low / length, to_high / length))
        low, high = max(low, enters), min(high, leaves)
    return (low, high) if low < high else None


def _between(start: Point, end: Point, share: float) -> Point:
    # Exactly the ends, so that segments meet.
    if share in {0, 1}:
        return end if share else start
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
