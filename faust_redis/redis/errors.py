"""The transport's exceptions and its notion of errors that pass."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from click import ClickException
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    ConnectionError as RedisConnectionError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TimeoutError as RedisTimeoutError,
    TryAgainError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class ReplyTooLarge(RedisConnectionError):  # noqa: N818 - what came, not a mistake
    """More came of a reply than this process takes at once, so the connection was closed: ask for less."""


#: Errors that end by themselves: a lost connection, a restart, a failover to a replica that is still read-only,
#: a server at its memory limit. Operations wait and try again.
PASSING_ERRORS: tuple[type[Exception], ...] = (
    RedisConnectionError,
    RedisTimeoutError,
    OSError,
    BusyLoadingError,
    ReadOnlyError,
    MasterDownError,
    ClusterDownError,
    TryAgainError,
    OutOfMemoryError,
    # What the client raises while no node answers, or none has a slot.
    ClusterError,
    RedisClusterException,
)

#: Those, and what Redis refuses until somebody fixes it: a key of the wrong type, a missing permission. The transport
#: waits and tries again then too, since other work of the process may go on and nothing was lost.
ANY_REDIS_ERROR: tuple[type[Exception], ...] = (*PASSING_ERRORS, ResponseError)


class FaustRedisError(Exception):
    """The transport cannot go on as it is.

    The first sentence of each class is its message; what it happened to, and why, follows it. The classes differ in
    what the caller does next.
    """

    def __init__(self, detail: str = "") -> None:
        message = (self.__doc__ or "").partition("\n")[0].rstrip(".")
        super().__init__(f"{message}: {detail}" if detail else message)


class PartitionLost(FaustRedisError):  # noqa: N818 - a state of the partition, not a mistake
    """The lease of the partition is no longer ours.

    Give up what is in flight: it belongs to the partition's next owner.
    """


class StateConflict(FaustRedisError):  # noqa: N818 - a state of the partition, not a mistake
    """The stored state is not the one that a batch was computed from.

    Give up what is in flight, load the state, and read the pending entries again.
    """


class Unavailable(FaustRedisError):  # noqa: N818 - a state of Redis, not a mistake
    """Redis does not answer or cannot do its work at present.

    Wait and try again: this ends by itself.
    """


class Misconfigured(FaustRedisError, ClickException):  # noqa: N818 - reads better where it is raised
    """The application or Redis is set up in a way that cannot work.

    Stop, or leave alone what it concerns: only people can fix it. Faust's commands print the sentence and end with 1,
    as they do with every error of the library that they are built on.
    """


class InstanceTaken(Misconfigured):
    """Another process that lives has the same instance id.

    Stop: both would read as one, and each would see half.
    """


@contextlib.contextmanager
def own_errors() -> Iterator[None]:
    """Raise what the client library raises as the transport's own errors, for callers that know no Redis.

    Raises:
        Unavailable: The error passes.
        Misconfigured: Redis refuses the command until somebody changes something.
    """
    try:
        yield
    except PASSING_ERRORS as error:
        raise Unavailable(describe(error)) from error
    except ResponseError as error:
        raise (Unavailable if _is_unblocked(error) else Misconfigured)(str(error)) from error


def describe(error: BaseException) -> str:
    """Return an error's kind and words: a timeout has no words, and the `repr` of redis-py leaves them out."""
    return f"{type(error).__name__}: {error}"


def severity(error: BaseException) -> int:
    """Return the log level of an error that is retried: a warning when it will pass, else an error for people."""
    passes = isinstance(error, PASSING_ERRORS) or _is_unblocked(error)
    return logging.WARNING if passes else logging.ERROR


def is_no_group(error: BaseException) -> bool:
    """Tell whether Redis refused a command because the stream or its group does not exist."""
    return isinstance(error, ResponseError) and str(error).startswith(("NOGROUP", "no such key", "ERR no such key"))


def is_busy_group(error: ResponseError) -> bool:
    """Tell whether creating a group failed because it exists, which is success."""
    return str(error).startswith("BUSYGROUP")


def is_wrong_type(error: BaseException) -> bool:
    """Tell whether Redis refused a command because the key is of another type."""
    return isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE")


def _is_unblocked(error: BaseException) -> bool:
    """Tell whether a blocking read was ended because the server is no longer the master."""
    return isinstance(error, ResponseError) and str(error).startswith("UNBLOCKED")
