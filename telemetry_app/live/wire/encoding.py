"""Positions as subscriptions are sent them: each as a frame of its own, or those of a round as one."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from telemetry_app.live.wire.deflate import deflated
from telemetry_app.live.wire.frames import deflated_frame, text_frame
from telemetry_app.live.wire.protocol import position_head, positions_frame, with_mark, without_cursor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Most positions of one frame, some 100 KB: usual client libraries refuse frames above a megabyte.
MAX_POSITIONS: Final = 1000

#: Below it a frame would shrink by a few dozen bytes, which go into one packet all the same.
MIN_DEFLATED_BYTES: Final = 256

#: A position's body (see `protocol.position_body`), and the cursor in it.
Body = tuple[bytes, str]


class Form(enum.IntEnum):
    """How a subscription is sent positions: `DEFLATED` is a compressed batch."""

    EACH = enum.auto()
    BATCH = enum.auto()
    DEFLATED = enum.auto()


def payloads(form: Form, topic: str, bodies: Sequence[Body], mark: str | None = "") -> list[bytes]:
    """Return the frames of positions as JSON.

    Args:
        form: Of the frames.
        topic: Of the positions.
        bodies: The positions, in order.
        mark: What ends each cursor (see `cursor.mark_of`); None = the cursors are empty.
    """
    if form is Form.EACH:
        return _each(topic, bodies, mark)
    pieces = [bodies[start : start + MAX_POSITIONS] for start in range(0, len(bodies), MAX_POSITIONS)]
    return [positions_frame(topic, piece, "" if mark is None else piece[-1][1] + mark) for piece in pieces]


def framed(payloads: Iterable[bytes], *, deflate: bool) -> bytes:
    """Return payloads as they go over the wire, joined; small ones are not compressed."""
    return b"".join(
        [
            deflated_frame(deflated(payload)) if deflate and len(payload) >= MIN_DEFLATED_BYTES else text_frame(payload)
            for payload in payloads
        ]
    )


def encoded(form: Form, topic: str, bodies: Sequence[Body], mark: str | None = "") -> bytes:
    """Return the frames of positions as they go over the wire, joined; see `payloads`."""
    return framed(payloads(form, topic, bodies, mark), deflate=form is Form.DEFLATED)


class Encoded:
    """Positions of a topic for many subscriptions: encoded once in each form, and with each mark, that one has."""

    __slots__ = ("_bodies", "_frames", "_topic")

    def __init__(self, topic: str, bodies: Sequence[Body]) -> None:
        self._topic = topic
        self._bodies = bodies
        self._frames: dict[tuple[Form, str | None], bytes] = {}

    def frames(self, form: Form, mark: str | None) -> bytes:
        """Return the frames in one form and with one mark, joined."""
        frames = self._frames.get((form, mark))
        if frames is None:
            frames = self._frames[form, mark] = encoded(form, self._topic, self._bodies, mark)
        return frames


def _each(topic: str, bodies: Sequence[Body], mark: str | None) -> list[bytes]:
    head = position_head(topic)
    if mark is None:
        return [head + without_cursor(body, cursor) for body, cursor in bodies]
    if not mark:
        return [head + body for body, _ in bodies]
    added = mark.encode()
    return [head + with_mark(body, added) for body, _ in bodies]
