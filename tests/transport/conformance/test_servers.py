"""What this folder runs on is what the names of its tests say."""

import pytest
from redis.asyncio import Redis

from tests.support.servers.server import Server
from tests.transport.conftest import AppFactory, Stream


async def test_application_speaks_this_protocol(
    transport_app: AppFactory, records: Stream, redis_url: str, redis: Redis, request: pytest.FixtureRequest
) -> None:
    """All connections of an application, the one that reads included, speak the version that is asked for."""
    await transport_app(records.name, url=f"{redis_url}&client_name={records.name}")
    await records.publish(["r"])
    await records.committed(["r"])
    connections = [client for client in await redis.client_list() if client["name"] == records.name]
    assert {client["resp"] for client in connections} == {str(request.node.callspec.params["redis_url"])}
    assert any(client["cmd"].startswith("xreadgroup") for client in connections)


async def test_redis_7_is_redis_7(redis_7_server: Server) -> None:
    """One of the two servers is no Valkey, which calls itself Redis 7 too, and no later Redis."""
    async with Redis.from_url(redis_7_server.url) as client:
        info = await client.info("server")
    assert (info.get("server_name", "redis"), info["redis_version"].partition(".")[0]) == ("redis", "7")
