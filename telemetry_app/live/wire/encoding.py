"""Positions as subscriptions are sent them: each as a frame of its own, or those of a round as one."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from telemetry_app.live.wire.frames import text_frame
from telemetry_app.live.wire.protocol import position_head, positions_frame, without_cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Most positions of one frame, some 100 KB: usual client libraries refuse frames above a megabyte.
MAX_POSITIONS: Final = 1000

#: A position's body (see `protocol.position_body`), and the cursor in it.
Body = tuple[bytes, str]


class Form(enum.IntEnum):
    """How a subscription is sent positions."""

    EACH = enum.auto()
    BATCH = enum.auto()


def encoded(form: Form, topic: str, bodies: Sequence[Body], *, cursors: bool = True) -> bytes:
    """Return the frames of positions, joined; without `cursors`, each with an empty one."""
    match form:
        case Form.EACH:
            return _each(topic, bodies, cursors=cursors)
        case Form.BATCH:
            return b"".join(
                [
                    text_frame(positions_frame(topic, some, some[-1][1] if cursors else ""))
                    for start in range(0, len(bodies), MAX_POSITIONS)
                    for some in (bodies[start : start + MAX_POSITIONS],)
                ]
            )


class Encoded:
    """Positions of a topic for many subscriptions: encoded once in each form that one of them has."""

    __slots__ = ("_bodies", "_frames", "_topic")

    def __init__(self, topic: str, bodies: Sequence[Body]) -> None:
        self._topic = topic
        self._bodies = bodies
        self._frames: dict[Form, bytes] = {}

    def frames(self, form: Form) -> bytes:
        """Return the frames in one form, joined."""
        frames = self._frames.get(form)
        if frames is None:
            frames = self._frames[form] = encoded(form, self._topic, self._bodies)
        return frames


def _each(topic: str, bodies: Sequence[Body], *, cursors: bool) -> bytes:
    head = position_head(topic)
    if cursors:
        return b"".join([text_frame(head + body) for body, _ in bodies])
    return b"".join([text_frame(head + without_cursor(body, cursor)) for body, cursor in bodies])
