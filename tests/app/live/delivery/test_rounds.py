"""In the middle of a round, when some clients have had their turn and others not yet: no client can tell."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse

from telemetry_app.live.clients.connection import Connection
from telemetry_app.live.clients.lane import Lane
from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.clients.subscription import Subscription
from tests.app.live.directus.rights import EIGHT, SEVEN, TOPIC_7, TOPIC_8
from tests.app.live.harness import LiveFactory, Side, ask, close_code, race_ms, receive
from tests.app.live.records import live_position
from tests.app.live.sightings import positions_of
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def _one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let others have their turn after every client."""
    monkeypatch.setattr("telemetry_app.live.clients.registry.SIZE", 1)
    monkeypatch.setattr("telemetry_app.live.delivery.turns._LONGEST_S", -1)


class Round:
    """A side whose round stands still when the first of its clients has had its turn; what comes then is read on.

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
        self._halted = asyncio.Event()
        self._go_on = asyncio.Event()

    async def begin(self) -> None:
        """Publish the position and see it reach the first client alone."""
        turns = self.side.live.requests.fan_out._turns
        go_round = turns.go_round

        async def halting(meanwhile: Callable[[float], None]) -> float:
            round_ = turns._round()
            next(round_, None)
            self._halted.set()
            spent_s = 0.0
            while not self._go_on.is_set():
                # As if it took long.
                spent_s += 1
                meanwhile(spent_s)
                await asyncio.sleep(0.005)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(turns, "_round", lambda: round_)
                return await go_round(meanwhile)

        turns.go_round = halting  # type: ignore[method-assign]
        await self.side.publish("a", self.ts_ms)
        await self._halted.wait()
        frame = await receive(self.first)
        assert [position["ts"] for position in positions_of(frame)] == [self.ts_ms]
        self.cursor = frame["cursor"]
        self._seq = self.side.live.history.seq

    def connection(self, *, has_it: bool) -> Connection:
        """Return the connection of the client that has got the position, or of the one that has not."""
        (connection,) = [s.connection for s in self.side.live.registry if (_turn(s) == self._seq) == has_it]
        return connection

    async def another_passes(self, device: str = "a", *, later_ms: int = 100) -> int:
        """Publish a later position and wait until it has passed; return its time."""
        later_ms += self.ts_ms
        await self.side.publish(device, later_ms)
        await self.side.idle()
        return later_ms

    def end(self) -> None:
        self._go_on.set()

    async def next_comes_to(self, *sockets: ClientWebSocketResponse, device: str = "a") -> None:
        """Let the round end; then a later position is the next thing that comes to these."""
        self.end()
        later_ms = self.ts_ms + 1000
        await self.side.publish(device, later_ms)
        assert [await times(socket) for socket in sockets] == [[later_ms]] * len(sockets)


def _turn(subscription: Subscription) -> int:
    lane = subscription.lane
    assert isinstance(lane, Lane)
    return lane.turn if subscription in lane.steady else subscription.turn


async def times(socket: ClientWebSocketResponse, frames: int = 1) -> list[int]:
    """Return the times of the positions in so many frames."""
    return [position["ts"] for _ in range(frames) for position in positions_of(await receive(socket))]


async def subscribe(side: Side, topic: str = TOPIC_7, **options: Any) -> tuple[ClientWebSocketResponse, dict[str, Any]]:
    socket = await side.connect()
    return socket, await ask(socket, type="subscribe", topic=topic, **options)


@contextlib.asynccontextmanager
async def a_round(
    live: LiveFactory,
    devices: Collection[str],
    *,
    slow_client_bytes: int = 10_000,
    batch: bool = False,
    steady: bool = False,
) -> AsyncIterator[Round]:
    limits = LiveLimits(slow_client_bytes=slow_client_bytes, gather_s=0)
    async with live(devices={SEVEN: devices, EIGHT: devices}, limits=limits) as side:
        (first, _), (other, _) = await subscribe(side, batch=batch), await subscribe(side, batch=batch)
        await eventually(lambda: not any(s.owed for s in side.live.registry), message="both know every device")
        round_ = Round(side, first, other)
        if steady:
            await side.publish("a", round_.ts_ms - 1000)
            assert [await times(socket) for socket in (first, other)] == [[round_.ts_ms - 1000]] * 2
            connections = side.live.registry.connections
            await eventually(lambda: all(one.steady for one in connections), message="they are steady")
            side.live.history.forget("a")
        await round_.begin()
        try:
            yield round_
        finally:
            round_.end()


@pytest.fixture(params=[False, True], ids=["new", "steady"])
async def begun(live: LiveFactory, request: pytest.FixtureRequest) -> AsyncIterator[Round]:
    async with a_round(live, ["a", "b"], steady=request.param) as round_:
        yield round_


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


@pytest.mark.parametrize("has_it", [True, False])
async def test_who_is_closed_then_gets_it_when_it_resumes(begun: Round, *, has_it: bool) -> None:
    """What has passed and it was not given yet comes behind its cursor: the newest of each device, once."""
    socket, rest = (begun.first, begun.other) if has_it else (begun.other, begun.first)
    later_ms = await begun.another_passes()
    begun.connection(has_it=has_it).close()
    assert await close_code(socket) == 1001
    again, answer = await subscribe(begun.side, since=begun.cursor if has_it else "0-0")
    assert (answer["resumed"], answer["snapshot"]) == (True, [])
    assert await times(again) == [later_ms]
    begun.end()
    wanted = [begun.ts_ms, later_ms] if has_it else [later_ms]
    assert await times(rest, len(wanted)) == wanted
    await begun.next_comes_to(again, rest)


@pytest.mark.parametrize("has_it", [True, False])
async def test_who_changes_topics_then_loses_nothing(begun: Round, *, has_it: bool) -> None:
    """What has passed comes before the one topic ends, and once in the other; nothing of the one comes any more."""
    socket = begun.first if has_it else begun.other
    later_ms = await begun.another_passes()
    wanted = [later_ms] if has_it else [begun.ts_ms, later_ms]
    await socket.send_json({"type": "unsubscribe", "topic": TOPIC_7})
    assert await times(socket, len(wanted)) == wanted
    assert (await receive(socket))["type"] == "unsubscribed"
    assert (await ask(socket, type="subscribe", topic=TOPIC_8))["type"] == "subscribed"
    assert await times(socket, 2) == [begun.ts_ms, later_ms]
    last_ms = await begun.another_passes(later_ms=200)
    begun.end()
    await begun.side.publish("a", begun.ts_ms + 1000)
    came = [await receive(socket) for _ in range(2)]
    assert [(frame["topic"], frame["ts"]) for frame in came] == [(TOPIC_8, last_ms), (TOPIC_8, begun.ts_ms + 1000)]


async def test_what_passes_then_goes_to_whose_turn_is_to_come(
    live: LiveFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had no turn yet is given all of it in this one; who had, the rest in the next, though nothing else comes."""
    async with a_round(live, ["a"], batch=True) as begun:
        later_ms = await begun.another_passes()
        monkeypatch.setattr("telemetry_app.live.clients.registry.SIZE", 32)
        begun.end()
        assert await times(begun.other) == [begun.ts_ms, later_ms]
        assert await times(begun.first) == [later_ms]
        turns = begun.side.live.requests.fan_out._turns
        await eventually(lambda: not turns._passed, message="nothing is kept any more")
        await begun.next_comes_to(begun.first, begun.other)


async def test_no_round_is_begun_within_another(begun: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    """What passes during a round of leftovers, which nothing that passed has begun, waits for its turns."""
    fan_out = begun.side.live.requests.fan_out
    fan_out._has_passed.clear()
    monkeypatch.setattr("telemetry_app.live.delivery.turns._LONGEST_S", 3600)
    later_ms = await begun.another_passes()
    assert fan_out._turns.waiting == 2
    begun.end()
    assert await times(begun.first) == [later_ms]
    assert await times(begun.other, 2) == [begun.ts_ms, later_ms]


async def test_no_more_waits_than_a_client_may_cost(live: LiveFactory) -> None:
    """Where many positions wait already, more pass only when everybody has been given those."""
    async with a_round(live, ["a"], slow_client_bytes=500, batch=True) as begun:
        (stream,) = begun.side.reader.streams
        read = begun.side.reader.reached[stream]
        await begun.side.publish("a", begun.ts_ms + 100)
        await eventually(lambda: begun.side.reader.reached[stream] > read, message="it is read")
        begun.end()
        assert [await times(begun.other) for _ in range(2)] == [[begun.ts_ms], [begun.ts_ms + 100]]
        assert await times(begun.first) == [begun.ts_ms + 100]


async def test_who_does_not_keep_up_then_gets_it_once(begun: Round) -> None:
    """A client that catches up in the middle of a round is given all that has passed, and nothing of it again."""
    assert not begun.connection(has_it=False).offer(bytes(10_001), 1, 0)
    assert await times(begun.other) == [begun.ts_ms]
    await begun.next_comes_to(begun.first, begun.other)


async def test_who_falls_behind_between_two_topics_misses_nothing(begun: Round) -> None:
    """A client that does not keep up after its turn in one topic is given what it lacks of the other."""
    connection = begun.connection(has_it=False)
    await ask(begun.other, type="subscribe", topic=TOPIC_8)
    assert (await receive(begun.other))["type"] == "subscribed"
    assert await times(begun.other) == [begun.ts_ms]
    later_ms = await begun.another_passes("b")
    seven, _ = begun.side.live.registry.of(connection)
    turns = begun.side.live.requests.fan_out._turns
    turns._give([seven], turns._passed[TOPIC_7])
    assert not connection.offer(bytes(10_001), 1, seven.turn)
    assert [(await receive(begun.other))["topic"] for _ in range(2)] == [TOPIC_7, TOPIC_8]
    begun.end()
    assert await times(begun.first) == [later_ms]
    await begun.side.publish("b", begun.ts_ms + 1000)
    assert await times(begun.other, 2) == [begun.ts_ms + 1000] * 2


async def test_a_device_taken_out_then_does_not_come_back(begun: Round) -> None:
    """Its positions come before the frame that removes it."""
    begun.side.entries.change({SEVEN: ["b"]})
    assert await times(begun.other) == [begun.ts_ms]
    assert [(await receive(socket))["type"] for socket in (begun.first, begun.other)] == ["removed"] * 2
    await begun.next_comes_to(begun.first, begun.other, device="b")


async def test_what_a_snapshot_had_is_held_back_until_the_turn(begun: Round) -> None:
    """A position that passes after a snapshot that has it is not shown again, though what held it back is gone."""
    stored_ms = begun.ts_ms + 100
    begun.side.stored.store(live_position("a", stored_ms))
    socket, answer = await subscribe(begun.side)
    assert [position["ts"] for position in answer["snapshot"]] == [stored_ms]
    assert await begun.another_passes() == stored_ms
    gated = begun.side.live.requests.fan_out._gated
    await eventually(lambda: not gated, message="nothing is held back any more")
    await begun.next_comes_to(socket)


async def test_what_comes_in_a_page_does_not_come_again(live: LiveFactory) -> None:
    """A position that passes while its device's page is owed comes with the page, and not again in a turn."""
    devices = [f"device-{number}" for number in range(20)]
    async with a_round(live, ["a", *devices], slow_client_bytes=1000) as begun:
        stored, go_on = begun.side.stored, asyncio.Event()
        newest = stored.newest

        async def halting(device_ids: Collection[str]) -> Any:
            if any(subscription.owed for subscription in begun.side.live.registry):
                await go_on.wait()
            return await newest(device_ids)

        stored.newest = halting  # type: ignore[method-assign]
        socket, _ = await subscribe(begun.side)
        (opened,) = [s for s in begun.side.live.registry if s.owed]
        device = next(iter(opened.owed - {"a"}))
        later_ms = await begun.another_passes(device)
        go_on.set()
        await eventually(lambda: not opened.owed, message="every page has come")
        begun.end()
        await begun.side.publish(device, begun.ts_ms + 1000)
        came: list[int] = []
        while not came or came[-1] < begun.ts_ms + 1000:
            came += [p["ts"] for p in positions_of(await receive(socket)) if p["deviceId"] == device]
        assert came == [later_ms, begun.ts_ms + 1000]


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


async def test_others_have_their_turn(live: LiveFactory) -> None:
    """A round to many clients lets the rest of the loop run in between, and lets what comes meanwhile be read."""
    async with live(devices={SEVEN: ["a"]}, limits=LiveLimits(gather_s=0)) as side:
        sockets = [(await subscribe(side))[0] for _ in range(20)]
        turns, pauses = side.live.requests.fan_out._turns, 0
        others: list[int] = []
        go_round = turns.go_round

        async def counting(meanwhile: Callable[[float], None]) -> float:
            def look(spent_s: float) -> None:
                nonlocal pauses
                pauses += 1
                meanwhile(spent_s)

            begun = asyncio.create_task(go_round(look))
            others.append(0)
            while not begun.done():
                others[-1] += 1
                await asyncio.sleep(0)
            return begun.result()

        turns.go_round = counting  # type: ignore[method-assign]
        ts_ms = race_ms()
        await side.publish("a", ts_ms)
        assert [await times(socket) for socket in sockets] == [[ts_ms]] * len(sockets)
        await eventually(lambda: not turns._passed, message="the round is over")
        assert others[0] >= pauses >= len(sockets)
