"""What clients are told of devices, read frame by frame."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import ClientWebSocketResponse

from tests.app.live.directus.rights import TOPIC_7
from tests.app.live.harness import Side, Stored, ask, race_ms, receive
from tests.app.live.records import live_position

TS = race_ms()
MANY = [f"device-{number:05}" for number in range(5000)]


def database(**stored_ms: int) -> Stored:
    """Return a database with a position of each of these devices, so many milliseconds after the race began."""
    stored = Stored()
    for device, ms in stored_ms.items():
        stored.store(live_position(device, TS + ms))
    return stored


async def watch(side: Side, topic: str = TOPIC_7, **options: Any) -> tuple[ClientWebSocketResponse, dict[str, Any]]:
    socket = await side.connect()
    return socket, await ask(socket, type="subscribe", topic=topic, **options)


async def devices_shown(side: Side, topic: str = TOPIC_7, **options: Any) -> dict[str, int]:
    """Return what a new client is shown: devices, with the milliseconds of their positions."""
    _, answer = await watch(side, topic, **options)
    return {position["deviceId"]: position["ts"] - TS for position in answer["snapshot"]}


async def next_of(socket: ClientWebSocketResponse) -> tuple[Any, ...]:
    """Return what the next frame tells, as a tuple."""
    frame = await receive(socket)
    match frame["type"]:
        case "position":
            return frame["deviceId"], frame["ts"] - TS
        case "removed":
            assert frame == {"type": "removed", "topic": frame["topic"], "deviceId": frame["deviceId"]}
            return "removed", frame["deviceId"]
        case "subscribed":
            assert (frame["snapshot"], "id" in frame, "partial" in frame) == ([], False, False)
            assert frame["resumed"]
            assert frame["cursor"]
            return ("complete",)
        case _:
            raise AssertionError(frame)


async def nothing_before(side: Side, socket: ClientWebSocketResponse, device: str, ms: int = 900_000) -> None:
    """Make sure that what comes next is what is published next."""
    # A look at what everybody was told takes less.
    await asyncio.sleep(1.2)
    await side.publish(device, TS + ms)
    assert await next_of(socket) == (device, ms)
