from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from redis.exceptions import AuthenticationError, AuthorizationError, RedisError

from faust_redis.redis import keys
from faust_redis.redis.errors import ANY_REDIS_ERROR, PASSING_ERRORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis, RedisCluster

    from telemetry_app.tools.simulation.record import Record

logger = logging.getLogger(__name__)

# Entries sent in one round trip: a quarter of a megabyte.
_BATCH_RECORDS = 500
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0

# Kinds of ConnectionError that waiting does not cure.
_REFUSED = (AuthenticationError, AuthorizationError)


class PublishError(Exception):
    """Redis cannot be published to; the text is one sentence."""


class Publisher:
    """Append records to the stream, or to its partitions, as tcp-ingestion does.

    A record counts as published once Redis answered with its entry id. What Redis refused for the moment is sent
    again. So is a batch whose answer was lost: whether its records had arrived cannot be known, so that some of them
    may then be on the stream twice, but are counted once.

    Args:
        redis: Connected on first use; must not repeat commands on its own.
        stream: Its key.
        partitions: With more than one, records go to `stream:0` ..., all of a device to the same.
        give_up_after_s: How long an outage of Redis may last.

    Attributes:
        published: Records confirmed so far.
        retries: Times that something had to be sent again.
    """

    def __init__(
        self, redis: Redis | RedisCluster, stream: str, partitions: int = 1, *, give_up_after_s: float = 60.0
    ) -> None:
        self.published = 0
        self.retries = 0
        self._redis = redis
        self._stream = stream
        self._partitions = partitions
        self._give_up_after_s = give_up_after_s

    def key(self, device_id: str) -> str:
        """Return the stream that has the records of a device."""
        partition = keys.partition_of(device_id.encode(), self._partitions)
        return keys.partition_stream(self._stream, partition, self._partitions)

    async def publish(self, records: Sequence[Record]) -> None:
        """Append records in order; return when all are confirmed.

        Raises:
            PublishError: Redis refuses them for good, or was away for too long.
        """
        for begin in range(0, len(records), _BATCH_RECORDS):
            await self._publish_batch(records[begin : begin + _BATCH_RECORDS])

    async def _publish_batch(self, batch: Sequence[Record]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._give_up_after_s
        pause_s = _FIRST_PAUSE_S
        while True:
            batch, error = await self._send(batch)
            if error is None:
                return
            if loop.time() + pause_s > deadline:
                raise PublishError(f"Redis did not take records for {self._give_up_after_s:g} s: {error}")
            self.retries += 1
            logger.warning("Sending %d records again: %s", len(batch), error)
            await asyncio.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - jitter
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _send(self, batch: Sequence[Record]) -> tuple[Sequence[Record], Exception | None]:
        """Send a batch once; return what has to be sent again, and why."""
        pipeline = self._redis.pipeline(transaction=False)
        for record in batch:
            pipeline.xadd(self.key(record.device_id), record.fields())  # type: ignore[arg-type]  # dict is invariant
        try:
            replies = await pipeline.execute(raise_on_error=False)
        except ANY_REDIS_ERROR as error:
            _raise_unless_transient(error)
            return batch, error
        errors = [reply for reply in replies if isinstance(reply, RedisError)]
        self.published += len(batch) - len(errors)
        again = [record for record, reply in zip(batch, replies, strict=True) if isinstance(reply, RedisError)]
        for refusal in errors:
            _raise_unless_transient(refusal)
        return again, errors[0] if errors else None


def _raise_unless_transient(error: Exception) -> None:
    if isinstance(error, _REFUSED) or not isinstance(error, PASSING_ERRORS):
        raise PublishError(f"Redis refuses the records: {error}") from error
