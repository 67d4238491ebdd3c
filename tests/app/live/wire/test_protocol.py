"""The frames of the WebSocket, as values."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from telemetry_app.live.wire.position import LivePosition
from telemetry_app.live.wire.protocol import (
    MAX_TEXT,
    BadRequestError,
    CloseCode,
    Error,
    Subscribe,
    Unsubscribe,
    encode,
    event_of,
    parse,
    position_body,
    position_head,
    subscribed,
    topic_of,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
FRAMES = st.fixed_dictionaries(
    {"type": st.sampled_from(["subscribe", "unsubscribe", "position"]) | JSON, "topic": st.text(max_size=300) | JSON},
    optional={"id": JSON, "since": st.text(max_size=300) | JSON},
)


def answer_to(data: bytes | str) -> bytes:
    """Parse, and write what would be answered; only a bad request may be raised, and it must be writable."""
    try:
        return encode(Error("error", "", id=parse(data).reference))
    except BadRequestError as error:
        return encode(Error("bad-request", str(error), id=error.reference))


@given(st.binary(max_size=300))
def test_bytes_of_any_kind(data: bytes) -> None:
    """Random bytes are a frame or a bad request, and the answer is JSON."""
    assert json.loads(answer_to(data))["type"] == "error"


@given(FRAMES, st.integers(0, 400))
def test_frames_of_any_kind_and_cut_anywhere(frame: Any, cut: int) -> None:
    """Frames with any values, whole or truncated, are a frame or a bad request, and the answer is JSON."""
    data = json.dumps(frame)
    for piece in (data, data.encode(), data[:cut], data.encode()[:cut]):
        json.loads(answer_to(piece))


@given(JSON)
def test_an_id_comes_back(value: Any) -> None:
    """An id is handed back as it came, or refused when it is too long or no JSON."""
    data = json.dumps({"type": "subscribe", "topic": "event:7", "id": value})
    answer = json.loads(answer_to(data))
    if answer["code"] == "error":
        assert answer["id"] == value
    else:
        assert "id" not in answer


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 4000,
        b'{"a":' * 800,
        b'{"type":"subscribe"}',
        b'{"type":"subscribe","topic":7}',
        b'{"type":"subscribe","topic":""}',
        b'{"type":"subscribe","topic":"' + b"x" * 1025 + b'"}',
        b'{"type":"subscribe","topic":"event:7","since":7}',
        b'{"type":"subscribe","topic":"event:7","since":"' + b"1" * 256 + b'"}',
        b'{"type":"subscribe","topic":"event:7","batch":1}',
        b'{"type":"subscribe","topic":"event:7","id":1e999}',
        b'{"type":"subscribe","topic":"event:7","id":NaN}',
        b'{"type":"subscribe","topic":"event:7","id":' + b"9" * 4300 + b"}",
        b'{"type":"subscribe","topic":"event:7","id":"' + b"x" * 300 + b'"}',
        b'{"type":"subscribe","topic":"event:7","id":' + b"[" * 150 + b"]" * 150 + b"}",
        b'{"type":"subscribe","topic":"\\ud800"}',
        b'{"type":"SUBSCRIBE","topic":"event:7"}',
        b'{"type":["subscribe"],"topic":"event:7"}',
    ],
)
def test_bad_requests(data: bytes) -> None:
    """What is malformed, of the wrong type or too long is a bad request with a message of bounded length."""
    with pytest.raises(BadRequestError) as caught:
        parse(data)
    assert 0 < len(str(caught.value)) <= MAX_TEXT


def test_requests() -> None:
    """Both requests are understood; fields of a later version are ignored."""
    request = parse('{"type":"subscribe","topic":"event:7","since":"1-0","id":null,"new":1}')
    assert request.frame == Subscribe(type="subscribe", topic="event:7", since="1-0", batch=False, id=None)
    assert bytes(request.reference) == b"null"  # type: ignore[arg-type]  # it is set
    request = parse(b'{"type":"unsubscribe","topic":"event:7"}')
    assert (request.frame, request.reference) == (
        Unsubscribe(type="unsubscribe", topic="event:7", id=None),
        msgspec.UNSET,
    )


@pytest.mark.parametrize(("topic", "event_id"), [("event:7", "7"), ("event:a:b", "a:b"), ("event:", None), ("x", None)])
def test_topics(topic: str, event_id: str | None) -> None:
    """A topic names an event, whose id may hold anything but nothing."""
    assert event_of(topic) == event_id
    assert event_id is None or topic_of(event_id) == topic


def test_positions_leave_zeros_out() -> None:
    """Speed and course stand in a frame and a snapshot unless they are 0."""
    moving, parked = (
        LivePosition("a", 1.5, 2.0, 5, 33.0, 90.0, (5, 5)),
        LivePosition("b", 1.5, 2.0, 5, 0.0, 0.0, (5, 5)),
    )
    frame = position_head('event:"é"') + position_body(moving, "1-0")
    assert json.loads(frame) == {
        "type": "position", "topic": 'event:"é"', "deviceId": "a", "lat": 1.5, "lon": 2.0, "ts": 5,
        "speed": 33.0, "course": 90.0, "cursor": "1-0",
    }  # fmt: skip
    assert json.loads(subscribed("event:7", [parked], "1-0")) == {
        "type": "subscribed",
        "topic": "event:7",
        "snapshot": [{"deviceId": "b", "lat": 1.5, "lon": 2.0, "ts": 5}],
        "cursor": "1-0",
    }


def test_close_codes() -> None:
    """The codes that clients know."""
    assert sorted(CloseCode) == [1001, 1009, 4401, 4408, 4429]
