"""The WebSocket on real sockets: every frame, refusal and close code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError

from telemetry_app.live.limits import LiveLimits
from telemetry_app.live.ports import Authentication, Authorization
from tests.live.harness import COOKIE, Side, ask, close_code, live_position, live_side, now_ms, receive
from tests.support import eventually

DEVICES = {"7": ["a", "b"], "8": ["b", "c"]}


@pytest.fixture
async def side(redis_url: str, stream: str) -> AsyncIterator[Side]:
    async with live_side(redis_url, stream, devices=DEVICES) as side:
        yield side


async def test_subscribe_snapshot_live(side: Side) -> None:
    """A client is given a snapshot, then each new position as a frame; zeros are left out."""
    ts = now_ms()
    side.stored.store(live_position("a", ts - 1000))
    socket = await side.connect()
    assert await ask(socket, type="subscribe", topic="event:7", id=[1, {"x": None}]) == {
        "type": "subscribed",
        "topic": "event:7",
        "id": [1, {"x": None}],
        "snapshot": [{"deviceId": "a", "lat": 41.0, "lon": 21.0, "ts": ts - 1000, "speed": 33.0, "course": 180.0}],
        "cursor": "0-0",
    }
    entry_id = await side.publish("b", ts, speed=0.0)
    assert await receive(socket) == {
        "type": "position",
        "topic": "event:7",
        "deviceId": "b",
        "lat": 41.0,
        "lon": 21.0,
        "ts": ts,
        "course": 180.0,
        "cursor": entry_id,
    }
