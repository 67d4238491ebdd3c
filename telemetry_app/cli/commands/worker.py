"""`telemetry worker`: the same as `faust -A telemetry_app.app worker`."""

from __future__ import annotations

import signal
from typing import NoReturn

import click


@click.command()
def command() -> None:
    """Run one worker until SIGTERM, SIGINT or SIGHUP, then finish what it holds and exit."""
    # Until it has handlers of its own it holds nothing. Without these, process 1 of a container would not be ended.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)

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


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)
