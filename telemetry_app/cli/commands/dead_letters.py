"""`telemetry dead-letters`: look at refused records, send them through again, throw them away, read on."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, TypeVar

import click

from telemetry_app.cli.texts import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from faust_redis.redis.client import Client
    from faust_redis.stream.dead_letters import DeadLetter, DeadLetters

T = TypeVar("T")


@click.group()
def command() -> None:
    """Look at and act on refused records."""


@command.command("list")
def list_() -> None:
    """Print one line for each dead letter: id, original id, attempts, stream, reason."""

    async def show_all(letters: DeadLetters) -> int:
        shown = 0
        async for letter in letters:
            click.echo(
                f"{letter.dead_id}  {letter.original_id}  attempts={letter.attempts}  {letter.stream}  {letter.reason}"
            )
            shown += 1
        return shown

    shown = _with_letters(show_all)
    click.echo(f"{shown} dead letter{'s' if shown != 1 else ''}", err=True)


@command.command()
@click.argument("letter_id", metavar="ID")
def show(letter_id: str) -> None:
    """Print one dead letter whole, by its id or its original id."""
    letter = _with_letters(lambda letters: letters.find(letter_id))
    if letter is None:
        raise click.ClickException(f"there is no dead letter {letter_id}")
    for name in ("dead_id", "original_id", "stream", "attempts", "reason"):
        click.echo(f"{name:12} {getattr(letter, name)}")
    for field, value in zip(letter.fields[::2], letter.fields[1::2], strict=False):
        click.echo(f"{_printable(field):12} {_printable(value)}")


@command.command()
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
def replay(letter_ids: tuple[str, ...]) -> None:
    """Append refused records to their streams again: the given ones, or all."""
    from rich.progress import track

    async def replay_chosen(letters: DeadLetters) -> int:
        chosen = await _choose(letters, letter_ids)
        for letter in track(chosen, "replaying", disable=not sys.stderr.isatty(), transient=True):
            await letters.replay(letter)
        return len(chosen)

    click.echo(f"replayed {_with_letters(replay_chosen)}")


@command.command()
def resume() -> None:
    """Go on reading partitions that paused because most of their records were refused.

    Fix the producer, or the setting that made its records unreadable, first: what was refused is then delivered again.
    """
    from faust_redis.group.pauses import resume as resume_streams

    resumed = _with_streams(resume_streams)
    click.echo(f"resumed {len(resumed)}{': ' if resumed else ''}{', '.join(resumed)}")


@command.command()
def purge() -> None:
    """Throw all dead letters away; asks first on a terminal."""
    if sys.stdin.isatty():
        click.confirm("Throw all dead letters away?", abort=True)
    click.echo(f"purged {_with_letters(lambda letters: letters.purge())}")


async def _choose(letters: DeadLetters, letter_ids: tuple[str, ...]) -> list[DeadLetter]:
    if not letter_ids:
        return [letter async for letter in letters]
    # By the letter: one may be named by both its ids.
    chosen: dict[tuple[str, str], DeadLetter] = {}
    for letter_id in letter_ids:
        letter = await letters.find(letter_id)
        if letter is None:
            raise click.ClickException(f"there is no dead letter {letter_id}; nothing was replayed")
        chosen[letter.stream, letter.dead_id] = letter
    return list(chosen.values())


def _with_letters(act: Callable[[DeadLetters], Awaitable[T]]) -> T:
    """Run an action on the dead letters of all partitions."""
    from faust_redis.stream.dead_letters import DeadLetters

    return _with_streams(lambda client, streams, _group: act(DeadLetters(client, streams)))


def _with_streams(act: Callable[[Client, list[str], str], Awaitable[T]]) -> T:
    """Run an action on the streams of all partitions and the group."""
    from faust_redis.redis.client import close, connect
    from faust_redis.redis.errors import FaustRedisError
    from telemetry_app.assembly.partitions import streams_of
    from telemetry_app.settings import load_settings

    settings = load_settings()

    async def run() -> T:
        client = connect(settings.redis_url)
        try:
            return await act(client, await streams_of(settings, client), settings.redis_consumer_group)
        finally:
            await close(client)

    try:
        return asyncio.run(run())
    except FaustRedisError as error:
        raise click.ClickException(f"Redis at REDIS_URL cannot be used: {error}") from error


def _printable(value: bytes) -> str:
    """Show bytes as text."""
    return printable(value.decode(errors="backslashreplace"))
