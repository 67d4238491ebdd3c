"""What a spectator's socket brings: positions in frames of every kind, told by their timestamps."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from telemetry_app.tools.bench.wsclient import frames

_TS: Final = re.compile(rb'"ts":(\d+)')
#: Different pieces that are remembered: more than are under way at once.
_MOST_KEPT: Final = 512


class Piece(NamedTuple):
    """What is in some bytes.

    Attributes:
        stamps: Timestamps of the positions, in epoch ms.
        has_ping: Whether the server asks for a sign of life.
        rest: The bytes behind the last whole frame.
    """

    stamps: tuple[int, ...]
    has_ping: bool
    rest: bytes


class Incoming:
    """Reads pieces of streams of frames; what many spectators are sent alike is looked at once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Piece] = {}
        # Nearly always the next one is the same, and to compare takes a tenth of the time of looking it up.
        self._last = b"", Piece((), has_ping=False, rest=b"")

    def read(self, data: bytes) -> Piece:
        """Return what is in some bytes that begin with a frame."""
        last, piece = self._last
        if data != last:
            if data not in self._known:
                if len(self._known) >= _MOST_KEPT:
                    self._known.clear()
                self._known[data] = _look_at(data)
            piece = self._known[data]
            self._last = data, piece
        return piece


def _look_at(data: bytes) -> Piece:
    found = list(frames(data))
    stamps = [int(ts) for frame in found if frame.is_text for ts in _TS.findall(frame.text(data))]
    return Piece(tuple(stamps), any(frame.is_ping for frame in found), data[found[-1].end if found else 0 :])
