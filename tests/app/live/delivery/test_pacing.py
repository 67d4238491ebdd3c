"""Sending takes a set share of the event loop: with many clients positions gather, with few they leave at once."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientWebSocketResponse

from faust_redis.stream.batch import RecordBatch
from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.delivery.pacing import Pace
from tests.app.live.directus.rights import SEVEN, TOPIC_7
from tests.app.live.harness import LiveFactory, Side, ask, race_ms, receive

DEVICES = [f"d{number}" for number in range(40)]


@pytest.mark.parametrize(
    ("spent_s", "share", "expected_s"),
    [
        (0, 0.1, 0),
        (0.001, 0.1, 0.009),
        (0.01, 0.5, 0.01),
        (0.01, 1, 0),
        (0.04, 0.1, 0.2),
        (0.08, 0.1, 0.17),
        (1, 0.1, 0.1),
    ],
)
def test_rests_follow_the_rounds(spent_s: float, share: float, expected_s: float) -> None:
    """A rest is as long as the share asks for, and never longer than positions may wait."""
    pace = Pace(share=share, longest_s=0.2)
    assert pace.rest_s(spent_s, begun_at=7.0, ended_at=7.0 + spent_s) == pytest.approx(expected_s, abs=1e-4)


def test_short_rests_are_put_off() -> None:
    """What a wake-up would cost as much as it saves is saved up; the time between rounds counts as rest."""
    pace = Pace(share=0.1, longest_s=0.2)
    assert [pace.rest_s(0.0001, begun_at=7.0, ended_at=7.0) for _ in range(5)] == pytest.approx([0, 0, 0.0027, 0, 0])
    assert pace.rest_s(0.0001, begun_at=7.001, ended_at=7.001) == 0.0
    assert pace.rest_s(0.0001, begun_at=7.001, ended_at=7.001) == pytest.approx(0.0026)


async def publish_all(side: Side) -> None:
    """Publish a position of each device, one after the other."""
    start_ms = race_ms()
    for number, device in enumerate(DEVICES):
        await side.publish(device, start_ms + number)


async def see_them_gather(side: Side) -> None:
    """Publish the devices' positions, and see that they pass in no more rounds than the rests allow."""
    rounds = 0
    deliver = side.live.deliver

    async def counting(batch: RecordBatch) -> None:
        nonlocal rounds
        rounds += 1
        await deliver(batch)

    side.live.deliver = counting  # type: ignore[method-assign]
    clock = asyncio.get_running_loop().time
    begun_at = clock()
    await publish_all(side)
    await side.idle()
    # A rest is at least half of the longest one, and a read may be under way when it begins.
    rests = (clock() - begun_at) / (side.live.limits.gather_s / 2)
    assert rounds <= 2 * (rests + 1)


async def watch(side: Side) -> ClientWebSocketResponse:
    socket = await side.connect()
    await ask(socket, type="subscribe", topic=TOPIC_7)
    return socket


async def test_many_clients_get_few_rounds(live: LiveFactory) -> None:
    """With a share so small that each round costs the longest rest, positions gather; none is missing, in order."""
    limits = LiveLimits(broadcast_share=1e-9, gather_s=0.5)
    async with live(devices={SEVEN: DEVICES}, limits=limits) as side:
        socket = await watch(side)
        await see_them_gather(side)
        assert [(await receive(socket))["deviceId"] for _ in DEVICES] == DEVICES


async def test_few_clients_do_not_wait(live: LiveFactory) -> None:
    """With the whole loop to itself, a round is sent for each read, however long a rest may be."""
    async with live(devices={SEVEN: DEVICES}, limits=LiveLimits(broadcast_share=1.0, gather_s=3600)) as side:
        socket = await watch(side)
        await publish_all(side)
        assert [(await receive(socket))["deviceId"] for _ in DEVICES] == DEVICES


async def test_nobody_waits_for_what_nobody_watches(live: LiveFactory) -> None:
    """Without a client positions gather for the longest rest, whatever the share."""
    async with live(devices={SEVEN: DEVICES}, limits=LiveLimits(broadcast_share=1.0, gather_s=0.5)) as side:
        await see_them_gather(side)
