"""The commands that the transport sends, which a user of Redis must be permitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError, ResponseError

from faust_redis.redis import keys, scripts
from faust_redis.redis.client import Client, Script, execute
from faust_redis.redis.replies import text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

#: As Redis' access control lists name them. Reading, committing, leases, tables and the broadcast need all of these.
COMMANDS: Final = (
    "del", "evalsha", "get", "hdel", "hget", "hscan", "hset", "pexpire", "ping", "script|load", "set", "time", "type",
    "xack", "xadd", "xautoclaim", "xclaim", "xdel", "xgroup|create", "xgroup|delconsumer", "xgroup|destroy",
    "xgroup|setid", "xinfo|consumers", "xinfo|groups", "xinfo|stream", "xpending", "xrange", "xread", "xreadgroup",
    "zadd", "zrange", "zrem", "zremrangebyscore",
)  # fmt: skip
#: Besides, looking at dead letters and sending them again.
DEAD_LETTER_COMMANDS: Final = ("exec", "multi", "xlen")

_NAME: Final = "check"


async def refused(client: Client, stream: str, group: str, key: str) -> AsyncIterator[tuple[str, ResponseError]]:
    """Try every command, harmlessly, and yield those that Redis does not permit.

    Args:
        client: Redis.
        stream: A partition's stream. It and the keys beside it are touched and left as they are.
        group: Name of the consumer group.
        key: Key of one's own in the stream's namespace, which is written and deleted again.

    Raises:
        redis.exceptions.RedisError: Any error but a missing permission.
    """
    try:
        for command in (*_on_own_key(key), *_on_real_keys(stream, group)):
            if error := await _refusal(client, command):
                yield _shown(command), error
        if error := await _script_refusal(client, f"{key}:script"):
            yield "EVALSHA or what scripts call", error
    finally:
        # Without DEL the keys would stay.
        for left in (key, f"{key}:script"):
            await _refusal(client, ("PEXPIRE", left, 1000))
            await _refusal(client, ("DEL", left))


async def _refusal(client: Client, command: Sequence[Any]) -> ResponseError | None:
    try:
        await execute(client, *command)
    except NoPermissionError as error:
        return error
    except ReadOnlyError:
        raise
    except ResponseError:
        # What a former command was not permitted to make is missing: that is not this command's fault.
        return None
    return None


async def _script_refusal(client: Client, key: str) -> ResponseError | None:
    try:
        await Script(client, scripts.HEARTBEAT)([key], [_NAME, 1000])
    except (ReadOnlyError, OutOfMemoryError):
        raise
    except ResponseError as error:
        # Servers word it differently, and not as a missing permission, when it is of what the script calls.
        return error
    return None


def _on_own_key(key: str) -> list[tuple[Any, ...]]:
    first = "1-1"
    return [
        ("PING",), ("TIME",), ("SCRIPT LOAD", scripts.RENEW), ("DEL", key),
        ("XADD", key, first, _NAME, "1"), ("XGROUP", "CREATE", key, _NAME, "0", "MKSTREAM"),
        ("XGROUP", "SETID", key, _NAME, "0"),
        ("XREAD", "COUNT", 1, "STREAMS", key, "0"),
        ("XREADGROUP", "GROUP", _NAME, _NAME, "COUNT", 1, "STREAMS", key, ">"),
        ("XAUTOCLAIM", key, _NAME, _NAME, 0, "0"), ("XCLAIM", key, _NAME, _NAME, 0, first),
        ("XPENDING", key, _NAME), ("XINFO", "STREAM", key), ("XINFO", "GROUPS", key),
        ("XINFO", "CONSUMERS", key, _NAME), ("XRANGE", key, "-", "+", "COUNT", 1), ("XACK", key, _NAME, first),
        ("XGROUP", "DELCONSUMER", key, _NAME, _NAME), ("XLEN", key), ("XDEL", key, first), ("TYPE", key),
        ("XGROUP", "DESTROY", key, _NAME), ("DEL", key),
        ("SET", key, _NAME, "NX", "PX", 10_000), ("GET", key), ("PEXPIRE", key, 10_000), ("DEL", key),
        ("HSET", key, _NAME, "1"), ("HGET", key, _NAME), ("HSCAN", key, 0), ("HDEL", key, _NAME), ("DEL", key),
        ("ZADD", key, 1, _NAME), ("ZRANGE", key, 0, -1), ("ZREMRANGEBYSCORE", key, 0, 0), ("ZREM", key, _NAME),
        ("DEL", key),
    ]  # fmt: skip


def _on_real_keys(stream: str, group: str) -> list[tuple[Any, ...]]:
    """Return commands that write and change nothing: rights may differ from key to key."""
    nobody = f"{_NAME}:nobody"
    return [
        ("XGROUP", "DESTROY", stream, nobody),
        ("GET", keys.lease(stream, group)),
        ("HDEL", keys.state(stream, group, _NAME), nobody),
        ("XDEL", keys.dead_letters(stream), "0-1"),
        ("ZREM", keys.workers(stream, group), nobody),
        ("ZREM", keys.broadcasters(stream), nobody),
    ]


def _shown(command: Sequence[Any]) -> str:
    words = 2 if command[0] in {"XGROUP", "XINFO"} else 1
    return " ".join(text(word) for word in command[:words])
