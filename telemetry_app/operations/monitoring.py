"""Metrics and health on a port of their own."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from mode import Service

from telemetry_app.operations.addresses import shown
from telemetry_app.operations.health import OK
from telemetry_app.operations.listening import listen
from telemetry_app.serving.lobby import Lobby
from telemetry_app.serving.server import BoundedRunner

if TYPE_CHECKING:
    from telemetry_app.operations.health import Readiness
    from telemetry_app.operations.metrics import Metrics

logger = logging.getLogger(__name__)

# aiohttp waits this long for requests under way, and once more after it has cancelled them; scrapes take milliseconds.
SHUTDOWN_TIMEOUT_S: Final = 0.2
#: A connection without a request, or with one that does not get complete, is closed after so long: longer than the
#: minute for which proxies and Prometheus keep one.
IDLE_S: Final = 75.0
#: More than scrapes and probes keep open; above it the one that waits longest is cut.
MOST_CONNECTIONS: Final = 64


class MonitoringError(RuntimeError):
    """The port of metrics and health cannot be listened on."""


class MonitoringServer(Service):
    """Serves `/metrics`, `/healthz` and `/readyz`, and nothing else.

    `/healthz` answers 200 as long as the event loop runs. `/readyz` answers 200 when every probe is ok, else 503,
    both with `{"ready": bool, "checks": {name: "ok" or the reason}}`, and `"notes"` where a worker that is ready has
    something to say, as a hot standby has.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes any free one.
        metrics: What `/metrics` shows.
        readiness: What `/readyz` asks.
    """

    logger = logger

    def __init__(self, host: str, port: int, metrics: Metrics, readiness: Readiness, **kwargs: Any) -> None:
        self._host = host
        self._port = port
        self._metrics = metrics
        self._readiness = readiness
        self._runner: web.AppRunner | None = None
        super().__init__(**kwargs)

    @property
    def port(self) -> int:
        """The port that is listened on, or before the start the one asked for."""
        addresses = self._runner.addresses if self._runner else []
        return int(addresses[0][1]) if addresses else self._port

    async def on_start(self) -> None:
        """Listen.

        Raises:
            MonitoringError: The address is taken or not ours.
        """
        app = web.Application()
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_get("/healthz", self._show_health)
        app.router.add_get("/readyz", self._show_readiness)
        self._runner = BoundedRunner(
            app,
            Lobby(MOST_CONNECTIONS),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_TIMEOUT_S,
            keepalive_timeout=IDLE_S,
        )
        await self._runner.setup()
        try:
            await listen(self._runner, self._host, self._port)
        except OSError as exc:
            await self._runner.cleanup()
            self._runner = None
            raise MonitoringError(_why(self._host, self._port, exc)) from exc
        logger.info("metrics and health on http://%s", shown(self._host, self.port))

    async def on_stop(self) -> None:
        """Close the port and every connection, idle ones at once and busy ones within half a second."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": self._metrics.content_type})

    async def _show_health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _show_readiness(self, _request: web.Request) -> web.Response:
        checks = await self._readiness.check()
        ready = all(answer == OK for answer in checks.values())
        answer: dict[str, Any] = {"ready": ready, "checks": checks}
        if ready and (notes := self._readiness.notes()):
            answer["notes"] = notes
        return web.json_response(answer, status=200 if ready else 503)


def _why(host: str, port: int, error: OSError) -> str:
    what = "is in use by another process" if error.errno == errno.EADDRINUSE else f"cannot be bound ({error})"
    return (
        f"Port {port} on {host} {what}: set METRICS_PORT to a free one, or METRICS_HOST to an address of this machine."
    )
