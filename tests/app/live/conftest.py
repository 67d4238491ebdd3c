"""Directus for the tests: a stand-in, or with LIVE_TEST_DIRECTUS=real the real one where that can tell the same."""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.app.live.directus.real import RealDirectus
from tests.app.live.directus.rights import Spectator, spectator_of
from tests.app.live.directus.stand_in import HOST, DirectusServer, DirectusStandIn
from tests.app.live.harness import LiveFactory, Side, live_side
from tests.conftest import ProxyFactory
from tests.support.servers.proxy import TcpProxy, url_through

REAL = os.environ.get("LIVE_TEST_DIRECTUS") == "real"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With the real Directus, run the tests that ask it, and no others."""
    if REAL:
        asking = [item for item in items if "directus" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in asking])
        items[:] = asking


@pytest.fixture
async def stand_in() -> AsyncIterator[DirectusStandIn]:
    """A Directus that fails on demand and remembers what it was asked."""
    async with DirectusStandIn() as server:
        yield server


@pytest.fixture(scope="session")
def real_directus() -> Iterator[RealDirectus]:
    """The real Directus of all tests, with a database of its own; each test has users and rights of its own."""
    with RealDirectus.installed() as server:
        yield server


@pytest.fixture
def directus(request: pytest.FixtureRequest) -> DirectusServer:
    """A Directus, of whichever kind this run is about."""
    server: DirectusServer = request.getfixturevalue("real_directus" if REAL else "stand_in")
    return server


@pytest.fixture
async def directus_line(directus: DirectusServer, tcp_proxy: ProxyFactory) -> TcpProxy:
    """The network between a live side and Directus."""
    port = urlsplit(directus.url).port
    assert port is not None
    return await tcp_proxy(HOST, port)


@pytest.fixture
async def spectator(directus: DirectusServer, directus_line: TcpProxy) -> AsyncIterator[Spectator]:
    """A user who may see two events."""
    async with spectator_of(directus, url=url_through(directus_line, directus.url)) as spectator:
        yield spectator


@pytest.fixture
def live(redis_url: str, stream: str, spectator: Spectator) -> LiveFactory:
    """Give a function that runs a live side which asks Directus; keyword arguments are those of `live_side`."""

    def run(*, url: str = redis_url, **options: Any) -> contextlib.AbstractAsyncContextManager[Side]:
        return live_side(url, stream, rights=spectator, **options)

    return run
