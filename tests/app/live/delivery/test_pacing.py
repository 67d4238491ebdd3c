"""Sending takes a set share of the event loop: with many clients positions gather, with few they leave at once."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from aiohttp import ClientWebSocketResponse

from faust_redis.stream.batch import RecordBatch
from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.delivery.pacing import Pace
from telemetry_app.live.positions.history import sight
from tests.app.live.directus.rights import SEVEN, TOPIC_7
from tests.app.live.harness import LiveFactory, Side, ask, race_ms, receive
from tests.app.live.records import entry, live_position

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


async def test_few_clients_are_served_by_who_delivers(live: LiveFactory) -> None:
    """While no rest is due, a position is sent as it passes, and no task is woken for it."""
    async with live(devices={SEVEN: DEVICES}, limits=LiveLimits(broadcast_share=1.0)) as side:
        socket = await watch(side)
        waiting: list[int] = []
        fan_out, deliver = side.live.requests.fan_out, side.live.deliver

        async def looking(batch: RecordBatch) -> None:
            await deliver(batch)
            waiting.append(fan_out._turns.waiting)

        side.live.deliver = looking  # type: ignore[method-assign]
        await publish_all(side)
        assert [(await receive(socket))["deviceId"] for _ in DEVICES] == DEVICES
        assert set(waiting) == {0}


async def test_what_passes_during_a_rest_waits_for_its_end(live: LiveFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round that was sent at once is followed by its rest, as any other one."""
    async with live(devices={SEVEN: DEVICES}) as side:
        socket = await watch(side)
        fan_out, rests_s = side.live.requests.fan_out, [3600.0]
        monkeypatch.setattr(fan_out._pace, "rest_s", lambda *_, **__: rests_s.pop() if rests_s else 0.0)
        batches: list[RecordBatch] = []
        deliver = side.live.deliver

        async def keeping(batch: RecordBatch) -> None:
            batches.append(batch)
            await deliver(batch)

        side.live.deliver = keeping  # type: ignore[method-assign]
        await side.publish(DEVICES[0], race_ms())
        assert (await receive(socket))["deviceId"] == DEVICES[0]
        [(entry_id, fields)] = batches[0].entries
        later = [field.replace(DEVICES[0].encode(), DEVICES[1].encode()) for field in fields]
        await deliver(RecordBatch(batches[0].stream, [(entry_id, later)]))
        assert fan_out._turns.waiting == 1


async def test_a_round_that_is_begun_at_once_counts_as_a_whole(
    live: LiveFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or its rest would be too short: most of a round to some hundred clients is over at once."""
    monkeypatch.setattr("telemetry_app.live.clients.registry.SIZE", 1)
    monkeypatch.setattr("telemetry_app.live.delivery.turns._LONGEST_S", -1)
    async with live(devices={SEVEN: ["a"]}) as side:
        sockets = [await watch(side) for _ in range(2)]
        turns, position = side.live.requests.fan_out._turns, live_position("a", race_ms())
        side.live.history.seq += 1
        turns.add(TOPIC_7, [sight(position, "1-0", entry(1), partition=0, seq=side.live.history.seq, now=0.0)])
        # Each look at the clock is a second after the one before: the piece at once, two clients', and the end.
        monkeypatch.setattr("time.thread_time", itertools.count().__next__)
        assert turns.go_at_once() is None
        assert await turns.go_round(lambda _: None) == 4
        assert [(await receive(socket))["deviceId"] for socket in sockets] == ["a"] * 2


async def test_nobody_waits_for_what_nobody_watches(live: LiveFactory) -> None:
    """Without a client positions gather for the longest rest, whatever the share."""
    async with live(devices={SEVEN: DEVICES}, limits=LiveLimits(broadcast_share=1.0, gather_s=0.5)) as side:
        await see_them_gather(side)
