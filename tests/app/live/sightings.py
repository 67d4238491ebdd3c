"""What a client was shown of a race, and what it should have been shown."""

from __future__ import annotations

from collections import defaultdict
from typing import Any


def positions_of(frame: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the positions of a snapshot, of a frame of positions, or of one."""
    positions: list[dict[str, Any]] = frame.get("snapshot", frame.get("positions", [frame]))
    return positions


class Shown:
    """Writes down what a client is shown; timestamps in epoch ms, by device."""

    def __init__(self) -> None:
        self.seen: dict[str, list[int]] = defaultdict(list)

    def note(self, frame: dict[str, Any]) -> None:
        """Take note of a snapshot or positions."""
        for position in positions_of(frame):
            self.seen[position["deviceId"]].append(position["ts"])

    def has_reached(self, ts_ms: int, devices: list[str]) -> bool:
        """Tell whether every device was shown at its last place."""
        return all(self.seen[device] and self.seen[device][-1] >= ts_ms for device in devices)

    def faults(self, published: dict[str, list[int]]) -> list[str]:
        """Return what is wrong: of each device everything from the first to the last shown must be, once, in order.

        Args:
            published: What each device sent in time, late uploads left out.
        """
        wrong = []
        for device, seen in self.seen.items():
            # The first may be a late upload: then the database had that one only.
            expected = [seen[0], *(ts_ms for ts_ms in published[device] if seen[0] < ts_ms <= seen[-1])]
            if seen != expected:
                wrong.append(f"{device}: saw {seen}, expected {expected}")
        return wrong
