"""A database that was away: what clients are shown meanwhile, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from telemetry_app.live.clients.limits import LiveLimits
from tests.app.live.delivery.announced import MANY, TS, database, next_of, nothing_before, watch
from tests.app.live.directus.rights import EIGHT, SEVEN, TOPIC_8
from tests.app.live.harness import LiveFactory, ask, receive
from tests.support.waiting import eventually


@pytest.mark.parametrize("batch", [False, True])
async def test_a_partial_answer_is_completed(live: LiveFactory, *, batch: bool) -> None:
    """Clients are shown what passed here, told that devices are missing, given them later, and told that it is all."""
    async with live(devices={SEVEN: ["a", "b", "c", "never"]}, stored=database(a=1, b=2, c=3)) as side:
        whole, _ = await watch(side)
        await side.publish("a", TS + 10)
        assert await next_of(whole) == ("a", 10)
        side.stored.away = True
        socket, answer = await watch(side, id=1, batch=batch)
        assert (answer["partial"], answer["snapshot"], answer["cursor"], answer["id"]) == (True, [], "", 1)
        first = await receive(socket)
        (shown,) = first.get("positions", [first])
        assert (shown["deviceId"], shown["ts"] - TS, first["cursor"]) == ("a", 10, "")
        await side.publish("b", TS + 20)
        assert await next_of(whole) == ("b", 20)
        live_one = await receive(socket)
        assert live_one["cursor"] == ""
        side.stored.away = False
        frame = await receive(socket)
        (shown,) = frame.get("positions", [frame])
        assert (shown["deviceId"], shown["ts"] - TS) == ("c", 3)
        assert await next_of(socket) == ("complete",)
        await side.publish("a", TS + 30)
        assert (await receive(socket))["cursor"]
        assert await next_of(whole) == ("a", 30)
        await nothing_before(side, whole, "a")


async def test_an_event_without_devices_is_not_partial(live: LiveFactory) -> None:
    """An answer that needs nothing of the database is whole."""
    async with live(devices={}) as side:
        side.stored.away = True
        _, answer = await watch(side)
        assert ("partial" in answer, answer["snapshot"]) == (False, [])


async def test_only_the_events_that_cannot_be_read_are_partial(live: LiveFactory) -> None:
    """A client with several topics is told of each; completing one repeats nothing of the other."""
    async with live(devices={SEVEN: ["a"], EIGHT: ["b"]}, stored=database(a=1, b=2)) as side:
        socket, answer = await watch(side)
        assert "partial" not in answer
        side.stored.away = True
        assert (await ask(socket, type="subscribe", topic=TOPIC_8))["partial"]
        side.stored.away = False
        assert await next_of(socket) == ("b", 2)
        assert await next_of(socket) == ("complete",)
        await nothing_before(side, socket, "a")


async def test_a_client_that_comes_back_needs_no_database(live: LiveFactory) -> None:
    """The stream has all that it missed."""
    async with live(devices={SEVEN: ["a", "b"]}, stored=database(a=1, b=2)) as side:
        _, answer = await watch(side)
        side.stored.away = True
        await side.publish("a", TS + 10)
        await side.idle()
        socket, again = await watch(side, since=answer["cursor"])
        assert (again.get("resumed"), "partial" in again) == (True, False)
        assert await next_of(socket) == ("a", 10)
        await nothing_before(side, socket, "b")


async def test_a_partial_client_that_comes_back_begins_anew(live: LiveFactory) -> None:
    """Its frames have no cursor to go on from, so that nothing stays missing."""
    async with live(devices={SEVEN: ["a", "b"]}, stored=database(a=1, b=2)) as side:
        side.stored.away = True
        socket, answer = await watch(side)
        await side.publish("a", TS + 10)
        frame = await receive(socket)
        side.stored.away = False
        for since in (answer["cursor"], frame["cursor"]):
            assert "resumed" not in (await watch(side, since=since))[1]


async def test_a_worker_that_does_not_know_the_devices_yet(live: LiveFactory) -> None:
    """Started without a database it says that everything is missing, also to who comes back; then all of it follows."""
    async with live(devices={SEVEN: ["a", "b"]}, stored=database(a=1, b=2)) as side:
        _, answer = await watch(side)
        known, side.entries.version = side.entries.devices_of(SEVEN), 0
        side.entries._devices, side.stored.away = {}, True
        (newcomer, first), (returning, second) = await watch(side), await watch(side, since=answer["cursor"])
        assert [(a["partial"], a["snapshot"], "resumed" in a) for a in (first, second)] == [(True, [], False)] * 2
        side.stored.away = False
        await side.publish("a", TS + 10)
        await side.idle()
        side.entries.change({SEVEN: known})
        for socket in (newcomer, returning):
            # What passed while nobody knew whose it was is not stored yet: it follows with the next look at the table.
            assert sorted([await next_of(socket), await next_of(socket)]) == [("a", 1), ("b", 2)]
            assert await next_of(socket) == ("complete",)


async def test_the_database_goes_away_in_the_middle_of_a_large_event(
    live: LiveFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages that cannot be read follow when it is back, and cursors begin only then."""
    limits = LiveLimits(slow_client_bytes=100_000)
    stored = database(**dict.fromkeys(MANY, 1))
    async with live(devices={SEVEN: MANY}, stored=stored, limits=limits) as side:
        newest = stored.newest

        async def away_after_the_answer(devices: Any) -> Any:
            return None if list(side.live.registry) else await newest(devices)

        monkeypatch.setattr(stored, "newest", away_after_the_answer)
        socket, answer = await watch(side)
        assert answer["snapshot"]
        await eventually(lambda: all(not s.owed for s in side.live.registry))
        await side.publish(MANY[0], TS + 10)
        shown = {position["deviceId"] for position in answer["snapshot"]}
        frame = await receive(socket)
        assert (frame["deviceId"], frame["cursor"]) == (MANY[0], "")
        shown.add(MANY[0])
        monkeypatch.setattr(stored, "newest", newest)
        while (told := await next_of(socket)) != ("complete",):
            shown.add(told[0])
        assert shown == set(MANY)
