"""Which processes broadcast, and clearing up behind those that are gone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redis.exceptions import ResponseError

from faust_redis.redis import keys, scripts
from faust_redis.redis.client import Client, Script, execute
from faust_redis.redis.errors import is_no_group
from faust_redis.redis.replies import facts, text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

logger = logging.getLogger(__name__)

#: An instance that was silent for longer is gone.
SILENCE_MS: Final = 60_000
_HEARTBEATS_PER_SILENCE: Final = 6


class Broadcasters:
    """Keeps the list of live broadcasting instances by the server's clock."""

    def __init__(
        self, client: Client, topic: str, instance_id: str, group_prefix: str, silence_ms: int = SILENCE_MS
    ) -> None:
        self._client = client
        self._key = keys.broadcasters(topic)
        self._instance_id = instance_id
        self._group_prefix = group_prefix
        self._silence_ms = silence_ms
        self._heartbeat = Script(client, scripts.HEARTBEAT)

    @property
    def interval_s(self) -> float:
        """Time between two heartbeats."""
        return self._silence_ms / 1000 / _HEARTBEATS_PER_SILENCE

    async def heartbeat(self) -> set[str]:
        """Announce this instance; return the live ones."""
        return {name.decode() for name in await self._heartbeat([self._key], [self._instance_id, self._silence_ms])}

    async def leave(self) -> None:
        """Take this instance off the list."""
        await execute(self._client, "ZREM", self._key, self._instance_id)

    async def remove_groups(self, streams: Sequence[str], alive: Collection[str]) -> None:
        """Destroy the groups of instances that are not alive and whose consumers have read nothing for as long."""
        for stream in streams:
            for info in await execute(self._client, "XINFO", "GROUPS", stream):
                group = text(facts(info)["name"])
                instance_id = group.removeprefix(self._group_prefix)
                if group == instance_id or instance_id in alive or await self._is_read(stream, group):
                    continue
                await execute(self._client, "XGROUP", "DESTROY", stream, group)
                logger.info("removed group %s of stream %s: its instance is gone", group, stream)

    async def _is_read(self, stream: str, group: str) -> bool:
        try:
            consumers = await execute(self._client, "XINFO", "CONSUMERS", stream, group)
        except ResponseError as error:
            if is_no_group(error):
                return True
            raise
        return any(int(facts(consumer)["idle"]) < self._silence_ms for consumer in consumers)
