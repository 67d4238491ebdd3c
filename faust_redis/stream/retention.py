"""Trimming a stream, never beyond what every group has acknowledged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from faust_redis.redis import keys, scripts
from faust_redis.redis.client import Client, Script
from faust_redis.redis.errors import ANY_REDIS_ERROR, severity

if TYPE_CHECKING:
    from faust_redis.options import RedisOptions, Retention

logger = logging.getLogger(__name__)

#: How often streams are trimmed.
TRIM_INTERVAL_S: Final = 5.0
#: A call that removed fewer has left nothing to remove.
_FULL: Final = 1000


class Trimmer:
    """Trims streams to what is to stay, for whoever holds their lease.

    Args:
        client: Redis.
        group: Name of the consumer group that the leases are of.
        retention: What stays.
        options: Groups that do not count, and whom to tell.
    """

    def __init__(self, client: Client, *, group: str, retention: Retention, options: RedisOptions) -> None:
        self._group = group
        self._observer = options.observer
        self._arguments = (options.spared_groups, retention.entries, retention.age_ms)
        self._trim = Script(client, scripts.TRIM)

    async def trim(self, stream: str, token: str) -> None:
        """Remove what need not stay. What fails is tried again the next time."""
        try:
            # A part at a time, since Redis does nothing else meanwhile.
            while await self._trim([keys.lease(stream, self._group), stream], [token, *self._arguments]) >= _FULL:
                pass
        except ANY_REDIS_ERROR as error:
            self._observer.retried("trim")
            logger.log(severity(error), "%s is not trimmed (%s: %s)", stream, type(error).__name__, error)
