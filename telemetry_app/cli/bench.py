"""`telemetry bench`: measure against the raw limit of the same machine, in one run."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import mode.loop
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from telemetry_app.bench.write import WriteResult


@click.group()
def command() -> None:
    """Measure, in one run, against the raw limit of the same machine."""


@command.command()
@click.option("--records", type=click.IntRange(10_000, 10_000_000), default=200_000, show_default=True)
@click.option("--devices", type=click.IntRange(1, 1_000_000), default=500, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def write(records: int, devices: int, as_json: bool) -> None:  # noqa: FBT001 - click passes flags so
    """Measure the durable side: a worker draining a backlog, beside the same INSERT alone.

    Both run on embedded servers started for this. Leave the machine alone meanwhile.
    """
    # Only this command needs the embedded servers, which production does without.
    from telemetry_app.bench.write import WritePlan, measure  # noqa: PLC0415
    from telemetry_app.embedded.process import EmbeddedServerError  # noqa: PLC0415

    folder = Path(".data").absolute() / f"bench-{os.getpid()}"
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=1.0)

        def say(what: str, done: float) -> None:
            progress.update(task, description=what, completed=done)

        try:
            result = _run(measure(WritePlan(records, devices), folder, say))
        except (EmbeddedServerError, RuntimeError) as error:
            raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(result)))
    else:
        _print(result)


def _run(measurement: Coroutine[object, object, WriteResult]) -> WriteResult:
    """Run a measurement on the event loop that the worker uses."""
    if importlib.util.find_spec("uvloop"):
        mode.loop.use("uvloop")
    return asyncio.run(measurement)


def _print(result: WriteResult) -> None:
    table = Table(title=f"{result.records:,} records of {result.devices:,} devices")
    for heading in ("", "records/s", "CPU per record", "peak RSS"):
        table.add_column(heading, justify="right")
    table.add_row("raw limit", f"{result.raw.rows_per_s:,.0f}", f"{result.raw.cpu_us_per_row:.2f} us", "")
    worker = result.worker
    table.add_row(
        "worker", f"{worker.records_per_s:,.0f}", f"{worker.cpu_us_per_record:.2f} us", f"{worker.peak_rss_mb:.0f} MB"
    )
    table.add_row("ratio", f"{result.throughput_ratio:.2f}", f"{result.cpu_ratio:.2f}", "")
    Console().print(table)
