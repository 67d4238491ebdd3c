"""Devices that are entered into an event or taken out of it, or have no good position, on open maps."""

from __future__ import annotations

from typing import Any

import pytest

from telemetry_app.live.clients.limits import LiveLimits
from tests.app.live.delivery.announced import MANY, TS, database, devices_shown, next_of, nothing_before, watch
from tests.app.live.directus.rights import EIGHT, SEVEN, TOPIC_7, TOPIC_8
from tests.app.live.harness import LiveFactory, ask, receive
from tests.app.live.rawsocket import RawClient
from tests.app.live.records import live_position
from tests.support.waiting import eventually


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
        # A thousand at a time; whoever cannot take them all has the rest read anew, never for less than some dozens.
        assert side.stored.reads - before < len(MANY) // 20
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


async def test_who_does_not_keep_up_costs_no_reads(live: LiveFactory) -> None:
    """What it cannot take anyway is read and given when it keeps up again."""
    async with live(devices={SEVEN: ["a"]}, stored=database(a=1, b=2)) as side:
        socket, _ = await watch(side)
        (connection,) = side.live.registry.connections
        connection.conflated_since_seq = side.live.history.seq
        before = side.stored.reads
        side.entries.change({SEVEN: ["a", "b"]})
        for _ in range(3):
            await side.live._housekeeper._announcer.announce()
        assert side.stored.reads == before
        side.live.registry.slow.add(connection)
        assert await next_of(socket) == ("b", 2)


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


@pytest.mark.parametrize("partitions", [1, 3])
async def test_a_device_without_a_good_position_disappears(live: LiveFactory, partitions: int) -> None:
    """It is removed from all events; unmarked, or with its next position, it comes back."""
    stored = database(a=1)
    async with live(
        devices={SEVEN: ["a", "b", "never"], EIGHT: ["b"]}, stored=stored, review_s=0.2, partitions=partitions
    ) as side:
        (seven, _), (eight, _) = await watch(side), await watch(side, TOPIC_8)
        await side.publish("b", TS + 5)
        assert await next_of(eight) == ("b", 5)
        since = (await receive(seven))["cursor"]
        good = live_position("b", TS + 5)
        stored.store(good, faulty=True)
        assert [await next_of(socket) for socket in (seven, eight)] == [("removed", "b")] * 2
        assert await devices_shown(side) == {"a": 1}
        returning, again = await watch(side, since=since)
        assert again["resumed"]
        assert await next_of(returning) == ("removed", "b")
        stored.store(good)
        assert await next_of(returning) == ("b", 5)
        assert [await next_of(socket) for socket in (seven, eight)] == [("b", 5)] * 2
        del stored.newest_good["b"]
        assert [await next_of(socket) for socket in (seven, eight)] == [("removed", "b")] * 2
        await side.publish("b", TS + 6)
        assert [await next_of(socket) for socket in (seven, eight)] == [("b", 6)] * 2
        await nothing_before(side, seven, "a")


async def test_what_was_marked_does_not_come_back(live: LiveFactory) -> None:
    """What a tracker sends again is late, whether or not its device has a good position; newer ones are not."""
    stored = database(a=1)
    async with live(devices={SEVEN: ["a", "b"]}, stored=stored, review_s=0.2) as side:
        socket, _ = await watch(side)
        for device in ("a", "b"):
            await side.publish(device, TS + 5)
            assert await next_of(socket) == (device, 5)
            stored.store(live_position(device, TS + 5), faulty=True)
        assert sorted([await next_of(socket), await next_of(socket)]) == [("a", 1), ("removed", "b")]
        for device in ("a", "b", "a", "b"):
            await side.publish(device, TS + 5)
        for device in ("a", "b"):
            await side.publish(device, TS + 6)
            assert await next_of(socket) == (device, 6)
        assert side.observed.counts["late"] == 4
