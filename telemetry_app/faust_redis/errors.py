"""The transport's exceptions and its notion of errors that pass."""

from __future__ import annotations

import random

from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ConnectionError as RedisConnectionError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
    TryAgainError,
)

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
)

#: Errors after which a sample or a clean-up is simply left to the next time.
ANY_REDIS_ERROR: tuple[type[Exception], ...] = (*PASSING_ERRORS, ResponseError)


class PartitionLostError(Exception):
    """The partition's lease is no longer ours; whatever was in flight belongs to its next owner."""


def is_no_group(error: BaseException) -> bool:
    """Tell whether Redis refused a command because the stream or its group does not exist."""
    return isinstance(error, ResponseError) and str(error).startswith(("NOGROUP", "no such key", "ERR no such key"))


def is_busy_group(error: ResponseError) -> bool:
    """Tell whether creating a group failed because it exists, which is success."""
    return str(error).startswith("BUSYGROUP")


class Backoff:
    """Growing waits with full jitter, capped; `reset` after a success."""

    def __init__(self, first_s: float = 0.05, cap_s: float = 2.0) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._failures = 0

    def next_s(self) -> float:
        """Return how long to wait now, in seconds."""
        ceiling = min(self._cap_s, self._first_s * 2.0 ** min(self._failures, 16))
        self._failures += 1
        # A floor keeps a run of unlucky draws from hammering a server that is down.
        return ceiling * (0.3 + 0.7 * random.random())  # noqa: S311 - jitter needs no cryptography

    def reset(self) -> None:
        """Start again from the first wait."""
        self._failures = 0
