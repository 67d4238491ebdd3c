"""Directus for the tests: a stand-in, or with LIVE_TEST_DIRECTUS=real the real one where that can tell the same."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.live.directus_stand_in import DirectusServer, DirectusStandIn
from tests.live.real_directus import RealDirectus

REAL = os.environ.get("LIVE_TEST_DIRECTUS") == "real"


@pytest.fixture
async def stand_in() -> AsyncIterator[DirectusStandIn]:
    """A Directus that fails on demand and remembers what it was asked."""
    async with DirectusStandIn() as server:
        yield server


@pytest.fixture(scope="session")
def real_directus() -> Iterator[RealDirectus]:
    """The real Directus of all tests, with a database of its own; each test has users and events of its own."""
    with RealDirectus.installed() as server:
        yield server


@pytest.fixture
def directus(request: pytest.FixtureRequest) -> DirectusServer:
    """A Directus, of whichever kind this run is about."""
    server: DirectusServer = request.getfixturevalue("real_directus" if REAL else "stand_in")
    return server
