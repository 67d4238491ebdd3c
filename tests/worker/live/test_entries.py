"""Devices that come and go while maps are open, and a database that is away, through whole workers."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp

from telemetry_app.live.wire import cursor
from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.conftest import ProxyFactory
from tests.support.servers.proxy import TcpProxy, url_through
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker, record, until_drained
from tests.worker.live.test_faulty import telemetry
from tests.worker.spectators import Client, Spectators

A, B, NEW = (record(device, 0)["device_id"] for device in (1, 2, 20))
SOON = {"LIVE_DEVICE_EVENT_REFRESH_MS": "1000"}


async def enter(pipeline: Pipeline, *device_ids: str) -> None:
    """Enter devices in the event."""
    await pipeline.database.executemany(
        "INSERT INTO entry_devices SELECT max(id) + 1, 1, $1 FROM entry_devices", [(d,) for d in device_ids]
    )


async def take_out(pipeline: Pipeline, device_id: str) -> None:
    await pipeline.database.execute("DELETE FROM entry_devices WHERE device_id = $1", device_id)


def told(frame: dict[str, Any]) -> tuple[str, str, float | None]:
    return frame["type"], frame["deviceId"], frame.get("speed")


def snapshot(answer: dict[str, Any]) -> dict[str, float]:
    return {position["deviceId"]: position["speed"] for position in answer["snapshot"]}


async def line_to(tcp_proxy: ProxyFactory, pipeline: Pipeline) -> tuple[TcpProxy, str]:
    """Return the network to the database, and the database's address through it."""
    url = pipeline.env["POSTGRES_URL"]
    parts = urlsplit(url)
    proxy = await tcp_proxy(parts.hostname, parts.port)
    return proxy, url_through(proxy, url)


async def lets_in(worker: WorkerProcess) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{worker.live_url}/live") as answer:
            return answer.status != 503
    except aiohttp.ClientConnectorError:
        return False


async def rest(client: Client) -> dict[str, float]:
    """Return what follows a partial answer, until it is said that this is all."""
    found: dict[str, float] = {}
    while (frame := await client.receive())["type"] == "position":
        found[frame["deviceId"]] = frame["speed"]
    assert (frame["type"], frame["resumed"], frame["snapshot"], "partial" in frame) == ("subscribed", True, [], False)
    assert frame["cursor"]
    return found


async def test_devices_come_and_go(pipeline: Pipeline, spectators: Spectators, start_both: StartWorker) -> None:
    """Entered, a device appears with its stored position; taken out it is removed; who comes back sees no ghost."""
    entered = frozenset({record(n, 0)["device_id"] for n in range(10)} - {B} | {NEW, "never seen"})
    worker = start_both(**SOON)
    await worker.wait_ready()
    await pipeline.publish([record(1, 1), record(2, 2), record(20, 3)])
    await until_drained(pipeline)
    async with spectators.connect(worker) as client:
        answer = await client.subscribe(spectators.event_id)
        assert snapshot(answer) == {A: 1, B: 2}
        await enter(pipeline, NEW, "never seen")
        assert told(await client.receive()) == ("position", NEW, 3)
        await pipeline.publish([record(20, 4)])
        assert told(await client.receive()) == ("position", NEW, 4)
        await take_out(pipeline, B)
        assert told(await client.receive()) == ("removed", B, None)
        await pipeline.publish([record(2, 5)])
        seconds = itertools.count(6)

        async def comes_with_the_mark_of_all() -> dict[str, Any] | None:
            """Let a device move; who was shown a new one as it moved has yet to be told of it, and of the other one."""
            second = next(seconds)
            await pipeline.publish([record(1, second)])
            while told(frame := await client.receive()) == ("position", NEW, 4):
                pass
            assert told(frame) == ("position", A, second)
            return frame if frame["cursor"].endswith(cursor.mark_of(entered)) else None

        frame = cast("dict[str, Any]", await eventually(comes_with_the_mark_of_all))
    await until_drained(pipeline)
    other = start_both()
    await other.wait_ready()
    async with spectators.connect(other) as client:
        again = await client.subscribe(spectators.event_id, since=answer["cursor"])
        assert ("resumed" in again, snapshot(again)) == (False, {A: frame["speed"], NEW: 4})
        again = await client.subscribe(spectators.event_id, since=frame["cursor"])
        assert (again.get("resumed"), again["snapshot"]) == (True, [])
    async with spectators.connect(worker) as client:
        await client.subscribe(spectators.event_id)
        await enter(pipeline, B)
        assert told(await client.receive()) == ("position", B, 5)


async def test_thousands_are_entered_at_once(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker
) -> None:
    """They appear with their stored positions, in a few reads of the table."""
    worker = start_both(**SOON)
    await worker.wait_ready()
    many = [f"device-{number}" for number in range(3000)]
    await pipeline.database.execute(
        "INSERT INTO positions (device_id, ts, latitude, longitude, speed, angle)"
        " SELECT d, now() - interval '1 hour', 1, 2, 3, 4 FROM unnest($1::text[]) d",
        many,
    )
    async with spectators.connect(worker) as client:
        await client.subscribe(spectators.event_id)
        before = await reads(worker)
        await enter(pipeline, *many)
        shown = [(await client.receive())["deviceId"] for _ in many]
        assert sorted(shown) == sorted(many)
        assert await reads(worker) - before < 100


async def reads(worker: WorkerProcess) -> float:
    return (await worker.metrics())["processor_live_snapshot_duration_seconds_count"]


async def test_a_subscribe_while_the_database_is_away(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker, tcp_proxy: ProxyFactory
) -> None:
    """It is partial, live positions come meanwhile, and what was missing follows once when the database is back."""
    proxy, url = await line_to(tcp_proxy, pipeline)
    await stored_before(pipeline, start_both)
    worker = start_both(POSTGRES_URL=url, ROLES="live", **SOON)
    await worker.wait_ready()
    await proxy.refuse()
    proxy.cut()
    async with spectators.connect(worker) as client, spectators.connect(worker) as returning:
        answer = await client.subscribe(spectators.event_id)
        assert (answer["partial"], answer["snapshot"], answer["cursor"]) == (True, [], "")
        await pipeline.publish([record(1, 9)])
        frame = await client.receive()
        assert (told(frame), frame["cursor"]) == (("position", A, 9), "")
        await proxy.accept()
        assert await rest(client) == {B: 2}
        await pipeline.publish([record(1, 10)])
        frame = await client.receive()
        assert told(frame) == ("position", A, 10)
        assert (await returning.subscribe(spectators.event_id, since=frame["cursor"]))["resumed"]


async def test_a_worker_that_starts_while_the_database_is_away(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker, tcp_proxy: ProxyFactory
) -> None:
    """It does not know any device, and says so; all of them follow."""
    proxy, url = await line_to(tcp_proxy, pipeline)
    await stored_before(pipeline, start_both)
    await proxy.refuse()
    worker = start_both(POSTGRES_URL=url, ROLES="live", **SOON)
    await eventually(lambda: lets_in(worker), timeout_s=60)
    async with spectators.connect(worker) as client:
        answer = await client.subscribe(spectators.event_id)
        assert (answer["partial"], answer["snapshot"], answer["cursor"]) == (True, [], "")
        await proxy.accept()
        assert await rest(client) == {A: 1, B: 2}


async def stored_before(pipeline: Pipeline, start_both: StartWorker) -> None:
    """Store two positions that a worker that starts later does not read from the stream."""
    writer = start_both(ROLES="write")
    await writer.wait_ready()
    await pipeline.publish([record(1, 1), record(2, 2)])
    await until_drained(pipeline)
    assert await writer.stop() == 0
    await pipeline.redis.delete(pipeline.stream)


async def test_without_directus_the_database_is_the_reason(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker, tcp_proxy: ProxyFactory
) -> None:
    """While it is away nobody is told that their rights could not be checked."""
    await pipeline.database.execute("CREATE TABLE events (id text)")
    await pipeline.database.execute("INSERT INTO events VALUES ($1)", spectators.event_id)
    proxy, url = await line_to(tcp_proxy, pipeline)
    worker = start_both(POSTGRES_URL=url, ROLES="live", LIVE_AUTH="none")
    await worker.wait_ready()
    await proxy.refuse()
    proxy.cut()
    async with spectators.connect(worker) as client:
        answer = await client.subscribe(spectators.event_id)
        assert (answer["type"], answer["code"]) == ("error", "error")
        assert answer["message"] == "The database cannot be read. Try again."
        await proxy.accept()
        assert (await client.subscribe(spectators.event_id))["type"] == "subscribed"


async def test_a_device_whose_positions_are_all_marked_disappears(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker
) -> None:
    """It is removed within the refresh, and comes back when one of them is unmarked."""
    worker = start_both(**SOON)
    await worker.wait_ready()
    async with spectators.connect(worker) as client:
        await client.subscribe(spectators.event_id)
        await pipeline.publish([record(1, 1), record(1, 2), record(2, 3)])
        cursors = [(await client.receive())["cursor"] for _ in range(3)]
        await until_drained(pipeline)
        span = ("--device", A, "--from", record(1, 1)["timestamp"], "--to")
        assert await telemetry(pipeline, "faulty", "mark", *span, record(1, 2)["timestamp"]) == "marked 2\n"
        assert told(await client.receive()) == ("removed", A, None)
        for newcomer in (spectators.connect(worker), spectators.connect(worker)):
            async with newcomer as returning:
                answer = await returning.subscribe(spectators.event_id, since=cursors[-1])
                assert answer["resumed"]
                assert told(await returning.receive()) == ("removed", A, None)
        assert await telemetry(pipeline, "faulty", "unmark", *span, record(1, 1)["timestamp"]) == "unmarked 1\n"
        assert told(await client.receive()) == ("position", A, 1)
        await asyncio.sleep(2)
        await pipeline.publish([record(2, 4)])
        assert told(await client.receive()) == ("position", B, 4)
