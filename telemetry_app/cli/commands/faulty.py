"""`telemetry faulty`: which positions are stored and not shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from telemetry_app.cli.running import run
from telemetry_app.cli.texts import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

    from telemetry_app.core.positions.marks import Span

T = TypeVar("T")

#: Of a list that names no beginning: whole tables are long to look through.
_A_DAY: Final = timedelta(days=1)
_LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)
#: Whoever runs the command sits before it: a server that is away is better told at once than waited for.
_CONNECT_S: Final = 10.0


class _Time(click.ParamType):
    """A time with its zone, as ISO 8601 writes it."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return it."""
        if isinstance(value, datetime):
            return value
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time: write it as 2026-05-02T12:00:00Z", param, ctx)
        if at.tzinfo is None:
            self.fail(f"{value!r} has no time zone: write {at.isoformat()}Z for UTC", param, ctx)
        return at


_device = click.option("--device", "device_id", required=True, help="IMEI of the tracker.")
_first = click.option("--from", "first", type=_Time(), required=True, help="Timestamp of the first position.")
_last = click.option("--to", "last", type=_Time(), help="Timestamp of the last one; without it, the first alone.")


@click.group()
def command() -> None:
    """Look at and change which positions are not shown.

    Open maps follow within LIVE_DEVICE_EVENT_REFRESH_MS: each device goes to its newest good position.
    """


@command.command("list")
@click.option("--device", "device_id", help="IMEI of one tracker; without it, all.")
@click.option("--from", "first", type=_Time(), help="First timestamp; a day ago, or before --to, if left out.")
@click.option("--to", "last", type=_Time(), help="Last timestamp.")
@click.option("--most", type=click.IntRange(1), default=1000, show_default=True, help="Most positions, the newest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, device_id: str | None, first: datetime | None, last: datetime | None, most: int, as_json: bool) -> None:
    """Print faulty positions, the newest first: timestamp, device, reason, place, and when each came in."""
    from telemetry_app.core.positions.marks import find

    end = last or _LAST
    begin = min(end, datetime.now(UTC)) - _A_DAY if first is None else first
    _check_order(begin, end)
    found = _with_database(lambda connection: find(connection, device_id, begin, end, most=most))
    if as_json:
        click.echo(json.dumps(found, default=_iso, indent=2))
        return
    for row in found:
        click.echo(
            f"{_iso(row['ts'])}  {printable(row['device_id'])}  {printable(row['reason'] or '-')}  "
            f"{row['latitude']},{row['longitude']}  {_iso(row['ingested_at'])}"
        )
    click.echo(f"{len(found)} faulty position{'s' if len(found) != 1 else ''}", err=True)


@command.command()
@_device
@_first
@_last
@click.option("--reason", default="operator", show_default=True, help="Why, in a few words.")
def mark(*, device_id: str, first: datetime, last: datetime | None, reason: str) -> None:
    """Mark positions of a device as faulty: they stay stored and are not shown."""
    from telemetry_app.core.positions import marks

    span = _span(device_id, first, last)
    click.echo(f"marked {_with_database(lambda connection: marks.mark(connection, span, reason))}")


@command.command()
@_device
@_first
@_last
@click.option("--reason", help="Only those marked for this reason; without it all, those that the workers marked too.")
def unmark(*, device_id: str, first: datetime, last: datetime | None, reason: str | None) -> None:
    """Let positions of a device be shown again."""
    from telemetry_app.core.positions import marks

    span = _span(device_id, first, last)
    click.echo(f"unmarked {_with_database(lambda connection: marks.unmark(connection, span, reason))}")


def _span(device_id: str, first: datetime, last: datetime | None) -> Span:
    from telemetry_app.core.positions.marks import Span

    span = Span(device_id, first, last or first)
    _check_order(span.first, span.last)
    return span


def _check_order(first: datetime, last: datetime) -> None:
    if last < first:
        raise click.BadParameter("is before --from", param_hint="--to")


def _with_database(act: Callable[[asyncpg.Connection[Any]], Awaitable[T]]) -> T:
    """Run an action on the table of positions."""
    from telemetry_app.database.errors import DATABASE_ERRORS, Outlook, describe, meaning_of
    from telemetry_app.database.postgres import connect
    from telemetry_app.database.sessions import end_session
    from telemetry_app.settings import load_settings

    settings = load_settings()

    async def work() -> T:
        connection = await connect(
            settings.postgres_url, pooler=settings.postgres_pooler, attempts=1, timeout_s=_CONNECT_S
        )
        try:
            return await act(connection)
        finally:
            await end_session(connection)

    try:
        return run(work())
    except (ValueError, *DATABASE_ERRORS) as error:
        meaning = meaning_of(error)
        advice = "run it again when the server answers" if meaning.outlook is Outlook.SOON else meaning.advice
        raise click.ClickException(
            f"The positions of POSTGRES_URL cannot be used ({describe(error)}): {advice}."
        ) from None


def _iso(at: datetime | None) -> str:
    return "-" if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
