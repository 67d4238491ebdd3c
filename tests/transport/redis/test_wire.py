"""A connection past the client's detours, on a real Valkey behind a line that a test breaks."""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError, ReadOnlyError

from faust_redis.redis import wire as read_connection
from faust_redis.redis.client import Script, close, connect, drop_connections
from faust_redis.redis.wire import DirectConnection
from tests.conftest import ProxyFactory
from tests.support.servers.proxy import TcpProxy, url_through
from tests.support.waiting import eventually


@pytest.fixture(params=["redis", "rediss"])
def scheme(request: pytest.FixtureRequest) -> str:
    """In plain text, or over TLS."""
    scheme: str = request.param
    return scheme


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def line(redis_url: str, tcp_proxy: ProxyFactory, scheme: str, authority: trustme.CA) -> TcpProxy:
    """The network between the connection and Redis."""
    parts = urlsplit(redis_url)
    if scheme == "redis":
        return await tcp_proxy(parts.hostname, parts.port)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    return await tcp_proxy(parts.hostname, parts.port, server)


@pytest.fixture
async def connection(
    line: TcpProxy, redis_url: str, scheme: str, authority: trustme.CA, tmp_path: Path
) -> AsyncIterator[DirectConnection]:
    url = url_through(line, redis_url)
    if scheme == "rediss":
        certificate = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(certificate))
        url = f"{url.replace('redis://', 'rediss://')}?ssl_ca_certs={certificate}"
    client = connect(url)
    yield DirectConnection(client)
    await close(client)


@pytest.mark.parametrize("scheme", ["rediss"], indirect=True)
async def test_a_stranger_is_not_spoken_to(line: TcpProxy, redis_url: str) -> None:
    """A server whose certificate nobody vouches for is sent nothing."""
    client = connect(url_through(line, redis_url).replace("redis://", "rediss://"))
    with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        await DirectConnection(client).execute("ECHO", "hello")
    await close(client)


async def test_large_replies(connection: DirectConnection) -> None:
    """A reply of many pieces arrives whole, one after the other."""
    for size in (1, 300_000, 5, 2_000_000):
        assert await connection.execute("ECHO", "x" * size) == b"x" * size


async def test_a_late_reply_is_nobodys(
    line: TcpProxy, connection: DirectConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command without an answer ends in a timeout; the answer that comes later is not taken for the next one's."""
    assert await connection.execute("ECHO", "before") == b"before"
    monkeypatch.setattr(read_connection, "REPLY_TIMEOUT_S", 0.3)
    line.stall()
    with pytest.raises(TimeoutError):
        await connection.execute("ECHO", "late")
    monkeypatch.undo()
    line.flow()
    assert await connection.execute("ECHO", "after") == b"after"


async def test_an_abandoned_reply_is_nobodys(redis: Redis, connection: DirectConnection, stream: str) -> None:
    """Nor is the answer to a command that was cancelled while it waited."""
    waiting = asyncio.create_task(connection.execute("XREAD", "BLOCK", 0, "STREAMS", stream, "0"))

    async def is_waiting() -> bool:
        clients: Any = await redis.client_list()
        return any(client["cmd"] == "xread" and "b" in client["flags"] for client in clients)

    await eventually(is_waiting)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    await redis.xadd(stream, {"n": 1})
    assert await connection.execute("ECHO", "after") == b"after"


async def test_commands_of_several_at_once(connection: DirectConnection) -> None:
    """Commands that are given at the same time are sent in turn, and each gets its own reply."""
    assert await connection.execute("ECHO", "first") == b"first"
    words = [b"%d" % number for number in range(20)]
    assert await asyncio.gather(*(connection.execute("ECHO", word) for word in words)) == words


async def test_after_a_failover(redis_url: str) -> None:
    """Once the client has met a former master, the next command has a new connection, and those after it have it too.

    Nothing else tells: what only reads is answered by the former master as well.
    """
    client = connect(redis_url)
    connection = DirectConnection(client)
    before = await connection.execute("CLIENT", "ID")
    await drop_connections(client, RedisConnectionError())
    assert await connection.execute("CLIENT", "ID") == before
    await drop_connections(client, ReadOnlyError())
    after = await connection.execute("CLIENT", "ID")
    assert after != before
    assert await connection.execute("CLIENT", "ID") == after
    await close(client)


async def test_a_script_that_the_server_does_not_know(redis_url: str) -> None:
    """A script that is sent past the client is given to a server that does not know it, and runs."""
    client = connect(redis_url)
    word = uuid.uuid4().hex
    assert await Script(client, f"return '{word}'", DirectConnection(client).execute)([], []) == word.encode()
    await close(client)


@pytest.mark.parametrize("name", ["_WRITER", "_PARSER"])
async def test_a_client_that_has_renamed_its_parts(
    connection: DirectConnection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Where the client's connection has nothing to take over, commands go through the client, which is said once."""
    monkeypatch.setattr(read_connection, name, "_renamed")
    for word in (b"one", b"two", b"three"):
        assert await connection.execute("ECHO", word) == word
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1
    assert "commands go through the client" in said[0]
    assert "_renamed" in said[0]


async def test_a_cut_line(line: TcpProxy, connection: DirectConnection) -> None:
    """A connection that broke while nothing was asked costs one command; the next one has a new connection."""
    assert await connection.execute("ECHO", "before") == b"before"
    line.cut()
    with pytest.raises(RedisConnectionError):
        await connection.execute("ECHO", "lost")
    assert await connection.execute("ECHO", "after") == b"after"


# What the client asks of a function that greets is deprecated in Python 3.14.
@pytest.mark.filterwarnings("ignore:.*iscoroutinefunction:DeprecationWarning")
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_is_reset_while_it_is_opened(
    loop: Callable[[], asyncio.AbstractEventLoop], redis_url: str
) -> None:
    """Whatever the event loop says of a socket that is gone: the read fails as by a lost connection, the next works."""
    resets = [True, False]

    async def greet(opened: Any) -> None:
        if resets.pop(0):
            opened._writer.transport.abort()
            await asyncio.sleep(0)
        await opened.on_connect()

    async def read() -> bytes:
        client: Any = connect(redis_url)
        client.connection_pool.connection_kwargs["redis_connect_func"] = greet
        connection = DirectConnection(client)
        with pytest.raises(RedisConnectionError):
            await connection.execute("ECHO", "first")
        answer: bytes = await connection.execute("ECHO", "second")
        await close(client)
        return answer

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(read()) == b"second"
