"""Repeating an operation on Redis until it succeeds or the application stops."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from telemetry_app.faust_redis.connection import pause
from telemetry_app.faust_redis.errors import ANY_REDIS_ERROR, Backoff, severity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telemetry_app.faust_redis.observer import Observer

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def insist(
    step: Callable[[], Awaitable[T]],
    *,
    operation: str,
    observer: Observer,
    stopping: Callable[[], bool],
    last_try_s: float = 2.0,
) -> T:
    """Repeat a step through errors of Redis, with growing waits, for as long as the application runs.

    Args:
        step: What to do; it must be harmless to do twice, since a lost reply may hide a success.
        operation: Name for logs and for the observer.
        observer: Told about each failure.
        stopping: Whether the application is stopping.
        last_try_s: How long to go on once it is stopping.

    Raises:
        The last error of Redis, when the application stops first; any other error at once.
    """
    loop = asyncio.get_running_loop()
    backoff = Backoff()
    give_up_at: float | None = None
    while True:
        try:
            return await step()
        except ANY_REDIS_ERROR as error:
            if stopping():
                give_up_at = give_up_at or loop.time() + last_try_s
                if loop.time() >= give_up_at:
                    raise
            observer.retried(operation)
            delay_s = backoff.next_s()
            kind = type(error).__name__
            logger.log(severity(error), "%s failed (%s: %s), next try in %.1f s", operation, kind, error, delay_s)
            await pause(delay_s, stopping)
            # `pause` ends at once while stopping; the loop must not spin.
            await asyncio.sleep(0.05)
