"""Trying an operation on Redis again until it succeeds or the application stops."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, TypeVar

from faust_redis.redis.errors import ANY_REDIS_ERROR, severity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from faust_redis.observer import Observer

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: How often a long step checks whether the application is stopping.
_LOOK_S = 0.2


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


async def pause(seconds: float, stopping: Callable[[], bool]) -> None:
    """Wait, but not much longer than until the caller is told to stop."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not stopping() and (left := deadline - loop.time()) > 0:  # noqa: ASYNC110 - callers have flags, not events
        await asyncio.sleep(min(left, 0.1))


async def retry_until_stopped(
    step: Callable[[], Awaitable[T]],
    *,
    operation: str,
    observer: Observer,
    stopping: Callable[[], bool],
    last_try_s: float = 2.0,
    passing: tuple[type[Exception], ...] = ANY_REDIS_ERROR,
) -> T:
    """Repeat a step through errors of Redis, with growing waits, for as long as the application runs.

    Args:
        step: What to do; it must be harmless to do twice, since a lost reply may hide a success.
        operation: Name for logs and for the observer.
        observer: Told about each failure.
        stopping: Whether the application is stopping.
        last_try_s: How long to go on once it is stopping.
        passing: Errors to go on through.

    Raises:
        The last error of Redis, when the application stops first; any other error at once.
    """
    backoff = Backoff()
    last_try = _LastTry(stopping, last_try_s)
    while True:
        try:
            return await _attempt(step, last_try)
        except passing as error:
            if last_try.over():
                raise
            observer.retried(operation)
            delay_s = backoff.next_s()
            kind = type(error).__name__
            logger.log(severity(error), "%s failed (%s: %s), next try in %.1f s", operation, kind, error, delay_s)
            await pause(delay_s, stopping)
            # `pause` ends at once while stopping; the loop must not spin.
            await asyncio.sleep(0.05)


class _LastTry:
    """The time left, counted from when the application is first seen to be stopping."""

    def __init__(self, stopping: Callable[[], bool], last_try_s: float) -> None:
        self._stopping = stopping
        self._last_try_s = last_try_s
        self._end: float | None = None

    def over(self) -> bool:
        """Tell whether it has passed."""
        now = asyncio.get_running_loop().time()
        if self._end is None and self._stopping():
            self._end = now + self._last_try_s
        return self._end is not None and now >= self._end


async def _attempt(step: Callable[[], Awaitable[T]], last_try: _LastTry) -> T:
    """Await a step, but abandon a silent connection with a `TimeoutError` once the last try is over."""
    attempt = asyncio.ensure_future(step())
    try:
        while not (await asyncio.wait({attempt}, timeout=_LOOK_S))[0]:
            if last_try.over():
                raise TimeoutError("no answer before the application stopped")
        return attempt.result()
    finally:
        attempt.cancel()
