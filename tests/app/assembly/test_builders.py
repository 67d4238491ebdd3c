"""Each side built twice with different settings in one process, and run on real servers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from mode import ServiceT

from faust_redis import RecordBatch
from faust_redis.group.instance import InstanceName
from telemetry_app.assembly.live_side import LiveAssembly, build_live_side
from telemetry_app.assembly.operations import Operations, build_operations
from telemetry_app.assembly.write_side import WriteAssembly, build_write_side
from telemetry_app.core.batch import decode_batch
from telemetry_app.live.rights.directus import Directus
from telemetry_app.operations.health import Probe
from telemetry_app.settings import Settings, load_settings
from tests.support.batches import batch_of
from tests.support.database import session
from tests.support.records import fields
from tests.support.servers.databases import fresh_database
from tests.support.servers.server import Server
from tests.support.waiting import eventually


@pytest.fixture
def settings_of(stream: str, redis_url: str, plain_postgres_url: str) -> Any:
    """Give a function of overrides that returns settings on the tests' servers."""

    def make(**overrides: Any) -> Settings:
        return load_settings(
            **{
                "redis_url": redis_url,
                "redis_telemetry_stream": stream,
                "postgres_url": plain_postgres_url,
                "metrics_host": "127.0.0.1",
                "metrics_port": 0,
                "live_auth": "none",
                **overrides,
            }
        )

    return make


async def ignore(batch: RecordBatch) -> None:
    """Take a batch of the broadcast."""


@asynccontextmanager
async def started(*services: ServiceT) -> AsyncIterator[None]:
    """Start services in their order, and stop them in reverse."""
    async with AsyncExitStack() as stack:
        for service in services:
            await stack.enter_async_context(service)
        yield


async def reasons(probes: tuple[Probe, ...]) -> dict[str, str | None]:
    return {probe.name: await probe.why_not_ready() for probe in probes}


def say(wanted: dict[str, str | None], probes: tuple[Probe, ...]) -> Callable[[], Awaitable[bool]]:
    """Return a condition: the probes say what is wanted."""

    async def said() -> bool:
        return await reasons(probes) == wanted

    return said


async def test_two_write_sides_of_one_process_store_in_their_own_databases(
    settings_of: Any, plain_postgres: Server
) -> None:
    """Each has the database, the queue and the metrics of its own settings."""
    async with fresh_database(plain_postgres.url) as other_url:
        sides: list[tuple[Settings, Operations, WriteAssembly]] = []
        for overrides in ({"write_concurrency": 1}, {"postgres_url": other_url, "write_concurrency": 3}):
            settings = settings_of(**overrides)
            operations = build_operations(settings)
            sides.append((settings, operations, build_write_side(settings, operations)))
        for number, (settings, operations, side) in enumerate(sides, start=1):
            async with started(*side.services):
                await eventually(say(dict.fromkeys(("postgres", "migrations", "writer")), side.probes))
                await _store(side, number)
                operations.stopping.set()
            async with session(settings.postgres_url) as connection:
                assert await connection.fetchval("SELECT count(*) FROM positions") == number
            inserted = operations.metrics.registry.get_sample_value(
                "processor_position_writes_total", {"status": "inserted"}
            )
            assert inserted == number
    assert [side.queue._free._value for _, _, side in sides] == [1, 3]


async def _store(side: WriteAssembly, rows: int) -> None:
    entries = (fields(timestamp=f"2026-05-02T12:00:{second:02d}Z") for second in range(rows))
    batch, delivery = batch_of(*entries)
    await side.queue.submit(decode_batch(batch, side.observer, max_ahead_s=300))
    await eventually(lambda: delivery.said == ["settled"], message="the batch is settled")


async def test_two_live_sides_of_one_process_stand_beside_each_other(settings_of: Any) -> None:
    """Each has the rights, the limits and the routes of its own settings, and becomes ready."""
    sides: list[LiveAssembly] = []
    names: list[InstanceName] = []
    for overrides in (
        {"instance_id": "one", "live_path": "/one"},
        {"instance_id": "two", "live_path": "/two", "live_auth": "directus", "directus_base_url": "http://127.0.0.1:1",
         "live_max_subscriptions": 7},
    ):  # fmt: skip
        settings = settings_of(**overrides)
        operations = build_operations(settings)
        names.append(operations.instance)
        sides.append(build_live_side(settings, operations, ignore))
    one, two = sides
    async with started(*names, *one.services, *one.feeds, *two.services, *two.feeds):
        for side in sides:
            await eventually(say({"broadcast": None}, side.probes))
    assert [any(isinstance(service, Directus) for service in side.services) for side in sides] == [False, True]
    assert [side.live.limits.max_subscriptions for side in sides] == [100, 7]
    assert [{"/one", "/two"} & side.routes._handlers.keys() for side in sides] == [{"/one"}, {"/two"}]
    for side in sides:
        await side.replay.close()


def test_a_side_starts_its_pools_first(settings_of: Any) -> None:
    """What needs the database starts after its pool and stops before it; past positions have one of their own."""
    settings = settings_of()
    operations = build_operations(settings)
    write, live = build_write_side(settings, operations), build_live_side(settings, operations, ignore)
    assert [type(service).__name__ for service in write.services] == ["Postgres", "Migrator", "WriteQueue"]
    assert [type(service).__name__ for service in live.services] == [
        *["Postgres"] * 2,
        "CachedDeviceEvents",
        "LiveSide",
    ]
    assert [type(service).__name__ for service in live.feeds] == ["BroadcastReader"]


async def test_without_migrating_the_schema_counts_as_there(settings_of: Any) -> None:
    """`MIGRATE_ON_START=false` leaves the schema to others."""
    settings = settings_of(migrate_on_start=False)
    side = build_write_side(settings, build_operations(settings))
    assert (await reasons(side.probes))["migrations"] is None
