"""Events that alone take more than a client may cost: they are given in pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import pytest

from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.wire import cursor
from telemetry_app.live.wire.position import LivePosition
from tests.app.live.directus.rights import SEVEN, TOPIC_7
from tests.app.live.harness import LiveFactory, Side, Stored, ask, entry_of, publish, race_ms, receive
from tests.app.live.rawsocket import RawClient
from tests.app.live.records import live_position
from tests.app.live.sightings import Shown
from tests.support.waiting import eventually

LIMIT = 100_000
#: Far more than the kernel takes for a client that does not read.
MANY = [f"device-{number:05}" for number in range(30_000)]
FEW = MANY[:2000]


def stored(devices: list[str], ts_ms: int) -> Stored:
    database = Stored()
    for device in devices:
        database.store(live_position(device, ts_ms))
    return database


async def stalled(side: Side) -> RawClient:
    """Return a client that was given the first page, and reads nothing more."""
    client = await RawClient.connect(side.port, side.cookie)
    await client.send_json(type="subscribe", topic=TOPIC_7)
    await eventually(lambda: any(connection.unsent_bytes for connection in side.live.registry.connections))
    return client


class Race:
    """Moves some devices on, and takes note of what the clients cost."""

    def __init__(self, side: Side, devices: list[str], ts_ms: int) -> None:
        self.side = side
        self.devices = devices
        self.ts_ms = ts_ms
        self.most_bytes = 0

    async def round(self) -> None:
        side = self.side
        self.ts_ms += 1000
        async with side.redis.pipeline(transaction=False) as together:
            for device in self.devices:
                await publish(together, side.stream, device, self.ts_ms, partitions=side.partitions)
            await together.execute()
        unsent = (connection.unsent_bytes for connection in side.live.registry.connections)
        self.most_bytes = max(self.most_bytes, *unsent, 0)


def positions(frame: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = frame.get("snapshot", [frame])
    return found


async def test_every_device_is_given_once(live: LiveFactory) -> None:
    """Some devices are in the answer, the others follow as frames; cursors begin when nothing is owed any more."""
    ts_ms = race_ms()
    limits = LiveLimits(slow_client_bytes=LIMIT)
    async with live(devices={SEVEN: FEW}, limits=limits, stored=stored(FEW, ts_ms)) as side:
        socket = await side.connect()
        answer = await ask(socket, type="subscribe", topic=TOPIC_7, id=1)
        assert (answer["type"], answer["id"], answer["cursor"]) == ("subscribed", 1, "")
        assert 0 < len(answer["snapshot"]) < len(FEW)
        frames = [await receive(socket) for _ in range(len(FEW) - len(answer["snapshot"]))]
        assert {(frame["type"], frame["topic"], frame["cursor"]) for frame in frames} == {("position", TOPIC_7, "")}
        given = [position for frame in (answer, *frames) for position in positions(frame)]
        assert sorted(position["deviceId"] for position in given) == FEW
        assert {position["ts"] for position in given} == {ts_ms}
        entry_id = await side.publish(FEW[0], ts_ms + 1000)
        assert entry_of(await receive(socket)) == entry_id


async def test_a_stalled_client_costs_no_more_than_the_limit(live: LiveFactory) -> None:
    """However large the event is; when the client reads again it is given every device, and each only ever newer."""
    ts_ms = race_ms()
    limits = LiveLimits(slow_client_bytes=LIMIT, slow_client_s=60)
    async with live(devices={SEVEN: MANY}, limits=limits, stored=stored(MANY, ts_ms)) as side:
        client = await stalled(side)
        (connection,), (subscription,) = side.live.registry.connections, side.live.registry
        race = Race(side, MANY[::40], ts_ms)
        for _ in range(5):
            await race.round()
        await side.idle()
        assert len(subscription.owed) > len(MANY) // 4
        shown, cursors, rounds = Shown(), set[bool](), 0
        while len(shown.seen) < len(MANY) or not shown.has_reached(race.ts_ms, race.devices):
            frame = await client.json()
            shown.note(frame)
            if len(shown.seen) > 2000 * rounds:
                rounds += 1
                await race.round()
            # There is none to go on from before every device was given.
            cursors.add(frame["cursor"] == "" or len(shown.seen) == len(MANY))
        assert 0 < race.most_bytes <= LIMIT
        assert connection.conflated_since_seq is None
        assert cursors == {True}
        assert [times for times in shown.seen.values() if times != sorted(set(times))] == []
        assert not subscription.owed
        client.close()


async def test_a_client_that_does_not_read_the_pages_is_closed(live: LiveFactory) -> None:
    """After the time it has it is closed with 4408, as one is that does not read live positions."""
    limits = LiveLimits(slow_client_bytes=LIMIT, slow_client_s=0.3, close_grace_s=60)
    async with live(devices={SEVEN: MANY}, limits=limits, stored=stored(MANY, race_ms())) as side:
        client = await stalled(side)
        await eventually(lambda: side.observed.counts["slow"] == 1)
        frames, code = await client.rest()
        assert code == 4408
        assert 0 < sum(len(positions(frame)) for frame in frames) < len(MANY)
        await eventually(lambda: side.observed.gauges == {"connections": 0, "subscriptions": 0})
        client.close()


async def test_a_subscription_that_ends_meanwhile(live: LiveFactory) -> None:
    """No page follows once the right to see the event is gone."""
    limits = LiveLimits(slow_client_bytes=LIMIT, slow_client_s=60)
    async with live(devices={SEVEN: MANY}, limits=limits, stored=stored(MANY, race_ms())) as side:
        client = await stalled(side)
        (connection,) = side.live.registry.connections
        side.live.registry.unsubscribe(connection, TOPIC_7)
        await client.send_json(type="nothing")
        given = 0
        while (frame := await client.json())["type"] != "error":
            given += len(positions(frame))
        assert 0 < given < len(MANY)
        client.close()


async def test_a_subscription_that_ends_while_a_page_is_read(
    live: LiveFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That page is not given any more."""
    database = stored(FEW, race_ms())
    async with live(devices={SEVEN: FEW}, limits=LiveLimits(slow_client_bytes=LIMIT), stored=database) as side:
        newest = database.newest

        async def end_and_read(devices: Collection[str]) -> list[LivePosition] | None:
            for subscription in list(side.live.registry):
                side.live.registry.unsubscribe(subscription.connection, TOPIC_7)
            return await newest(devices)

        monkeypatch.setattr(database, "newest", end_and_read)
        socket = await side.connect()
        assert (await ask(socket, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"
        assert (await ask(socket, type="nothing"))["type"] == "error"


@pytest.mark.parametrize("partitions", [1, 3])
async def test_what_was_missed_comes_in_pages(live: LiveFactory, partitions: int) -> None:
    """A client that comes back to a large event is given each device that moved, once, at its newest place."""
    ts_ms = race_ms()
    limits = LiveLimits(slow_client_bytes=LIMIT)
    async with live(devices={SEVEN: FEW}, limits=limits, stored=stored(FEW, ts_ms), partitions=partitions) as side:
        since = cursor.of(side.live.requests.fan_out.vector)
        race = Race(side, FEW[::2], ts_ms)
        await race.round()
        await race.round()
        await side.idle()
        socket = await side.connect()
        answer = await ask(socket, type="subscribe", topic=TOPIC_7, since=since)
        assert (answer["resumed"], answer["snapshot"], answer["cursor"]) == (True, [], "")
        frames = [await receive(socket) for _ in race.devices]
        assert Counter(frame["deviceId"] for frame in frames) == Counter(race.devices)
        assert {(frame["ts"], frame["cursor"]) for frame in frames} == {(race.ts_ms, "")}
        # Nothing else follows but what is new, from where the next connection can go on.
        await side.publish(FEW[1], ts_ms + 5000)
        last = await receive(socket)
        assert (last["deviceId"], last["ts"]) == (FEW[1], ts_ms + 5000)
        again = await side.connect()
        answer = await ask(again, type="subscribe", topic=TOPIC_7, since=last["cursor"])
        assert answer["resumed"] is True


async def test_coming_back_in_the_middle(live: LiveFactory) -> None:
    """A client that lost its connection before everything was given begins anew, with a snapshot."""
    ts_ms = race_ms()
    limits = LiveLimits(slow_client_bytes=LIMIT)
    async with live(devices={SEVEN: FEW}, limits=limits, stored=stored(FEW, ts_ms)) as side:
        socket = await side.connect()
        since = (await ask(socket, type="subscribe", topic=TOPIC_7))["cursor"]
        await socket.close()
        answer = await ask(await side.connect(), type="subscribe", topic=TOPIC_7, since=since)
        assert "resumed" not in answer
        assert answer["snapshot"]
