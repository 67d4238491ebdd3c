"""`telemetry migrate`: apply or list the migrations."""

from __future__ import annotations

import sys
from logging.config import dictConfig
from typing import TYPE_CHECKING

import click

from telemetry_app.cli.running import run

if TYPE_CHECKING:
    from telemetry_app.database.migrate import MigrationStatus
    from telemetry_app.database.sessions import Pooler

_STYLES = {"applied": "green", "pending": "yellow", "changed": "bold red", "unknown": "bold red"}
_DRIFTED = frozenset({"changed", "unknown"})


@click.command("migrate")
@click.option("--status", "only_status", is_flag=True, help="List the migrations and apply none.")
@click.option("--remove-duplicates", is_flag=True, help="First remove all rows but the first of each device and time.")
def command(*, only_status: bool, remove_duplicates: bool) -> None:
    """Bring the database to this release's schema.

    Safe when many start at once: one works, the others wait and find nothing to do. Exits with 1 when the database
    has drifted from the files, or a table that is there cannot be taken over as it is.
    """
    if only_status and remove_duplicates:
        raise click.UsageError("--status changes nothing: leave out --remove-duplicates")
    from telemetry_app.database.errors import DATABASE_ERRORS, describe
    from telemetry_app.database.migrate import MigrationError, migrate, status
    from telemetry_app.operations.logging import logging_config
    from telemetry_app.settings import SettingsError, load_settings

    try:
        settings = load_settings()
        dictConfig(logging_config(settings.log_level, settings.log_format))
        url, pooler = settings.postgres_url, settings.postgres_pooler
        if only_status:
            _show(run(status(url, pooler=pooler)))
            return
        if remove_duplicates:
            _remove_duplicates(url, pooler)
        _report(run(migrate(url, pooler=pooler)))
    except (SettingsError, MigrationError) as error:
        raise click.ClickException(str(error)) from None
    except (ValueError, *DATABASE_ERRORS) as error:
        raise click.ClickException(f"The database of POSTGRES_URL cannot be migrated: {describe(error)}.") from None


def _remove_duplicates(url: str, pooler: Pooler) -> None:
    """Remove them with a progress bar on a terminal, and say how many they were."""
    from rich.console import Console
    from rich.progress import Progress

    from telemetry_app.database.migrate import remove_duplicates

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("removing duplicates", total=None)
        removed = run(
            remove_duplicates(
                url, pooler=pooler, progress=lambda done, total: bar.update(task, completed=done, total=total)
            )
        )
    click.echo(f"removed {removed} duplicate rows" if removed else "there are no duplicate rows")


def _report(applied: list[str]) -> None:
    for file_name in applied:
        click.echo(f"applied {file_name}")
    if not applied:
        click.echo("nothing to do: the schema is up to date")


def _show(rows: list[MigrationStatus]) -> None:
    from rich.console import Console
    from rich.table import Table

    from telemetry_app.database.migrate import MigrationError

    table = Table("version", "name", "state", "applied at")
    for row in rows:
        at = "" if row.applied_at is None else f"{row.applied_at:%Y-%m-%d %H:%M:%S %Z}"
        table.add_row(f"{row.version:04d}", row.name, f"[{_STYLES[row.state]}]{row.state}[/]", at)
    Console().print(table)
    drifted = [row for row in rows if row.state in _DRIFTED]
    if drifted:
        names = ", ".join(f"{row.version:04d} is {row.state}" for row in drifted)
        raise MigrationError(f"The database has drifted from this release's files: {names}.")
