"""The command `telemetry`; each subcommand is a module of this package and loaded only when it is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

import click

# One line of help for each subcommand, so that `telemetry --help` imports none of them.
COMMANDS: Final = {
    "worker": "Run one worker.",
    "migrate": "Bring the database to this release's schema.",
    "check": "Say what is ready and what is not.",
    "health": "Say whether the worker here lives; for containers.",
    "demo": "Run everything on embedded servers with a simulated race.",
    "simulate": "Publish realistic records to the stream.",
    "partitions": "Look at the partitions, and change their number.",
    "dead-letters": "Look at and act on refused records.",
    "faulty": "Look at and change which positions are not shown.",
    "course": "Make the GeoJSON of an event's course of a GPX file.",
    "retention": "Remove positions that are older than an age.",
    "bench": "Measure against the raw limit of this machine.",
}
# A module of these that is missing is a mistake of ours, not of the installation.
OURS: Final = frozenset({"", "telemetry_app", "faust_redis", "agents", "tables", "migrations"})
#: Errors whose text is one sentence about a setting.
REFUSALS: Final = (("telemetry_app.settings", "SettingsError"), ("faust_redis.redis.errors", "Misconfigured"))


class LazyGroup(click.Group):
    """A group of the commands in `COMMANDS`.

    What an operator can fix ends a command with one sentence and status 1: bad settings, or a missing package that
    only this command needs. A command that is stopped says so in the same way.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order in which help shows them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"{__name__}.commands.{cmd_name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.ClickException("Stopped before the end.") from None
        except ModuleNotFoundError as exc:
            package = (exc.name or "").partition(".")[0]
            if package in OURS:
                raise
            raise click.ClickException(
                f"This command needs the package {package}, which is not installed: "
                "in the project's sources, run pip install '.[embedded]'."
            ) from exc
        except Exception as exc:
            if not isinstance(exc, _refusals()):
                raise
            raise click.ClickException(str(exc)) from exc


def _refusals() -> tuple[type[Exception], ...]:
    """Return the errors that refuse a setting; their modules are not imported for it, so that --help is quick."""
    loaded = ((sys.modules.get(module), name) for module, name in REFUSALS)
    return tuple(getattr(module, name) for module, name in loaded if module is not None)


@click.group(cls=LazyGroup)
@click.version_option(package_name="telemetry-processor", prog_name="telemetry")
def main() -> None:
    """GPS telemetry from a Redis Stream to TimescaleDB and to live maps.

    Settings come from the environment and from the file .env; `telemetry check` says whether they work.
    """
