"""`telemetry migrate`: apply or list the migrations."""

from __future__ import annotations

import asyncio
from logging.config import dictConfig
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from telemetry_app.database.migrate import MigrationStatus

_STYLES = {"applied": "green", "pending": "yellow", "changed": "bold red", "unknown": "bold red"}
_DRIFTED = frozenset({"changed", "unknown"})


@click.command("migrate")
@click.option("--status", "only_status", is_flag=True, help="List the migrations and apply none.")
def command(*, only_status: bool) -> None:
    """Bring the database to this release's schema.

    Safe when many start at once: one works, the others wait and find nothing to do. Exits with 1 when the database
    has drifted from the files.
    """
    from telemetry_app.database.errors import DATABASE_ERRORS, describe
    from telemetry_app.database.migrate import MigrationError, migrate, status
    from telemetry_app.operations.logging import logging_config
    from telemetry_app.settings import SettingsError, load_settings

    try:
        settings = load_settings()
        dictConfig(logging_config(settings.log_level, settings.log_format))
        url = settings.postgres_url
        if only_status:
            _show(asyncio.run(status(url, pooler=settings.postgres_pooler)))
        else:
            _report(asyncio.run(migrate(url, pooler=settings.postgres_pooler)))
    except (SettingsError, MigrationError) as error:
        raise click.ClickException(str(error)) from None
    except (ValueError, *DATABASE_ERRORS) as error:
        raise click.ClickException(f"The database of POSTGRES_URL cannot be migrated: {describe(error)}.") from None


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
