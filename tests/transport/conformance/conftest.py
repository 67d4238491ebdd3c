"""Each test of this folder runs on both servers, and speaks both versions of the protocol with them."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from tests.support.servers.redis import DebianRedis
from tests.support.servers.server import ExternalServer, Server, server_folder, started


@pytest.fixture(scope="session")
def redis_7_server() -> Iterator[Server]:
    """Redis 7 for all tests; each keeps to keys of its own."""
    if url := os.environ.get("TEST_REDIS_7_URL"):
        yield ExternalServer(url)
        return
    with started(DebianRedis(server_folder())) as server:
        yield server


@pytest.fixture(scope="session", params=["redis_7_server", "valkey_server"], ids=["redis7", "valkey"])
def server_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param).url
    return url


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def redis_url(server_url: str, request: pytest.FixtureRequest) -> str:
    """What the application under test connects to."""
    return f"{server_url}?protocol={request.param}"


@pytest.fixture
async def redis(server_url: str) -> AsyncIterator[Redis]:
    """A client of the test's own, which always speaks the same version."""
    async with Redis.from_url(server_url) as client:
        yield client
