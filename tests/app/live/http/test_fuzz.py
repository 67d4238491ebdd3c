"""Whatever a client sends on a real socket, the server answers or closes, and goes on."""

from __future__ import annotations

import asyncio
import json
import logging
import random

import pytest

from telemetry_app.live.clients.limits import LiveLimits
from tests.app.live.harness import COOKIE, Rights, ask, live_side, race_ms
from tests.app.live.rawsocket import RawClient
from tests.support.waiting import eventually

ROUNDS = 60


def garbage(chance: random.Random) -> bytes:
    """Return bytes that begin like a frame, a truncated one, or like nothing."""
    kind = chance.randrange(6)
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 300))
    if kind == 1:
        return bytes([chance.randrange(256), 0xFF]) + chance.randbytes(8) + chance.randbytes(20)
    if kind == 2:
        return bytes([0x81, 0x80 | 10]) + bytes(4) + b"tru"
    if kind == 3:
        return bytes([0x88, 0x82]) + bytes(4) + chance.randbytes(2)
    if kind == 4:
        return bytes([chance.choice([0xC1, 0x41, 0xC2]), 0x80 | 100]) + bytes(4) + chance.randbytes(100)
    return bytes([chance.choice([0x01, 0x00, 0x80, 0x8F, 0xC1, 0x89]), 0x80 | 5]) + bytes(4) + b"hello"


def frames(chance: random.Random) -> bytes:
    """Return the payload of a well-formed frame that may be no request."""
    return chance.choice(
        [
            chance.randbytes(chance.randrange(200)),
            b"[" * chance.randrange(1, 4000),
            b'{"type":"subscribe","topic":"event:'
            + chance.randbytes(5).hex().encode()
            + b'","id":'
            + b"9" * 400
            + b"}",
            b'{"type":"subscribe","topic":"event:7","since":"' + chance.randbytes(40).hex().encode() + b'"}',
            b'{"type":"subscribe","topic":"event:7","since":"99999999999999999999-99999999999999999999"}',
            json.dumps(
                {"type": "subscribe", "topic": "event:" + "%2f../\u0000é" * 9, "id": {"a": [1e308, None]}}
            ).encode(),
            json.dumps({"type": "unsubscribe", "topic": "event:7"}).encode()[: chance.randrange(38)],
        ]
    )


async def test_garbage(redis_url: str, stream: str, caplog: pytest.LogCaptureFixture) -> None:
    """Random bytes, truncated frames, huge numbers, deep JSON: nothing is logged as an error, and all of it ends."""
    chance = random.Random(7)
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    limits = LiveLimits(close_grace_s=0.2)
    async with live_side(redis_url, stream, devices={"7": ["a"]}, limits=limits) as side:
        for _ in range(ROUNDS):
            client = await RawClient.connect(side.port, offers=chance.choice([None, "permessage-deflate"]))
            for _ in range(chance.randrange(1, 20)):
                await client.send(frames(chance))
            if chance.random() < 0.7:
                await client.send_raw(garbage(chance))
            if chance.random() < 0.5:
                await client.frame()
            client.close()
        await eventually(lambda: side.observed.gauges["connections"] == 0)
        await eventually(lambda: side.observed.gauges.get("subscriptions", 0) == 0)
        socket = await side.connect(headers=COOKIE)
        assert (await ask(socket, type="subscribe", topic="event:7"))["type"] == "subscribed"
        await side.publish("a", race_ms())
        assert (await socket.receive_json())["deviceId"] == "a"
    assert unhandled == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_thousands_of_subscribes(redis_url: str, stream: str) -> None:
    """Thousands of subscribes stand up to the limit, are refused beyond it, and leave nothing behind."""
    limits = LiveLimits(max_subscriptions=50, frames_burst=3000)
    rights = Rights()
    async with live_side(redis_url, stream, devices={"7": ["a"]}, limits=limits, rights=rights) as side:
        client = await RawClient.connect(side.port)

        async def subscribe() -> None:
            for number in range(2000):
                await client.send_json(type="subscribe", topic=f"event:{number}", id=number)

        # At the same time: who asks on and on and reads nothing is not answered any more.
        subscribing = asyncio.create_task(subscribe())
        answers = [await client.json() for _ in range(2000)]
        await subscribing
        assert [answer["id"] for answer in answers] == list(range(2000))
        assert sum(answer["type"] == "subscribed" for answer in answers) == 50
        assert {answer["code"] for answer in answers[50:]} == {"limit"}
        assert rights.questions == 50
        client.close()
        await eventually(lambda: side.observed.gauges == {"connections": 0, "subscriptions": 0})
