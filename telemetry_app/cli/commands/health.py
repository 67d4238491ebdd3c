"""`telemetry health`: whether the worker of this machine lives, for the health check of a container."""

from __future__ import annotations

import http.client
import os
import re
from pathlib import Path
from typing import Final

import click

#: A worker that answers nothing for so long hangs; a busy one answers within a second.
_TIMEOUT_S: Final = 4.0
_DEFAULT_HOST: Final = "0.0.0.0"  # noqa: S104 - where a worker listens
_DEFAULT_PORT: Final = "9090"
_PLAIN_HOST: Final = re.compile(r"[\w.:-]+")


@click.command()
def command() -> None:
    """Ask /healthz of the worker that runs here with these settings; exit with 1 unless it answers 200.

    No proxy is asked, and nothing that the worker depends on counts: a restart would not bring that back.
    """
    host, port = _metrics_address()
    try:
        status = _ask(host, port)
    except (OSError, http.client.HTTPException) as error:
        raise click.ClickException(f"No worker answers on METRICS_PORT={port}: {error!r}.") from error
    if status != http.client.OK:
        raise click.ClickException(f"/healthz on METRICS_PORT={port} answers {status}.")
    click.echo("ok")


def _metrics_address() -> tuple[str, int]:
    """Return host and port of the metrics; by pydantic only where the environment does not say it plainly.

    This runs every few seconds, and importing all settings would cost a second of the processor each time.
    """
    given = {name.upper(): value for name, value in os.environ.items()}
    host, port = given.get("METRICS_HOST", _DEFAULT_HOST), given.get("METRICS_PORT", _DEFAULT_PORT)
    if port.isdecimal() and _PLAIN_HOST.fullmatch(host) and not Path(".env").exists():
        return host, int(port)
    from telemetry_app.settings import load_settings

    settings = load_settings()
    return settings.metrics_host, settings.metrics_port


def _ask(host: str, port: int) -> int:
    from telemetry_app.operations.addresses import host_to_ask

    # Unlike urllib, this heeds no HTTP_PROXY.
    connection = http.client.HTTPConnection(host_to_ask(host), port, timeout=_TIMEOUT_S)
    try:
        # Of itself it would write a scoped address (fe80::1%eth0) into the header.
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        return connection.getresponse().status
    finally:
        connection.close()
