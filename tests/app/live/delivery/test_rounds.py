"""In the middle of a round, when some clients have got it and others not yet: no client can tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse

from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.delivery.outbox import Outbox
from tests.app.live.directus.rights import EIGHT, SEVEN, TOPIC_7, TOPIC_8
from tests.app.live.harness import LiveFactory, Side, ask, close_code, race_ms, receive
from tests.support.waiting import eventually


class HaltingOutbox(Outbox):
    """Writes to one client, then waits to be let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.halted = asyncio.Event()
        self.go_on = asyncio.Event()

    async def empty(self, since_s: float) -> float:
        self._write_some()
        self.halted.set()
        await self.go_on.wait()
        return await super().empty(since_s)


class Round:
    """A side whose round stands still when the first of its clients has got it.

    Attributes:
        first: Has got the position.
        other: Has not.
        ts_ms: Of the position of the device `a`.
        cursor: Of the same.
    """

    def __init__(self, side: Side, first: ClientWebSocketResponse, other: ClientWebSocketResponse) -> None:
        self.side = side
        self.first = first
        self.other = other
        self.ts_ms = race_ms()
        self.cursor = ""
        self._outbox = HaltingOutbox()

    async def begin(self) -> None:
        """Publish the position and see it reach the first client alone."""
        self.side.live.requests.fan_out._outbox = self._outbox
        await self.side.publish("a", self.ts_ms)
        await self._outbox.halted.wait()
        frame = await receive(self.first)
        assert frame["ts"] == self.ts_ms
        self.cursor = frame["cursor"]

    def end(self) -> None:
        self._outbox.go_on.set()

    async def next_comes_to(self, *sockets: ClientWebSocketResponse) -> None:
        """Let the round end; then a later position is the next thing that comes to these."""
        self.end()
        later_ms = self.ts_ms + 1000
        await self.side.publish("a", later_ms)
        assert [(await receive(socket))["ts"] for socket in sockets] == [later_ms] * len(sockets)


async def subscribe(side: Side, topic: str = TOPIC_7, **options: Any) -> tuple[ClientWebSocketResponse, dict[str, Any]]:
    socket = await side.connect()
    return socket, await ask(socket, type="subscribe", topic=topic, **options)


@pytest.fixture
async def begun(live: LiveFactory, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Round]:
    monkeypatch.setattr("telemetry_app.live.delivery.outbox._WRITES", 1)
    monkeypatch.setattr("telemetry_app.live.delivery.outbox._LONGEST_S", -1)
    async with live(devices={SEVEN: ["a"], EIGHT: ["a"]}, limits=LiveLimits(gather_s=0)) as side:
        (first, _), (other, _) = await subscribe(side), await subscribe(side)
        round_ = Round(side, first, other)
        await round_.begin()
        try:
            yield round_
        finally:
            round_.end()


async def test_who_subscribes_then_gets_the_position_once(begun: Round) -> None:
    """A new client is given the position behind its snapshot, and not again by the rest of the round."""
    socket, answer = await subscribe(begun.side)
    assert (answer["type"], answer["snapshot"]) == ("subscribed", [])
    assert (await receive(socket))["ts"] == begun.ts_ms
    begun.end()
    assert (await receive(begun.other))["ts"] == begun.ts_ms
    await begun.next_comes_to(begun.first, begun.other, socket)


async def test_who_subscribes_again_gets_it_before_the_answer(begun: Round) -> None:
    """What the old subscription has still to get comes first; the new one is given it too, as at any other time."""
    answer = await ask(begun.other, type="subscribe", topic=TOPIC_7)
    assert (answer["type"], answer["ts"]) == ("position", begun.ts_ms)
    assert (await receive(begun.other))["type"] == "subscribed"
    assert (await receive(begun.other))["ts"] == begun.ts_ms
    await begun.next_comes_to(begun.first, begun.other)


@pytest.mark.parametrize("has_it", [True, False])
async def test_who_resumes_then_gets_the_position_once(begun: Round, *, has_it: bool) -> None:
    """From a cursor before the position a client is given it, from the position's own it is not."""
    socket, answer = await subscribe(begun.side, since=begun.cursor if has_it else "0-0")
    assert (answer["resumed"], answer["snapshot"]) == (True, [])
    if not has_it:
        assert (await receive(socket))["ts"] == begun.ts_ms
    begun.end()
    assert (await receive(begun.other))["ts"] == begun.ts_ms
    await begun.next_comes_to(begun.first, begun.other, socket)


async def test_who_unsubscribes_then_gets_it_before_the_answer(begun: Round) -> None:
    """Nothing of a topic comes behind the answer that says so."""
    frame = await ask(begun.other, type="unsubscribe", topic=TOPIC_7)
    assert (frame["type"], frame["ts"]) == ("position", begun.ts_ms)
    assert (await receive(begun.other))["type"] == "unsubscribed"
    await begun.next_comes_to(begun.first)
    assert (await ask(begun.other, type="unsubscribe", topic=TOPIC_8))["topic"] == TOPIC_8


async def test_who_leaves_then_is_nobody_s_loss(begun: Round) -> None:
    """The round goes on for the others when a client of it leaves."""
    third, _ = await subscribe(begun.side)
    await receive(third)
    await begun.other.close()
    await eventually(lambda: len(begun.side.live.registry.connections) == 2, message="it has left")
    await begun.next_comes_to(begun.first, third)


async def test_who_is_closed_then_gets_it_before_the_reason(begun: Round) -> None:
    """A client that is closed as too slow gets what it was to get, and then the close frame."""
    (connection,) = [s.connection for s in begun.side.live.registry if s.connection.unsent_bytes]
    connection.close_as_slow()
    assert (await receive(begun.other))["ts"] == begun.ts_ms
    assert await close_code(begun.other) == 4408
    await begun.next_comes_to(begun.first)


async def test_several_topics_of_one_client_stay_in_order(live: LiveFactory) -> None:
    """A client of two events gets each position of both, though its limit has room for one frame at a time."""
    limits = LiveLimits(slow_client_bytes=200, gather_s=0)
    async with live(devices={SEVEN: ["a"], EIGHT: ["a"]}, limits=limits) as side:
        socket, _ = await subscribe(side)
        await ask(socket, type="subscribe", topic=TOPIC_8)
        ts_ms = race_ms()
        for number in range(3):
            # One by one: two that are read together would be more than the limit.
            await side.publish("a", ts_ms + number)
            came = [await receive(socket) for _ in range(2)]
            assert {(frame["ts"], frame["topic"]) for frame in came} == {
                (ts_ms + number, topic) for topic in (TOPIC_7, TOPIC_8)
            }
        assert side.observed.counts["conflated"] == 0


async def test_others_have_their_turn(live: LiveFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round to many clients lets the rest of the loop run in between."""
    monkeypatch.setattr("telemetry_app.live.delivery.outbox._WRITES", 1)
    monkeypatch.setattr("telemetry_app.live.delivery.outbox._LONGEST_S", -1)
    async with live(devices={SEVEN: ["a"]}, limits=LiveLimits(gather_s=0)) as side:
        sockets = [(await subscribe(side))[0] for _ in range(20)]
        turns: list[int] = []
        deliver = side.live.deliver

        async def counting(batch: Any) -> None:
            begun = asyncio.create_task(deliver(batch))
            turns.append(0)
            while not begun.done():
                turns[-1] += 1
                await asyncio.sleep(0)

        side.live.deliver = counting  # type: ignore[method-assign]
        ts_ms = race_ms()
        for number in range(3):
            await side.publish("a", ts_ms + number)
        came = [[(await receive(socket))["ts"] for _ in range(3)] for socket in sockets]
        assert came == [[ts_ms, ts_ms + 1, ts_ms + 2]] * len(sockets)
        assert min(turns) >= len(sockets)
