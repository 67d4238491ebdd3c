"""The live side through nginx and Caddy as deploy/proxies sets them up, and what of Traefik can be told without it."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
import yaml
from aiohttp.abc import AbstractResolver, ResolveResult

from telemetry_app.settings import Settings
from telemetry_app.tools.embedded.ports import free_port
from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.app.live.directus.stand_in import DirectusStandIn
from tests.deploy.proxies import FOLDER, HOST, Proxy, caddy, running_caddy, running_nginx, write_certificate
from tests.support.bundle import built
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker, record
from tests.worker.spectators import RECEIVE_S, Spectators

RUNNING: dict[str, Callable[..., contextlib.AbstractContextManager[Proxy]]] = {
    "nginx": running_nginx,
    "caddy": running_caddy,
}
FORGED = "203.0.113.9"


class EveryNameIsHere(AbstractResolver):
    """The address of every name: this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        here = ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0)
        return [here]

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Site:
    """What a browser sees: the proxy under its name, with a certificate that it trusts."""

    http: aiohttp.ClientSession
    proxy: Proxy

    @property
    def origin(self) -> str:
        return f"https://{HOST}:{self.proxy.https_port}"

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.http.get(f"{self.origin}{path}", headers=headers) as answer:
            return answer.status, await answer.text()

    @contextlib.asynccontextmanager
    async def connect(self, path: str, cookie: str, **headers: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Connect as the map does, from a page of this site, by a browser that offers compression."""
        sent = {"Cookie": cookie, "Origin": self.origin, **headers}
        async with self.http.ws_connect(f"{self.origin}{path}", headers=sent, compress=15) as ws:
            assert ws.compress, "the proxy hands on what is offered and agreed"
            yield ws


Behind = Callable[[int, int], contextlib.AbstractAsyncContextManager[list[Site]]]


@pytest.fixture
def behind(tmp_path: Path) -> Behind:
    """Give a function of two live ports that runs each proxy in front of them."""
    authority = trustme.CA()
    certificate = write_certificate(authority, tmp_path)
    context = ssl.create_default_context()
    authority.configure_trust(context)

    @contextlib.asynccontextmanager
    async def run(first: int, second: int) -> AsyncIterator[list[Site]]:
        async with contextlib.AsyncExitStack() as stack:
            sites = []
            for name, running in RUNNING.items():
                folder = tmp_path / name
                folder.mkdir()
                proxy = stack.enter_context(running((first, second), certificate, folder))
                connector = aiohttp.TCPConnector(resolver=EveryNameIsHere(), ssl=context)
                site = Site(await stack.enter_async_context(aiohttp.ClientSession(connector=connector)), proxy)
                await eventually(functools.partial(_answers, site), message=f"{name} answers")
                sites.append(site)
            yield sites

    return run


async def _answers(site: Site) -> bool:
    with contextlib.suppress(aiohttp.ClientConnectionError):
        await site.get("/")
        return True
    return False


async def receive(ws: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(await ws.receive_str(timeout=RECEIVE_S))
    return frame


async def watch(site: Site, path: str, pipeline: Pipeline, spectators: Spectators, *, second: int) -> None:
    """Subscribe through the proxy, and see a record that is published then."""
    published = record(3, second)
    async with site.connect(path, spectators.cookie) as ws:
        await ws.send_json({"type": "subscribe", "topic": f"event:{spectators.event_id}"})
        assert (await receive(ws))["type"] == "subscribed"
        await pipeline.publish([published])
        frame = await receive(ws)
        assert (frame["type"], frame["deviceId"]) == ("position", published["device_id"])


@pytest.fixture
async def worker(start_both: StartWorker, spectators: Spectators) -> WorkerProcess:
    """A worker that knows the devices of the event from its start."""
    assert spectators.event_id
    started = start_both()
    await started.wait_ready()
    return started


async def test_the_map_and_its_socket(
    behind: Behind, worker: WorkerProcess, pipeline: Pipeline, spectators: Spectators, stand_in: DirectusStandIn
) -> None:
    """Page, configuration and socket come through; the page's own origin may connect, another may not.

    Directus is told the client's address, not what the client says of itself.
    """
    async with behind(worker.live_port, free_port()) as sites:
        for second, site in enumerate(sites, 1):
            status, page = await site.get("/")
            assert (status, f'src="{built("app.js")}"' in page) == (200, True)
            status, config = await site.get("/config.json", Cookie=spectators.cookie, **{"X-Forwarded-For": FORGED})
            assert (status, [event["id"] for event in json.loads(config)["events"]]) == (200, [spectators.event_id])
            await watch(site, "/live", pipeline, spectators, second=second)
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                async with site.connect("/live", spectators.cookie, Origin="https://elsewhere.example"):
                    pass
    assert {asked.headers["x-forwarded-for"] for asked in stand_in.asked} == {"127.0.0.1"}


async def test_below_a_path(behind: Behind, worker: WorkerProcess, pipeline: Pipeline, spectators: Spectators) -> None:
    """Below a path, which the proxy leaves away, are the page, its files, its configuration, past and socket."""
    async with behind(worker.live_port, free_port()) as sites:
        for second, site in enumerate(sites, 1):
            status, page = await site.get("/tracking/")
            assert status == 200
            for name in (built("world.json"), *re.findall(r'(?:src|href)="([\w.-]+)"', page)):
                assert (await site.get(f"/tracking/{name}"))[0] == 200, name
            status, config = await site.get("/tracking/config.json", Cookie=spectators.cookie)
            assert status == 200
            past = f"/tracking/live/history/extent?event={spectators.event_id}"
            assert (await site.get(past, Cookie=spectators.cookie))[0] == 200
            await watch(site, f"/tracking{json.loads(config)['path']}", pipeline, spectators, second=second)


async def test_a_worker_that_is_gone(behind: Behind, worker: WorkerProcess, spectators: Spectators) -> None:
    """While one of two workers is gone, every newcomer gets to the other one."""
    async with behind(free_port(), worker.live_port) as sites:
        for site in sites * 4:
            async with site.connect("/live", spectators.cookie) as ws:
                await ws.send_json({"type": "unsubscribe", "topic": "event:1"})
                assert (await receive(ws))["type"] == "unsubscribed"


async def test_nginx_asks_the_next_worker_when_one_is_full(
    tmp_path: Path, start_both: StartWorker, worker: WorkerProcess, spectators: Spectators
) -> None:
    """A worker without room for more spectators sends newcomers on, not away."""
    full = start_both(LIVE_MAX_CONNECTIONS="1")
    await full.wait_ready()
    certificate = write_certificate(trustme.CA(), tmp_path)
    with running_nginx((full.live_port, worker.live_port), certificate, tmp_path) as proxy:
        connector = aiohttp.TCPConnector(resolver=EveryNameIsHere(), ssl=False)
        async with aiohttp.ClientSession(connector=connector) as http, contextlib.AsyncExitStack() as sockets:
            site = Site(http, proxy)
            await eventually(lambda: _answers(site), message="the proxy answers")
            for _ in range(5):
                await sockets.enter_async_context(site.connect("/live", spectators.cookie))


async def test_nginx_sends_http_to_https(tmp_path: Path) -> None:
    """Who comes without TLS is sent to the same page with it."""
    certificate = write_certificate(trustme.CA(), tmp_path)
    with running_nginx((free_port(), free_port()), certificate, tmp_path) as proxy:
        connector = aiohttp.TCPConnector(resolver=EveryNameIsHere())
        async with aiohttp.ClientSession(connector=connector) as http:

            async def location() -> str | None:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    url = f"http://{HOST}:{proxy.http_port}/x?y=z"
                    async with http.get(url, allow_redirects=False) as answer:
                        return answer.headers.get("Location")
                return None

            assert await eventually(location) == f"https://{HOST}/x?y=z"


def test_the_caddyfile_is_formatted() -> None:
    """Caddy itself would write it so."""
    done = subprocess.run([caddy(), "fmt", FOLDER / "Caddyfile"], capture_output=True, text=True, check=True)
    assert done.stdout == (FOLDER / "Caddyfile").read_text()


def traefik() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "traefik.yml").read_text())["http"]
    return found


def test_traefik_names_what_is_there() -> None:
    """Each router leads to a service and through middlewares of the file, and each service to the live port."""
    routers = traefik()["routers"].values()
    assert {router["service"] for router in routers} == set(traefik()["services"])
    assert {name for router in routers for name in router.get("middlewares", ())} == set(traefik()["middlewares"])
    for service in traefik()["services"].values():
        balancer = service["loadBalancer"]
        assert balancer["serversTransport"] in traefik()["serversTransports"]
        fields = Settings.model_fields
        assert {url["url"].rpartition(":")[2] for url in balancer["servers"]} == {str(fields["live_port"].default)}
        assert balancer["healthCheck"]["port"] == fields["metrics_port"].default


def test_traefik_prefers_the_narrower_rule() -> None:
    """What is below a path is found before the rest of the host."""
    routers = traefik()["routers"]
    by_priority = sorted(routers, key=lambda name: -routers[name]["priority"])
    assert by_priority == ["telemetry-below", "telemetry"]
