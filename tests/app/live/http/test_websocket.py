"""The WebSocket on real sockets, rights as Directus gives them: every frame and close code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientWSTimeout, WSMsgType

from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.positions import gather, history
from tests.app.live.directus.rights import EIGHT, MISSING, SEVEN, TOPIC_7, TOPIC_8, Spectator
from tests.app.live.directus.stand_in import DirectusServer
from tests.app.live.harness import LiveFactory, Side, ask, close_code, race_ms, receive
from tests.app.live.rawsocket import RawClient
from tests.app.live.records import live_position
from tests.support.servers.proxy import TcpProxy
from tests.support.waiting import eventually

DEVICES = {SEVEN: ["a", "b"], EIGHT: ["b", "c"]}


@pytest.fixture
async def side(live: LiveFactory) -> AsyncIterator[Side]:
    async with live(devices=DEVICES) as side:
        yield side


async def test_subscribe_snapshot_live(side: Side) -> None:
    """A client is given a snapshot, then each new position as a frame; zeros are left out."""
    ts = race_ms()
    side.stored.store(live_position("a", ts - 1000))
    socket = await side.connect()
    answer = await ask(socket, type="subscribe", topic=TOPIC_7, id=[1, {"x": None}])
    mark = answer["cursor"].removeprefix("0-0")
    assert answer == {
        "type": "subscribed",
        "topic": TOPIC_7,
        "id": [1, {"x": None}],
        "snapshot": [{"deviceId": "a", "lat": 41.0, "lon": 21.0, "ts": ts - 1000, "speed": 33.0, "course": 180.0}],
        "cursor": "0-0" + mark,
    }
    entry_id = await side.publish("b", ts, speed=0.0)
    assert await receive(socket) == {
        "type": "position",
        "topic": TOPIC_7,
        "deviceId": "b",
        "lat": 41.0,
        "lon": 21.0,
        "ts": ts,
        "course": 180.0,
        "cursor": entry_id + mark,
    }


async def test_a_device_in_several_events_reaches_all_of_them(side: Side) -> None:
    """One record of a device in two events is one frame for each topic."""
    socket = await side.connect()
    for topic in (TOPIC_7, TOPIC_8):
        await ask(socket, type="subscribe", topic=topic)
    await side.publish("b", race_ms())
    frames = [await receive(socket), await receive(socket)]
    assert {frame["topic"] for frame in frames} == {TOPIC_7, TOPIC_8}
    assert [frame["deviceId"] for frame in frames] == ["b", "b"]


async def test_unsubscribing_ends_the_frames(side: Side) -> None:
    """After `unsubscribed` no frame of that topic comes; the other topic's go on."""
    socket = await side.connect()
    await ask(socket, type="subscribe", topic=TOPIC_7)
    await ask(socket, type="subscribe", topic=TOPIC_8)
    answer = await ask(socket, type="unsubscribe", topic=TOPIC_7, id="x")
    assert answer == {"type": "unsubscribed", "topic": TOPIC_7, "id": "x"}
    await side.publish("b", race_ms())
    await side.publish("c", race_ms())
    frames = [await receive(socket), await receive(socket)]
    assert [(frame["topic"], frame["deviceId"]) for frame in frames] == [(TOPIC_8, "b"), (TOPIC_8, "c")]


async def test_unsubscribing_what_is_not_subscribed_is_no_error(side: Side) -> None:
    """Both frames may be repeated without harm."""
    socket = await side.connect()
    assert (await ask(socket, type="unsubscribe", topic=TOPIC_7))["type"] == "unsubscribed"
    for _ in range(2):
        assert (await ask(socket, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"
    assert side.observed.gauges["subscriptions"] == 1
    await side.publish("a", race_ms())
    await side.publish("b", race_ms())
    assert [(await receive(socket))["deviceId"] for _ in range(2)] == ["a", "b"]


async def test_late_positions_are_counted_and_not_sent(side: Side) -> None:
    """A record that is older than one already sent, or the same again, never reaches a map."""
    socket = await side.connect()
    await ask(socket, type="subscribe", topic=TOPIC_7)
    ts = race_ms()
    for ts_ms in (ts, ts - 5000, ts, ts + 1):
        await side.publish("a", ts_ms)
    assert [(await receive(socket))["ts"] for _ in range(2)] == [ts, ts + 1]
    assert side.observed.counts["late"] == 2


async def test_positions_of_nobodys_devices_are_counted(side: Side) -> None:
    """A device without event reaches nobody."""
    socket = await side.connect()
    await ask(socket, type="subscribe", topic=TOPIC_7)
    await side.publish("nobody's", race_ms())
    await side.publish("a", race_ms())
    assert (await receive(socket))["deviceId"] == "a"
    assert side.observed.counts["orphans"] == 1
    assert side.observed.counts["sent"] == 1


async def test_a_late_upload_does_not_pass_the_snapshot(side: Side) -> None:
    """A record older than the snapshot's, of a device this worker has not seen yet, is not sent."""
    ts = race_ms()
    side.stored.store(live_position("a", ts))
    socket = await side.connect()
    await ask(socket, type="subscribe", topic=TOPIC_7)
    for ts_ms in (ts - 5000, ts, ts + 1000):
        await side.publish("a", ts_ms)
    assert (await receive(socket))["ts"] == ts + 1000


async def test_an_unstored_position_follows_the_snapshot(side: Side) -> None:
    """What passed before the subscription but is not in the database yet is sent right behind the snapshot."""
    ts = race_ms()
    side.stored.store(live_position("a", ts - 1000))
    await side.publish("a", ts)
    await side.idle()
    socket = await side.connect()
    assert [p["ts"] for p in (await ask(socket, type="subscribe", topic=TOPIC_7))["snapshot"]] == [ts - 1000]
    assert (await receive(socket))["ts"] == ts


async def test_a_place_is_shown_however_long_it_is_not_stored(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is stored, who comes later is shown where each device was last, not the way it took there."""
    for module in (gather, history):
        monkeypatch.setattr(module, "KEPT_S", 0.1)
    ts = race_ms()
    for ts_ms in (ts, ts + 1000):
        await side.publish("a", ts_ms)
    await side.idle()
    await asyncio.sleep(0.2)  # longer than what passed is kept
    socket = await side.connect()
    assert (await ask(socket, type="subscribe", topic=TOPIC_7))["snapshot"] == []
    assert (await receive(socket))["ts"] == ts + 1000


async def test_a_faulty_position_does_not_come_back(side: Side) -> None:
    """What the database has and holds for faulty is not sent behind the snapshot, which has the next best."""
    ts = race_ms()
    side.stored.store(live_position("a", ts - 1000))
    side.stored.store(live_position("a", ts), faulty=True)
    await side.publish("a", ts)
    await side.idle()
    socket = await side.connect()
    assert [p["ts"] for p in (await ask(socket, type="subscribe", topic=TOPIC_7))["snapshot"]] == [ts - 1000]
    await side.publish("a", ts + 1000)
    assert (await receive(socket))["ts"] == ts + 1000


# --- errors ---


@pytest.mark.parametrize(
    ("event_id", "code"),
    [
        (MISSING, "forbidden"),
        ("malformed", "forbidden"),
        ("..", "not-found"),
        (" ", "not-found"),
        (f"{SEVEN} ", "not-found"),
        ("x" * 255, "forbidden"),
        ("x" * 256, "not-found"),
    ],
)
async def test_an_event_that_there_is_not(side: Side, event_id: str, code: str) -> None:
    """Directus hides which events there are; ids that no event can have are not found."""
    await is_refused(side, event_id, code)


async def test_an_event_one_may_not_see(side: Side, directus: DirectusServer) -> None:
    """An event of others is forbidden, whoever came in."""
    await is_refused(side, await directus.add_event("Of others"), "forbidden")


async def test_rights_that_cannot_be_asked(side: Side, directus_line: TcpProxy) -> None:
    """While Directus is out of reach a subscribe is answered with `error`; afterwards it is as good as before."""
    socket = await side.connect()
    await directus_line.refuse()
    directus_line.cut()
    assert (await ask(socket, type="subscribe", topic=TOPIC_7))["code"] == "error"
    await directus_line.accept()
    assert (await ask(socket, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"


async def is_refused(side: Side, event_id: str, code: str) -> None:
    """Make sure that the refusal names code, topic and id, and that no subscription stands."""
    topic = f"event:{event_id}"
    answer = await ask(await side.connect(), type="subscribe", topic=topic, id=3)
    assert (answer["type"], answer["code"], answer["topic"], answer["id"]) == ("error", code, topic, 3)
    assert "subscriptions" not in side.observed.gauges


async def test_a_session_that_has_ended_at_subscribe(
    side: Side, directus: DirectusServer, spectator: Spectator
) -> None:
    """A session that ended after the upgrade closes the connection with 4401."""
    socket = await side.connect()
    await directus.logout(spectator.cookie)
    await socket.send_json({"type": "subscribe", "topic": TOPIC_7})
    assert await close_code(socket) == 4401


async def test_unknown_topic(side: Side) -> None:
    """Only events are topics."""
    socket = await side.connect()
    for topic in ("device:7", "event:", "event"):
        answer = await ask(socket, type="subscribe", topic=topic)
        assert (answer["code"], answer["topic"]) == ("unknown-topic", topic)


async def test_bad_requests_are_answered(side: Side) -> None:
    """Whatever is no frame of the protocol is a bad request with its id, text or bytes, and the connection goes on."""
    socket = await side.connect()
    for data in ('{"type":"ping","id":"probe"}', b'{"type":"ping","id":"probe"}'):
        await (socket.send_str(data) if isinstance(data, str) else socket.send_bytes(data))
        answer = await receive(socket)
        assert (answer["code"], answer["id"]) == ("bad-request", "probe")
    await socket.send_frame(b"\xff\xfe{", WSMsgType.TEXT)
    assert (await receive(socket))["code"] == "bad-request"
    assert (await ask(socket, type="subscribe", topic=TOPIC_7))["type"] == "subscribed"


async def test_too_many_subscriptions(live: LiveFactory) -> None:
    """One topic more than allowed is `limit`; the others stand, and may be asked for again."""
    async with live(devices=DEVICES, limits=LiveLimits(max_subscriptions=2)) as side:
        socket = await side.connect()
        answers = [await ask(socket, type="subscribe", topic=topic) for topic in (TOPIC_7, TOPIC_8, "event:9", TOPIC_7)]
        assert [answer.get("code", "stands") for answer in answers] == ["stands", "stands", "limit", "stands"]
        assert side.observed.gauges["subscriptions"] == 2


# --- the end of a connection ---


async def test_a_frame_too_large(side: Side) -> None:
    """A frame above the limit ends the connection with 1009."""
    socket = await side.connect()
    await socket.send_str("x" * 200_000)
    assert await close_code(socket) == 1009


async def test_a_large_frame_does_not_hide_why(live: LiveFactory) -> None:
    """A client in the middle of sending megabytes is not reset: it can finish, and read the close frame."""
    async with live(devices=DEVICES, limits=LiveLimits(close_grace_s=60)) as side:
        client = await RawClient.connect(side.port, side.cookie)
        await client.send_raw(bytes([0x81, 0xFF]) + (8_000_000).to_bytes(8) + bytes(4))
        for _ in range(80):
            await client.send_raw(bytes(100_000))
        assert await client.rest() == ([], 1009)
        client.close()


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("head", [0x81, 0x82, 0x01, 0x88, 0x89, 0x8A])
async def test_a_frame_without_a_mask(side: Side, head: int, pieces: int) -> None:
    """A client that does not mask what it sends breaks the protocol, whatever it sends, also nothing."""
    for data in (b"", b"\x03\xe8" * 20):
        client = await RawClient.connect(side.port, side.cookie)
        frame = bytes([head, len(data)]) + data
        for start in range(0, len(frame), -(-len(frame) // pieces)):
            await client.send_raw(frame[start : start + -(-len(frame) // pieces)])
            await asyncio.sleep(0)
        assert await client.rest() == ([], 1002)
        client.close()


async def test_too_many_frames(live: LiveFactory, spectator: Spectator) -> None:
    """Frames beyond burst and rate end the connection with 4429, whatever they are."""
    limits = LiveLimits(frames_per_s=0.001, frames_burst=5, close_grace_s=60)
    async with live(devices=DEVICES, limits=limits) as side:
        socket = await side.connect()
        for _ in range(2000):
            await socket.send_json({"type": "subscribe", "topic": TOPIC_7})
        assert await close_code(socket) == 4429
        assert spectator.questions[SEVEN] <= 5


async def test_losing_a_right(
    live: LiveFactory, directus: DirectusServer, directus_line: TcpProxy, spectator: Spectator
) -> None:
    """Within the interval a lost right ends its subscription only; being unable to ask ends nothing."""
    async with live(devices=DEVICES, limits=LiveLimits(reauthorize_s=0.2)) as side:
        socket = await side.connect()
        for topic in (TOPIC_7, TOPIC_8):
            await ask(socket, type="subscribe", topic=topic)
        await directus_line.refuse()
        directus_line.cut()
        await directus.allow(spectator.user_id, [EIGHT])
        asked = spectator.questions[SEVEN]
        await eventually(lambda: spectator.questions[SEVEN] > asked + 1)
        assert side.observed.gauges["subscriptions"] == 2
        await directus_line.accept()
        answer = await receive(socket)
        assert (answer["type"], answer["code"], answer["topic"]) == ("error", "forbidden", TOPIC_7)
        await side.publish("b", race_ms())
        assert (await receive(socket))["topic"] == TOPIC_8
        assert side.observed.gauges["subscriptions"] == 1


async def test_rights_are_asked_in_time(live: LiveFactory) -> None:
    """However old an answer may be and however the asking is spread, a lost right is noticed within the interval."""
    limits = LiveLimits(reauthorize_s=60, answer_age_s=5)
    async with live(devices=DEVICES, limits=limits) as side:
        clock = asyncio.get_running_loop().time
        for _ in range(200):
            before, check, after = clock(), side.live.requests.next_check(), clock()
            assert before + 40 < check <= after + 60 - 5


async def test_the_session_ends(live: LiveFactory, directus: DirectusServer, spectator: Spectator) -> None:
    """Within the interval a logout ends the connection with 4401."""
    async with live(devices=DEVICES, limits=LiveLimits(reauthorize_s=0.2)) as side:
        socket = await side.connect()
        await ask(socket, type="subscribe", topic=TOPIC_7)
        await directus.logout(spectator.cookie)
        assert await close_code(socket) == 4401
        await eventually(lambda: side.observed.gauges == {"connections": 0, "subscriptions": 0})


async def test_the_session_ends_without_a_subscription(
    live: LiveFactory, directus: DirectusServer, directus_line: TcpProxy, spectator: Spectator
) -> None:
    """Within the interval a logout ends also who is subscribed to nothing, or no more; being unable to ask, nobody."""
    async with live(devices=DEVICES, limits=LiveLimits(reauthorize_s=0.2)) as side:
        idle, former = await side.connect(), await side.connect()
        await ask(former, type="subscribe", topic=TOPIC_7)
        await ask(former, type="unsubscribe", topic=TOPIC_7)
        await directus_line.refuse()
        directus_line.cut()
        asked = spectator.authentications
        await eventually(lambda: spectator.authentications > asked + 2)
        await directus.logout(spectator.cookie)
        assert side.observed.gauges["connections"] == 2
        await directus_line.accept()
        assert [await close_code(socket) for socket in (idle, former)] == [4401, 4401]
        await eventually(lambda: side.observed.gauges["connections"] == 0)


async def test_pings_and_silence(live: LiveFactory) -> None:
    """A client that answers pings stays; one that says nothing at all is dropped."""
    limits = LiveLimits(ping_s=0.2, silence_s=600)
    async with live(devices=DEVICES, limits=limits) as side:
        alive = await side.connect(autoping=False)
        silent = await side.connect(autoping=False)
        heard, unheard = side.live.registry.connections
        assert (await silent.receive(30)).type is WSMsgType.PING
        # As if both had come long ago, and said nothing since.
        for connection in (heard, unheard):
            connection.heard_at -= limits.silence_s - 60
        for _ in range(2):
            message = await alive.receive(30)
            assert message.type is WSMsgType.PING
            last_at = heard.heard_at
            await alive.pong(message.data)
            await eventually(lambda: heard.heard_at > last_at, message="the answer is heard")  # noqa: B023 - called now
        for connection in (heard, unheard):
            connection.heard_at -= 60
        assert await close_code(silent) == 1006
        await eventually(lambda: list(side.live.registry.connections) == [heard], message="the other one stays")


async def test_a_clients_ping_is_answered(side: Side) -> None:
    """A ping is answered by a pong with the same payload, and a close frame by one with the same code."""
    socket = await side.connect(autoping=False, timeout=ClientWSTimeout(ws_close=30))
    await socket.ping(b"hello")
    message = await socket.receive(30)
    assert (message.type, message.data) == (WSMsgType.PONG, b"hello")
    await socket.close(code=3456)
    assert socket.close_code == 3456
    await eventually(lambda: side.observed.gauges["connections"] == 0)


async def test_shutdown(live: LiveFactory) -> None:
    """A server that stops ends every connection with 1001, also those of clients that do not answer."""
    async with live(devices=DEVICES) as side:
        sockets = [await side.connect() for _ in range(20)]
        _, *first = await asyncio.gather(side.live.stop(), *(close_code(socket) for socket in sockets[:10]))
        assert [*first, *[await close_code(socket) for socket in sockets[10:]]] == [1001] * 20
