"""Errors of Redis told apart, the transport's own, and how long to wait after one."""

from typing import Any

import pytest
from hypothesis import given, strategies as st
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError as RedisConnectionError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)

from faust_redis.redis.client import as_lost_connections
from faust_redis.redis.errors import (
    FaustRedisError,
    Misconfigured,
    PartitionLost,
    Unavailable,
    describe,
    is_busy_group,
    is_no_group,
    own_errors,
)
from faust_redis.redis.retry import Backoff


@given(st.integers(1, 2000))
def test_backoff_grows_within_its_bounds(failures: int) -> None:
    """Waits stay between 30 % of the first and the cap, and a success starts again from the first."""
    backoff = Backoff(first_s=0.05, cap_s=2.0)
    waits = [backoff.next_s() for _ in range(failures)]
    assert all(0.3 * 0.05 <= wait <= 2.0 for wait in waits)
    assert all(0.3 * min(2.0, 0.05 * 2**n) <= wait <= 0.05 * 2**n for n, wait in enumerate(waits[:12]))
    backoff.reset()
    assert backoff.next_s() <= 0.05


@pytest.mark.parametrize(
    ("error", "busy", "gone"),
    [
        (ResponseError("BUSYGROUP Consumer Group name already exists"), True, False),
        (ResponseError("NOGROUP No such key 's' or consumer group 'g'"), False, True),
        (ResponseError("no such key"), False, True),
        (ResponseError("WRONGTYPE Operation against a key"), False, False),
        (NoScriptError("NOSCRIPT No matching script"), False, False),
        (ConnectionError("refused"), False, False),
    ],
)
def test_group_errors_are_told_apart(error: Any, *, busy: bool, gone: bool) -> None:
    """A group that exists, a group that does not, and everything else are told apart."""
    assert (is_busy_group(error), is_no_group(error)) == (busy, gone)


@pytest.mark.parametrize(
    ("error", "own"),
    [
        (RedisConnectionError("refused"), Unavailable),
        (RedisTimeoutError("silent"), Unavailable),
        (OSError("no route"), Unavailable),
        (BusyLoadingError("LOADING"), Unavailable),
        (ReadOnlyError("READONLY"), Unavailable),
        (ResponseError("UNBLOCKED force unblock from blocking operation"), Unavailable),
        (ResponseError("WRONGTYPE Operation against a key"), Misconfigured),
        (ResponseError("NOPERM this user has no permissions"), Misconfigured),
    ],
)
def test_own_errors_say_what_to_do(error: Exception, own: type[FaustRedisError]) -> None:
    """What passes is to be waited for, what Redis refuses is for people; both name what Redis said."""
    with pytest.raises(own, match=str(error)) as raised, own_errors():
        raise error
    assert raised.value.__cause__ is error


def test_other_errors_are_not_ours() -> None:
    """An error that has nothing to do with Redis stays what it is."""
    with pytest.raises(ZeroDivisionError), own_errors():
        raise ZeroDivisionError


def test_the_docstring_is_the_message() -> None:
    """An error says the first sentence of its class, and what it is about."""
    assert str(PartitionLost("telemetry:1")) == "The lease of the partition is no longer ours: telemetry:1"
    assert str(Unavailable()) == "Redis does not answer or cannot do its work at present"


@pytest.mark.parametrize(
    ("error", "words"),
    [(RedisConnectionError("refused"), "ConnectionError: refused"), (TimeoutError(), "TimeoutError: ")],
)
def test_an_error_is_described_by_its_kind_and_its_words(error: Exception, words: str) -> None:
    """Neither a message without words nor one that says only what kind it is."""
    assert describe(error) == words


@pytest.mark.parametrize("stumbling", ["nothing()", "nothing._add_writer"])
@pytest.mark.parametrize("module", ["asyncio.selector_events", "redis.asyncio.connection", "elsewhere"])
def test_who_stumbles_over_a_lost_connection(stumbling: str, module: str) -> None:
    """As asyncio of Python 3.13.0 does, and the client over one that was closed; from elsewhere it is a defect."""
    names: dict[str, Any] = {"__name__": module}
    exec(f"def write(nothing=None):\n    {stumbling}", names)  # noqa: S102 - so that it is raised in a module of that name
    with pytest.raises((RedisConnectionError, TypeError, AttributeError)) as caught, as_lost_connections():
        names["write"]()
    assert isinstance(caught.value, RedisConnectionError) == (module != "elsewhere")
