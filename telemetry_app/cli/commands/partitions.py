"""`telemetry partitions`: look at the partitions of the stream, or change their number."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

import click

from telemetry_app.cli.running import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from faust_redis.partitions.change import Outcome
    from faust_redis.partitions.overview import PartitionStatus
    from faust_redis.redis.client import Client
    from telemetry_app.settings import Settings

T = TypeVar("T")

_MOST = 1024
_WIDE = 1000


@click.command("partitions")
@click.option("--json", "as_json", is_flag=True, help="Print the partitions as JSON.")
@click.option("--to", "number", type=click.IntRange(1, _MOST), metavar="N", help="Change their number to this.")
def command(*, as_json: bool, number: int | None) -> None:
    """Print owner, lag, pending entries and states of each partition, or change the number of partitions.

    The plain stream has a line of its own, without a number: its owner distributes it, its lag waits for that.
    With --to everything that is not stored yet, dead letters and device states are brought to where they belong. Stop
    workers first, and producers that append to partitions; start them with the new number. Breaking off does no harm:
    run it again.
    """
    if as_json and number is not None:
        raise click.UsageError("--json is for looking at the partitions: leave out --to")
    from telemetry_app.settings import load_settings

    settings = load_settings()
    if number is None:
        statuses, problem = _with_redis(settings, lambda client: _look(settings, client))
        click.echo(json.dumps([asdict(status) for status in statuses], indent=2)) if as_json else _show(statuses)
        if problem is not None:
            click.echo(f"Warning: {problem}", err=True)
        return
    outcome = _with_redis(settings, lambda client: _change(settings, client, number))
    _report(outcome, settings)


async def _look(settings: Settings, client: Client) -> tuple[list[PartitionStatus], str | None]:
    """Return the partitions, and why a worker of these settings would not start with them."""
    from faust_redis.redis.errors import own_errors
    from telemetry_app.assembly.partitions import build_record, look

    statuses = await look(settings, client)
    with own_errors():
        return statuses, await build_record(settings, client).why_not(settings.redis_telemetry_partitions)


async def _change(settings: Settings, client: Client, number: int) -> Outcome:
    """Change the number with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    from telemetry_app.assembly.partitions import build_repartitioning

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"moving to {number} partitions", total=None)
        return await build_repartitioning(settings, client).to(
            number, lambda done, total: bar.update(task, completed=done, total=total)
        )


def _with_redis(settings: Settings, act: Callable[[Client], Awaitable[T]]) -> T:
    from faust_redis.redis.client import close, connect
    from faust_redis.redis.errors import ANY_REDIS_ERROR, FaustRedisError, describe

    async def acting() -> T:
        client = connect(settings.redis_url)
        try:
            return await act(client)
        finally:
            await close(client)

    try:
        return run(acting())
    except FaustRedisError as error:
        raise click.ClickException(str(error)) from error
    except ANY_REDIS_ERROR as error:
        raise click.ClickException(f"Redis does not answer as it should ({describe(error)}).") from error


def _show(statuses: list[PartitionStatus]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("partition", "stream", "owner", box=None)
    for heading in ("lag", "pending", "oldest pending", "states"):
        table.add_column(heading, justify="right")
    for status in statuses:
        oldest = "" if status.oldest_pending_s is None else f"{status.oldest_pending_s:,.0f} s"
        table.add_row(
            "-" if status.partition is None else str(status.partition),
            status.stream,
            status.owner or "nobody",
            "unknown" if status.lag is None else f"{status.lag:,}",
            f"{status.pending:,}",
            oldest,
            f"{status.state_size:,}",
        )
    # What is not a terminal has no width: names are not to be cut there.
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


def _report(outcome: Outcome, settings: Settings) -> None:
    if outcome.finished is not None:
        click.echo(f"finished a change to {outcome.finished} partitions that had been interrupted")
    if outcome.moved is None:
        click.echo(
            f"{settings.redis_telemetry_stream} has {outcome.after} partitions, and everything is where it belongs"
        )
    else:
        moved = outcome.moved
        click.echo(
            f"changed {settings.redis_telemetry_stream} from {outcome.before} to {outcome.after} partitions: moved"
            f" {moved.unread:,} unread and {moved.pending:,} pending records, {moved.dead_letters:,} dead letters,"
            f" {moved.states:,} device states"
        )
    if outcome.late:
        click.echo(
            f"{outcome.late:,} records came meanwhile: stop what writes them, and run the command again", err=True
        )
    if settings.redis_telemetry_partitions != outcome.after:
        # Who appends to what may have changed too, as the command was told by its own environment.
        producer = f" and REDIS_TELEMETRY_PRODUCER={settings.redis_telemetry_producer}" if outcome.after > 1 else ""
        click.echo(
            f"now set REDIS_TELEMETRY_PARTITIONS={outcome.after}{producer} for producers and workers, and start them"
        )
