"""The bytes of server frames, read back by aiohttp's own parser."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import WSMsgType
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader
from aiohttp.base_protocol import BaseProtocol
from hypothesis import given, strategies as st

from telemetry_app.live.wire.frames import PING, close_frame, pong_frame, text_frame


async def parsed(data: bytes, count: int) -> list[tuple[WSMsgType, object]]:
    loop = asyncio.get_running_loop()
    queue = WebSocketDataQueue(BaseProtocol(loop), 2**24, loop=loop)
    reader = WebSocketReader(queue, 2**24, compress=False, decode_text=True)
    reader.feed_data(data)
    messages = [await queue.read() for _ in range(count)]
    return [(message.type, message.data) for message in messages]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
async def test_text_frames_of_every_length(length: int) -> None:
    """A text frame is read back whole in each of the three forms of its length."""
    assert await parsed(text_frame(b"x" * length), 1) == [(WSMsgType.TEXT, "x" * length)]


@pytest.mark.parametrize(("length", "header"), [(125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_the_shortest_form_of_a_length_is_used(length: int, header: int) -> None:
    """RFC 6455 demands the minimal number of bytes for a length."""
    assert len(text_frame(b"x" * length)) == header + length


@given(st.lists(st.text(max_size=300), max_size=20))
def test_joined_frames_stay_apart(texts: list[str]) -> None:
    """Frames that were joined are read back one by one."""
    joined = b"".join(text_frame(text.encode()) for text in texts)
    assert asyncio.run(parsed(joined, len(texts))) == [(WSMsgType.TEXT, text) for text in texts]


async def test_control_frames() -> None:
    """Ping, pong and close are what they say."""
    data = PING + pong_frame(b"hello") + close_frame(4408, b"slow")
    assert await parsed(data, 3) == [(WSMsgType.PING, b""), (WSMsgType.PONG, b"hello"), (WSMsgType.CLOSE, 4408)]
