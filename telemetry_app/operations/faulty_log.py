"""One line of the log for each device whose positions are faulty, and not for each position."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from cachetools import TTLCache

from telemetry_app.records import quality

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger(__name__)

_SAY_AGAIN_AFTER_S: Final = 600.0
#: Devices and reasons remembered, and so the most lines in that time.
_MOST: Final = 10_000
#: Of a device's id: an IMEI has 15.
_SHOWN_CHARS: Final = 100
_ADVICE: Final = {
    quality.AHEAD: "its clock is ahead of the time at which they arrive",
    quality.NULL_ISLAND: "at 0/0 without satellites: no fix since it was started",
}


class FaultyLog:
    """Tells of faulty positions, once in ten minutes for each device and reason; of more devices than fit, nothing."""

    def __init__(self) -> None:
        self._said: TTLCache[tuple[str, str], bool] = TTLCache(_MOST, _SAY_AGAIN_AFTER_S)

    def tell(self, faulty: Iterable[tuple[str, str]]) -> None:
        """Tell of devices and reasons."""
        for device_and_reason in set(faulty):
            if device_and_reason not in self._said and self._said.currsize < _MOST:
                self._said[device_and_reason] = True
                device_id, reason = device_and_reason
                logger.warning(
                    "positions of device %s are stored as faulty (%s) and not shown: %s",
                    _shown(device_id),
                    reason,
                    _ADVICE[reason],
                )


def _shown(device_id: str) -> str:
    """Return an id as it is, or escaped and cut: trackers name themselves, and must not write lines into the log."""
    if device_id.isprintable() and len(device_id) <= _SHOWN_CHARS:
        return device_id
    return ascii(device_id[:_SHOWN_CHARS])
