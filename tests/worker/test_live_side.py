"""Whole workers with both sides, real sockets in front, and Directus asked for rights."""

import asyncio
import contextlib
import random
from datetime import timedelta
from http import HTTPStatus

import aiohttp
import asyncpg
import pytest

from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.app.live.directus.stand_in import DirectusServer
from tests.app.live.rawsocket import RawClient
from tests.app.live.sightings import Shown
from tests.conftest import PostgresFactory
from tests.support.records import FIRST_TS
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker, ms_of, record, until_counted, until_drained
from tests.worker.spectators import TABLES, Client, Spectators


async def test_snapshot_then_live(pipeline: Pipeline, spectators: Spectators, start_both: StartWorker) -> None:
    """A spectator is shown the newest good position of each device, then everything new; the rest is counted."""
    # So that no review tells of the mark before the spectator comes.
    worker = start_both(LIVE_DEVICE_EVENT_REFRESH_MS="600000")
    await worker.wait_ready()
    await pipeline.publish([record(1, 1), record(1, 2), record(2, 5), record(77, 1)])
    await eventually(lambda: _stored(pipeline, 4))
    await until_counted(worker, {"processor_live_orphan_positions_total": 1})
    await pipeline.database.execute("UPDATE positions SET faulty = true WHERE speed = 2")
    async with spectators.connect(worker) as client:
        answer = await client.subscribe(spectators.event_id, id="a")
        assert answer["id"] == "a"
        assert {p["deviceId"]: p["speed"] for p in answer["snapshot"]} == {
            record(1, 0)["device_id"]: 1, record(2, 0)["device_id"]: 5,
        }  # fmt: skip
        await pipeline.publish([record(3, 7), record(77, 7), record(2, 4), record(1, 8)])
        frames = [await client.receive() for _ in range(2)]
    assert [(f["type"], f["topic"], f["deviceId"], f["speed"]) for f in frames] == [
        ("position", f"event:{spectators.event_id}", record(3, 0)["device_id"], 7),
        ("position", f"event:{spectators.event_id}", record(1, 0)["device_id"], 8),
    ]
    metrics = await worker.metrics()
    assert metrics["processor_live_frames_total{sent}"] == 2
    assert metrics["processor_live_late_positions_total"] == 1
    assert metrics["processor_live_orphan_positions_total"] == 2
    assert metrics["processor_live_authz_duration_seconds_count{ok}"] == 1


async def test_strangers_are_refused(spectators: Spectators, start_both: StartWorker, directus: DirectusServer) -> None:
    """No session, an unknown session, a foreign page; and an event one may not see is forbidden."""
    worker = start_both()
    await worker.wait_ready()
    assert await spectators.refusal(worker, {}) == 401
    assert await spectators.refusal(worker, {"Cookie": "directus_session_token=nonsense"}) == 401
    foreign = {"Cookie": spectators.cookie, "Origin": "https://elsewhere.example"}
    assert await spectators.refusal(worker, foreign) == 403
    other = await directus.add_event("Other")
    async with spectators.connect(worker) as client:
        assert (await client.subscribe(other))["code"] == "forbidden"


async def test_lost_rights_end_what_they_allowed(
    spectators: Spectators, start_both: StartWorker, directus: DirectusServer
) -> None:
    """Losing the right to an event ends the subscription with `forbidden`; losing the session ends the connection."""
    user = await directus.add_user()
    await directus.allow(user, [spectators.event_id])
    cookie = await directus.login(user)
    worker = start_both(LIVE_REAUTHORIZE_MS="500", DIRECTUS_CACHE_MS="100")
    await worker.wait_ready()
    async with spectators.connect(worker, Cookie=cookie) as client:
        assert (await client.subscribe(spectators.event_id))["type"] == "subscribed"
        await directus.forbid(user)
        assert await client.receive() == {
            "type": "error", "code": "forbidden", "message": "You may not see this event.",
            "topic": f"event:{spectators.event_id}",
        }  # fmt: skip
        await directus.allow(user, [spectators.event_id])
        await eventually(lambda: _subscribes(client, spectators.event_id), message="the right is back")
        await directus.logout(cookie)
        assert await client.close_code() == 4401
    await until_counted(worker, {"processor_live_connections": 0})


async def test_everyone_gets_everything(pipeline: Pipeline, spectators: Spectators, start_both: StartWorker) -> None:
    """Each of many spectators receives each position once, in order."""
    worker = start_both()
    await worker.wait_ready()
    async with contextlib.AsyncExitStack() as sockets:
        clients = [await sockets.enter_async_context(spectators.connect(worker)) for _ in range(50)]
        await asyncio.gather(*(client.subscribe(spectators.event_id) for client in clients))
        await pipeline.publish([record(device, second) for second in range(1, 6) for device in range(10)])

        async def watch(client: Client) -> list[tuple[str, float]]:
            frames = [await client.receive() for _ in range(50)]
            return [(frame["deviceId"], frame["ts"]) for frame in frames]

        seen = await asyncio.gather(*(watch(client) for client in clients))
    assert len(set(seen[0])) == 50
    assert all(one == seen[0] for one in seen)


async def test_nobody_misses_or_repeats_a_position(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker
) -> None:
    """Spectators who come while positions are sent, stored and uploaded late see each one once, in order."""
    worker = start_both(LIVE_MAX_CONNECTIONS_PER_USER="1000")
    await worker.wait_ready()
    chance, last = random.Random(7), 40
    devices = [record(device, 0)["device_id"] for device in range(10)]
    end_ms = ms_of(last)
    published: dict[str, list[int]] = {device: [] for device in devices}

    async def race() -> None:
        for second in range(1, last + 1):
            late = [
                record(device, second, timestamp=(FIRST_TS + timedelta(seconds=second - ago)).isoformat())
                for device, ago in enumerate(chance.choices([0.0, 0.5, 20.5], k=10))
                if chance.random() < 0.3
            ]
            await pipeline.publish([*(record(device, second) for device in range(10)), *late])
            for device in devices:
                published[device].append(ms_of(second))
            await asyncio.sleep(0.04)

    async def watch(after_s: float) -> Shown:
        await asyncio.sleep(after_s)
        shown = Shown()
        async with spectators.connect(worker) as client:
            shown.note(await client.subscribe(spectators.event_id))
            while not shown.has_reached(end_ms, devices):
                shown.note(await client.receive())
        return shown

    watching = [watch(chance.uniform(0, 1.5)) for _ in range(100)]
    async with asyncio.timeout(60):
        _, *seen = await asyncio.gather(race(), *watching)
    assert [fault for shown in seen if shown for fault in shown.faults(published)] == []
    assert (await worker.metrics())["processor_live_late_positions_total"] > 0


async def test_who_is_ready_lets_clients_in(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker
) -> None:
    """Also a worker that has to look through thousands of positions of the last seconds first."""
    for second in range(0, 20_000, 1000):
        await pipeline.publish([record(n % 10, second + n // 10) for n in range(1000)])
    worker = start_both()
    await worker.wait_ready()
    async with spectators.connect(worker) as client:
        assert (await client.subscribe(spectators.event_id))["type"] == "subscribed"


async def test_the_map_is_the_only_page(start_both: StartWorker) -> None:
    """The live port shows the map, and none of Faust's own pages, which show tables and statistics to everybody."""
    worker = start_both()
    await worker.wait_ready()
    paths = ("/", "/stats/", "/tables/", "/router/", "/graph/", "/docs/")
    async with aiohttp.ClientSession(worker.live_url) as http:
        answers = [await http.get(path) for path in paths]
        page = await answers[0].text()
    assert [answer.status for answer in answers] == [200, 404, 404, 404, 404, 404]
    assert page.startswith("<!doctype html>")


async def test_a_client_moves_to_another_worker(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker
) -> None:
    """When a worker is killed, another one gives the newest of what was missed, and goes on."""
    first, second = start_both(), start_both()
    await first.wait_ready()
    await second.wait_ready()
    async with spectators.connect(first) as client:
        await client.subscribe(spectators.event_id)
        await pipeline.publish([record(1, 1)])
        cursor = (await client.receive())["cursor"]
        first.kill()
    await pipeline.publish([record(1, 2), record(1, 3), record(2, 3)])
    async with spectators.connect(second) as client:
        answer = await client.subscribe(spectators.event_id, since=cursor)
        assert (answer["resumed"], answer["snapshot"]) == (True, [])
        newest: dict[str, float] = {}
        while newest != {record(1, 0)["device_id"]: 3, record(2, 0)["device_id"]: 3}:
            frame = await client.receive()
            newest[frame["deviceId"]] = frame["speed"]
        await pipeline.publish([record(1, 4)])
        assert (await client.receive())["speed"] == 4


async def test_a_dead_database_does_not_delay_the_live_side(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker, postgres_factory: PostgresFactory
) -> None:
    """While nothing can be stored, every position still reaches the maps; it is stored when the database is back."""
    server = postgres_factory()
    await _copy_entries(pipeline, server.url)
    worker = start_both(POSTGRES_URL=server.url)
    await worker.wait_ready()
    async with spectators.connect(worker) as client:
        await client.subscribe(spectators.event_id)
        server.kill()
        for second in range(1, 40):
            await pipeline.publish([record(device, second) for device in range(10)])
            frames = [await client.receive() for _ in range(10)]
            assert {frame["speed"] for frame in frames} == {second}
    server.start()
    await until_drained(pipeline)


@pytest.mark.timeout(300)
async def test_a_stuck_browser_delays_nobody(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker
) -> None:
    """While a spectator reads nothing at all, every record is stored and shown to others, until it is closed."""
    worker = start_both(LIVE_SLOW_CLIENT_BYTES="4096", LIVE_SLOW_CLIENT_MS="1000")
    await worker.wait_ready()
    async with contextlib.AsyncExitStack() as sockets:
        stuck = sockets.enter_context(contextlib.closing(await RawClient.connect(worker.live_port, spectators.cookie)))
        await stuck.send_json(type="subscribe", topic=f"event:{spectators.event_id}")
        client = await sockets.enter_async_context(spectators.connect(worker))
        await client.subscribe(spectators.event_id)
        seconds = 0

        async def is_closed() -> bool:
            nonlocal seconds
            for _ in range(100):
                seconds += 1
                await pipeline.publish([record(device, seconds) for device in range(10)])
                frames = [await client.receive() for _ in range(10)]
                assert {frame["speed"] for frame in frames if "speed" in frame} <= {seconds % 100}
            return (await worker.metrics())["processor_live_slow_clients_total"] == 1

        await eventually(is_closed, timeout_s=120, message="the stuck spectator is closed")
        await eventually(lambda: _stored(pipeline, 10 * seconds), timeout_s=60)
        await until_drained(pipeline)


async def test_a_rebalance_does_not_interrupt_the_broadcast(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker
) -> None:
    """Partitions move between workers while a spectator of the first sees every position."""
    partitions = {"REDIS_TELEMETRY_PARTITIONS": "2", "REDIS_TELEMETRY_PRODUCER": "sharded"}
    first = start_both(**partitions)
    await first.wait_ready()
    streams = [f"{pipeline.stream}:0", f"{pipeline.stream}:1"]
    async with spectators.connect(first) as client:
        await client.subscribe(spectators.event_id)
        second = start_both(**partitions)
        for tick in range(1, 60):
            await pipeline.publish([record(1, tick)], streams[tick % 2])
            assert (await client.receive())["speed"] == tick
            await asyncio.sleep(0.05)
        await second.wait_ready()
        await eventually(lambda: _owned(first, 1), message="the partitions are shared")
        await pipeline.publish([record(1, 60)], streams[0])
        assert (await client.receive())["speed"] == 60


@pytest.mark.parametrize("role", ["write", "live"])
async def test_each_side_runs_alone(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker, role: str
) -> None:
    """`ROLES` leaves the other side out: nothing is stored by a live worker, nobody connects to a writing one."""
    worker = start_both(ROLES=role)
    await worker.wait_ready()
    if role == "write":
        await pipeline.publish([record(1, 1)])
        await eventually(lambda: _stored(pipeline, 1))
        with pytest.raises(aiohttp.ClientConnectorError):
            async with spectators.connect(worker):
                pass
    else:
        async with spectators.connect(worker) as client:
            await client.subscribe(spectators.event_id)
            await pipeline.publish([record(1, 1)])
            assert (await client.receive())["speed"] == 1
        assert await pipeline.stored() == 0
    assert await worker.stop() == 0


async def test_a_live_worker_without_its_tables_says_so(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """It is not ready on a database that Directus knows nothing of, and is as soon as the tables are there."""
    worker = start_worker(ROLES="live", LIVE_AUTH="none", LIVE_DEVICE_EVENT_REFRESH_MS="1000")
    await eventually(lambda: _says(worker, "Directus has not made the tables entries and entry_devices"))
    await pipeline.database.execute(TABLES)
    await worker.wait_ready()


async def _says(worker: WorkerProcess, reason: str) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{worker.metrics_url}/readyz") as answer:
            return answer.status == HTTPStatus.SERVICE_UNAVAILABLE and reason in await answer.text()
    except aiohttp.ClientConnectorError:
        return False


async def _copy_entries(pipeline: Pipeline, url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(TABLES)
    for table in ("entries", "entry_devices"):
        rows = await pipeline.database.fetch(f"SELECT * FROM {table}")  # noqa: S608 - our own names
        await connection.copy_records_to_table(table, records=rows)
    await connection.close()


async def _subscribes(client: Client, event_id: str) -> bool:
    answer = await client.subscribe(event_id)
    return bool(answer["type"] == "subscribed")


async def _stored(pipeline: Pipeline, rows: int) -> bool:
    return await pipeline.stored() == rows


async def _owned(worker: WorkerProcess, partitions: int) -> bool:
    return (await worker.metrics())["processor_partitions_owned"] == partitions
