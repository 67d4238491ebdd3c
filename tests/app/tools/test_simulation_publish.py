"""The simulated race on a real stream."""

import asyncio
import json
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result
from redis.asyncio import Redis

from faust_redis.redis.client import Client, connect
from telemetry_app.cli import main
from telemetry_app.tools.simulation.publisher import Publisher, PublishError
from telemetry_app.tools.simulation.race import Race
from telemetry_app.tools.simulation.record import Record
from telemetry_app.tools.simulation.runner import run_race
from tests.conftest import ProxyFactory, ValkeyFactory
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually

START = datetime(2026, 5, 2, 12, tzinfo=UTC)
Entry = tuple[bytes, dict[bytes, bytes]]


def race(devices: int = 10, hz: float = 100.0) -> Race:
    return Race(devices, hz, start=START)


def some_records(count: int) -> list[Record]:
    return list(race().backlog(count))


async def entries(redis: Redis, key: str) -> list[Entry]:
    found: list[Entry] = await redis.xrange(key)  # type: ignore[assignment]  # bytes, as the client decodes nothing
    return found


async def payloads(redis: Redis, key: str) -> list[bytes]:
    return [fields[b"payload"] for _, fields in await entries(redis, key)]


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    """A client as the commands make it."""
    client = connect(redis_url)
    yield client
    await client.aclose()


async def test_entries_are_those_of_the_producer(redis: Redis, client: Client, stream: str) -> None:
    """Four fields; time and device are those of the payload; in the order given."""
    records = some_records(1234)
    publisher = Publisher(client, stream, 1)
    await publisher.publish(records)
    stored = [fields for _, fields in await entries(redis, stream)]
    assert publisher.published == 1234
    assert [fields[b"payload"] for fields in stored] == [record.payload for record in records]
    for fields in stored:
        assert set(fields) == {b"ts", b"device_id", b"codec", b"payload"}
        payload = json.loads(fields[b"payload"])
        assert (fields[b"device_id"], fields[b"ts"]) == (
            payload["device_id"].encode(),
            payload["timestamp"].encode(),
        )
        assert fields[b"codec"] == b"8E"


async def test_a_device_keeps_to_its_partition(redis: Redis, client: Client, stream: str) -> None:
    """With three partitions every record is in that of its device's hash, and in order."""
    records = some_records(600)
    publisher = Publisher(client, stream, 3)
    await publisher.publish(records)
    for partition in range(3):
        expected = [r.payload for r in records if zlib.crc32(r.device_id.encode()) % 3 == partition]
        assert await payloads(redis, f"{stream}:{partition}") == expected
        assert expected
    assert await redis.exists(stream) == 0


async def test_a_run_publishes_what_it_says(redis: Redis, client: Client, stream: str) -> None:
    """The counts by kind add up to the entries on the stream, and progress ends there."""
    publisher = Publisher(client, stream, 1)
    seen: list[int] = []
    kinds = await run_race(publisher, race(), duration_s=0.3, on_progress=seen.append)
    length = await redis.xlen(stream)
    assert length == publisher.published == sum(kinds.values()) == seen[-1]
    assert seen == sorted(seen)
    expected = Counter(record.kind.value for source in [race()] for _ in range(30) for record in source.tick())
    assert kinds == expected


async def test_a_burst_comes_first(redis: Redis, client: Client, stream: str) -> None:
    """The backlog, more than one batch of it, then the race."""
    publisher = Publisher(client, stream, 1)
    kinds = await run_race(publisher, race(), duration_s=0.05, burst=2500)
    times = [fields[b"ts"].decode() for _, fields in await entries(redis, stream)]
    assert kinds["backlog"] == 2500
    assert max(times[:2500]) < START.isoformat()
    assert len(times) == publisher.published > 2500


async def test_an_outage_is_waited_out(redis: Redis, redis_url: str, stream: str, tcp_proxy: ProxyFactory) -> None:
    """Cut off in the middle, and refused for a while: every record arrives, and is counted once."""
    address = urlsplit(redis_url)
    proxy = await tcp_proxy(address.hostname, address.port)
    client = connect(url_through(proxy, redis_url))
    publisher = Publisher(client, stream, 1)
    records = some_records(20_000)
    publishing = asyncio.create_task(publisher.publish(records))
    try:
        await eventually(lambda: publisher.published)
        await proxy.refuse()
        proxy.cut()
        await eventually(lambda: publisher.retries > 1 or publishing.done())
        assert not publishing.done()
        await proxy.accept()
        await publishing
    finally:
        await client.aclose()
    arrived = await payloads(redis, stream)
    assert set(arrived) == {record.payload for record in records}
    assert len(arrived) >= publisher.published == 20_000


async def test_what_redis_refuses_for_the_moment_is_sent_again(valkey_factory: ValkeyFactory) -> None:
    """Out of memory in the middle of a batch: once there is room, the rest goes in, and nothing twice."""
    server = valkey_factory(extra_args=("--maxmemory", "3mb", "--maxmemory-policy", "noeviction"))
    client = connect(server.url)
    publisher = Publisher(client, "full", 1)
    records = some_records(10_000)
    publishing = asyncio.create_task(publisher.publish(records))
    try:
        await eventually(lambda: publisher.retries > 1 or publishing.done())
        assert not publishing.done()
        async with Redis.from_url(server.url) as redis:

            async def all_are_told() -> bool:  # but those whose answer is on its way
                return await redis.xlen("full") == publisher.published

            await eventually(all_are_told)
            assert publisher.published < 10_000
            await redis.config_set("maxmemory", "0")
            await publishing
            assert Counter(await payloads(redis, "full")) == Counter(record.payload for record in records)
    finally:
        await client.aclose()
    assert publisher.published == 10_000


async def test_an_outage_that_lasts_ends_the_run(unused_tcp_port: int) -> None:
    """After the time allowed, with one sentence."""
    client = connect(f"redis://127.0.0.1:{unused_tcp_port}")
    publisher = Publisher(client, "away", 1, give_up_after_s=2)
    try:
        with pytest.raises(PublishError, match=r"^Redis did not take records for 2 s: .*Connect call failed"):
            await publisher.publish(some_records(10))
    finally:
        await client.aclose()
    assert publisher.published == 0
    assert publisher.retries > 0


async def test_what_redis_refuses_for_good_ends_the_run(redis: Redis, client: Client, stream: str) -> None:
    """A key of another type is not waited for."""
    await redis.set(stream, "a string")
    publisher = Publisher(client, stream, 1)
    with pytest.raises(PublishError, match=r"^Redis refuses the records: .*wrong kind of value"):
        await publisher.publish(some_records(10))
    assert (publisher.published, publisher.retries) == (0, 0)


async def simulate(*options: str, **env: str) -> Result:
    # In a thread: the command has an event loop of its own.
    return await asyncio.to_thread(CliRunner().invoke, main, ["simulate", *options], env=env)


async def test_the_command_publishes(redis: Redis, redis_url: str, stream: str) -> None:
    """It says in one line how many records of which kinds; the settings are those of the service."""
    result = await simulate(
        *("--devices", "5", "--hz", "50", "--for", "0.2", "--burst", "40"),
        REDIS_URL=redis_url,
        REDIS_TELEMETRY_STREAM=stream,
        REDIS_TELEMETRY_PARTITIONS="2",
        REDIS_TELEMETRY_PRODUCER="sharded",
    )
    published = await redis.xlen(f"{stream}:0") + await redis.xlen(f"{stream}:1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"published {published} records: 40 backlog, ")
    assert result.stdout.count("\n") == 1
    assert published > 40


async def test_a_stream_that_workers_distribute_gets_everything(redis: Redis, redis_url: str, stream: str) -> None:
    """With several partitions and a producer that does not choose among them, the plain stream is published to."""
    variables = {"REDIS_URL": redis_url, "REDIS_TELEMETRY_STREAM": stream, "REDIS_TELEMETRY_PARTITIONS": "2"}
    result = await simulate("--for", "0", "--burst", "40", **variables)
    assert (result.exit_code, await redis.xlen(stream)) == (0, 40)


async def test_options_go_before_settings(redis: Redis, redis_url: str, stream: str) -> None:
    """The stream is that of the options, and the same seed publishes the same positions."""
    options = ("--devices", "2", "--hz", "50", "--for", "0.1", "--redis-url", redis_url, "--partitions", "1")
    for name in ("a", "b"):
        result = await simulate(
            *options, "--seed", "7", "--stream", f"{stream}:{name}", REDIS_URL="redis://nowhere.invalid"
        )
        assert result.exit_code == 0
    places = [
        [
            (p["device_id"], p["latitude"], p["longitude"])
            for p in map(json.loads, await payloads(redis, f"{stream}:{n}"))
        ]
        for n in ("a", "b")
    ]
    assert places[0] == places[1]
    assert places[0]


@pytest.mark.parametrize(
    "url", ["redis://:secret@127.0.0.1:{port}/0", "http://127.0.0.1", "unix:///nowhere/redis.sock"]
)
async def test_the_command_fails_in_one_sentence(url: str, unused_tcp_port: int) -> None:
    """A Redis that is not there, or no Redis at all: status 1, no traceback, no password."""
    result = await simulate("--for", "0", "--redis-url", url.format(port=unused_tcp_port), "--stream", "x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr
