"""Devices that are entered into an event or taken out of it, and a database that was away, on open maps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse

from telemetry_app.live.clients.limits import LiveLimits
from tests.app.live.directus.rights import EIGHT, SEVEN, TOPIC_7, TOPIC_8
from tests.app.live.harness import LiveFactory, Side, Stored, ask, race_ms, receive
from tests.app.live.rawsocket import RawClient
from tests.app.live.records import live_position
from tests.support.waiting import eventually

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


# --- devices come and go ---


async def test_a_device_that_is_entered_appears(live: LiveFactory) -> None:
    """With its stored position, once, on maps that are open; then it moves like the others."""
    async with live(devices={SEVEN: ["a"]}, stored=database(a=1, b=2)) as side:
        (socket, answer), (batched, _) = await watch(side), await watch(side, batch=True)
        assert [position["deviceId"] for position in answer["snapshot"]] == ["a"]
        side.entries.change({SEVEN: ["a", "b"]})
        assert await next_of(socket) == ("b", 2)
        batch = await receive(batched)
        assert [(p["deviceId"], p["ts"] - TS) for p in batch["positions"]] == [("b", 2)]
        await nothing_before(side, socket, "b")


async def test_one_without_a_position_appears_with_its_first(live: LiveFactory) -> None:
    """Nothing is said of it before."""
    async with live(devices={SEVEN: ["a"]}, stored=database(a=1)) as side:
        socket, _ = await watch(side)
        side.entries.change({SEVEN: ["a", "new"]})
        await nothing_before(side, socket, "new")


async def test_a_device_that_is_taken_out_disappears(live: LiveFactory) -> None:
    """Clients are told once, and nothing of it any more; entered again it comes back where it is then."""
    async with live(devices={SEVEN: ["a", "b"]}, stored=database(a=1, b=2)) as side:
        socket, _ = await watch(side)
        await side.publish("b", TS + 3)
        assert await next_of(socket) == ("b", 3)
        side.entries.change({SEVEN: ["a"]})
        assert await next_of(socket) == ("removed", "b")
        await side.publish("b", TS + 4)
        side.stored.store(live_position("b", TS + 4))
        assert await devices_shown(side) == {"a": 1}
        await nothing_before(side, socket, "a")
        side.entries.change({SEVEN: ["a", "b"]})
        assert await next_of(socket) == ("b", 4)
        await nothing_before(side, socket, "a", 900_001)


async def test_a_device_moves_from_one_event_to_another(live: LiveFactory) -> None:
    """The maps of the one lose it, those of the other get it, where it was shown last."""
    async with live(devices={SEVEN: ["a", "b"], EIGHT: ["c"]}, stored=database(a=1, b=2, c=3)) as side:
        (seven, _), (eight, _) = await watch(side), await watch(side, TOPIC_8)
        await side.publish("b", TS + 9)
        assert await next_of(seven) == ("b", 9)
        side.entries.change({SEVEN: ["a"], EIGHT: ["b", "c"]})
        assert await next_of(seven) == ("removed", "b")
        # The database does not have the newest position yet.
        assert await next_of(eight) == ("b", 9)
        await side.publish("b", TS + 10)
        assert await next_of(eight) == ("b", 10)
        await nothing_before(side, seven, "a")


async def test_a_device_in_two_events_is_taken_out_of_one(live: LiveFactory) -> None:
    """The other's maps keep it; a client of both is told by topic."""
    async with live(devices={SEVEN: ["a", "b"], EIGHT: ["b"]}, stored=database(a=1, b=2)) as side:
        socket, _ = await watch(side)
        await ask(socket, type="subscribe", topic=TOPIC_8)
        side.entries.change({SEVEN: ["a"]})
        assert await receive(socket) == {"type": "removed", "topic": TOPIC_7, "deviceId": "b"}
        await side.publish("b", TS + 3)
        frame = await receive(socket)
        assert (frame["topic"], frame["deviceId"]) == (TOPIC_8, "b")
        side.entries.change({SEVEN: ["a", "b"]})
        frame = await receive(socket)
        assert (frame["topic"], frame["deviceId"], frame["ts"] - TS) == (TOPIC_7, "b", 3)


async def test_in_and_out_before_anybody_looks(live: LiveFactory) -> None:
    """Changes that are taken back are not told."""
    async with live(devices={SEVEN: ["a", "b"]}, stored=database(a=1, b=2, c=3)) as side:
        socket, _ = await watch(side)
        for devices in (["a"], ["a", "b", "c"], ["a", "b"]):
            side.entries.change({SEVEN: devices})
        await nothing_before(side, socket, "b")


async def test_what_was_shown_before_it_was_announced_disappears(live: LiveFactory) -> None:
    """A device that was entered, sent a position and was taken out again leaves no ghost."""
    async with live(devices={EIGHT: ["x"]}, stored=database(b=2)) as side:
        side.stored.away = True
        socket, _ = await watch(side)
        side.entries.change({SEVEN: ["b"]})
        await side.publish("b", TS + 3)
        assert await next_of(socket) == ("b", 3)
        side.entries._devices.pop(SEVEN)
        side.entries.version += 1
        assert await next_of(socket) == ("removed", "b")


async def test_what_is_newer_than_the_stored_position_stays(live: LiveFactory) -> None:
    """A position that came live after the device was entered is neither followed by the older one nor repeated."""
    async with live(devices={SEVEN: ["a"]}, stored=database(a=1, b=2)) as side:
        socket, _ = await watch(side)
        side.entries.change({SEVEN: ["a", "b"]})
        await side.publish("b", TS + 50)
        assert await next_of(socket) == ("b", 50)
        await nothing_before(side, socket, "b")


async def test_thousands_are_entered_at_once(live: LiveFactory) -> None:
    """They come in a few reads, and a client that does not read costs no more than it may."""
    limits = LiveLimits(slow_client_bytes=100_000, slow_client_s=60)
    async with live(devices={SEVEN: ["a"]}, stored=database(**dict.fromkeys(["a", *MANY], 1)), limits=limits) as side:
        socket, _ = await watch(side)
        idle = await RawClient.connect(side.port, side.cookie)
        await idle.send_json(type="subscribe", topic=TOPIC_7)
        await idle.json()
        before = side.stored.reads
        side.entries.change({SEVEN: ["a", *MANY]})
        shown = [(await next_of(socket))[0] for _ in MANY]
        assert sorted(shown) == MANY
        assert side.stored.reads - before <= 2 * (len(MANY) // 1000)
        assert max(connection.unsent_bytes for connection in side.live.registry.connections) <= 100_000
        late: set[str] = set()
        while late != set(MANY):
            late.add((await idle.json())["deviceId"])
        idle.close()
        side.entries.change({SEVEN: ["a"]})
        await eventually(lambda: all(not s.told & {*MANY} for s in side.live.registry), timeout_s=30)
        gone: set[str] = set()
        while gone != set(MANY):
            what, device = await next_of(socket)
            gone |= {device} if what == "removed" else set()
        assert await devices_shown(side) == {"a": 1}


async def test_a_device_is_entered_while_a_large_event_is_on_its_way(live: LiveFactory) -> None:
    """It is given when the pages are, and one that was taken out meanwhile is not on the map in the end."""
    limits = LiveLimits(slow_client_bytes=100_000)
    stored = database(**dict.fromkeys(["new", *MANY], 1))
    async with live(devices={SEVEN: MANY}, stored=stored, limits=limits) as side:
        socket, answer = await watch(side)
        side.entries.change({SEVEN: ["new", *MANY[:-1]]})
        shown = {position["deviceId"] for position in answer["snapshot"]}
        while shown != {"new", *MANY[:-1]}:
            frame = await receive(socket)
            if frame["type"] == "removed":
                shown.discard(frame["deviceId"])
            else:
                shown.add(frame["deviceId"])
        await side.publish("new", TS + 9)
        while (frame := await receive(socket)).get("ts") != TS + 9:
            assert frame["type"] == "removed"


@pytest.mark.parametrize("partitions", [1, 3])
async def test_who_comes_back_after_a_change_has_no_ghosts(live: LiveFactory, partitions: int) -> None:
    """A client whose cursor is from before is given a snapshot, also by a worker that began after the change."""
    stored = database(a=1, b=2, c=3)
    async with live(devices={SEVEN: ["a", "b"]}, stored=stored, partitions=partitions) as side:
        socket, answer = await watch(side)
        await side.publish("a", TS + 9)
        since = (await receive(socket))["cursor"]
        side.stored.store(live_position("a", TS + 9))
        assert [(await watch(side, since=s))[1].get("resumed") for s in (answer["cursor"], since)] == [True, True]
        side.entries.change({SEVEN: ["a", "c"]})
        assert await devices_shown(side, since=since) == {"a": 9, "c": 3}
        assert sorted([await next_of(socket), await next_of(socket)]) == [("c", 3), ("removed", "b")]
        await side.publish("a", TS + 10)
        after = (await receive(socket))["cursor"]
    changed = {SEVEN: ["a", "c"]}
    async with live(devices=changed, stored=stored, partitions=partitions, instance_id="two") as side:
        assert await devices_shown(side, since=since) == {"a": 9, "c": 3}
        assert (await watch(side, since=after))[1]["resumed"]


async def test_a_device_is_taken_out_while_a_client_comes_back(
    live: LiveFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told of what changed while it was being answered."""
    async with live(devices={SEVEN: ["a", "b"]}, stored=database(a=1, b=2)) as side:
        _, answer = await watch(side)
        newest = side.stored.newest

        async def change_and_read(devices: Any) -> Any:
            side.entries.change({SEVEN: ["a"]})
            return await newest(devices)

        monkeypatch.setattr(side.stored, "newest", change_and_read)
        socket, again = await watch(side, since=answer["cursor"])
        assert again["resumed"]
        assert await next_of(socket) == ("removed", "b")


# --- a database that was away ---


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


# --- positions that are faulty ---


@pytest.mark.parametrize("partitions", [1, 3])
async def test_a_device_without_a_good_position_disappears(live: LiveFactory, partitions: int) -> None:
    """It is removed from all events; unmarked, or with its next position, it comes back."""
    stored = database(a=1)
    async with live(
        devices={SEVEN: ["a", "b"], EIGHT: ["b"]}, stored=stored, review_s=0.2, partitions=partitions
    ) as side:
        (seven, _), (eight, _) = await watch(side), await watch(side, TOPIC_8)
        await side.publish("b", TS + 5)
        assert [await next_of(socket) for socket in (seven, eight)] == [("b", 5)] * 2
        good = live_position("b", TS + 5)
        stored.store(good, faulty=True)
        assert [await next_of(socket) for socket in (seven, eight)] == [("removed", "b")] * 2
        assert await devices_shown(side) == {"a": 1}
        stored.store(good)
        assert [await next_of(socket) for socket in (seven, eight)] == [("b", 5)] * 2
        del stored.newest_good["b"]
        assert [await next_of(socket) for socket in (seven, eight)] == [("removed", "b")] * 2
        await side.publish("b", TS + 6)
        assert [await next_of(socket) for socket in (seven, eight)] == [("b", 6)] * 2
        await nothing_before(side, seven, "a")
