"""`telemetry worker`: the same as `faust -A telemetry_app.app worker`."""

from __future__ import annotations

import click


@click.command()
def command() -> None:
    """Run one worker until SIGTERM or SIGINT, then finish what it holds and exit."""
    from faust_redis.driver.environment import refuse_environment
    from telemetry_app.operations.collector import collect_less_often

    collect_less_often()
    from telemetry_app.settings import load_settings

    load_settings()  # refuses a bad value in one sentence, before Faust starts
    refuse_environment()  # and what Faust would read while it is imported
    from faust.cli.faust import cli

    cli.main(
        ["--app", "telemetry_app.app", "--quiet", "worker", "--without-web"],
        prog_name="telemetry worker",
    )
