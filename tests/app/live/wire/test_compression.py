"""Compression on real sockets, read by four implementations of WebSocket."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import playwright
import pytest
from playwright.async_api import Browser

from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.wire.deflate import deflated
from telemetry_app.live.wire.encoding import Form
from tests.app.live.browsing import TIMEOUT_S, browser
from tests.app.live.directus.rights import SEVEN, TOPIC_7
from tests.app.live.harness import LiveFactory, Side, ask, publish, race_ms, receive
from tests.app.live.rawsocket import RawClient
from tests.app.live.records import live_position
from tests.app.live.sightings import positions_of
from tests.support.waiting import eventually

DEVICES = [f"device-{number}" for number in range(40)]
OFFER = "permessage-deflate; client_max_window_bits"
AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
UNSUBSCRIBE = json.dumps({"type": "unsubscribe", "topic": TOPIC_7, "id": 1}).encode()
TEXT, COMPRESSED = 0x81, 0xC1
Connect = Callable[..., Awaitable[RawClient]]

#: The Node that the browser's driver comes with.
NODE = Path(playwright.__file__).parent / "driver" / "node"

#: Subscribes, and tells what was agreed and the first three frames; in a page, and in Node with a cookie.
WATCH = """async ([url, topic, options]) => {
  const socket = new WebSocket(url, options);
  const frames = [];
  return await new Promise((resolve, reject) => {
    socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", topic, batch: true, id: "x".repeat(200) }));
    socket.onerror = () => reject(new Error("no connection"));
    socket.onmessage = ({ data }) => {
      frames.push(JSON.parse(data));
      if (frames.length === 3) resolve({ agreed: socket.extensions, frames });
    };
  });
}"""


async def publish_round(side: Side, ts_ms: int, devices: list[str] = DEVICES) -> None:
    async with side.redis.pipeline(transaction=True) as together:
        for device in devices:
            await publish(together, side.stream, device, ts_ms)
        await together.execute()


@pytest.fixture
def raw_clients() -> Iterator[list[RawClient]]:
    """A list of clients to close at the end."""
    clients: list[RawClient] = []
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def connect(raw_clients: list[RawClient]) -> Connect:
    """Give a function that connects a client which offers compression, or something else."""

    async def connected(side: Side, offers: str | None = OFFER) -> RawClient:
        client = await RawClient.connect(side.port, side.cookie, offers=offers)
        raw_clients.append(client)
        return client

    return connected


@pytest.fixture
def watch(connect: Connect) -> Connect:
    """Give a function that connects one which has agreed to compression and subscribed."""

    async def watching(side: Side, *, batch: bool = True, **options: Any) -> RawClient:
        client = await connect(side)
        assert client.agreed == AGREED
        await client.send_json(type="subscribe", topic=TOPIC_7, batch=batch, **options)
        return client

    return watching


async def test_a_round_is_compressed_once_for_all(live: LiveFactory, watch: Connect) -> None:
    """All who agreed get the same bytes; those who did not, and those without batches, get the same positions."""
    async with live(devices={SEVEN: DEVICES}) as side:
        ts = race_ms()
        raws = [await watch(side) for _ in range(2)]
        for raw in raws:
            assert (await raw.json())["batch"] is True
        kinds = [(batch, bits) for batch in (False, True) for bits in (0, 15)]
        sockets = [await side.connect(compress=bits) for _, bits in kinds]
        for socket, (batch, bits) in zip(sockets, kinds, strict=True):
            await ask(socket, type="subscribe", topic=TOPIC_7, batch=batch)
            assert bool(socket.compress) is bool(bits)
        await publish_round(side, ts)
        batches = [await raw.json() for raw in raws]
        assert raws[0].last == raws[1].last
        first, data = raws[0].last
        assert first == COMPRESSED
        assert len(data) < len(json.dumps(batches[0])) / 3
        assert [position["deviceId"] for position in batches[0]["positions"]] == DEVICES
        for socket, (batch, _) in zip(sockets, kinds, strict=True):
            frames = [await receive(socket) for _ in range(1 if batch else len(DEVICES))]
            positions = [{name: p[name] for name in ("deviceId", "lat", "lon", "ts", "speed", "course")}
                         for frame in frames for p in positions_of(frame)]  # fmt: skip
            assert positions == batches[0]["positions"]
            assert frames[-1]["cursor"] == batches[0]["cursor"]
        assert {subscription.form for subscription in side.live.registry} == set(Form)


async def test_small_frames_are_not_compressed(live: LiveFactory, watch: Connect) -> None:
    """Answers, single positions and batches of one go as they are, to those who agreed as well."""
    async with live(devices={SEVEN: DEVICES}) as side:
        batched, each = await watch(side), await watch(side, batch=False)
        for client in (batched, each):
            assert (await client.json())["snapshot"] == []
        ts = race_ms()
        await side.publish("device-1", ts)
        assert [len(positions_of(await client.json())) for client in (batched, each)] == [1, 1]
        assert (batched.last[0], each.last[0]) == (TEXT, TEXT)
        await publish_round(side, ts + 1)
        assert len((await batched.json())["positions"]) == len(DEVICES)
        for _ in DEVICES:
            await each.json()
            assert each.last[0] == TEXT
        assert batched.last[0] == COMPRESSED


@pytest.mark.parametrize("batch", [False, True])
async def test_snapshots_are_compressed(live: LiveFactory, watch: Connect, *, batch: bool) -> None:
    """The answer is compressed, be it with batches or without; what was missed comes compressed with them."""
    async with live(devices={SEVEN: DEVICES}) as side:
        ts = race_ms()
        for device in DEVICES:
            side.stored.store(live_position(device, ts))
        client = await watch(side, batch=batch)
        answer = await client.json()
        assert len(answer["snapshot"]) == len(DEVICES)
        assert client.last[0] == COMPRESSED
        assert len(client.last[1]) < len(json.dumps(answer)) / 3
        await publish_round(side, ts + 1)
        await side.idle()
        client = await watch(side, batch=batch, since=answer["cursor"])
        for _ in range(2 if batch else 1 + len(DEVICES)):
            await client.json()
        assert client.last[0] == (COMPRESSED if batch else TEXT)


async def test_pages_are_no_larger_inflated(live: LiveFactory, watch: Connect) -> None:
    """What a client has to inflate at once is no more than what it may cost uncompressed."""
    devices = [f"device-{number}" for number in range(1000)]
    limits = LiveLimits(slow_client_bytes=20_000)
    async with live(devices={SEVEN: devices}, limits=limits) as side:
        ts = race_ms()
        for device in devices:
            side.stored.store(live_position(device, ts))
        client, shown = await watch(side), 0
        while shown < len(devices):
            frame = await client.json()
            assert len(json.dumps(frame, separators=(",", ":"))) <= limits.slow_client_bytes
            shown += len(positions_of(frame))


# --- what clients send ---


async def test_a_client_that_agreed_to_nothing_may_not_compress(live: LiveFactory, connect: Connect) -> None:
    """The bit of a compressed message is an error of the protocol where nothing was agreed."""
    async with live(devices={}) as side:
        client = await connect(side, None)
        assert client.agreed is None
        await client.send(deflated(b"{}"), first=0xC0)
        assert await client.rest() == ([], 1002)


async def test_what_cannot_be_agreed_is_declined(live: LiveFactory, connect: Connect) -> None:
    """An offer that the server cannot take leaves an ordinary connection; a second one may be good."""
    async with live(devices={}) as side:
        for offers, agreed in (
            ("permessage-deflate; server_max_window_bits=9", None),
            ("permessage-deflate; unknown, permessage-deflate", AGREED),
            ("x-other\r\nSec-WebSocket-Extensions: permessage-deflate", AGREED),
            ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
            ("permessage-deflate; server_max_window_bits=15", f"{AGREED}; server_max_window_bits=12"),
        ):
            client = await connect(side, offers)
            assert client.agreed == agreed
            await client.send_json(type="nothing")
            assert (await client.json())["code"] == "bad-request"


async def test_compressed_requests(live: LiveFactory, connect: Connect) -> None:
    """A request may come compressed, whole or in fragments, or not compressed."""
    async with live(devices={SEVEN: []}) as side:
        client = await connect(side)
        request = deflated(UNSUBSCRIBE)
        await client.send(request, first=0xC0)
        await client.send(request[:5], first=0x40)
        await client.send(b"", 9)  # a ping in between
        await client.send(request[5:], 0)
        await client.send(UNSUBSCRIBE)
        answers: list[object] = []
        while len(answers) < 3:
            opcode, payload = await client.frame() or (8, b"")
            assert opcode in {1, 10}, "it is not closed"
            if opcode == 1:
                answers.append(json.loads(payload))
        assert answers == [{"type": "unsubscribed", "topic": TOPIC_7, "id": 1}] * 3


@pytest.mark.parametrize("fragments", [1, 3])
async def test_a_bomb_is_too_large(live: LiveFactory, connect: Connect, fragments: int) -> None:
    """A small message that inflates to megabytes ends the connection with 1009, as a large one does."""
    async with live(devices={}) as side:
        client = await connect(side)
        compressor = zlib.compressobj(9, wbits=-15)
        bomb = compressor.compress(bytes(3_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)[:-4]
        assert len(bomb) < side.live.limits.max_frame_bytes
        size = -(-len(bomb) // fragments)
        for number in range(fragments):
            first = (0x40 if number == 0 else 0) | (0x80 if number == fragments - 1 else 0)
            await client.send(bomb[number * size : (number + 1) * size], 0 if number else 1, first=first)
        assert await client.rest() == ([], 1009)


@pytest.mark.parametrize("fragments", [1, 2])
async def test_what_is_not_compressed_at_all(live: LiveFactory, connect: Connect, fragments: int) -> None:
    """A message that cannot be inflated ends the connection with 1007."""
    async with live(devices={}) as side:
        client = await connect(side)
        if fragments == 1:
            await client.send(b"\xff" * 20, first=0xC0)
        else:
            await client.send(b"\xff" * 20, first=0x40)
            await client.send(b"\xff" * 20, 0)
        assert await client.rest() == ([], 1007)


async def test_no_context_is_kept_for_a_client(live: LiveFactory, connect: Connect) -> None:
    """A message that refers to the one before it is refused, as agreed: nothing is remembered of that."""
    async with live(devices={SEVEN: []}) as side:
        client = await connect(side)
        compressor = zlib.compressobj(wbits=-15)
        messages = [compressor.compress(UNSUBSCRIBE) + compressor.flush(zlib.Z_SYNC_FLUSH) for _ in range(2)]
        await client.send(messages[0][:-4], first=0xC0)
        assert (await client.json())["type"] == "unsubscribed"
        await client.send(messages[1][:-4], first=0xC0)
        assert await client.rest() == ([], 1007)


# --- browsers and Node ---


async def by_chromium(side: Side, running: Browser) -> Any:
    context = await running.new_context()
    name, _, value = side.cookie.partition("=")
    await context.add_cookies([{"name": name, "value": value, "url": side.url}])
    page = await context.new_page()
    await page.goto(f"{side.url}/config.json")
    return await page.evaluate(WATCH, [f"ws://127.0.0.1:{side.port}/live", TOPIC_7, []])


async def by_node(side: Side) -> Any:
    arguments = json.dumps([f"ws://127.0.0.1:{side.port}/live", TOPIC_7, {"headers": {"Cookie": side.cookie}}])
    script = f"({WATCH})({arguments}).then((told) => {{ console.log(JSON.stringify(told)); process.exit(); }})"
    process = await asyncio.create_subprocess_exec(NODE, "-e", script, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    return json.loads(told)


async def test_browsers_and_node_read_it(live: LiveFactory) -> None:
    """Chromium and Node agree to compression, compress what they ask, and read snapshot and batches."""
    async with live(devices={SEVEN: DEVICES}) as side, browser() as running:
        ts = race_ms()
        for device in DEVICES:
            side.stored.store(live_position(device, ts))
        watching = [asyncio.create_task(by_chromium(side, running)), asyncio.create_task(by_node(side))]
        await eventually(
            lambda: len(list(side.live.registry)) == 2 or any(task.done() for task in watching), timeout_s=TIMEOUT_S
        )
        assert {subscription.form for subscription in side.live.registry} == {Form.DEFLATED}
        for number in (1, 2):
            await publish_round(side, ts + number)
            await side.idle()
        for told in await asyncio.gather(*watching):
            assert told["agreed"] == AGREED
            assert [len(positions_of(frame)) for frame in told["frames"]] == [len(DEVICES)] * 3
            assert [positions_of(frame)[0]["ts"] for frame in told["frames"]] == [ts, ts + 1, ts + 2]
