"""The durable side: from decoded batches to the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry_app.assembly.distribution import build_distributor
from telemetry_app.assembly.operations import PROBE_CACHE_S
from telemetry_app.core.positions.writer import PositionWriter
from telemetry_app.core.write_queue import WriteQueue
from telemetry_app.database.migrator import Migrator
from telemetry_app.database.postgres import Postgres
from telemetry_app.operations.health import Probe
from telemetry_app.operations.observers import WriteMetrics

if TYPE_CHECKING:
    from mode import ServiceT

    from faust_redis.distribution.distributor import Distributor
    from telemetry_app.assembly.operations import Operations
    from telemetry_app.core.sink import Sink
    from telemetry_app.settings import Settings


@dataclass(frozen=True, slots=True)
class WriteAssembly:
    """The durable side of one worker.

    Attributes:
        services: Start in this order before the streams, and stop in reverse once these have drained.
        probes: Why the side is not ready.
        distributor: Distributes the plain stream once the application has started; None where the producer does.
        queue: Takes decoded batches.
        observer: Told what happens.
    """

    services: tuple[ServiceT, ...]
    probes: tuple[Probe, ...]
    distributor: Distributor | None
    queue: WriteQueue
    observer: WriteMetrics


def build_write_side(settings: Settings, operations: Operations) -> WriteAssembly:
    """Return the durable side; nothing is connected yet."""
    observer = WriteMetrics(operations.metrics)
    pooler = settings.postgres_pooler
    postgres = Postgres(settings.postgres_url, size=settings.postgres_pool_size, pooler=pooler)
    retried = operations.metrics.retries.labels("migrations").inc
    migrator = Migrator(settings.postgres_url, pooler=pooler, enabled=settings.migrate_on_start, retried=retried)
    sinks = build_sinks(settings, operations, postgres, observer)
    distributor = build_distributor(settings, operations) if settings.distributes else None
    queue = WriteQueue(sinks, concurrency=settings.write_concurrency, stopping=operations.stopping)
    return WriteAssembly(
        services=(postgres, migrator, queue),
        probes=(
            Probe("postgres", postgres.why_not_ready, PROBE_CACHE_S),
            Probe("migrations", migrator.why_not_ready),
            Probe("writer", queue.why_not_ready),
            *([Probe("distributor", distributor.why_not_ready, note=distributor.distributing)] if distributor else ()),
        ),
        distributor=distributor,
        queue=queue,
        observer=observer,
    )


def build_sinks(
    settings: Settings, operations: Operations, postgres: Postgres, observer: WriteMetrics
) -> tuple[Sink, ...]:
    """Return what every batch is written to; it is acknowledged when all of these have it."""
    positions = PositionWriter(
        postgres,
        max_rows=settings.write_batch_size,
        observer=observer,
        stopping=operations.stopping,
        refuse_after=settings.dead_letter_after,
    )
    return (positions,)
