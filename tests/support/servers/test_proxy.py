"""The proxy that breaks the network for tests: each of its modes, seen from a client."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.conftest import ProxyFactory, ValkeyFactory
from tests.support.servers.proxy import TcpProxy, url_through
from tests.support.waiting import eventually


class Client:
    """A connection to the echo server through a proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, text: bytes) -> None:
        self.writer.write(text)

    async def echo(self, text: bytes) -> bytes:
        self.send(text)
        return await self.reader.readexactly(len(text))

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(proxy: TcpProxy) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection("127.0.0.1", proxy.port))
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def proxy(tcp_proxy: ProxyFactory) -> AsyncIterator[TcpProxy]:
    """A proxy in front of a server that echoes."""
    echoes: list[asyncio.Task[None]] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                writer.write(data)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        echoes.append(asyncio.get_running_loop().create_task(echo(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    proxy = await tcp_proxy(*server.sockets[0].getsockname())
    yield proxy
    await proxy.refuse()
    proxy.flow()
    proxy.cut()
    await asyncio.gather(*echoes)
    server.close()


async def silent(client: Client) -> bool:
    """Say whether nothing comes for a while."""
    try:
        await asyncio.wait_for(client.reader.readexactly(1), 0.2)
    except TimeoutError:
        return True
    return False


async def test_proxy_passes_bytes_both_ways(proxy: TcpProxy) -> None:
    """What a client sends reaches the server, and the answer the client, whatever its length."""
    text = bytes(range(256)) * 4000
    async with connected(proxy) as client:
        assert await client.echo(text) == text


async def test_proxy_passes_the_end_of_a_side(proxy: TcpProxy) -> None:
    """A client's half close reaches the server, whose answer and end still come back."""
    async with connected(proxy) as client:
        client.send(b"last")
        client.writer.write_eof()
        assert await client.reader.read() == b"last"
    await eventually(lambda: proxy.connections == 0)


async def test_cut_resets_every_connection_and_accepts_new_ones(proxy: TcpProxy) -> None:
    """After `cut()` all clients see a reset, and may connect again at once."""
    async with connected(proxy) as first, connected(proxy) as second:
        assert await first.echo(b"1") + await second.echo(b"2") == b"12"
        proxy.cut()
        for client in (first, second):
            with pytest.raises(ConnectionResetError):
                await client.reader.readexactly(1)
    async with connected(proxy) as third:
        assert await third.echo(b"3") == b"3"


async def test_stall_holds_bytes_back_until_flow(proxy: TcpProxy) -> None:
    """While stalled, connections stay open and nothing passes; afterwards all of it does, in order."""
    async with connected(proxy) as old:
        assert await old.echo(b"a") == b"a"
        proxy.stall()
        async with connected(proxy) as new:
            old.send(b"bc")
            new.send(b"x")
            assert await silent(old)
            assert await silent(new)
            proxy.flow()
            assert await old.reader.readexactly(2) == b"bc"
            assert await new.reader.readexactly(1) == b"x"


async def test_one_direction_can_be_stalled(proxy: TcpProxy) -> None:
    """Stalled towards the server nothing gets there; stalled towards the client the answer does not come back."""
    async with connected(proxy) as client:
        for direction in ("to server", "to client"):
            proxy.stall(direction)
            client.send(b"b")
            assert await silent(client)
            proxy.flow()
            assert await client.reader.readexactly(1) == b"b"


async def test_a_piece_can_be_held(proxy: TcpProxy) -> None:
    """What comes before it and on other connections passes; it, and what comes after it, is there after `flow()`."""
    async with connected(proxy) as first, connected(proxy) as second:
        proxy.holds = lambda piece: b"c" in piece
        assert await first.echo(b"ab") + await second.echo(b"b") == b"abb"
        first.send(b"cd")
        await eventually(lambda: proxy.holds is None)
        assert await second.echo(b"e") == b"e"
        assert await silent(first)
        proxy.flow()
        assert await first.reader.readexactly(2) == b"cd"


async def test_some_connections_can_be_stalled(proxy: TcpProxy) -> None:
    """Of the connections that there are those chosen are stalled, others and new ones flow."""
    async with connected(proxy) as first, connected(proxy) as second:
        assert await first.echo(b"1") + await second.echo(b"2") == b"12"
        choices = iter([True, False])
        proxy.stall_some(lambda: next(choices))
        for client in (first, second):
            client.send(b"b")
        answers = {asyncio.create_task(client.reader.readexactly(1)) for client in (first, second)}
        [answer], [other] = await asyncio.wait(answers, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert await answer == b"b"
        await asyncio.wait([other], timeout=0.2)
        assert not other.done()
        async with connected(proxy) as third:
            assert await third.echo(b"3") == b"3"
        proxy.flow()
        assert await other == b"b"


async def test_cut_works_while_stalled(proxy: TcpProxy) -> None:
    """A stalled connection can be cut, and what was held back is lost."""
    async with connected(proxy) as client:
        assert await client.echo(b"a") == b"a"
        proxy.stall()
        client.send(b"b")
        assert await silent(client)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await client.reader.readexactly(1)
    proxy.flow()
    await eventually(lambda: proxy.connections == 0)


async def test_refuse_turns_new_connections_away_until_accept(proxy: TcpProxy) -> None:
    """After `refuse()` connections are refused and existing ones go on; `accept()` listens on the same port."""
    port = proxy.port
    async with connected(proxy) as client:
        assert await client.echo(b"a") == b"a"
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert await client.echo(b"b") == b"b"
        await proxy.accept()
        assert proxy.port == port
        async with connected(proxy) as other:
            assert await other.echo(b"c") == b"c"


@pytest.mark.parametrize("turns", range(10))
async def test_refuse_and_cut_leave_no_connection(proxy: TcpProxy, turns: int) -> None:
    """After `refuse()` and `cut()` nobody is connected, however far a connection was when they came."""
    opening = asyncio.create_task(asyncio.open_connection("127.0.0.1", proxy.port))
    for _ in range(turns):
        await asyncio.sleep(0)
    await proxy.refuse()
    proxy.cut()
    with pytest.raises((OSError, asyncio.IncompleteReadError)):  # noqa: PT012 - whichever of them is the first to notice
        client = Client(*await opening)
        await client.echo(b"hello")


async def test_latency_delays_each_way(proxy: TcpProxy) -> None:
    """With latency an answer takes at least the way there and the way back."""
    loop = asyncio.get_running_loop()
    async with connected(proxy) as client:
        proxy.latency_s = 0.1
        start = loop.time()
        assert await client.echo(b"a") == b"a"
        assert loop.time() - start >= 0.2


async def test_proxy_passes_on_that_the_server_is_down(tcp_proxy: ProxyFactory, valkey_factory: ValkeyFactory) -> None:
    """A client of a proxy whose server is gone sees its connection end, and works when the server is back."""
    server = valkey_factory()
    proxy = await tcp_proxy("127.0.0.1", server.port)
    async with Redis.from_url(url_through(proxy, server.url)) as client:
        assert await client.ping()
        server.kill()
        with pytest.raises(RedisConnectionError):
            await client.ping()
        server.start()
        assert await client.ping()


async def test_database_connections_go_through_a_proxy(plain_postgres_url: str, tcp_proxy: ProxyFactory) -> None:
    """`url_through` leads asyncpg through the proxy, and a cut ends its connection."""
    host, port = "127.0.0.1", int(plain_postgres_url.rpartition(":")[2].partition("/")[0])
    proxy = await tcp_proxy(host, port)
    connection = await asyncpg.connect(url_through(proxy, plain_postgres_url))
    assert await connection.fetchval("SELECT 1") == 1
    assert proxy.connections == 1
    proxy.cut()
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError)):
        await connection.fetchval("SELECT 1")
    connection.terminate()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h:1/0?x=y", "redis://127.0.0.1:{port}/0?x=y"),
        ("redis://u:p%40w@h:1/0", "redis://u:p%40w@127.0.0.1:{port}/0"),
        ("postgresql://postgres@h/db", "postgresql://postgres@127.0.0.1:{port}/db"),
    ],
)
def test_url_through_changes_host_and_port_only(url: str, expected: str) -> None:
    """User, password, path and query of a URL stay."""
    proxy = TcpProxy("h", 1)
    assert url_through(proxy, url) == expected.format(port=proxy.port)
