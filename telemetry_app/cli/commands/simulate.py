"""`telemetry simulate`: a race of made-up trackers on the stream."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import click

from telemetry_app.cli.running import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Plan(NamedTuple):
    devices: int
    hz: float
    duration_s: float
    burst: int
    seed: int
    redis_url: str
    stream: str
    partitions: int


class _Outcome(NamedTuple):
    published: int
    retries: int
    kinds: dict[str, int]


@click.command()
@click.option("--devices", type=click.IntRange(1, 100_000), default=40, show_default=True, help="Devices in the race.")
@click.option(
    "--hz", type=click.FloatRange(0.01, 100), default=1.0, show_default=True, help="Records a second of each."
)
@click.option(
    "--for",
    "duration_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=60.0,
    show_default=True,
    help="How long to publish.",
)
@click.option(
    "--burst",
    type=click.IntRange(0, 100_000_000),
    default=0,
    show_default=True,
    metavar="N",
    help="Before that, publish N older records as fast as possible.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same race.")
@click.option("--redis-url", help="Default: REDIS_URL.")
@click.option("--stream", help="Default: REDIS_TELEMETRY_STREAM.")
@click.option("--partitions", type=click.IntRange(1, 1024), help="Default: as the producer is set.")
def command(
    *,
    devices: int,
    hz: float,
    duration_s: float,
    burst: int,
    seed: int,
    redis_url: str | None,
    stream: str | None,
    partitions: int | None,
) -> None:
    """Publish realistic records to the stream, as tcp-ingestion does.

    A few percent of them are what real trackers do besides: bulk uploads after an outage, packets sent twice, no fix,
    and clocks years ahead, whose records a worker refuses.
    """
    from telemetry_app.redaction import redact_url
    from telemetry_app.settings import load_settings
    from telemetry_app.tools.simulation.publisher import PublishError

    settings = load_settings()
    plan = _Plan(
        devices,
        hz,
        duration_s,
        burst,
        seed,
        redis_url or settings.redis_url,
        stream or settings.redis_telemetry_stream,
        partitions or (1 if settings.distributes else settings.redis_telemetry_partitions),
    )
    try:
        with _progress(plan) as on_progress:
            outcome = run(_simulate(plan, on_progress))
    except PublishError as error:
        raise click.ClickException(redact_url(str(error))) from error
    click.echo(_summary(outcome))


async def _simulate(plan: _Plan, on_progress: Callable[[int], None]) -> _Outcome:
    from faust_redis.redis.client import close, connect, execute
    from faust_redis.redis.errors import ANY_REDIS_ERROR
    from telemetry_app.tools.simulation.publisher import Publisher, PublishError
    from telemetry_app.tools.simulation.race import Race
    from telemetry_app.tools.simulation.runner import run_race

    redis = connect(plan.redis_url)
    try:
        try:
            await execute(redis, "PING")
        except ANY_REDIS_ERROR as error:
            raise PublishError(f"Redis at {plan.redis_url} does not answer: {error}") from error
        publisher = Publisher(redis, plan.stream, plan.partitions)
        race = Race(plan.devices, plan.hz, seed=plan.seed, start=datetime.now(UTC))
        kinds = await run_race(publisher, race, duration_s=plan.duration_s, burst=plan.burst, on_progress=on_progress)
        return _Outcome(publisher.published, publisher.retries, kinds)
    finally:
        await close(redis)


@contextmanager
def _progress(plan: _Plan) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of records published; on a terminal it draws a bar."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("records", total=plan.burst + plan.devices * plan.hz * plan.duration_s)
        yield lambda published: bar.update(task, completed=published)


def _summary(outcome: _Outcome) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.kinds.items()))
    retries = f"; {outcome.retries} batches sent again" if outcome.retries else ""
    return f"published {outcome.published} records" + (f": {kinds}" if kinds else "") + retries
