"""Clearing up behind broadcasting processes that are gone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from faust_redis.redis.client import Client, execute
from faust_redis.redis.errors import is_no_group
from faust_redis.redis.replies import facts, text

if TYPE_CHECKING:
    from collections.abc import Collection

logger = logging.getLogger(__name__)


async def remove_groups(client: Client, stream: str, *, prefix: str, alive: Collection[str], silence_ms: int) -> None:
    """Destroy a stream's groups whose instance is not alive and whose consumers have read nothing for as long.

    Args:
        client: Redis, whose errors are raised.
        stream: Key of the stream.
        prefix: Groups to look at have this and the id of an instance as their name.
        alive: Instances that are alive.
        silence_ms: How long a consumer that is not alive has read nothing.
    """
    for info in await execute(client, "XINFO", "GROUPS", stream):
        group = text(facts(info)["name"])
        if not group.startswith(prefix) or group.removeprefix(prefix) in alive:
            continue
        if await _is_read(client, stream, group, silence_ms):
            continue
        await execute(client, "XGROUP", "DESTROY", stream, group)
        logger.info("removed group %s of stream %s: its instance is gone", group, stream)


async def _is_read(client: Client, stream: str, group: str, silence_ms: int) -> bool:
    try:
        consumers = await execute(client, "XINFO", "CONSUMERS", stream, group)
    except ResponseError as error:
        if is_no_group(error):
            return True
        raise
    return any(int(facts(consumer)["idle"]) < silence_ms for consumer in consumers)
