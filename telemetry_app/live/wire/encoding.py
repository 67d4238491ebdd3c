"""Positions as subscriptions are sent them: each as a frame of its own, or those of a round as one."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from telemetry_app.live.wire.deflate import deflated
from telemetry_app.live.wire.frames import deflated_frame, text_frame
from telemetry_app.live.wire.protocol import position_head, positions_frame, without_cursor

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


def payloads(form: Form, topic: str, bodies: Sequence[Body], *, cursors: bool = True) -> list[bytes]:
    """Return the frames of positions as JSON; without `cursors`, each with an empty one."""
    if form is Form.EACH:
        return _each(topic, bodies, cursors=cursors)
    pieces = [bodies[start : start + MAX_POSITIONS] for start in range(0, len(bodies), MAX_POSITIONS)]
    return [positions_frame(topic, piece, piece[-1][1] if cursors else "") for piece in pieces]


def framed(payloads: Iterable[bytes], *, deflate: bool) -> bytes:
    """Return payloads as they go over the wire, joined; small ones are not compressed."""
    return b"".join(
        [
            deflated_frame(deflated(payload)) if deflate and len(payload) >= MIN_DEFLATED_BYTES else text_frame(payload)
            for payload in payloads
        ]
    )


def encoded(form: Form, topic: str, bodies: Sequence[Body], *, cursors: bool = True) -> bytes:
    """Return the frames of positions, joined; without `cursors`, each with an empty one."""
    return framed(payloads(form, topic, bodies, cursors=cursors), deflate=form is Form.DEFLATED)


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


def _each(topic: str, bodies: Sequence[Body], *, cursors: bool) -> list[bytes]:
    head = position_head(topic)
    if cursors:
        return [head + body for body, _ in bodies]
    return [head + without_cursor(body, cursor) for body, cursor in bodies]
