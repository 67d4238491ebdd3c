"""`telemetry check`: what is ready, what is not, and how to fix it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

import click

from telemetry_app.cli.findings.finding import Finding
from telemetry_app.redaction import redact_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from telemetry_app.settings import Settings


#: As long as the longest name of a setting.
_NAME_CHARS: Final = 32


@click.command()
def command() -> None:
    """Print one line for each setting and dependency: ok, or what is wrong and how to fix it.

    Exits with 1 when anything is wrong; a warning is not.
    """
    from faust_redis.driver.environment import refused_variables
    from telemetry_app.settings import SettingsError, load_settings

    # What Faust reads from the environment is no setting of ours, but ends a worker like a wrong one.
    problems = refused_variables(os.environ)
    try:
        settings = load_settings()
    except SettingsError as exc:
        _print_problems({**exc.problems, **problems})
        click.echo("The dependencies will be checked once the settings are right.")
        raise SystemExit(1) from exc
    for finding in _variables(settings):
        _print(finding)
    _print_problems(problems)
    if not asyncio.run(_print_dependencies(settings)) or problems:
        raise SystemExit(1)


def _print_problems(problems: Mapping[str, str]) -> None:
    for variable, problem in problems.items():
        _print(Finding(variable, ok=False, text=problem))


async def _print_dependencies(settings: Settings) -> bool:
    """Print each finding as it comes, and tell whether all were good."""
    from telemetry_app.cli.findings.dependencies import dependencies

    well = True
    async for finding in dependencies(settings):
        _print(finding)
        well &= finding.ok
    return well


def _variables(settings: Settings) -> Iterator[Finding]:
    from telemetry_app.settings.environment import service_links

    links = service_links(type(settings).model_fields)
    for field in type(settings).model_fields:
        origin = "set" if field in settings.model_fields_set else "default"
        if field.upper() in links:
            origin += "; a Kubernetes Service sets it too, which is left out: set enableServiceLinks: false"
        yield Finding(field.upper(), ok=True, text=f"{_shown(getattr(settings, field))} ({origin})")


def _shown(value: object) -> str:
    if isinstance(value, frozenset | tuple):
        return ",".join(sorted(map(str, value))) or "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return "unset" if value is None else redact_url(str(value))


def _print(finding: Finding) -> None:
    mark = click.style("ok   ", fg="green") if finding.ok else click.style("wrong", fg="red", bold=True)
    if finding.warning:
        mark = click.style("warn ", fg="yellow")
    click.echo(f"{mark}  {finding.name:<{_NAME_CHARS}} {finding.text}")
