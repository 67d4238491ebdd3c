"""Clients that take whatever passes are written to without a look at each, until anything changes."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from telemetry_app.live.clients.connection import Connection
from telemetry_app.live.clients.lane import SIZE, Lane
from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.clients.subscription import Gate, Subscription
from telemetry_app.live.delivery.announcing import Announcer
from telemetry_app.live.delivery.requests import RequestHandler
from telemetry_app.live.wire.frames import text_frame
from tests.app.live.directus.rights import SEVEN, TOPIC_7
from tests.app.live.harness import LiveFactory, Side, ask, publish, race_ms, receive
from tests.app.live.rawsocket import RawClient
from tests.app.live.sightings import positions_of
from tests.support.waiting import eventually

DEVICES = ["a", "b"]
LIMIT = 10_000


class Crowd:
    """Clients that have all been given a position, and are steady.

    Attributes:
        side: Theirs.
        clients: What they are.
        lane: Where they stand.
        ts_ms: Of the position.
    """

    def __init__(self, side: Side) -> None:
        self.side = side
        self.clients: list[RawClient] = []
        self.ts_ms = race_ms()

    async def gather(self, clients: int) -> None:
        for _ in range(clients):
            client = await RawClient.connect(self.side.port, self.side.cookie)
            await client.send_json(type="subscribe", topic=TOPIC_7, batch=True)
            assert (await client.json())["type"] == "subscribed"
            self.clients.append(client)
        await eventually(lambda: not any(s.owed for s in self.side.live.registry), message="they know every device")
        await self.publish()
        await self.come_to(*self.clients)
        await eventually(lambda: len(self.steady) == clients, message="they are steady")
        (self.lane,) = self.side.live.registry.lanes(TOPIC_7)

    @property
    def steady(self) -> list[Subscription]:
        return [s for lane in self.side.live.registry.lanes(TOPIC_7) for s in lane.steady]

    @property
    def connections(self) -> list[Connection]:
        """Return their connections, in the order in which they came."""
        return [subscription.connection for subscription in self.side.live.registry]

    async def publish(self) -> None:
        self.ts_ms += 100
        await self.side.publish("a", self.ts_ms)

    async def come_to(self, *clients: RawClient) -> None:
        """See that the last position is the next thing that comes to these."""
        for client in clients:
            assert [position["ts"] for position in positions_of(await client.json())] == [self.ts_ms]


def write_to_all(crowd: Crowd, frame: bytes, way: str) -> None:
    """Write a frame to all together, or to one after the other."""
    if way == "lane":
        crowd.lane.write(frame, crowd.lane.turn)
        return
    for connection in crowd.connections:
        connection.write(frame)


@pytest.fixture
async def crowd(live: LiveFactory) -> AsyncIterator[Crowd]:
    async with live(devices={SEVEN: DEVICES}, limits=LiveLimits(slow_client_bytes=LIMIT, gather_s=0)) as side:
        crowd = Crowd(side)
        await crowd.gather(3)
        yield crowd
        for client in crowd.clients:
            client.close()


async def test_the_steady_are_given_everything(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each position once, in order, without a look at their connections."""

    def looked_at(*_: object) -> bool:
        raise AssertionError("it was looked at")

    monkeypatch.setattr(Connection, "offer", looked_at)
    for _ in range(5):
        await crowd.publish()
        await crowd.come_to(*crowd.clients)
    assert crowd.side.observed.counts["sent"] == 6 * 3


@pytest.mark.parametrize("change", ["tell", "lose", "hide", "add_gate"])
async def test_what_decides_what_is_sent_is_changed_among_the_others(crowd: Crowd, change: str) -> None:
    """Before that, it has had all that had passed at its lane's last turn."""
    one, *_ = crowd.steady
    nothing = frozenset[str]()
    arguments = {
        "tell": (frozenset(DEVICES),),
        "lose": (nothing, nothing),
        "hide": ("b",),
        "add_gate": (Gate({"a": (0, 0)}, None, 0.0),),
    }
    getattr(one, change)(*arguments[change])
    assert (one.connection.steady, one in crowd.lane.steady, one in crowd.lane.others) == ([], False, True)
    assert one.seq == one.turn == crowd.lane.turn == crowd.side.live.history.seq
    assert len(crowd.steady) == 2


@pytest.mark.parametrize("change", ["close", "hang_up", "abort"])
async def test_nothing_comes_behind_an_end(crowd: Crowd, change: str) -> None:
    """Who is told that the connection ends is not steady from that moment on; the others are."""
    connection, *_ = crowd.connections
    getattr(connection, change)()
    assert not connection.steady
    await crowd.publish()
    await crowd.come_to(*crowd.clients[1:])
    assert all(subscription.connection is not connection for subscription in crowd.steady)


async def test_what_is_not_taken_comes_before_what_passes_then(crowd: Crowd) -> None:
    """A socket that takes a part keeps whole frames in order, in whatever way they are written."""
    connection, *_ = crowd.connections
    with socket.socket(fileno=os.dup(connection.descriptor)) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    answers = 0
    while not connection.unsent_bytes:
        connection.send(b'{"type":"answer","filler":"%b"}' % (b"x" * 4000))
        answers += 1
    assert not connection.steady
    await crowd.publish()
    await crowd.come_to(*crowd.clients[1:])
    assert [(await crowd.clients[0].json())["type"] for _ in range(answers)] == ["answer"] * answers
    await crowd.come_to(crowd.clients[0])


async def test_a_steady_socket_that_takes_a_part_is_given_the_rest(crowd: Crowd) -> None:
    """It is one of the others from then on, until it has taken everything."""
    connection, *_ = crowd.connections
    with socket.socket(fileno=os.dup(connection.descriptor)) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sent: list[int] = []
    async with asyncio.timeout(60):
        while connection.steady:
            await crowd.publish()
            sent.append(crowd.ts_ms)
            await crowd.come_to(*crowd.clients[1:])
    got: list[int] = []
    while got[-1:] != sent[-1:]:
        got += [position["ts"] for position in positions_of(await crowd.clients[0].json())]
    assert got == sent
    await eventually(lambda: not connection.unsent_bytes, message="it has taken everything")
    for _ in range(2):
        await crowd.publish()
        await crowd.come_to(*crowd.clients)
    assert len(crowd.steady) == 3


@pytest.mark.parametrize("way", ["lane", "connection"])
async def test_a_socket_that_takes_a_part_of_a_frame_is_given_its_rest(crowd: Crowd, way: str) -> None:
    """Each byte comes once: what comes next is a frame again."""
    filler = "".join(str(number) for number in range(50_000))
    frame = text_frame(b'{"type":"answer","filler":"%b"}' % filler.encode())
    connection, *_ = crowd.connections
    with socket.socket(fileno=os.dup(connection.descriptor)) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    write_to_all(crowd, frame, way)
    assert 0 < connection.unsent_bytes < len(frame)
    for client in crowd.clients:
        assert (await client.json())["filler"] == filler
    await crowd.publish()
    await crowd.come_to(*crowd.clients)


@pytest.mark.parametrize("way", ["lane", "connection"])
async def test_a_client_that_is_cut_off_is_nobody_else_s_loss(crowd: Crowd, way: str) -> None:
    """Its socket refuses what it is given before anybody has noticed; the others are given it."""
    connection, *_ = crowd.connections
    cut_off, *others = crowd.clients
    cut_off._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    cut_off.close()
    write_to_all(crowd, text_frame(b'{"type":"answer"}'), way)
    assert not connection.steady
    for client in others:
        assert await client.json() == {"type": "answer"}
    await crowd.publish()
    await crowd.come_to(*others)


async def test_a_steady_socket_that_is_closing_and_takes_a_part_is_looked_at(crowd: Crowd) -> None:
    """The rest is dropped, and nothing is written behind a part of a frame."""
    connection, *_ = crowd.connections
    connection._transport.close()
    crowd.lane.write(bytes(2**25), crowd.lane.turn)
    assert (connection.steady, connection.unsent_bytes) == ([], 0)


@pytest.mark.parametrize("end", ["of the connection", "of the socket"])
async def test_nothing_is_kept_behind_an_end(crowd: Crowd, end: str) -> None:
    """What the socket has not taken by then still comes, and what would come behind it does not."""
    connection, *_ = crowd.connections
    while not connection.unsent_bytes:
        connection.send(b'{"type":"answer","filler":"%b"}' % (b"x" * 4000))
    if end == "of the connection":
        connection.close()
    else:
        connection._transport.close()
    connection.keep(text_frame(b'{"type":"late"}'))
    frames, code = await crowd.clients[0].rest()
    assert {frame["type"] for frame in frames} == {"answer"}
    assert code == (1001 if end == "of the connection" else None)


async def test_who_may_end_without_a_word_is_never_steady(crowd: Crowd) -> None:
    """Its descriptor may be somebody else's by the next round: it is looked at each time."""
    connection, *_ = crowd.connections
    connection.end_is_announced = False
    connection.disturb()
    for _ in range(2):
        await crowd.publish()
        await crowd.come_to(*crowd.clients)
    assert (connection.steady, len(crowd.steady)) == ([], 2)


async def test_more_than_a_client_may_cost_is_not_written(crowd: Crowd) -> None:
    """What passed is too much for one frame: the steady ones catch up, with the newest of each device."""
    async with crowd.side.redis.pipeline(transaction=True) as together:
        for _ in range(2 * LIMIT // 100):
            crowd.ts_ms += 100
            await publish(together, crowd.side.stream, "a", crowd.ts_ms)
        await together.execute()
    await crowd.come_to(*crowd.clients)
    assert crowd.side.observed.counts["conflated"] > 0


async def test_a_descriptor_of_another_is_never_written_to(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client leaves while its request is under way: its descriptor is closed, and may be somebody else's at once."""
    begun, busy = asyncio.Event(), asyncio.Event()

    async def handle(*_: object) -> None:
        begun.set()
        await busy.wait()

    monkeypatch.setattr(RequestHandler, "handle", handle)
    connection, *_ = crowd.connections
    descriptor = connection.descriptor
    await crowd.clients[0].send_json(type="subscribe", topic=TOPIC_7)
    await begun.wait()
    theirs, ours = socket.socketpair()
    with theirs, ours:
        ours.settimeout(0)
        crowd.clients[0].close()
        await eventually(lambda: _is_closed(descriptor), message="the server has closed the socket")
        assert connection in crowd.connections, "nobody has noticed yet"
        os.dup2(theirs.fileno(), descriptor)
        try:
            for _ in range(3):
                await crowd.publish()
                await crowd.come_to(*crowd.clients[1:])
            with pytest.raises(BlockingIOError):
                ours.recv(1)
        finally:
            os.close(descriptor)
            busy.set()


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


@pytest.fixture
async def look(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Nobody lacks anything at a look at all; the next one comes when the event is set."""
    devices = crowd.side.entries.devices_of(SEVEN)
    await eventually(lambda: crowd.lane._complete is devices, message="they were looked at")
    look, announce = asyncio.Event(), Announcer.announce

    async def held(announcer: Announcer) -> bool:
        await look.wait()
        return await announce(announcer)

    monkeypatch.setattr(Announcer, "announce", held)
    return look


@pytest.mark.usefixtures("look")
async def test_who_was_told_of_other_devices_stands_apart(crowd: Crowd) -> None:
    """Cursors end with what a client was told: those with different ones are not written the same frames."""
    one, two, three = crowd.steady
    one.tell(frozenset({"a"}))
    await crowd.publish()
    frames = [await client.json() for client in crowd.clients]
    assert [positions_of(frame)[0]["ts"] for frame in frames] == [crowd.ts_ms] * 3
    assert [frame["cursor"].endswith(s.mark) for frame, s in zip(frames, (one, two, three), strict=True)] == [True] * 3
    assert one.mark != two.mark
    assert crowd.lane.steady == [two, three]


async def test_lanes_are_bounded_and_end_with_their_last(live: LiveFactory) -> None:
    """So a round yields after so many; a newcomer takes the place of who left."""
    async with live(devices={SEVEN: DEVICES}) as side:
        registry = side.live.registry
        sockets = [await side.connect() for _ in range(SIZE + 1)]
        for one in sockets:
            assert (await ask(one, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"
        assert list(map(len, registry.lanes(TOPIC_7))) == [SIZE, 1]
        await side.publish("a", race_ms())
        for one in sockets:
            assert (await receive(one))["type"] == "position"
        await sockets.pop().close()
        await eventually(lambda: list(map(len, registry.lanes(TOPIC_7))) == [SIZE], message="it has left")
        for one in sockets:
            await one.close()
        await eventually(lambda: not registry.lanes(TOPIC_7), message="all have left")


async def test_what_a_client_lacks_is_seen_though_it_is_steady_again(crowd: Crowd, look: asyncio.Event) -> None:
    """Nobody in the lane lacked anything at the last look; then a device lost its place, and a position passed."""
    one, *_ = crowd.steady
    one.hide("b")
    await crowd.publish()
    await crowd.come_to(*crowd.clients)
    assert len(crowd.steady) == 3
    look.set()
    removed = await crowd.clients[0].json()
    assert (removed["type"], removed["deviceId"]) == ("removed", "b")


async def test_a_device_that_was_entered_between_two_looks_only_is_removed(crowd: Crowd, look: asyncio.Event) -> None:
    """The event's devices are those of the last look, at which nobody lacked anything, but maps show another one."""
    entries = crowd.side.entries
    before = entries.devices_of(SEVEN)
    entries.change({SEVEN: [*DEVICES, "c"]})
    crowd.ts_ms += 100
    await crowd.side.publish("c", crowd.ts_ms)
    await crowd.come_to(*crowd.clients)
    entries.change({SEVEN: before})
    look.set()
    for client in crowd.clients:
        removed = await client.json()
        assert (removed["type"], removed["deviceId"]) == ("removed", "c")


def test_an_empty_lane() -> None:
    """Nobody is written to, and nobody lacks anything."""
    lane = Lane()
    assert (lane.write(b"frame", 7), lane.turn, lane.lacking(frozenset("a"))) == (0, 7, [])
