"""Clients for one Redis server, a unix socket, a Redis Cluster, or the master that sentinels name."""

from __future__ import annotations

import contextlib
import hashlib
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError, NoScriptError, ReadOnlyError

from faust_redis.redis.address import Sentinels, parse_sentinels, refuse
from faust_redis.redis.bounds import BoundedParser, Parser
from faust_redis.redis.errors import ANY_REDIS_ERROR

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

Client = Redis | RedisCluster

#: The transport parses the raw replies of these commands itself: redis-py would build a dict for each entry.
_RAW_REPLIES = ("XREADGROUP", "XAUTOCLAIM", "XCLAIM", "XRANGE", "XREAD")
_CONNECT_TIMEOUT_S = 5.0
#: Several are asked in turn, of which some may be gone with the master's machine.
_SENTINEL_TIMEOUT_S = 1.0
#: After this time a silent connection counts as lost. Longer than any read blocks (one second) and any script takes.
REPLY_TIMEOUT_S = 5.0
#: Where connections are used without a look at whether they are still there.
_STUMBLING = ("asyncio.selector_events", "redis.asyncio.connection")


def connect(url: str, *, bounded: bool = False) -> Client:
    """Return a client for a URL of one of `address.SCHEMES`.

    Nothing is sent yet. The client never repeats a command by itself: the callers know what may be repeated.

    Args:
        url: Where Redis is.
        bounded: Whether a reply that is too large raises `ReplyTooLarge` instead of filling a worker's memory.

    Raises:
        Misconfigured: The URL, or an option in it, cannot work.
    """
    refuse(url)
    kwargs: dict[str, Any] = {
        "socket_timeout": REPLY_TIMEOUT_S,
        "socket_connect_timeout": _CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }
    parser: dict[str, Any] = {"parser_class": BoundedParser if bounded else Parser}
    client: Client
    if "+cluster://" in url:
        client = RedisCluster.from_url(url.replace("+cluster", "", 1), **kwargs)
        # Its constructor does not take one; nodes that are known, and those that will be.
        for connections in (client.get_connection_kwargs(), *(node.connection_kwargs for node in client.startup_nodes)):
            connections.update(parser)
    elif "+sentinel://" in url:
        client = _of_sentinels(parse_sentinels(url), {**kwargs, **parser})
    else:
        client = Redis.from_url(url, **kwargs, **parser)
    for command in _RAW_REPLIES:
        client.set_response_callback(command, _unchanged)  # type: ignore[arg-type]  # any callable will do
    return client


def _of_sentinels(sentinels: Sentinels, kwargs: dict[str, Any]) -> Redis:
    """Return a client for the master, whose connections ask the sentinels for its address when they are opened."""
    options: dict[str, Any] = {**kwargs, **parse_url(sentinels.url)}
    for name in ("host", "port"):
        options.pop(name, None)
    if options.pop("connection_class", None):
        options["ssl"] = True
    asking = {
        "socket_timeout": _SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": _SENTINEL_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        **{name: value for name, value in options.items() if name.startswith("ssl")},
        **sentinels.login,
    }
    # The client's annotations lack both.
    manager: Any = Sentinel(sentinels.hosts, sentinel_kwargs=asking, **options)  # type: ignore[no-untyped-call]
    return manager.master_for(sentinels.service)  # type: ignore[no-any-return]


def _unchanged(reply: Any, **_: Any) -> Any:
    return reply


def is_cluster(client: Client) -> bool:
    """Tell whether keys may lie on several servers, so that one command may not touch several streams."""
    return isinstance(client, RedisCluster)


async def drop_connections(client: Client, error: BaseException) -> None:
    """After a failover, close the connections to the former master, so that the next ones find the new one.

    Those in use are closed after the command that is under way.
    """
    if isinstance(error, ReadOnlyError) and isinstance(client, Redis):
        await client.connection_pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
        await client.connection_pool.disconnect(inuse_connections=False)


async def forget_nodes(client: Client) -> None:
    """After a failure, let a cluster's client learn anew where keys are: of a failed pipeline it learns nothing."""
    if isinstance(client, RedisCluster):
        await client.aclose()


async def close(client: Client) -> None:
    """Close every connection: a cluster client that has lost one considers itself closed and would keep the others."""
    await client.aclose()
    if isinstance(client, Redis) and isinstance(client.connection_pool, SentinelConnectionPool):
        await client.connection_pool.sentinel_manager.aclose()
    if isinstance(client, RedisCluster):
        await client.nodes_manager.aclose()
        await client.nodes_manager.aclose("startup_nodes")


@contextlib.contextmanager
def as_lost_connections() -> Iterator[None]:
    """Raise a write to a connection that was just lost as a lost connection.

    Of one that was reset uvloop raises RuntimeError; asyncio of Python 3.12 and of the first 3.13 forgets to look, and
    stumbles. So does the client over one that a failure elsewhere has closed: of a cluster it closes them all.
    """
    try:
        yield
    except RuntimeError as error:
        if "the handler is closed" not in str(error):
            raise
        raise RedisConnectionError(str(error)) from error
    except (AttributeError, TypeError) as error:
        if not _is_of_a_lost_connection(error):
            raise
        raise RedisConnectionError("the connection was lost") from error


def _is_of_a_lost_connection(error: Exception) -> bool:
    """Tell whether it was asyncio itself or the client that stumbled, over what a closed connection no longer has."""
    *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
    return "'NoneType' object" in str(error) and innermost.f_globals.get("__name__") in _STUMBLING


async def execute(client: Client, *args: Any, **options: Any) -> Any:
    """Send one command; a script given as ("EVAL", source, ...) too."""
    with as_lost_connections():
        return await client.execute_command(*args, **options)


async def execute_all(
    client: Client, commands: Iterable[Sequence[Any]], *, transaction: bool = False, raises: bool = True, **options: Any
) -> list[Any]:
    """Send commands together and return their replies.

    Args:
        client: Redis.
        commands: Each a name and its arguments.
        transaction: Whether all are done or none.
        raises: Whether the first error among the replies is raised instead.
        options: The client's, for each command.
    """
    with as_lost_connections():
        async with client.pipeline(transaction=transaction) as pipeline:
            for command in commands:
                pipeline.execute_command(*command, **options)
            return await pipeline.execute(raise_on_error=raises)


class RedisProbe:
    """Asks the server whether it answers."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def why_not_ready(self) -> str | None:
        """Return None when Redis answers, else what is wrong."""
        try:
            await execute(self._client, "PING")
        except ANY_REDIS_ERROR as error:
            return f"{type(error).__name__}: {error}"
        return None


class Script:
    """A Lua script that is sent by its digest, and with its source when the server does not know it.

    Args:
        client: Redis.
        source: The script.
        run: Sends one command, by default through the client.
    """

    def __init__(self, client: Client, source: str, run: Callable[..., Awaitable[Any]] | None = None) -> None:
        self._client = client
        self._source = source
        self._run = run or partial(execute, client)
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, keys: list[str], args: list[Any]) -> Any:
        """Run the script; all keys must lie in one slot."""
        command = self.command(keys, args)
        try:
            return await self._run(*command)
        except NoScriptError as error:
            await self.was_missing([error])
            return await self._run(*command)

    async def each(self, calls: Sequence[tuple[list[str], list[Any]]]) -> list[Any]:
        """Run the script for each pair of keys and arguments, in one round trip; return replies, errors among them."""
        replies = await self._pipelined(calls)
        if await self.was_missing(replies):
            replies = await self._pipelined(calls)
        return replies

    def command(self, keys: Sequence[str], args: Sequence[Any]) -> tuple[Any, ...]:
        """Return the command that runs the script, for a server that knows it."""
        return ("EVALSHA", self._digest, len(keys), *keys, *args)

    async def was_missing(self, replies: Iterable[Any]) -> bool:
        """Tell whether a server did not know the script when it gave these replies; it knows it now."""
        missing = any(isinstance(reply, NoScriptError) for reply in replies)
        if missing:
            await execute(self._client, "SCRIPT LOAD", self._source)
        return missing

    async def _pipelined(self, calls: Sequence[tuple[list[str], list[Any]]]) -> list[Any]:
        commands = (self.command(keys, args) for keys, args in calls)
        return await execute_all(self._client, commands, raises=False)
