"""Positions as frames: one each, or many in one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from telemetry_app.live.positions.history import History
from telemetry_app.live.wire import encoding
from telemetry_app.live.wire.deflate import inflated
from telemetry_app.live.wire.encoding import Encoded, Form, encoded
from tests.app.live.records import entry, passed

TEXT, COMPRESSED = 0x81, 0xC1
BODIES = [sighting.written for sighting in passed(History(), ("a", 1), ("b", 2), ("a", 3)).by_event["7"]]


def read(frames: bytes) -> list[dict[str, Any]]:
    """Return what unmasked text frames hold, compressed or not."""
    found = []
    while frames:
        assert frames[0] in {TEXT, COMPRESSED}
        start = {126: 4, 127: 10}.get(frames[1], 2)
        end = start + int.from_bytes(frames[2:start] or frames[1:2])
        payload = frames[start:end]
        found.append(json.loads(inflated(payload, 1_000_000) if frames[0] == COMPRESSED else payload))
        frames = frames[end:]
    return found


def test_a_frame_for_each_position() -> None:
    """The frames of a topic are one piece of bytes, each frame with its own cursor."""
    frames = read(encoded(Form.EACH, "event:7", BODIES))
    assert [(f["type"], f["topic"], f["deviceId"], f["cursor"]) for f in frames] == [
        ("position", "event:7", device, str(entry(number))) for number, device in ((1, "a"), (2, "b"), (3, "a"))
    ]


def test_a_frame_for_all() -> None:
    """A batch has every position in order, as a snapshot has it, and the cursor of the last."""
    (frame,) = read(encoded(Form.BATCH, 'event:"é"', BODIES))
    assert frame == {
        "type": "positions",
        "topic": 'event:"é"',
        "cursor": str(entry(3)),
        "positions": [
            {"deviceId": device, "lat": 41.0, "lon": 21.0, "ts": ts, "speed": 33.0, "course": 180.0}
            for device, ts in (("a", 1), ("b", 2), ("a", 3))
        ],
    }


def test_a_compressed_batch() -> None:
    """It is the batch, in fewer bytes; one below the bound goes as it is."""
    plain, small = encoded(Form.BATCH, "event:7", BODIES), encoded(Form.DEFLATED, "event:7", BODIES[:1])
    frames = encoded(Form.DEFLATED, "event:7", BODIES)
    assert frames[0] == COMPRESSED
    assert len(frames) < len(plain)
    assert read(frames) == read(plain)
    assert small == encoded(Form.BATCH, "event:7", BODIES[:1])


def test_frames_without_cursors() -> None:
    """Where there is nothing to resume from, frames say so; without positions there are none."""
    for form in Form:
        assert {frame["cursor"] for frame in read(encoded(form, "event:7", BODIES, None))} == {""}
        assert encoded(form, "event:7", []) == b""


def test_a_batch_is_not_too_large_for_clients() -> None:
    """So many positions that a client library would refuse the frame come in several, each with its own cursor."""
    many = [BODIES[number % 3] for number in range(2 * encoding.MAX_POSITIONS + 1)]
    frames = read(encoded(Form.BATCH, "event:7", many))
    sizes = [len(frame["positions"]) for frame in frames]
    assert sizes == [encoding.MAX_POSITIONS, encoding.MAX_POSITIONS, 1]
    ends = [sum(sizes[: number + 1]) - 1 for number in range(len(sizes))]
    assert [frame["cursor"] for frame in frames] == [many[end][1] for end in ends]


def test_all_subscriptions_share_the_bytes() -> None:
    """Each form is encoded once with each mark, for however many."""
    round_ = Encoded("event:7", BODIES)
    for form in Form:
        for mark in ("", "@x", None):
            assert round_.frames(form, mark) is round_.frames(form, mark)
            assert round_.frames(form, mark) == encoded(form, "event:7", BODIES, mark)


@pytest.mark.parametrize("form", Form)
def test_marks_end_cursors(form: Form) -> None:
    """A mark ends every cursor, and changes nothing else."""
    plain, marked = (read(encoded(form, "event:7", BODIES, mark)) for mark in ("", "@mark"))
    assert [{**frame, "cursor": frame["cursor"] + "@mark"} for frame in plain] == marked
