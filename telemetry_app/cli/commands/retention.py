"""`telemetry retention`: remove old positions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from telemetry_app.cli.running import run

if TYPE_CHECKING:
    from datetime import timedelta

    from telemetry_app.database.retention import Old
    from telemetry_app.settings import Settings


@click.command("retention")
@click.option("--older-than", "age", required=True, metavar="AGE", help="How old: 36h, 400d or 26w; at least a day.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.option("--yes", is_flag=True, help="Take an age below a day as well.")
def command(*, age: str, dry_run: bool, yes: bool) -> None:
    """Remove positions that are older than an age.

    A hypertable loses the chunks that are older as a whole, which takes no time; an ordinary table loses rows, in
    batches. Made to be run by a timer: breaking off does no harm, and the next run goes on.
    """
    from telemetry_app.database.errors import DATABASE_ERRORS, describe
    from telemetry_app.database.migrate import MigrationError
    from telemetry_app.database.retention import SHORTEST, NoTableError, age_of
    from telemetry_app.settings import SettingsError, load_settings

    try:
        limit = age_of(age)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--older-than") from None
    if limit < SHORTEST and not yes and not dry_run:
        raise click.UsageError(f"{age} is less than a day, which would take today's positions: add --yes to mean it")
    try:
        result = run(_remove(load_settings(), limit, dry_run=dry_run))
    except (SettingsError, NoTableError, MigrationError) as error:
        raise click.ClickException(str(error)) from None
    except (ValueError, *DATABASE_ERRORS) as error:
        raise click.ClickException(f"Old positions cannot be removed: {describe(error)}.") from None
    click.echo(f"{'would remove' if dry_run else 'removed'} {result}")


async def _remove(settings: Settings, age: timedelta, *, dry_run: bool) -> Old:
    """Remove with a progress bar on a terminal; return what went, or would go."""
    from rich.console import Console
    from rich.progress import Progress

    from telemetry_app.database.postgres import connect
    from telemetry_app.database.retention import find_old, remove
    from telemetry_app.database.sessions import end_session

    connection = await connect(settings.postgres_url, pooler=settings.postgres_pooler)
    try:
        old = await find_old(connection, age)
        if dry_run:
            return old
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("removing", total=old.number)
            return await remove(connection, old, lambda done: bar.update(task, completed=done))
    finally:
        await end_session(connection)
